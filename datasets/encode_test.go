package datasets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// drawn shows a view's tokens with the trained ones in brackets, neighbours
// joined: what a row teaches at one glance.
func drawn(v View) string {
	var b strings.Builder
	for _, t := range v.Tokens {
		if t.Trained {
			b.WriteString("[" + t.Text + "]")
		} else {
			b.WriteString(t.Text)
		}
	}
	return strings.NewReplacer("][", "", "\n", "⏎").Replace(b.String())
}

const alpacaStart = "Below is an instruction that describes a task. Write a response that appropriately completes the request.⏎⏎"

func TestEncodeMasks(t *testing.T) {
	chat := fakeTemplate{}
	cases := []struct {
		name, row string
		encoder   Encoder
		want      string
	}{
		{"prompt and completion", `{"prompt":"2+2","completion":"=4"}`, Encoder{}, "2+2[=4</s>]"},
		{"a template is not for strings", `{"prompt":"2+2","completion":"=4"}`, Encoder{Renderer: chat}, "2+2[=4</s>]"},
		{"a token over the edge", `{"prompt":"a: ","completion":"It is"}`, Encoder{}, "a:[ It is</s>]"},
		{"question and answer", `{"question":"Q","answer":"A"}`, Encoder{}, "Q[A</s>]"},
		{"EOS in the text", `{"prompt":"Q","completion":"A</s>"}`, Encoder{}, "Q[A</s>]"},
		{"BOS", `{"prompt":"Q","completion":"A"}`, Encoder{Tokenizer: fakeTokenizer{addBOS: true}}, "<s>Q[A</s>]"},
		{"the tokenizer's own EOS", `{"prompt":"Q","completion":"A"}`, Encoder{Tokenizer: fakeTokenizer{addEOS: true}}, "Q[A</s>]"},
		{"train on inputs", `{"prompt":"Q","completion":"A"}`, Encoder{TrainOnInputs: true}, "[QA</s>]"},
		{"text", `{"text":"all of it"}`, Encoder{}, "[all of it</s>]"},
		{"alpaca without template", `{"instruction":"Add.","input":"","output":"4"}`, Encoder{}, alpacaStart + "### Instruction:⏎Add.⏎⏎### Response:[4</s>]"},
		{
			"alpaca", `{"instruction":"Add.","input":"2 2","output":"4","system":"S","history":[["a","b"]]}`,
			Encoder{Renderer: chat},
			"<|system|>⏎S<|end|>⏎<|user|>⏎a<|end|>⏎<|assistant|>⏎[b<|end|>]⏎<|user|>⏎Add.⏎2 2<|end|>⏎<|assistant|>⏎[4<|end|>]⏎",
		},
		{
			"messages", `{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A B"}]}`,
			Encoder{Renderer: chat},
			"<|user|>⏎Q<|end|>⏎<|assistant|>⏎[A B<|end|>]⏎",
		},
		{
			"ranges of whole turns", `{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`,
			Encoder{Renderer: fakeTemplate{wholeTurn: true}},
			"<|user|>⏎Q<|end|>⏎<|assistant|>⏎[A<|end|>]⏎",
		},
		{
			"a space before the end", `{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`,
			Encoder{Renderer: fakeTemplate{before: " "}},
			"<|user|>⏎Q <|end|>⏎<|assistant|>⏎[A <|end|>]⏎",
		},
		{
			"one BOS", `{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`,
			Encoder{Tokenizer: fakeTokenizer{addBOS: true}, Renderer: fakeTemplate{begin: "<s>"}},
			"<s><|user|>⏎Q<|end|>⏎<|assistant|>⏎[A<|end|>]⏎",
		},
		{
			"an empty answer", `{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":""}]}`,
			Encoder{Renderer: chat},
			"<|user|>⏎Q<|end|>⏎<|assistant|>⏎[<|end|>]⏎",
		},
		{
			"weight 0", `{"messages":[{"role":"assistant","content":"A","weight":0},{"role":"user","content":"Q"},{"role":"assistant","content":"B"}]}`,
			Encoder{Renderer: chat},
			"<|assistant|>⏎A<|end|>⏎<|user|>⏎Q<|end|>⏎<|assistant|>⏎[B<|end|>]⏎",
		},
		{
			"sharegpt", `{"conversations":[{"from":"human","value":"Q"},{"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{}}"},{"from":"observation","value":"7"},{"from":"gpt","value":"A"}],"system":"S","tools":"[{}]"}`,
			Encoder{Renderer: chat},
			`tools [{}]⏎<|system|>⏎S<|end|>⏎<|user|>⏎Q<|end|>⏎<|assistant|>⏎[[{"type":"function","function":{"name":"f","arguments":{}}}]<|end|>]⏎<|tool|>⏎7<|end|>⏎<|assistant|>⏎[A<|end|>]⏎`,
		},
		{
			"pairs of lists", `{"prompt":[{"role":"user","content":"Q"},{"role":"assistant","content":"shot"}],"completion":[{"role":"assistant","content":"A"}]}`,
			Encoder{Renderer: chat},
			"<|user|>⏎Q<|end|>⏎<|assistant|>⏎shot<|end|>⏎<|assistant|>⏎[A<|end|>]⏎",
		},
		{"ids", `{"input_ids":[81,65,513],"labels":[-100,65,513]}`, Encoder{}, "Q[A</s>]"},
		{"ids without labels", `{"input_ids":[81,65]}`, Encoder{}, "[QA]"},
		{"columns", `{"ask":"Q","say":"A"}`, Encoder{Columns: Columns{Prompt: "ask", Response: "say"}}, "Q[A</s>]"},
		{
			"columns of alpaca", `{"ask":"Q","more":"M","say":"A"}`,
			Encoder{Renderer: chat, Columns: Columns{Prompt: "ask", Query: "more", Response: "say"}},
			"<|user|>⏎Q⏎M<|end|>⏎<|assistant|>⏎[A<|end|>]⏎",
		},
		{"truncated", `{"prompt":"2+2","completion":"=4"}`, Encoder{MaxSeqLength: 5}, "2+2[=4]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.encoder.Tokenizer == nil {
				c.encoder.Tokenizer = fakeTokenizer{}
			}
			v, err := c.encoder.View(NewRow([]byte(c.row), Options{}))
			if err != nil {
				t.Fatal(err)
			}
			if got := drawn(v); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if v.Sample.EOSTrained == (c.name == "truncated" || c.name == "ids without labels") {
				t.Errorf("EOSTrained is %v", v.Sample.EOSTrained)
			}
		})
	}
}

