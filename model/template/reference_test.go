package template

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

func readTestdata(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func parseTestdata(t testing.TB, name string) *Template {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := Parse(string(source), map[string]any{"bos_token": "<s>", "eos_token": "</s>"})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return tmpl
}

type reference struct {
	Conversations map[string]jsontext.Value `json:"conversations"`
	Renders       []struct {
		Template     string   `json:"template"`
		Conversation string   `json:"conversation"`
		Text         string   `json:"text"`
		Error        string   `json:"error"`
		Spans        [][2]int `json:"spans"`
	} `json:"renders"`
}

// TestReference compares our own templates with transformers' renders of them (testdata/make.py).
func TestReference(t *testing.T) {
	var ref reference
	readTestdata(t, "renders.json", &ref)
	for _, r := range ref.Renders {
		tmpl := parseTestdata(t, r.Template)
		got, err := tmpl.Text(ref.Conversations[r.Conversation])
		if r.Error != "" {
			_, message, _ := strings.Cut(r.Error, ": ")
			var raised *Raised
			if !errors.As(err, &raised) || raised.Message != message {
				t.Errorf("%s %s: %v, want %s", r.Template, r.Conversation, err, r.Error)
			}
			continue
		}
		if err != nil || got != r.Text {
			t.Errorf("%s %s: %v\n got %q\nwant %q", r.Template, r.Conversation, err, got, r.Text)
		}
		if !tmpl.generation {
			continue
		}
		text, spans, err := tmpl.Render(ref.Conversations[r.Conversation])
		if err != nil || text != r.Text || !slices.Equal(spans, r.Spans) {
			t.Errorf("%s %s: %v, spans %v, want %v", r.Template, r.Conversation, err, spans, r.Spans)
		}
	}
}

// TestAssistantSpans says for each conversation what the assistant wrote, in templates without generation blocks.
func TestAssistantSpans(t *testing.T) {
	var ref reference
	readTestdata(t, "renders.json", &ref)
	const thought = "<think>\nhm\n</think>\n\nSecond é"
	for _, c := range []struct {
		template, conversation string
		want                   []string
	}{
		{"chatml.jinja", "plain", []string{"Hi there.<|im_end|>"}},
		{"chatml.jinja", "prompt", nil},
		{"chatml.jinja", "long", []string{"First<|im_end|>", thought + "<|im_end|>"}},
		{"chatml.jinja", "same", []string{"ok<|im_end|>", "ok<|im_end|>"}},
		{"chatml.jinja", "tools", []string{"<|im_end|>", "20 °C<|im_end|>"}},
		{"chatml.jinja", "first", []string{"I begin.<|im_end|>"}},
		{"headers.jinja", "plain", []string{"Hi there.<|eot_id|>"}},
		{"headers.jinja", "long", []string{"First<|eot_id|>", thought + "<|eot_id|>"}},
		{"headers.jinja", "tools", []string{`{"name": "get_weather", "parameters": {"city": "Paris", "n": 3, "x": 1e-07}}<|eot_id|>`, "20 °C<|eot_id|>"}},
		{"headers.jinja", "first", []string{"I begin.<|eot_id|>"}},
		{"instruct.jinja", "plain", []string{"Hi there.</s>"}},
		{"instruct.jinja", "long", []string{"First</s>", thought + "</s>"}},
		{"instruct.jinja", "same", []string{"ok</s>", "ok</s>"}},
		{"alpaca.jinja", "plain", []string{"Hi there.</s>"}},
		{"alpaca.jinja", "long", []string{" First \n</s>", thought + "</s>"}},
		{"alpaca.jinja", "same", []string{"ok</s>", "ok</s>"}},
		// The prompt opens a thought, so what the model writes begins after it, or after the header where an earlier
		// turn has lost its thought.
		{"thinking.jinja", "plain", []string{"\n</think>\n\nHi there.<|im_end|>"}},
		{"thinking.jinja", "long", []string{" First \n<|im_end|>", "hm\n</think>\n\nSecond é<|im_end|>"}},
	} {
		text, spans, err := parseTestdata(t, c.template).Render(ref.Conversations[c.conversation])
		if err != nil {
			t.Errorf("%s %s: %v", c.template, c.conversation, err)
			continue
		}
		var got []string
		for _, s := range spans {
			got = append(got, text[s[0]:s[1]])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s:\n got %q\nwant %q", c.template, c.conversation, got, c.want)
		}
	}
}

// TestMaskCannotBeDerived: a template that rewrites what came before, with nothing to hold on to.
func TestMaskCannotBeDerived(t *testing.T) {
	tmpl, err := Parse(`{{ messages | map(attribute='content') | join(' ') | upper }}{{ messages | length }}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, spans, err := tmpl.Render([]byte(`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}`))
	if !errors.Is(err, ErrMask) || spans != nil || text != "A B C3" {
		t.Errorf("%q %v %v", text, spans, err)
	}
}

// TestSnippets runs small templates that hold Python's semantics: repr, arithmetic, methods, filters, whitespace.
func TestSnippets(t *testing.T) {
	var ref struct {
		Request  jsontext.Value `json:"request"`
		Snippets []struct {
			Template string  `json:"template"`
			Out      *string `json:"out"`
			Error    string  `json:"error"`
		} `json:"snippets"`
	}
	readTestdata(t, "snippets.json", &ref)
	for _, s := range ref.Snippets {
		var got string
		tmpl, err := Parse(s.Template, nil)
		if err == nil {
			got, err = tmpl.Text(ref.Request)
		}
		switch {
		case s.Out != nil && (err != nil || got != *s.Out):
			t.Errorf("%s: %v\n got %q\nwant %q", s.Template, err, got, *s.Out)
		case s.Out == nil && err == nil:
			t.Errorf("%s: rendered %q, Python says %s", s.Template, got, s.Error)
		case s.Out == nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "py_") || strings.Contains(err.Error(), "__k")):
			t.Errorf("%s: the message %q is not for users", s.Template, err)
		case s.Out == nil && testing.Verbose():
			t.Logf("%s: %v (Python: %s)", s.Template, err, s.Error)
		}
	}
}
