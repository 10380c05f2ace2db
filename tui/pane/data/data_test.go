package data

import (
	"fmt"
	"strings"
	"testing"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/panetest"
	"lathe/tui/internal/synthetic"
)

func stage(t testing.TB) *panetest.Stage {
	return panetest.New(t, New(), synthetic.New().Loaded().Checked())
}

func TestGoldens(t *testing.T) {
	for name, keys := range map[string]string{
		"rows": "", "finding": "n", "rendered": "n v", "tokens": "n v v", "inside": "n v v enter", "broken": "n n n n", "filters": "f",
	} {
		for _, size := range panetest.Sizes {
			s := stage(t)
			s.View(size[0], size[1])
			s.Press(keys)
			golden.Plain(t, fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), s.View(size[0], size[1]))
		}
	}
	golden.Plain(t, "empty-80x24", panetest.New(t, New(), synthetic.New()).View(80, 24))
}

func TestCopy(t *testing.T) {
	s := stage(t)
	s.Press("n Y")
	row, _ := synthetic.Row(17)
	if s.Copied != string(row.Raw) {
		t.Errorf("copied %q, want %q", s.Copied, row.Raw)
	}
	s.Press("v Y")
	if want, _ := synthetic.Tokens(17); s.Copied != want.Text {
		t.Errorf("copied %q, want %q", s.Copied, want.Text)
	}
}

// What was read of one dataset is not shown of the next, even under the same name.
func TestAnotherDataset(t *testing.T) {
	s := stage(t)
	p := s.Pane.(*Pane)
	s.Press("n enter")
	s.Word("filter", "level:error")
	s.Session = &slow{Session: s.Live}
	s.Change(func(tape *synthetic.Tape) {
		tape.Add(session.DataOpened{Path: "data/support.jsonl"}, session.DataIndexed{Rows: 100, Part: 1, Done: true})
	})
	if p.filter != nil || p.inside || p.current() != 0 {
		t.Errorf("filter %v, inside %v, row %d", p.filter, p.inside, p.current())
	}
	if view := s.View(120, 40); !strings.Contains(view, "row number 0") || strings.Contains(view, "Explain") {
		t.Errorf("the old rows are there:\n%s", view)
	}
}

// Answers about a dataset that is gone change nothing.
func TestLateAnswers(t *testing.T) {
	s := stage(t)
	p := s.Pane.(*Pane)
	late := readRows(s.Session, p.era, []int{0, 1})().(rowsRead)
	detail := readDetail(s.Session, p.era, 0)().(detailRead)
	s.Session = &slow{Session: s.Live}
	s.Change(func(tape *synthetic.Tape) {
		tape.Add(session.DataOpened{Path: "other.jsonl"}, session.DataIndexed{Rows: 100, Part: 1, Done: true})
	})
	s.Tell(late)
	s.Tell(detail)
	if view := s.View(120, 40); strings.Contains(view, "Explain") {
		t.Errorf("rows of the old dataset are shown:\n%s", view)
	}
}

// moves are what a session may do meanwhile.
var moves = []func(*synthetic.Tape){
	func(t *synthetic.Tape) { t.Add(session.LintStarted{}, session.LintProgress{Rows: 100}) },
	func(t *synthetic.Tape) { t.Checked() },
	func(t *synthetic.Tape) { t.Loaded() },
	func(t *synthetic.Tape) {
		t.Add(session.DataOpened{Path: "b\x1b[2J.jsonl"}, session.DataIndexed{Rows: 7, Part: 0.5})
	},
	func(t *synthetic.Tape) { t.Add(session.DataIndexed{Rows: 3000, Part: 1, Done: true}) },
	func(t *synthetic.Tape) { t.Add(session.DataIndexed{Err: "the file is empty", Done: true, Part: 1}) },
	func(t *synthetic.Tape) { *t = *synthetic.New() },
	func(t *synthetic.Tape) { t.Started().To(3) },
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 40, 240, 8, 241, 50, 201, 30, 242, 243})
	f.Add([]byte("ngbuzvvV/x\xd9\x08\xf0\xf1\xf2s\xf3fnNvVhY\xd0\xd1JKl"))
	f.Fuzz(func(t *testing.T, script []byte) {
		s := stage(t)
		panetest.Sequence(t, s, script, func(n int) { s.Live.Change(moves[n%len(moves)]) })
	})
}

// Themes without colour and without Unicode lose nothing but looks.
func TestPlainThemes(t *testing.T) {
	for name, o := range map[string]themes.Options{"mono": {Name: "mono"}, "ascii": {Name: "mono", ASCII: true}} {
		s := stage(t)
		s.Theme = themes.Must(o)
		s.Press("n v")
		view := s.View(80, 24)
		golden.Plain(t, name+"-80x24", view)
		if o.ASCII && strings.ContainsFunc(view, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%s is not plain:\n%s", name, view)
		}
	}
}
