package tui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"lathe/session"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
)

// broken is a workbench that has watched the guard end its run; the dialog is open.
func broken(t *testing.T, width, height int, o Options) (*model, *synthetic.Live) {
	t.Helper()
	m := open(t, synthetic.At(247), width, height, o)
	m.View()
	live := m.session.(*synthetic.Live)
	live.Change(func(t *synthetic.Tape) { t.Broken() })
	news(m)
	return m, live
}

// news brings the newest view, and what the panes ask for because of it.
func news(m *model) {
	m.view = m.feed.Take()
	for i := range m.slots {
		follow(m, m.tell(i, pane.Changed{}))
	}
}

func TestGuardDialog(t *testing.T) {
	for _, size := range sizes[:2] {
		m, _ := broken(t, size[0], size[1], Options{Front: "train"})
		view := m.View().Content
		golden.Size(t, view, size[0], size[1])
		golden.Plain(t, fmt.Sprintf("guard-%dx%d", size[0], size[1]), view)
	}
}

// Each choice gives its command, and the run goes on with the history that it had.
func TestGuardChoices(t *testing.T) {
	for key, want := range map[string]struct {
		state session.State
		step  int
		rows  int
		scale float64
	}{
		"1": {session.Paused, 200, 0, 0},
		"2": {session.Running, 247, 2, 0},
		"3": {session.Running, 200, 0, 0.5},
	} {
		m, _ := broken(t, 120, 40, Options{Front: "train"})
		press(m, key)
		news(m)
		r := m.view.Run
		if r.State != want.state || r.Step != want.step || len(r.SkipRows) != want.rows || r.RateScale != want.scale || r.Trouble != nil {
			t.Errorf("%s: %s at step %d, without %q, at %v", key, r.State, r.Step, r.SkipRows, r.RateScale)
		}
		if n := len(r.Steps); n != want.step {
			t.Errorf("%s: %d steps on the charts, want those up to %d", key, n, want.step)
		}
		if m.stack.Len() != 0 {
			t.Errorf("%s left a dialog open", key)
		}
	}
}

// The row at fault is opened in the Data pane.
func TestGuardShowsTheRow(t *testing.T) {
	m, _ := broken(t, 120, 40, Options{Front: "train"})
	press(m, "4")
	news(m)
	m.View()
	if name := m.slots[m.front].pane.Name(); name != "data" {
		t.Fatalf("%s is in front", name)
	}
	if view := ansi.Strip(m.View().Content); !strings.Contains(view, "line 941") && !strings.Contains(view, "941") {
		t.Errorf("line 941 is not in sight:\n%s", view)
	}
}

// Esc leaves the decision for later; g and the words of the command line bring it back.
func TestGuardLater(t *testing.T) {
	m, _ := broken(t, 120, 40, Options{Front: "train"})
	press(m, "esc")
	if m.stack.Len() != 0 {
		t.Fatal("esc does not close the dialog")
	}
	news(m)
	if m.stack.Len() != 0 {
		t.Fatal("the dialog opens again by itself")
	}
	for _, size := range sizes[:2] {
		later, _ := broken(t, size[0], size[1], Options{Front: "train"})
		press(later, "esc")
		golden.Plain(t, fmt.Sprintf("guard-later-%dx%d", size[0], size[1]), later.View().Content)
	}
	press(m, "g")
	if m.stack.Len() != 1 {
		t.Fatal("g does not open the dialog")
	}
	press(m, "esc")
	press(m, append(typed(":halve"), "enter")...)
	news(m)
	if m.view.Run.RateScale != 0.5 {
		t.Errorf("halve left the scale at %v", m.view.Run.RateScale)
	}
}

// Whoever is typing is not interrupted: the status bar says it.
func TestGuardDoesNotTakeKeysFromTyping(t *testing.T) {
	m := open(t, synthetic.At(247), 120, 40, Options{Front: "train"})
	m.View()
	press(m, typed(":prompt He")...)
	m.session.(*synthetic.Live).Change(func(t *synthetic.Tape) { t.Broken() })
	news(m)
	if m.stack.Len() != 0 {
		t.Error("the dialog opened over the command line")
	}
	press(m, "esc")
	if m.stack.Len() != 0 {
		t.Error("the dialog opened after the command line")
	}
}

// A workbench that is opened on a run that had ended asks nothing by itself.
func TestGuardOfYesterday(t *testing.T) {
	m := open(t, synthetic.At(247).Broken(), 80, 24, Options{Front: "train"})
	news(m)
	if m.stack.Len() != 0 {
		t.Error("the dialog opens for a run that ended before")
	}
}

func TestGoldensOfSpikes(t *testing.T) {
	for _, size := range sizes[:2] {
		m := open(t, synthetic.At(247).Spiked().To(290), size[0], size[1], Options{Front: "train"})
		view := m.View().Content
		golden.Size(t, view, size[0], size[1])
		golden.Plain(t, fmt.Sprintf("spike-%dx%d", size[0], size[1]), view)
	}
}
