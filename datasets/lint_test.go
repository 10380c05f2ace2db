package datasets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lint returns the findings of a file with this content.
func lint(t testing.TB, name, content string, o LintOptions) ([]Finding, Summary) {
	t.Helper()
	f := open(t, write(t, name, content), Options{})
	var findings []Finding
	summary, err := Lint(context.Background(), f, o, func(f Finding) { findings = append(findings, f) })
	if err != nil {
		t.Fatal(err)
	}
	return findings, summary
}

// told is a finding as the tables below have it: "code field".
func told(f Finding) string { return strings.TrimSpace(f.Code + " " + f.Field) }

func TestLintRows(t *testing.T) {
	talk := func(messages string) string { return `{"messages":[` + messages + `]}` }
	const user, answer = `{"role":"user","content":"Q"}`, `{"role":"assistant","content":"A"}`
	alpaca := func(output string) string { return `{"instruction":"Do it.","input":"","output":"` + output + `"}` }
	cases := []struct {
		name, row string
		want      []string
	}{
		{"good messages", talk(user + "," + answer), nil},
		{"good alpaca", alpaca("Done."), nil},
		{"good pair", `{"prompt":"2+2","completion":" 4"}`, nil},
		{"good text", `{"text":"Once."}`, nil},
		{"good ids", `{"input_ids":[1,2],"labels":[-100,2]}`, nil},
		{"good preference", `{"prompt":"p","chosen":"a","rejected":"b"}`, nil},
		{"good sharegpt", `{"conversations":[{"from":"human","value":"Q"},{"from":"gpt","value":"A"}]}`, nil},
		{"good tools", talk(user + `,{"role":"assistant","tool_calls":[{}]},{"role":"tool","content":"7"},` + answer), nil},
		{"good parts", talk(`{"role":"user","content":[{"type":"text","text":"Q"}]},` + answer), nil},

		{"not JSON", `{"prompt":`, []string{"data_type"}},
		{"a list", `[1]`, []string{"data_type"}},
		{"bad UTF-8", "{\"text\":\"a\xffb\"}", []string{"bad_utf8"}},
		{"half a surrogate pair", `{"text":"a\ud83d b"}`, []string{"bad_utf8 text"}},
		{"unknown", `{"foo":1}`, []string{"missing_messages_list"}},
		{"messages is no list", `{"messages":"hi"}`, []string{"missing_messages_list messages"}},
		{"no messages", `{"messages":[]}`, []string{"missing_messages_list messages"}},
		{"no role", talk(`{"content":"Q"},` + answer), []string{"message_missing_key messages[0]"}},
		{"no content", talk(`{"role":"user"},` + answer), []string{"message_missing_key messages[0]"}},
		{"null content", talk(`{"role":"user","content":null},` + answer), []string{"missing_content messages[0].content"}},
		{"number content", talk(`{"role":"user","content":3},` + answer), []string{"missing_content messages[0].content"}},
		{"message is a string", talk(`"Q",` + answer), []string{"data_type messages[0]"}},
		{"unknown key", talk(`{"role":"user","content":"Q","mood":1},` + answer), []string{"message_unrecognized_key messages[0].mood"}},
		{"unknown role", talk(`{"role":"human","content":"Q"},` + answer), []string{"unrecognized_role messages[0]"}},
		{"no assistant", talk(user), []string{"example_missing_assistant_message messages"}},
		{"empty answer", talk(user + `,{"role":"assistant","content":""}`), []string{"missing_content messages[1].content", "empty_output messages[1].content"}},
		{"blank answer", talk(user + `,{"role":"assistant","content":" \n"}`), []string{"empty_output messages[1].content"}},
		{"two users", talk(user + "," + user + "," + answer), []string{"role_alternation messages[1]"}},
		{"assistant first", talk(answer + "," + user + "," + answer), []string{"role_alternation messages[0]"}},
		{"user last", talk(user + "," + answer + "," + user), []string{"role_alternation messages[2]"}},
		{"late system", talk(user + "," + answer + `,{"role":"system","content":"S"}`), []string{"role_alternation messages[2]"}},

		{"empty output", alpaca(""), []string{"empty_output output"}},
		{"blank output", alpaca(` \t\n`), []string{"empty_output output"}},
		{"no output", `{"instruction":"Do it."}`, []string{"empty_output output"}},
		{"null output", `{"instruction":"Do it.","output":null}`, []string{"empty_output output"}},
		{"number output", `{"instruction":"Do it.","output":4}`, []string{"data_type output"}},
		{"no completion", `{"prompt":"Do it."}`, []string{"empty_output completion"}},
		{"empty answer field", `{"question":"Q","answer":""}`, []string{"empty_output answer"}},
		{"empty text", `{"text":""}`, []string{"empty_output text"}},
		{"empty instruction", `{"instruction":" ","output":"Done."}`, []string{"empty_instruction instruction"}},
		{"placeholder", `{"instruction":"Do it.","input":"<no input>","output":"Done."}`, []string{"no_input_placeholder input"}},
		{"N/A", alpaca("N/A"), []string{"na_output output"}},
		{"an answer of one letter", alpaca("-"), nil},
		{"merged output", alpaca(`Done.\n14. Instruction: Do more.`), []string{"merged_instruction output"}},
		{"merged instruction", `{"instruction":"Add. Input: 2 Output: 4","output":"4"}`, []string{"merged_instruction instruction"}},
		{"refusal", alpaca("I'm sorry, but as an AI I cannot."), []string{"refusal output"}},
		{"leading space", alpaca(" Done."), []string{"edge_whitespace output"}},
		{"trailing newline", alpaca(`Done.\n`), []string{"edge_whitespace output"}},
		{"a backslash and n", alpaca(`Done.\\n`), nil},

		{"same key twice", `{"text":"a","text":"b"}`, []string{"duplicate_key text"}},
		{"control", alpaca(`a\u0007b`), []string{"control_character output"}},
		{"backspace", alpaca(`a\bb`), []string{"control_character output"}},
		{"delete", alpaca("a\x7fb"), []string{"control_character output"}},
		{"C1", alpaca("a\u0085b"), []string{"control_character output"}},
		{"zero width space", alpaca("a\u200bb"), []string{"zero_width output"}},
		{"zero width space, escaped", alpaca(`a\u200bb`), []string{"zero_width output"}},
		{"zero width joiner between letters", alpaca("a\u200db"), []string{"zero_width output"}},
		{"byte order mark inside", alpaca("a\ufeffb"), []string{"zero_width output"}},
		{"tags", alpaca("a\U000e0041b"), []string{"zero_width output"}},
		{"emoji family", alpaca("👨\u200d👩\u200d👧"), nil},
		{"rainbow flag", alpaca("🏳️\u200d🌈"), nil},
		{"flag of Scotland", alpaca("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"), nil},
		{"Persian", alpaca("می\u200cخواهم"), nil},
		{"Hindi", alpaca("क्\u200dष"), nil},
		{"direction", alpaca("a\u202eb"), []string{"bidi_override output"}},
		{"isolate", alpaca("a\u2066b"), []string{"bidi_override output"}},
		{"mojibake", alpaca("cafÃ©"), []string{"mojibake output"}},
		{"mojibake quotation mark", alpaca("itâ€™s"), []string{"mojibake output"}},
		{"accents", alpaca("é à ã Ã â € SÃO 25 °C"), nil},
		{"lost character", alpaca("a\ufffdb"), []string{"replacement_char output"}},
		{"lost character, escaped", alpaca(`a\ufffdb`), []string{"replacement_char output"}},
		{"ChatML in alpaca", alpaca("Done.<|im_end|>"), []string{"template_mismatch output"}},
		{"Llama 2 in messages", talk(`{"role":"user","content":"[INST] Q [/INST]"},` + answer), []string{"template_mismatch messages[0].content"}},
		{"ChatML in text", `{"text":"<|im_start|>user"}`, nil},
		{"</s> at the end", alpaca("Done.</s>"), []string{"template_mismatch output"}},
		{"HTML", alpaca("<b>no</b> <s>struck</s> out, a[i] < b"), nil},
		{"e-mail", alpaca(`Write to\njo.doe@example.co.uk.`), []string{"pii_email output"}},
		{"no e-mail", alpaca("@user, 3 @ 4, a@b, git@1.2.3"), nil},
		{"telephone", alpaca(`Call\n(555) 123-4567 now`), []string{"pii_phone output"}},
		{"telephone with country", alpaca("Call +49 30 901820."), []string{"pii_phone output"}},
		{"telephone with dashes", alpaca("555-123-4567"), []string{"pii_phone output"}},
		{"no telephone", alpaca("5551234567, 3 000 000, 12+345 678 90, 555-12, 100 200 3000, 2024-01-02 10:20:30"), nil},
		{"social security", alpaca("SSN 123-45-6789."), []string{"pii_ssn output"}},
		{"no social security", alpaca("000-12-3456, 666-12-3456, 900-12-3456, 123-45-67890"), nil},
		{"card", alpaca(`Pay:\n4111 1111 1111 1111`), []string{"pii_card output"}},
		{"American Express", alpaca("3782 822463 10005"), []string{"pii_card output"}},
		{"no card", alpaca("4111 1111 1111 1112, 2000000-400000, 12345678901234567890"), nil},
		{"IBAN", alpaca("DE89 3704 0044 0532 0130 00"), []string{"pii_iban output"}},
		{"IBAN in one", alpaca("GB82WEST12345698765432"), []string{"pii_iban output"}},
		{"no IBAN", alpaca("GB82 WEST 1234 5698 7654 33"), nil},
		{"IPv4", alpaca("at 192.168.10.254."), []string{"pii_ip output"}},
		{"IPv6", alpaca("at 2001:db8::8a2e:370:7334."), []string{"pii_ip output"}},
		{"no IP", alpaca("127.0.0.1, 1.2.3, 300.1.1.1, 12:30:45, std::map, a::b, ::1, v1.2.3.4"), nil},
		{"arithmetic", alpaca("48/2 = <<48/2=24>>24, $1,234.56, 3.14159265358979, 2^31-1 = 2147483647"), nil},
		{"bad ids", `{"input_ids":[1,"x"]}`, []string{"token_id input_ids"}},
		{"ids of other length", `{"input_ids":[1],"labels":[1,2]}`, []string{"token_id labels"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			findings, _ := lint(t, "a.jsonl", c.row+"\n", LintOptions{})
			var got []string
			for _, f := range findings {
				got = append(got, told(f))
				if f.Line != 1 || f.Row != 0 || f.Message == "" || f.Level == "" {
					t.Errorf("%+v", f)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLintSpansAreInTheDecodedText(t *testing.T) {
	for row, want := range map[string]string{
		`{"instruction":"x","output":"say \"hi\"\n<|im_end|>"}`:      "<|im_end|>",
		`{"instruction":"x","output":"caf\u00e9 <|im_end|>"}`:        "<|im_end|>",
		`{"instruction":"x","output":"mail\tme@here.org now"}`:       "me@here.org",
		`{"instruction":"x","output":"\n\n Done."}`:                  "\n\n ",
		`{"instruction":"x","output":"Done. \n"}`:                    " \n",
		`{"instruction":"x","output":"\"A\"\n3. Instruction: more"}`: "3. Instruction:",
	} {
		findings, _ := lint(t, "a.jsonl", row, LintOptions{})
		if len(findings) != 1 {
			t.Fatalf("%s: %v", row, findings)
		}
		var value string
		for _, f := range NewRow([]byte(row), Options{}).Fields() {
			if f.Key == findings[0].Field {
				value = f.Value
			}
		}
		if got := value[findings[0].Span[0]:findings[0].Span[1]]; got != want {
			t.Errorf("%s: span covers %q, want %q", row, got, want)
		}
	}
}

func TestLintNamesLines(t *testing.T) {
	findings, summary := lint(t, "a.jsonl", "{\"text\":\"a\"}\r\n\r\n{\"text\":\r\n{\"text\":\"\"}", LintOptions{})
	if len(findings) != 2 || findings[0].Line != 3 || findings[0].Row != 1 || findings[1].Line != 4 || findings[1].Row != 2 {
		t.Errorf("%+v", findings)
	}
	if summary.Rows != 3 || summary.Errors != 2 || summary.Codes[CodeDataType] != 1 || summary.Formats[FormatText] != 2 {
		t.Errorf("%+v", summary)
	}
}

func TestLintReportsFaultsOfTheFile(t *testing.T) {
	for content, says := range map[string]string{"": "empty", "[{\"text\":\"a\"}": "does not end"} {
		findings, summary := lint(t, "a.json", content, LintOptions{})
		if len(findings) != 1 || findings[0].Code != CodeDataType || !strings.Contains(findings[0].Message, says) || summary.Errors != 1 {
			t.Errorf("%q: %+v", content, findings)
		}
	}
}

func TestLintWholeFile(t *testing.T) {
	var content strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&content, "{\"prompt\":\"%d\",\"completion\":\"x\",\"meta\":{\"label\":\"a\"}}\n", i)
	}
	content.WriteString("{\"meta\":{\"label\":\"b\"},\"completion\":\"\\u0078\",\"prompt\":\"700\"}\n") // row 700 again
	content.WriteString("{\"text\":\"another format\",\"meta\":{\"label\":\"b\"}}\n")
	findings, summary := lint(t, "a.jsonl", content.String(), LintOptions{By: "meta.label", Workers: 3})
	var got []string
	for _, f := range findings {
		got = append(got, fmt.Sprintf("%d %s", f.Line, f.Code))
	}
	if want := []string{"1001 duplicate_exact", "1002 inconsistent_format", "1 class_imbalance"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(findings[0].Message, "line 701") {
		t.Errorf("%q does not name line 701", findings[0].Message)
	}
	if summary.Classes["a"] != 1000 || summary.Classes["b"] != 2 {
		t.Errorf("classes %v", summary.Classes)
	}
}

func TestLintFindsNearDuplicates(t *testing.T) {
	content := `{"text":"Our shop takes back what you bought within thirty days."}
{"text":"It opens at nine."}
{"text":"our shop takes back what you bought within 30 thirty days!"}
{"text":"Our Shop takes back what you bought, within thirty days."}
`
	findings, _ := lint(t, "a.jsonl", content, LintOptions{Near: true})
	if len(findings) != 1 || findings[0].Code != CodeDuplicateNear || findings[0].Row != 3 || !strings.Contains(findings[0].Message, "row 0") {
		t.Errorf("%+v", findings)
	}
	if findings, _ := lint(t, "a.jsonl", content, LintOptions{}); len(findings) != 0 {
		t.Errorf("not asked for: %+v", findings)
	}
}

func TestLintTokens(t *testing.T) {
	o := LintOptions{Tokenizer: fakeTokenizer{}, Renderer: fakeTemplate{}, MaxSeqLength: 30}
	rows := []struct {
		row  string
		want []string
	}{
		{`{"prompt":"short","completion":"enough"}`, nil},
		{`{"prompt":"short","completion":"but the answer is too long for thirty tokens"}`, []string{"too_long", "no_eos_trained"}},
		{`{"prompt":"already this prompt alone is longer than thirty","completion":"x"}`, []string{"too_long", "no_trained_token"}},
		{`{"input_ids":[1,2,3]}`, []string{"no_eos_trained"}},
		{`{"input_ids":[1,2,999]}`, []string{"token_id"}},
		{`{"text":"<|im_start|>user"}`, []string{"template_mismatch text"}},
		{`{"text":"<|user|>hi<|end|>"}`, nil}, // the tokenizer's own
		{`{"instruction":"a","output":"b <|end|>"}`, []string{"template_mismatch output"}},
		{`{"messages":[{"role":"nobody","content":"Q"},{"role":"assistant","content":"A"}]}`, []string{"unrecognized_role messages[0]"}},
	}
	var content strings.Builder
	want := map[int][]string{}
	for i, r := range rows {
		content.WriteString(r.row + "\n")
		want[i] = r.want
	}
	findings, summary := lint(t, "a.jsonl", content.String(), o)
	got := map[int][]string{}
	for _, f := range findings {
		if f.Code != CodeInconsistentFormat {
			got[f.Row] = append(got[f.Row], told(f))
		}
	}
	for i := range rows {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("%s: got %q, want %q", rows[i].row, got[i], want[i])
		}
	}
	if summary.Tokens == 0 || summary.Trained == 0 || summary.Longest != 42 {
		t.Errorf("%+v", summary)
	}
}

func TestLintWithoutTemplateSaysSoOnce(t *testing.T) {
	row := `{"messages":[{"role":"user","content":"%d"},{"role":"assistant","content":"A"}]}` + "\n"
	findings, _ := lint(t, "a.jsonl", fmt.Sprintf(row, 1)+fmt.Sprintf(row, 2), LintOptions{Tokenizer: fakeTokenizer{}})
	if len(findings) != 1 || findings[0].Code != CodeTemplateError || findings[0].Level != LevelError {
		t.Errorf("%+v", findings)
	}
}

func TestLintNoEndInTheWholeFileIsAnError(t *testing.T) {
	findings, summary := lint(t, "a.jsonl", `{"input_ids":[1,2]}`, LintOptions{Tokenizer: fakeTokenizer{}})
	if len(findings) != 2 || summary.Codes[CodeNoEOSTrained] != 2 || findings[1].Level != LevelError {
		t.Errorf("%+v", findings)
	}
}

func TestLintStopsWhenCancelled(t *testing.T) {
	f := open(t, write(t, "a.jsonl", strings.Repeat("{\"text\":\"\"}\n", 5000)), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Lint(ctx, f, LintOptions{}, func(Finding) { cancel() })
	if err == nil {
		t.Error("Lint went on after its context ended")
	}
}

func TestRulesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules {
		if seen[r.Code] || r.Help == "" || r.Level == "" {
			t.Errorf("rule %+v", r)
		}
		seen[r.Code] = true
	}
}

func TestGSM8KHasNoErrors(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "data", "gsm8k")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the GSM8K files are not beside this checkout:", err)
	}
	for name, rows := range map[string]int{"train.jsonl": 7473, "test.jsonl": 1319} {
		f := open(t, filepath.Join(dir, name), Options{})
		summary, err := Lint(context.Background(), f, LintOptions{Tokenizer: fakeTokenizer{}, MaxSeqLength: 4096}, func(f Finding) {
			if f.Level == LevelError {
				t.Errorf("%+v", f)
			}
			if strings.HasPrefix(f.Code, "pii_") {
				t.Errorf("arithmetic was taken for something personal: %+v", f)
			}
		})
		if err != nil || summary.Rows != rows {
			t.Errorf("%s: %d rows, want %d; %v", name, summary.Rows, rows, err)
		}
		t.Logf("%s: %v", name, summary.Codes)
	}
}

// FuzzLint checks that no bytes make the linter or the encoder panic, that
// spans lie inside of their fields, and that what the encoder accepts is whole.
func FuzzLint(f *testing.F) {
	for _, seed := range []string{
		`{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}`,
		`{"instruction":"a","input":"N/A","output":"b\u200b\ud83d","history":[["a","b"]]}`,
		`{"prompt":[{"role":"user","content":[{"type":"text"}]}],"completion":"a@b.cd <|im_end|>"}`,
		`{"conversations":[{"from":"function_call","value":"[{}]"},{"value":1}],"tools":"[]"}`,
		`{"input_ids":[1,2],"labels":[-100]}`, "{\"text\":\"\xff\\b\xe2\x80\"}", `{"a":{"a":1,"a":2}}`, `[[[`, `{"chosen":[],"rejected":""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := LintOptions{Tokenizer: fakeTokenizer{addBOS: true}, Renderer: fakeTemplate{}, MaxSeqLength: 16}
		l := &linter{lintShared: newLintShared(o)}
		row := Row{Raw: raw, options: &Options{}}
		report := l.row(&row)
		values := map[string]int{"": len(raw)}
		for _, field := range row.Fields() {
			values[field.Key] = max(len(field.Value), values[field.Key])
		}
		for _, finding := range report.findings {
			if n, ok := values[finding.Field]; ok && (finding.Span[0] > finding.Span[1] || finding.Span[1] > n) {
				t.Errorf("%s: span %v of %d bytes", told(finding), finding.Span, n)
			}
		}
		sample, err := l.encoder.Encode(row)
		if err == nil && (len(sample.Tokens) != len(sample.Labels) || len(sample.Tokens) > 16) {
			t.Errorf("%d tokens, %d labels", len(sample.Tokens), len(sample.Labels))
		}
		l.encoder.Prompt(row)
		l.encoder.View(row)
	})
}
