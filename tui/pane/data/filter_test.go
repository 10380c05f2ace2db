package data

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"lathe/datasets"
	"lathe/session"
	"lathe/tui/internal/panetest"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
)

func TestParseTerms(t *testing.T) {
	for _, c := range []struct{ line, codes, levels, labels, formats, text string }{
		{"", "[]", "[]", "[]", "[]", ""},
		{"refund policy", "[]", "[]", "[]", "[]", "refund policy"},
		{"code:a code:b level:error label:good format:text !x", "[a b]", "[error]", "[good]", "[text]", "!x"},
		{"  label:none  ~abc", "[]", "[]", "[none]", "[]", "~abc"},
		{"http://x code:a", "[]", "[]", "[]", "[]", "http://x code:a"},
		{"code: a", "[]", "[]", "[]", "[]", "code: a"},
	} {
		got := parseTerms(c.line)
		if fmt.Sprintf("%v %v %v %v %s", got.codes, got.levels, got.labels, got.formats, got.text.Text) != strings.Join([]string{c.codes, c.levels, c.labels, c.formats, c.text}, " ") {
			t.Errorf("%q: %v %v %v %v %q", c.line, got.codes, got.levels, got.labels, got.formats, got.text.Text)
		}
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		line string
		want string
	}{
		{"code:pii_email", "[17]"},
		{"level:error", "[21 2500]"},
		{"level:error level:warn", "[17 21 2500 3000]"},
		{"label:bad", "[12 940 2500]"},
		{"label:bad level:error", "[2500]"},
		{"label:bad code:pii_email", "[]"},
		{"label:good 30|receipt", "[0 1 4 2501]"},
		{"退货", "[940]"},
		{"~ückgb", "[940]"},
		{"label:bad !ückgabe", "[12 2500]"},
		{"format:invalid", "[2500]"},
		{"(", "[]"}, // no expression: taken as it stands
		{"nobody says this", "[]"},
	} {
		s := stage(t)
		s.Word("filter", c.line)
		p := s.Pane.(*Pane)
		if !p.filter.done {
			t.Errorf("%q does not come to its end", c.line)
		}
		if got := fmt.Sprint(p.filter.hits); got != c.want {
			t.Errorf("%q shows %s, want %s", c.line, got, c.want)
		}
	}
	s := stage(t)
	s.Word("filter", "label:none")
	if got := len(s.Pane.(*Pane).filter.hits); got != synthetic.Rows-8 {
		t.Errorf("%d rows are without a label, want %d", got, synthetic.Rows-8)
	}
}

// The cursor stays on its row when a filter comes and goes.
func TestFilterKeepsTheRow(t *testing.T) {
	s := stage(t)
	p := s.Pane.(*Pane)
	s.Word("row", "940")
	s.Word("filter", "label:bad")
	if got := p.current(); got != 940 {
		t.Errorf("with the filter the cursor is on row %d", got)
	}
	s.Press("down esc")
	if got := p.current(); got != 2500 || p.filter != nil {
		t.Errorf("without it on row %d", got)
	}
	s.Word("row", "13")
	s.Word("filter", "label:bad")
	if got := p.current(); got != 940 {
		t.Errorf("row 13 is hidden, the cursor is on row %d, want the next one, 940", got)
	}
}

func TestTypeFilter(t *testing.T) {
	s := stage(t)
	p := s.Pane.(*Pane)
	s.Press("/")
	if !p.Capturing() {
		t.Fatal("/ does not begin to type")
	}
	s.Type("bad gl") // g, b and l are text now
	s.Press("backspace backspace backspace")
	s.Type("ly")
	if p.filter == nil || p.filter.line != "badly" || len(p.filter.hits) != 0 {
		t.Fatalf("the filter is %+v", p.filter)
	}
	s.Press("esc")
	if p.Capturing() || p.filter != nil {
		t.Error("esc leaves a filter behind")
	}
	s.Press("/")
	s.Type("level:error")
	s.Press("enter")
	if p.Capturing() || p.filter == nil || len(p.filter.hits) != 2 {
		t.Error("enter does not keep the filter")
	}
	s.Press("/ x esc")
	if p.filter == nil || p.filter.line != "level:error" {
		t.Error("esc does not bring the filter before back")
	}
	if len(s.Sent) != 0 {
		t.Errorf("typing has sent %v", s.Sent)
	}
}