// reachingTemplate gives ranges that end inside the next turn's header, as those
// found by comparing two renderings may.
type reachingTemplate struct{ fakeTemplate }

func (r reachingTemplate) Render(request []byte) (string, [][2]int, error) {
	text, spans, err := r.fakeTemplate.Render(request)
	for i := range spans {
		spans[i][1] = min(spans[i][1]+len("<|end|>\n<|"), len(text))
	}
	return text, spans, err
}

func TestRangesThatReachIntoTheNextHeader(t *testing.T) {
	e := Encoder{Tokenizer: fakeTokenizer{}, Renderer: reachingTemplate{}}
	row := `{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"},{"role":"user","content":"R"},{"role":"assistant","content":"B"}]}`
	v, err := e.View(NewRow([]byte(row), Options{}))
	if err != nil {
		t.Fatal(err)
	}
	want := "<|user|>⏎Q<|end|>⏎<|assistant|>⏎[A<|end|>]⏎<|user|>⏎R<|end|>⏎<|assistant|>⏎[B<|end|>]⏎"
	if got := drawn(v); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTruncationCounts(t *testing.T) {
	e := Encoder{Tokenizer: fakeTokenizer{}, MaxSeqLength: 4}
	s, err := e.Encode(NewRow([]byte(`{"prompt":"Q","completion":"12345"}`), Options{}))
	if err != nil || len(s.Tokens) != 4 || s.Cut != 3 || s.CutTrained != 3 || s.EOSTrained || s.Trained() != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestEncodeErrorsNameTheRow(t *testing.T) {
	cases := []struct {
		row, says string
		is        error
	}{
		{`{"messages":[{"role":"user","content":"Q"}]}`, "no chat template", ErrNoTemplate},
		{`{"prompt":"p","chosen":"a","rejected":"b"}`, "preference", ErrPreference},
		{`{"foo":1}`, "none of the known formats' fields", nil},
		{`{"prompt":"p"`, "not JSON", nil},
		{`[1]`, "a list, not a JSON object", nil},
		{"{\"prompt\":\"\xff\",\"completion\":\"\"}", "not UTF-8 at byte 12", nil},
		{`{"prompt":"p"}`, "the completion is missing", nil},
		{`{"prompt":"p","completion":3}`, "the completion is a number", nil},
		{`{"instruction":"p"}`, "output is missing", nil},
		{`{"input_ids":[1,2,517]}`, "input_ids[2] is 517: the model's vocabulary ends at 516", nil},
		{`{"input_ids":[1,-1]}`, "input_ids[1] is -1", nil},
		{`{"input_ids":[1,1.5]}`, "input_ids[1] is 1.5, not a token id", nil},
		{`{"input_ids":[1,2],"labels":[1]}`, "2 input_ids and 1 labels", nil},
		{`{"input_ids":[1,2],"labels":[1,900]}`, "labels[1] is 900", nil},
		{`{"text":null}`, "text is null", nil},
	}
	e := Encoder{Tokenizer: fakeTokenizer{}}
	for _, c := range cases {
		row := NewRow([]byte(c.row), Options{})
		row.File, row.Line, row.Index = "f.jsonl", 9, 7
		_, err := e.Encode(row)
		var at *RowError
		if !errors.As(err, &at) || at.Line != 9 || at.Row != 7 || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "f.jsonl:9: ") {
			t.Errorf("%s: error %v, want one that says %q", c.row, err, c.says)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: error %v is not %v", c.row, err, c.is)
		}
	}
	e.Renderer = fakeTemplate{}
	for row, says := range map[string]string{
		`{"messages":[{"role":"nobody","content":"Q"}]}`: "roles must be user and assistant",
		`{"messages":[{"content":"Q"}]}`:                 "message 0 has no role",
		`{"messages":["Q"]}`:                             "message 0 is a string",
		`{"messages":{}}`:                                "the list of messages is an object",
		`{"messages":[],"tools":"nonsense"}`:             "tools is a string that is not JSON",
	} {
		if _, err := e.Encode(NewRow([]byte(row), Options{})); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one that says %q", row, err, says)
		}
	}
}

