package data

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/session"
	"lathe/tui/internal/panetest"
	"lathe/tui/internal/synthetic"
)

func TestParseLabels(t *testing.T) {
	for args, want := range map[string]string{
		"g=good b=bad": "[{g good} {b bad}]",
		"é=été 日=ok":   "[{é été} {日 ok}]",
		"x=a=b":        "[{x a=b}]",
		"good":         `"good" is not KEY=NAME`,
		"g=":           `"g=" is not KEY=NAME`,
		"gg=good":      `the key of label "good" is "gg"`,
		"n=no":         `key "n" does something else here`,
		"q=quit":       `key "q" does something else here`,
		"1=one":        `key "1" does something else here`,
		"x=a x=b":      `key "x" has two labels`,
	} {
		keys, err := parseLabels(args)
		if got := fmt.Sprint(keys); err == nil && got != want || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", args, keys, err, want)
		}
	}
}

// No label can take a key that the pane has.
func TestTakenKeys(t *testing.T) {
	p := New()
	p.labels = nil
	for _, k := range p.Keys() {
		for _, key := range k.Keys {
			if len(key) == 1 && !strings.Contains(takenKeys, key) {
				t.Errorf("key %q (%s) can be taken by a label", key, k.Help)
			}
		}
	}
}

func TestLabelling(t *testing.T) {
	s := stage(t)
	p := s.Pane.(*Pane)
	labels := func() string { return fmt.Sprint(s.Live.Take().Data.Labels) }
	s.Word("row", "30")
	s.Press("g b")
	if got := labels(); !strings.Contains(got, "30:good 31:bad") || p.current() != 32 {
		t.Fatalf("labels %s, cursor on %d", got, p.current())
	}
	s.Press("z")
	if got := labels(); strings.Contains(got, "31:bad") || p.current() != 31 {
		t.Errorf("after undo labels %s, cursor on %d", got, p.current())
	}
	s.Press("up backspace")
	if got := labels(); strings.Contains(got, "30:") || p.current() != 30 {
		t.Errorf("after backspace labels %s, cursor on %d", got, p.current())
	}
	s.Press("backspace")
	if got := s.LastTold(); got != "the row has no label" {
		t.Errorf("a second backspace: %q", got)
	}
	s.Word("labels", "x=odd")
	s.Press("x g")
	if got := labels(); !strings.Contains(got, "30:odd") || strings.Contains(got, "31:good") {
		t.Errorf("after :labels x=odd: %s", got)
	}
	s.Word("labels", "n=no")
	if got := s.LastTold(); !strings.HasPrefix(got, `key "n" does something else here`) {
		t.Errorf(":labels n=no: %q", got)
	}
}

// Labels reach the session in the order of the keys, one after the other.
func TestLabelsKeepTheirOrder(t *testing.T) {
	s := stage(t)
	p := s.Pane.(*Pane)
	p.sync(s.Context())
	p.goTo(synthetic.Rows - 1) // where labelling does not move on
	first := p.label("good")
	if p.label("bad") != nil || p.undo() != nil {
		t.Fatal("a second label is sent before the first has been taken")
	}
	s.Tell(first())
	if got := fmt.Sprintf("%v", s.Sent); got != "[{3199 good} {3199 bad} {}]" {
		t.Errorf("sent %s", got)
	}
	if len(p.queue) != 0 {
		t.Errorf("%d commands are left", len(p.queue))
	}
}

// A check that counts more than it lists says so.
func TestUnlistedFindings(t *testing.T) {
	s := stage(t)
	s.Change(func(tape *synthetic.Tape) {
		d := tape.View.Data
		summary := *d.Summary
		summary.Warnings = 992_660
		tape.Add(session.Linted{Path: d.Path, Findings: d.Findings, Summary: summary})
	})
	if view := s.View(120, 40); !strings.Contains(view, "the first 5 listed") {
		t.Errorf("the summary does not say so:\n%s", view)
	}
	s.Press("N")
	if got := s.LastTold(); got != "the first 5 findings are listed, 992,657 more are not: mend these first" {
		t.Errorf("around the end: %q", got)
	}
}

