package tui

import (
	"errors"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"lathe/session"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

func status(m *model) string {
	rows := strings.Split(ansi.Strip(m.View().Content), "\n")
	return rows[len(rows)-2] + "\n" + rows[len(rows)-1]
}

func TestSpacePausesAndResumesFromAnywhere(t *testing.T) {
	m := open(t, synthetic.At(100), 80, 24, Options{Front: "train"})
	for _, front := range []string{"2", "1"} {
		press(m, front, "space")
		refresh(m)
		if m.view.Run.State != session.Paused {
			t.Fatalf("space left the run %s", m.view.Run.State)
		}
		if !strings.Contains(status(m), "space resume") {
			t.Errorf("the hints of a paused run:\n%s", status(m))
		}
		press(m, "space")
		refresh(m)
		if m.view.Run.State != session.Running {
			t.Fatalf("space again left the run %s", m.view.Run.State)
		}
	}
}

// A key that cannot act says why, in the status bar.
func TestDisabledKeysSayWhy(t *testing.T) {
	m := open(t, synthetic.New(), 120, 40, Options{Front: "train"})
	for key, why := range map[string]string{
		"space": "no run is training: start one with :train FILE", "S": "no run is training", "x": "no run to stop",
		"t": "no run.yaml is on the table", "y": "no step to look at yet", "ctrl+z": "suspending would stop the training", "Y": "no run to copy yet",
	} {
		press(m, key)
		if got := status(m); !strings.Contains(got, why) {
			t.Errorf("%s answers %q, want %q", key, got, why)
		}
	}
}

// No key of a pane hides one of the workbench's, and none stands twice in the table.
func TestKeyTable(t *testing.T) {
	m := open(t, synthetic.At(100), 120, 40, Options{})
	for i, s := range m.slots[:m.tabbed] {
		m.bring(i)
		seen := map[string]bool{}
		for _, r := range m.table() {
			for _, key := range r.Keys {
				if seen[key] {
					t.Errorf("%s: %q stands twice in the key table", s.pane.Name(), key)
				}
				seen[key] = true
			}
			if r.Help == "" || len(r.Help) > 30 {
				t.Errorf("%s: help of %v is %q", s.pane.Name(), r.Keys, r.Help)
			}
		}
		for _, k := range s.pane.Keys() {
			for _, key := range k.Keys {
				if owns(global(), key) {
					t.Errorf("%s: %q is the workbench's own key", s.pane.Name(), key)
				}
			}
		}
	}
}

func TestTabs(t *testing.T) {
	m := open(t, synthetic.At(100), 80, 24, Options{Front: "train"})
	n := m.tabbed
	start := m.front
	for range n {
		press(m, "tab")
	}
	if m.front != start {
		t.Errorf("tab around %d panes ends at %d, began at %d", n, m.front, start)
	}
	press(m, "shift+tab")
	if want := (start + n - 1) % n; m.front != want {
		t.Errorf("shift+tab leads to %d, want %d", m.front, want)
	}
	for i := range n {
		press(m, string(rune('1'+i)))
		if m.front != i {
			t.Errorf("%d leads to pane %d", i+1, m.front)
		}
	}
	m.handle(tea.MouseClickMsg{X: 1, Y: 0, Button: tea.MouseLeft})
	if m.front != 0 {
		t.Errorf("a click on the first tab leads to pane %d", m.front)
	}
}

func TestCommandLine(t *testing.T) {
	m := open(t, synthetic.At(100), 120, 40, Options{Front: "train"})
	press(m, append(typed(":pau"), "tab", "enter")...)
	refresh(m)
	if m.view.Run.State != session.Paused {
		t.Errorf(":pau, completed, leaves the run %s", m.view.Run.State)
	}
	press(m, append(typed(":sotp"), "enter")...)
	if got := status(m); !strings.Contains(got, "did you mean :stop?") {
		t.Errorf(":sotp answers %q", got)
	}
	press(m, ":", "up")
	if got := status(m); !strings.Contains(got, ":sotp") {
		t.Errorf("up shows %q, want the line before", got)
	}
	press(m, "up")
	if got := status(m); !strings.Contains(got, ":pause") {
		t.Errorf("up twice shows %q", got)
	}
	press(m, "esc")
	press(m, append(typed(":theme lig"), "tab", "enter")...)
	if m.theme.Name() != "light" {
		t.Errorf("the theme is %s", m.theme.Name())
	}
	press(m, append(typed(":theme nope"), "enter")...)
	if got := status(m); !strings.Contains(got, "known are auto, dark") {
		t.Errorf(":theme nope answers %q", got)
	}
	press(m, append(typed(":memory"), "enter")...)
	if m.slots[m.front].pane.Name() != "memory" {
		t.Errorf(":memory leads to %s", m.slots[m.front].pane.Name())
	}
	press(m, append(typed(":config no/such.yaml"), "enter")...)
	if got := status(m); !strings.Contains(got, "no/such.yaml") {
		t.Errorf(":config of a missing file answers %q", got)
	}
	press(m, append(typed(":open"), "enter")...)
	if got := status(m); !strings.Contains(got, "usage: :open FILE") {
		t.Errorf(":open alone answers %q", got)
	}
}

func TestFilesComplete(t *testing.T) {
	t.Chdir("..")
	m := open(t, synthetic.New(), 120, 40, Options{Front: "train"})
	press(m, append(typed(":open go.m"), "tab")...)
	if got := status(m); !strings.Contains(got, ":open go.mod") {
		t.Errorf("tab after :open go.m shows %q", got)
	}
	press(m, "esc")
	press(m, append(typed(":open go."), "tab", "tab")...)
	if got := status(m); !strings.Contains(got, ":open go.sum") {
		t.Errorf("tab twice after :open go. shows %q", got)
	}
	press(m, "esc")
	press(m, append(typed(":open tui/int"), "tab", "tab")...)
	if got := status(m); !strings.Contains(got, ":open tui/internal/") {
		t.Errorf("tab twice after :open tui/int shows %q", got)
	}
}

func TestLeave(t *testing.T) {
	m := open(t, synthetic.At(100).Done(), 80, 24, Options{Front: "train"})
	press(m, "q")
	if !errors.Is(m.outcome, errQuit) {
		t.Error("q does not leave when nothing trains")
	}

	m = open(t, synthetic.At(100), 80, 24, Options{Front: "train"})
	press(m, "q", "1")
	if m.outcome != nil || m.stack.Len() != 0 {
		t.Errorf("staying ends with %v and %d dialogs", m.outcome, m.stack.Len())
	}
	press(m, "q", "esc")
	if m.outcome != nil || m.stack.Len() != 0 {
		t.Errorf("esc ends with %v and %d dialogs", m.outcome, m.stack.Len())
	}

	press(m, "q", "3")
	if !errors.Is(m.outcome, ErrDetached) || !errors.Is(m.outcome, errQuit) {
		t.Errorf("leaving while it trains on gives %v", m.outcome)
	}

	m = open(t, synthetic.At(100), 80, 24, Options{Front: "train"})
	press(m, "q", "2")
	refresh(m)
	if m.view.Run.State != session.Stopped || m.outcome != nil {
		t.Fatalf("the run is %s, outcome %v", m.view.Run.State, m.outcome)
	}
	m.feed = nil // the next frame is not waited for
	follow(m, m.handleFrame(frame{m.view}))
	if !errors.Is(m.outcome, errQuit) {
		t.Error("the workbench stays after the run has stopped")
	}
}

// A pane of a test: it takes text, or panics, as it is told.
type odd struct {
	capturing bool
	panics    string
	keys      []string
}

func (o *odd) Name() string          { return "odd" }
func (o *odd) Capturing() bool       { return o.capturing }
func (o *odd) Commands() []pane.Word { return nil }

func (o *odd) Keys() []pane.Key {
	return []pane.Key{
		{Keys: []string{"a"}, Help: "answer", Run: func(pane.Context) tea.Cmd { return func() tea.Msg { return "answer" } }},
		{Keys: []string{"b"}, Help: "panic in a command", Run: func(pane.Context) tea.Cmd { return func() tea.Msg { panic("in a command") } }},
		{Keys: []string{"d"}, Help: "panic in a batch", Run: func(pane.Context) tea.Cmd {
			return tea.Batch(func() tea.Msg { return "one" }, func() tea.Msg { panic("in a batch") })
		}},
		{Keys: []string{"f"}, Help: "panic in its reason", Reason: func(pane.Context) string { panic("in a reason") }},
		{Keys: []string{"q"}, Help: "taken by the workbench", Run: func(pane.Context) tea.Cmd { panic("q is not this pane's") }},
	}
}

func (o *odd) Update(msg tea.Msg, _ pane.Context) tea.Cmd {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		o.keys = append(o.keys, msg.String())
		if o.panics == "update" {
			panic("in Update")
		}
	case string:
		o.keys = append(o.keys, msg)
	}
	return nil
}

