package tui

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"lathe/session"
	"lathe/trainer"
	"lathe/tui/internal/golden"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
)

var env = []string{"TERM=xterm-256color", "COLORTERM=truecolor"}

// open makes a workbench of a size in front of a tape, as a program would have after its first messages.
func open(t testing.TB, tape *synthetic.Tape, width, height int, o Options) *model {
	t.Helper()
	live := synthetic.NewLive(tape)
	o.Session, o.Feed, o.Env, o.Output = live, live, env, io.Discard
	m := newModel(o.withDefaults(), newLink(nil))
	t.Cleanup(func() { close(m.closed) })
	m.Update(tea.ColorProfileMsg{Profile: colorprofile.TrueColor})
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return m
}

// press gives keys to a workbench and runs what they ask for, as the program would.
func press(m *model, keys ...string) {
	for _, key := range keys {
		follow(m, m.handle(keyMsg(key)))
	}
}

// follow runs a command and gives its answers to the workbench. Commands that wait for the session are left out: the
// tests say themselves when a frame comes.
func follow(m *model, cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			follow(m, c)
		}
	case tea.QuitMsg:
		m.outcome = errors.Join(m.outcome, errQuit)
	default:
		follow(m, m.handle(msg))
	}
}

var errQuit = errors.New("the program ended")

// refresh brings the newest view to the screen.
func refresh(m *model) {
	m.view = m.feed.Take()
	for i := range m.slots {
		m.tell(i, pane.Changed{})
	}
}

func keyMsg(key string) tea.KeyPressMsg {
	codes := map[string]tea.KeyPressMsg{
		"space": {Code: tea.KeySpace, Text: " "}, "enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "tab": {Code: tea.KeyTab},
		"shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift}, "backspace": {Code: tea.KeyBackspace},
		"left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight}, "up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown},
		"ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "ctrl+l": {Code: 'l', Mod: tea.ModCtrl}, "ctrl+z": {Code: 'z', Mod: tea.ModCtrl},
		"pgdown": {Code: tea.KeyPgDown}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd},
	}
	if k, ok := codes[key]; ok {
		return k
	}
	r := []rune(key)[0]
	return tea.KeyPressMsg{Code: r, Text: key}
}

func typed(text string) []string { return strings.Split(text, "") }

var sizes = [][2]int{{80, 24}, {120, 40}, {160, 48}}

// screens are the states that goldens hold.
var screens = []struct {
	name, front string
	tape        func() *synthetic.Tape
}{
	{"empty", "train", synthetic.New},
	{"table", "train", func() *synthetic.Tape { return synthetic.New().Loaded() }},
	{"running", "train", func() *synthetic.Tape { return synthetic.At(247) }},
	{"paused", "train", func() *synthetic.Tape { return synthetic.At(247).Pause() }},
	{"done", "train", func() *synthetic.Tape { return synthetic.At(247).Done() }},
	{"failed", "train", failedRun},
	{"memory", "memory", func() *synthetic.Tape { return synthetic.At(247) }},
	{"noplan", "memory", synthetic.New},
	{"gpu", "memory", func() *synthetic.Tape { return synthetic.At(247).GPU() }},
	{"gpus", "memory", func() *synthetic.Tape { return synthetic.At(247).GPUs(4) }},
	{"gpuofmany", "memory", func() *synthetic.Tape { return synthetic.At(247).GPUs(1) }},
	{"nogauges", "memory", func() *synthetic.Tape { return synthetic.At(247).NoGauges() }},
	{"gputrain", "train", func() *synthetic.Tape { return synthetic.At(247).GPU() }},
}

func failedRun() *synthetic.Tape {
	reason := "save checkpoint: no space left on device: free 14 MiB on /data, then :resume runs/refund"
	return synthetic.At(123).Train(trainer.Failed{Step: 123, Error: reason}).Add(session.StateChanged{State: session.Failed, Reason: reason})
}

func TestGoldens(t *testing.T) {
	for _, s := range screens {
		for _, size := range sizes {
			m := open(t, s.tape(), size[0], size[1], Options{Front: s.front})
			view := m.View().Content
			golden.Size(t, view, size[0], size[1])
			golden.Plain(t, fmt.Sprintf("%s-%dx%d", s.name, size[0], size[1]), view)
		}
	}
}

// The parts of the screen that keys open.
func TestGoldensOfKeys(t *testing.T) {
	for name, keys := range map[string][]string{
		"help": {"?"}, "leave": {"q"}, "stop": {"x"}, "command": typed(":re"), "usage": typed(":open da"), "unknown": typed(":opne x"),
		"log": {"L"}, "crosshair": {"left", "left", "left", "s", "s", "y", "+"}, "runs": {"r"}, "theme": append(typed(":theme"), "enter"),
		"refused": {"t"},
	} {
		for _, size := range sizes[:2] {
			m := open(t, synthetic.At(247), size[0], size[1], Options{Front: "train"})
			m.View()
			press(m, keys...)
			view := m.View().Content
			golden.Size(t, view, size[0], size[1])
			golden.Plain(t, fmt.Sprintf("key-%s-%dx%d", name, size[0], size[1]), view)
		}
	}
}

// Plain characters draw no others.
func TestASCII(t *testing.T) {
	m := open(t, synthetic.At(247), 120, 40, Options{Front: "train", ASCII: true})
	for _, keys := range [][]string{nil, {"left"}, {"?"}} {
		press(m, keys...)
		for i, line := range strings.Split(ansi.Strip(m.View().Content), "\n") {
			for _, r := range line {
				if r > 0x7e {
					t.Errorf("line %d has %q: %s", i, r, line)
				}
			}
		}
	}
}