// slow is a session of a million rows that counts what is read, and by whom.
type slow struct {
	pane.Session
	read   atomic.Int64
	broken int // the row that cannot be read; 0: none
}

func (s *slow) Row(i int) (datasets.Row, error) {
	s.read.Add(1)
	if i == s.broken && i > 0 {
		return datasets.Row{}, errors.New("the disk is gone")
	}
	r := datasets.NewRow([]byte(fmt.Sprintf(`{"text":"row number %d"}`, i)), datasets.Options{})
	r.Index, r.Line = i, i+1
	return r, nil
}

func (s *slow) Tokens(int) (datasets.View, error) { return datasets.View{}, errors.New("none") }

const million = 1_000_000

func large() *synthetic.Tape {
	return synthetic.New().Add(session.DataOpened{Path: "large.jsonl"}, session.DataIndexed{Rows: million, Part: 1, Done: true})
}

// A million rows cost what is in sight, wherever one goes, and never more than the cache holds.
func TestAMillionRows(t *testing.T) {
	s := panetest.New(t, New(), large())
	data := &slow{Session: s.Live}
	s.Session = data
	p := s.Pane.(*Pane)
	s.View(120, 40)
	for _, key := range []string{"home", "end", "pgup", "up"} {
		s.Press(key)
		if view := s.View(120, 40); strings.Contains(view, "│        …") {
			t.Errorf("after %s rows are missing:\n%s", key, view)
		}
	}
	if n := data.read.Load(); n > 1000 {
		t.Errorf("%d rows were read for four screens", n)
	}
	for range 120 {
		s.Press("pgup")
		s.View(120, 40)
	}
	if p.rows.len() > keptRows || p.details.len() > keptDetails {
		t.Errorf("%d rows and %d details are kept", p.rows.len(), p.details.len())
	}
}

// A search goes in slices; drawing and keys go on between them, and a new filter ends the old one.
func TestSearchIsSliced(t *testing.T) {
	s := panetest.New(t, New(), large())
	data := &slow{Session: s.Live}
	p := s.Pane.(*Pane)
	p.sync(pane.Context{Session: data, Theme: s.Theme, View: s.Live.Take()})
	cmd := p.setFilter("number 7")
	first := p.filter
	m := cmd().(searched)
	if m.next == 0 || m.next >= million {
		t.Fatalf("one slice judges %d of %d rows", m.next, million)
	}
	next := p.takeHits(m)
	if next == nil || first.done || !strings.Contains(first.status(million), "searched") {
		t.Fatalf("after a slice: %s", first.status(million))
	}
	p.setFilter("number 8")
	before := data.read.Load()
	stale := next().(searched)
	if n := data.read.Load() - before; n > 0 {
		t.Errorf("a search that nobody wants has read %d rows", n)
	}
	if p.takeHits(stale) != nil || len(p.filter.hits) != 0 {
		t.Error("the old search's rows are among the new one's")
	}
}

func TestSearchSaysWhatFails(t *testing.T) {
	s := panetest.New(t, New(), large())
	s.Session = &slow{Session: s.Live, broken: 12}
	s.Word("filter", "number 1")
	if p := s.Pane.(*Pane); !p.filter.done || !strings.Contains(p.filter.status(million), "3 of 1,000,000 rows, then the disk is gone") {
		t.Errorf("status %q", p.filter.status(million))
	}
	s.View(80, 24)
}

// A dataset that is still being indexed is searched to where the index comes.
func TestSearchFollowsTheIndex(t *testing.T) {
	tape := synthetic.New().Add(session.DataOpened{Path: "large.jsonl"}, session.DataIndexed{Rows: 50, Part: 0.1})
	s := panetest.New(t, New(), tape)
	data := &slow{Session: s.Live}
	p := s.Pane.(*Pane)
	see := func() pane.Context { return pane.Context{Session: data, Theme: s.Theme, View: s.Live.Take()} }
	p.sync(see())
	cmd := p.setFilter("number 9")
	for n := 0; cmd != nil && n < 1000; n++ {
		m := cmd().(searched)
		if n == 0 {
			s.Live.Change(func(tape *synthetic.Tape) { tape.Add(session.DataIndexed{Rows: 100, Part: 1, Done: true}) })
			p.sync(see())
		}
		cmd = p.takeHits(m)
	}
	if got := fmt.Sprint(p.filter.hits); got != "[9 90 91 92 93 94 95 96 97 98 99]" {
		t.Errorf("found %s", got)
	}
}
