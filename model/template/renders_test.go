package template

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const sharedTemplates = "../../../shared/data/chat-templates"

// TestSharedRenders compares the renders of real templates with those of Python's jinja2 set up as transformers does.
func TestSharedRenders(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(sharedTemplates, "renders.json"))
	if err != nil {
		t.Skipf("skipped: the shared chat templates are not beside this checkout (%v)", err)
	}
	var shared struct {
		Conversations map[string]jsontext.Value `json:"conversations"`
		Renders       map[string]struct {
			OK  bool   `json:"ok"`
			Out string `json:"out"`
		} `json:"renders"`
	}
	if err := json.Unmarshal(raw, &shared); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for key, want := range shared.Renders {
		file, conversation, _ := strings.Cut(key, "|")
		source, err := os.ReadFile(filepath.Join(sharedTemplates, file))
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := Parse(string(source), map[string]any{"bos_token": "<s>", "eos_token": "</s>"})
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		tmpl.now = func() time.Time { return time.Date(2026, 7, 26, 12, 0, 0, 0, time.UTC) }
		got, err := tmpl.Text(shared.Conversations[conversation])
		switch {
		case want.OK && err != nil:
			t.Errorf("%s: %v", key, err)
		case want.OK && got != want.Out:
			t.Errorf("%s:\n got %q\nwant %q", key, got, want.Out)
		case !want.OK && err == nil:
			t.Errorf("%s: rendered %q, but Python fails with %s", key, got, want.Out)
		case !want.OK:
			kind, message, _ := strings.Cut(want.Out, ": ")
			var raised *Raised
			if kind == "TemplateError" && (!errors.As(err, &raised) || raised.Message != message) {
				t.Errorf("%s: %v, want the template's own %q", key, err, message)
			}
			passed++
		default:
			passed++
		}
	}
	t.Logf("%d of %d renders as Python's", passed, len(shared.Renders))
}

// noText lists templates that print nothing of a content that is a plain text, as these conversations have it.
var noText = map[string]string{"trl__idefics3.jinja": "takes lists of content parts only"}

// TestSharedSpans: in every real template the assistant's turns hold what the assistant said and nothing that the
// user said.
func TestSharedSpans(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(sharedTemplates, "renders.json"))
	if err != nil {
		t.Skipf("skipped: the shared chat templates are not beside this checkout (%v)", err)
	}
	var shared struct {
		Conversations map[string]jsontext.Value `json:"conversations"`
		Renders       map[string]struct {
			OK bool `json:"ok"`
		} `json:"renders"`
	}
	if err := json.Unmarshal(raw, &shared); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{"A": "Hi there", "B": "Hi\n\nthere"}
	heard := map[string]string{"A": "<you>", "B": "Héllo"}
	for key, want := range shared.Renders {
		file, conversation, _ := strings.Cut(key, "|")
		if !want.OK || said[conversation] == "" || noText[file] != "" {
			continue
		}
		source, err := os.ReadFile(filepath.Join(sharedTemplates, file))
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := Parse(string(source), map[string]any{"bos_token": "<s>", "eos_token": "</s>"})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		text, spans, err := tmpl.Render(shared.Conversations[conversation])
		if err != nil || len(spans) != 1 {
			t.Errorf("%s: %d spans, %v", key, len(spans), err)
			continue
		}
		if turn := text[spans[0][0]:spans[0][1]]; strings.Count(turn, said[conversation]) != 1 || strings.Contains(turn, heard[conversation]) {
			t.Errorf("%s: the assistant's turn is %q", key, turn)
		}
	}
}