func (o *odd) View(w, h int, _ pane.Context) string {
	if o.panics == "view" {
		panic("in View")
	}
	return widget.Block("odd", w, h)
}

// A pane that panics is shown as failed, the others and the run go on, and choosing it again tries it again.
func TestPanicsStayInTheirPane(t *testing.T) {
	for name, provoke := range map[string]func(*odd, *model){
		"in View":      func(o *odd, m *model) { o.panics = "view"; m.slots[0].touch() },
		"in Update":    func(o *odd, m *model) { o.panics = "update"; press(m, "z") },
		"in a command": func(_ *odd, m *model) { press(m, "b") },
		"in a batch":   func(_ *odd, m *model) { press(m, "d") },
	} {
		o := &odd{}
		tabs, _ := DefaultPanes()
		m := open(t, synthetic.At(50), 80, 24, Options{Front: "odd", Panes: append([]pane.Pane{o}, tabs...)})
		provoke(o, m)
		m.View()
		view := ansi.Strip(m.View().Content)
		golden.Size(t, m.View().Content, 80, 24)
		if !strings.Contains(view, "This pane has failed: "+name) {
			t.Errorf("%s: the screen shows\n%s", name, view)
		}
		o.panics = ""
		press(m, "2")
		if view := ansi.Strip(m.View().Content); strings.Contains(view, "has failed: ") {
			t.Errorf("%s: another pane shows the failure\n%s", name, view)
		}
		press(m, "1")
		if view := ansi.Strip(m.View().Content); !strings.Contains(view, "odd") || strings.Contains(view, "This pane has failed") {
			t.Errorf("%s: chosen again it shows\n%s", name, view)
		}
	}
}