// NO_COLOR at any value leaves no colour on the screen, whatever the terminal says it can do.
func TestNoColor(t *testing.T) {
	live := synthetic.NewLive(synthetic.At(247))
	m := newModel(Options{Session: live, Feed: live, Env: append([]string{"NO_COLOR=0"}, env...), Output: io.Discard}.withDefaults(), newLink(nil))
	m.Update(tea.ColorProfileMsg{Profile: colorprofile.TrueColor})
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	for _, code := range []string{"38;", "48;", "[31m", ";32m", ";33m"} {
		if strings.Contains(m.View().Content, code) {
			t.Errorf("the screen has the colour sequence %q", code)
		}
	}
}

// A theme that does not fit the terminal's background brings its own; one that does leaves the terminal's.
func TestBackground(t *testing.T) {
	dark, white := color.RGBA{A: 255}, color.RGBA{255, 255, 255, 255}
	for _, c := range []struct {
		theme  string
		answer tea.Msg
		own    bool
		named  string
	}{
		{"", tea.BackgroundColorMsg{Color: dark}, false, "dark"},
		{"", tea.BackgroundColorMsg{Color: white}, false, "light"},
		{"light", tea.BackgroundColorMsg{Color: white}, false, "light"},
		{"light", tea.BackgroundColorMsg{Color: dark}, true, "light"},
		{"dark", tea.BackgroundColorMsg{Color: white}, true, "dark"},
		{"light", nil, false, "light"},
		{"light", silence{}, true, "light"},
		{"", silence{}, false, "dark"},
	} {
		m := open(t, synthetic.At(60), 80, 24, Options{Theme: c.theme})
		m.Update(c.answer)
		if own := m.View().BackgroundColor != nil; own != c.own || m.theme.Name() != c.named {
			t.Errorf("theme %q, terminal says %v: own background %v with %s, want %v with %s", c.theme, c.answer, own, m.theme.Name(), c.own, c.named)
		}
	}
}

// Every size draws exactly itself; too small a terminal says what is needed.
func TestSizes(t *testing.T) {
	m := open(t, synthetic.At(247), 80, 24, Options{Front: "train"})
	for _, w := range []int{1, 7, 59, 60, 79, 80, 119, 120, 121, 200} {
		for _, h := range []int{1, 5, 15, 16, 24, 37, 60} {
			for _, key := range []string{"1", "2", "?", "esc"} {
				m.Update(tea.WindowSizeMsg{Width: w, Height: h})
				press(m, key)
				golden.Size(t, m.View().Content, w, h)
			}
		}
	}
	m.Update(tea.WindowSizeMsg{Width: 50, Height: 24})
	if text := ansi.Strip(m.View().Content); !strings.Contains(text, "lathe needs 60×16, this is 50×24") {
		t.Errorf("a small terminal says %q", strings.TrimSpace(text))
	}
}

// A run of a hundred thousand steps is drawn as quickly as a short one, and unchanged it costs nothing.
func TestLongRun(t *testing.T) {
	tape := synthetic.New().Loaded().Started()
	for s := 1; s <= 100_000; s++ {
		tape.Train(synthetic.Step(s))
	}
	m := open(t, tape, 160, 48, Options{Front: "train"})
	before := m.View().Content
	golden.Size(t, before, 160, 48)
	if got := testing.AllocsPerRun(10, func() { m.drawPane(m.front, 100, 45, true, nil) }); got > 5 {
		t.Errorf("an unchanged pane allocates %v times", got)
	}
}

// A frame of a long run: one more step, drawn anew. The budget is a tenth of a frame's time, 10 ms.
func BenchmarkFrame(b *testing.B) {
	tape := synthetic.New().Loaded().Started()
	for s := 1; s <= 100_000; s++ {
		tape.Train(synthetic.Step(s))
	}
	m := open(b, tape, 160, 48, Options{Front: "train"})
	m.View()
	step := 100_000
	for b.Loop() {
		step++
		tape.Train(synthetic.Step(step))
		refresh(m)
		m.View()
	}
}

// While a run computes on the processor that draws, keys that come one upon another share a drawing; nothing is lost by it.
func TestHeldDrawing(t *testing.T) {
	m := open(t, synthetic.New().Loaded().Started().To(40), 160, 48, Options{Front: "train"})
	m.holds = true
	before := m.View().Content
	m.drawn = time.Now().Add(time.Hour) // however slow this machine is, the drawing's time is not over
	m.Update(keyMsg("1"))
	if !m.held || m.View().Content != before {
		t.Fatal("a key that follows a drawing at once was drawn by itself")
	}
	m.drawn = time.Time{}
	m.Update(redraw{})
	if after := m.View().Content; m.held || after == before {
		t.Error("what was held back was not drawn when its time came")
	}
	m.drawn = time.Now().Add(time.Hour)
	m.Update(keyMsg("2"))
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 30})
	golden.Size(t, m.View().Content, 100, 30)
}

// Elsewhere every key is drawn: on a GPU, between runs, and while a run is paused.
func TestHeldDrawingOnlyWhereCrowded(t *testing.T) {
	for name, tape := range map[string]*synthetic.Tape{
		"no run":   synthetic.New().Loaded(),
		"paused":   synthetic.New().Loaded().Started().To(40).Pause(),
		"on a GPU": synthetic.New().Loaded().Started().To(40).Add(session.GaugesRead{GPUs: []session.Gauge{{Name: "GPU"}}}),
	} {
		m := open(t, tape, 160, 48, Options{Front: "train"})
		m.holds = true
		m.View()
		m.drawn = time.Now().Add(time.Hour)
		if m.Update(keyMsg("1")); m.held {
			t.Errorf("%s: a drawing was held back", name)
		}
	}
}