func TestPromptAsksForTheLastAnswer(t *testing.T) {
	e := Encoder{Tokenizer: fakeTokenizer{addBOS: true, addEOS: true}, Renderer: fakeTemplate{}}
	for row, want := range map[string][2]string{
		`{"prompt":"2+2","completion":"=4"}`: {"<s>2+2", "=4"},
		`{"text":"Once"}`:                    {"<s>Once", ""},
		`{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`:                                          {"<s><|user|>\nQ<|end|>\n<|assistant|>\n", "A"},
		`{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"},{"role":"user","content":"not this one"}]}`: {"<s><|user|>\nQ<|end|>\n<|assistant|>\n", "A"},
	} {
		ids, reference, err := e.Prompt(NewRow([]byte(row), Options{}))
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, id := range ids {
			text.WriteString(e.Tokenizer.Token(id))
		}
		if text.String() != want[0] || reference != want[1] {
			t.Errorf("%s: prompt %q and reference %q, want %q", row, text.String(), reference, want)
		}
	}
}

func TestLoadKeepsOrderAndReportsEveryBadRow(t *testing.T) {
	var content strings.Builder
	for i := range 3000 {
		if i%1000 == 500 {
			content.WriteString("{\"prompt\":\"no completion\"}\n")
		}
		fmt.Fprintf(&content, "{\"prompt\":\"%d\",\"completion\":\"x\"}\n", i)
	}
	good := write(t, "good.jsonl", strings.Repeat("{\"prompt\":\"p\",\"completion\":\"x\"}\n", 3))
	bad := write(t, "bad.jsonl", content.String())
	o := LoadOptions{Encoder: &Encoder{Tokenizer: fakeTokenizer{}, MaxSeqLength: 100}, Workers: 4}
	_, err := Load(context.Background(), []string{good, bad}, o)
	var load *LoadError
	if !errors.As(err, &load) || load.Total != 3 {
		t.Fatalf("error %v, want a LoadError of 3 rows", err)
	}
	if lines := []int{load.Rows[0].Line, load.Rows[1].Line, load.Rows[2].Line}; !slices.Equal(lines, []int{501, 1502, 2503}) {
		t.Errorf("lines %v", lines)
	}
	var last [2]int
	o.Progress = func(rows, total int) { last = [2]int{rows, total} }
	samples, err := Load(context.Background(), []string{good, good}, o)
	if err != nil || len(samples) != 6 || last != [2]int{6, 6} {
		t.Errorf("%d samples, progress %v, %v", len(samples), last, err)
	}
	for i, s := range samples {
		if s.Row != i%3 || s.Line != i%3+1 {
			t.Errorf("sample %d is row %d on line %d", i, s.Row, s.Line)
		}
	}
}

func TestLoadRefusesARowThatTeachesNothing(t *testing.T) {
	path := write(t, "a.jsonl", `{"prompt":"long prompt","completion":"x"}`)
	_, err := Load(context.Background(), []string{path}, LoadOptions{Encoder: &Encoder{Tokenizer: fakeTokenizer{}, MaxSeqLength: 4}})
	if !errors.Is(err, ErrNoTrainedToken) || !strings.Contains(err.Error(), "max_seq_length") {
		t.Errorf("error %v", err)
	}
	empty := write(t, "empty.jsonl", "")
	if _, err := Load(context.Background(), []string{empty}, LoadOptions{Encoder: &Encoder{Tokenizer: fakeTokenizer{}}}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty file: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Load(ctx, []string{path}, LoadOptions{Encoder: &Encoder{Tokenizer: fakeTokenizer{}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