func TestExportLabels(t *testing.T) {
	s := stage(t)
	path := filepath.Join(t.TempDir(), "labels.jsonl")
	s.Word("labels-export", path)
	got, err := os.ReadFile(path)
	want := `{"row":0,"line":1,"label":"good"}
{"row":1,"line":2,"label":"good"}
{"row":3,"line":4,"label":"unsure"}
{"row":4,"line":5,"label":"good"}
{"row":12,"line":13,"label":"bad"}
{"row":940,"line":941,"label":"bad"}
{"row":2500,"line":2501,"label":"bad"}
{"row":2501,"line":2502,"label":"good"}
`
	if err != nil || string(got) != want {
		t.Fatalf("%v, %s", err, got)
	}
	if told := s.LastTold(); told != "8 labels written to "+path {
		t.Errorf("told %q", told)
	}
	s.Press("g")
	s.Word("labels-export", path)
	if told := s.LastTold(); !strings.HasSuffix(told, "exists: name a new file") {
		t.Errorf("a second export: %q", told)
	}
	if again, _ := os.ReadFile(path); string(again) != want {
		t.Error("the file was written over")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".labels-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	s.Word("labels-export", filepath.Join(path, "x"))
	if told := s.LastTold(); !strings.HasPrefix(told, "export labels: ") {
		t.Errorf("into a folder that is none: %q", told)
	}
	empty := panetest.New(t, New(), synthetic.New().Loaded())
	empty.Word("labels-export", filepath.Join(t.TempDir(), "x"))
	if told := empty.LastTold(); told != "export labels: no row has a label" {
		t.Errorf("without labels: %q", told)
	}
}

func TestFindings(t *testing.T) {
	s := stage(t)
	p := s.Pane.(*Pane)
	at := func() string {
		code := ""
		if found := p.findingsOf(p.current()); p.chosen < len(found) {
			code = found[p.chosen].Code
		}
		return fmt.Sprint(p.current(), " ", code)
	}
	for _, want := range []string{"17 pii_email", "17 zero_width", "21 empty_output", "2500 data_type", "3000 duplicate_exact", "17 pii_email"} {
		s.Press("n")
		if at() != want {
			t.Errorf("n goes to %s, want %s", at(), want)
		}
	}
	if got := s.LastTold(); got != "after the last finding: on from the first" {
		t.Errorf("around the end: %q", got)
	}
	for _, want := range []string{"3000 duplicate_exact", "2500 data_type", "21 empty_output", "17 zero_width", "17 pii_email"} {
		s.Press("N")
		if at() != want {
			t.Errorf("N goes to %s, want %s", at(), want)
		}
	}
	s.Word("filter", "level:error")
	s.Press("n")
	if at() != "2500 data_type" {
		t.Errorf("within a filter n goes to %s", at())
	}
}

func TestReasons(t *testing.T) {
	s := panetest.New(t, New(), synthetic.New())
	for key, want := range map[string]string{
		"n": "no dataset is open: open one with :open FILE", "g": "no dataset is open: open one with :open FILE",
		"l": "no dataset is open: open one with :open FILE", "z": "no label to take back", "esc": "nothing to go back from",
	} {
		s.Press(key)
		if got := s.LastTold(); got != want {
			t.Errorf("key %s: %q, want %q", key, got, want)
		}
	}
	s = panetest.New(t, New(), synthetic.New().Add(session.DataOpened{Path: "x"}, session.DataIndexed{Rows: 5, Part: 1, Done: true}))
	s.Press("n")
	if got := s.LastTold(); got != "the dataset has not been checked: l checks it" {
		t.Errorf("key n before a check: %q", got)
	}
	s.Word("row", "5")
	if got := s.LastTold(); got != "the dataset has 5 rows, from 0 on" {
		t.Errorf(":row 5: %q", got)
	}
}