// What a pane's command answers comes back to that pane; keys of the workbench win; text goes to a pane that takes it.
func TestRouting(t *testing.T) {
	o := &odd{}
	tabs, _ := DefaultPanes()
	m := open(t, synthetic.At(50), 80, 24, Options{Front: "odd", Panes: append([]pane.Pane{o}, tabs...)})
	press(m, "a", "f", "k")
	o.capturing = true
	press(m, "a", "q", "1", "tab", "space", "esc", ":")
	if got, want := strings.Join(o.keys, " "), "answer k a q 1 tab space esc :"; got != want {
		t.Errorf("the pane was told %q, want %q", got, want)
	}
	press(m, "ctrl+c")
	if m.stack.Len() != 1 {
		t.Error("ctrl+c does not reach the workbench from a pane that takes text")
	}
}

// Only paused runs of the guide's are led: a user who has chosen a pane is not taken elsewhere.
func TestGuide(t *testing.T) {
	m := open(t, synthetic.At(50), 80, 24, Options{Front: "train"})
	m.handle(scene{pane.Show{Pane: "memory", Caption: "look here"}})
	if m.slots[m.front].pane.Name() != "memory" || !strings.Contains(status(m), "look here") {
		t.Errorf("the guide leads to %s:\n%s", m.slots[m.front].pane.Name(), status(m))
	}
	press(m, "1")
	if strings.Contains(status(m), "look here") {
		t.Error("a caption outlives a key")
	}
	front := m.front
	m.handle(scene{pane.Show{Pane: "memory", Caption: "and here"}})
	if front != m.front && m.slots[front].pane.Name() != "memory" {
		t.Error("the guide moves a user who has chosen a pane")
	}
	if !strings.Contains(status(m), "and here") {
		t.Errorf("the caption is missing:\n%s", status(m))
	}
}

// Any keys in any order: no panic, always a whole screen, and esc always leads back to where digits choose panes.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("1?q\x1b2:open x\r3 S x y"), uint8(0))
	f.Add([]byte(":theme\rjj\r+-[]0csY\x1b\x1b:q\t\t\r"), uint8(1))
	f.Add([]byte("\x1b[A\t\t\t\tL\x1bMrre:export o\r"), uint8(2))
	f.Add([]byte("q3q2tttx\ry:resume \t\t\r"), uint8(3))
	names := []string{"left", "right", "up", "down", "enter", "esc", "tab", "shift+tab", "space", "backspace", "pgdown", "home", "end", "ctrl+l", "ctrl+c", "ctrl+z"}
	f.Fuzz(func(t *testing.T, data []byte, state uint8) {
		if len(data) > 200 {
			return
		}
		tapes := []func() *synthetic.Tape{synthetic.New, func() *synthetic.Tape { return synthetic.At(0) }, func() *synthetic.Tape { return synthetic.At(60) }, failedRun}
		t.Chdir(t.TempDir()) // e exports a chart
		m := open(t, tapes[int(state)%len(tapes)](), 80, 24, Options{})
		for i, b := range data {
			switch {
			case b < 0x20:
				press(m, names[int(b)%len(names)])
			case b < 0x7f:
				press(m, string(rune(b)))
			default:
				m.Update(tea.WindowSizeMsg{Width: int(b), Height: 1 + i%60})
			}
			refresh(m)
			golden.Size(t, m.View().Content, m.width, m.height)
		}
		for range 8 {
			press(m, "esc")
		}
		press(m, "2")
		if m.front != 1 {
			t.Errorf("after %q and esc, 2 leads to pane %d", data, m.front)
		}
	})
}
