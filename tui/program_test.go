package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/exp/teatest/v2"

	"lathe/compute"
	"lathe/session"
	"lathe/tui/internal/synthetic"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// patience bounds waits that a broken workbench would make endless; none of them is a measurement.
const patience = 20 * time.Second

// terminal is the far end of a workbench's line.
type terminal struct {
	keys   *io.PipeWriter
	in     *io.PipeReader
	mu     sync.Mutex
	out    bytes.Buffer
	stall  chan struct{} // writes wait while it is open, where it is not nil
	broken error
}

func newTerminal() *terminal {
	t := &terminal{}
	t.in, t.keys = io.Pipe()
	return t
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	stall := t.stall
	t.mu.Unlock()
	if stall != nil {
		<-stall
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken != nil {
		return 0, t.broken
	}
	return t.out.Write(p)
}

func (t *terminal) set(f func(*terminal)) {
	t.mu.Lock()
	f(t)
	t.mu.Unlock()
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ansi.Strip(t.out.String())
}

// await waits until everything written so far holds a text.
func (t *terminal) await(tb testing.TB, want string) {
	tb.Helper()
	until(tb, "the screen to show "+want, func() bool { return strings.Contains(t.text(), want) })
}

func until(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

// start runs a workbench on a terminal.
func start(tb testing.TB, ctx context.Context, term *terminal, o Options) (ended chan error) {
	tb.Helper()
	o.Input, o.Output, o.Env, o.Width, o.Height = term.in, term, env, 120, 40
	ended = make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	return ended
}

func finish(tb testing.TB, ended chan error) error {
	tb.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		tb.Fatal("the workbench does not end")
		return nil
	}
}

// training is a live run of the made-up session.
func training(tb testing.TB, from int) *synthetic.Live {
	tb.Helper()
	live := synthetic.NewLive(synthetic.At(from))
	stop := make(chan struct{})
	go live.Run(2*time.Millisecond, stop)
	tb.Cleanup(func() { close(stop) })
	return live
}

// A user's way through a real session and a real program: open a dataset, look at help, leave.
func TestProgramOnARealSession(t *testing.T) {
	dir := t.TempDir()
	s, err := session.Open(session.Options{Dir: dir, Device: "dry", OpenDevice: func(string) (compute.Device, error) { return compute.NewDry(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	term := newTerminal()
	ended := start(t, t.Context(), term, Options{Session: s, Front: "train"})
	term.await(t, "No run yet")
	io.WriteString(term.keys, ":open "+filepath.Join(dir, "none.jsonl")+"\r")
	term.await(t, "no such file")
	io.WriteString(term.keys, " ")
	term.await(t, "start one with :train FILE")
	io.WriteString(term.keys, "?")
	term.await(t, "Keys and commands")
	shown := len(term.text())
	io.WriteString(term.keys, "\x1b")
	until(t, "the help to close", func() bool { return strings.Contains(term.text()[shown:], "No dataset is open") })
	io.WriteString(term.keys, "q") // at once, it would be read as one key with the escape
	if err := finish(t, ended); err != nil {
		t.Errorf("leaving gives %v", err)
	}
	if !strings.Contains(term.out.String(), ansi.ResetModeAltScreenSaveCursor) {
		t.Error("the terminal's own screen is not given back")
	}
}

// The model also runs in a program of the caller's own.
func TestModelInTeatest(t *testing.T) {
	live := training(t, 100)
	tm := teatest.NewTestModel(t, New(Options{Session: live, Feed: live, Env: env}), teatest.WithInitialTermSize(120, 40))
	teatest.WaitFor(t, tm.Output(), func(out []byte) bool { return bytes.Contains(out, []byte("running")) }, teatest.WithDuration(patience))
	tm.Send(keyMsg("space"))
	teatest.WaitFor(t, tm.Output(), func(out []byte) bool { return bytes.Contains(out, []byte("paused")) }, teatest.WithDuration(patience))
	tm.Send(keyMsg("q"))
	tm.Send(keyMsg("2"))
	tm.WaitFinished(t, teatest.WithFinalTimeout(patience))
}

// Steps come to the screen by themselves, and many of them in one frame.
func TestFramesAreFewerThanChanges(t *testing.T) {
	live := synthetic.NewLive(synthetic.At(100))
	m := newModel(Options{Session: live, Feed: live, Env: env, Output: io.Discard}.withDefaults(), newLink(nil))
	for range 50 {
		live.Change(func(tape *synthetic.Tape) { tape.To(tape.View.Run.Step + 1) })
	}
	f, ok := m.nextFrame()().(frame)
	if !ok || f.view.Run.Step != 150 {
		t.Fatalf("the first frame is %T at step %d", f, f.view.Run.Step)
	}
	waited := make(chan tea.Msg, 1)
	go func() { waited <- m.nextFrame()() }()
	select {
	case msg := <-waited:
		t.Errorf("a second frame without a change: %T", msg)
	case <-time.After(3 * frameUsual):
	}
	close(m.closed)
	if msg := <-waited; msg != nil {
		t.Errorf("a closed workbench still gets %T", msg)
	}
}

// Frames are rarer where nobody looks and where the line is slow.
func TestPace(t *testing.T) {
	l := newLink(nil)
	p := &pace{link: l}
	if p.apart() != frameUsual {
		t.Errorf("usually frames are %v apart", p.apart())
	}
	p.blur(true)
	if p.apart() != frameSlow {
		t.Errorf("out of sight they are %v apart", p.apart())
	}
	p.blur(false)
	for range 8 {
		l.count(2000, time.Now(), 300*time.Millisecond)
	}
	if p.apart() != frameSlow {
		t.Errorf("on a slow line they are %v apart", p.apart())
	}
	for range 12 {
		l.count(2000, time.Now(), time.Millisecond)
	}
	if p.apart() != frameUsual {
		t.Errorf("on a line that has recovered they are %v apart", p.apart())
	}
	now := time.Now()
	p.wait(now)
	if d := p.wait(now); d != frameUsual {
		t.Errorf("a second frame at once has to wait %v, want %v", d, frameUsual)
	}
}

// A terminal that takes no output holds nothing up but itself: the run goes on, and the program can be ended.
func TestStalledTerminal(t *testing.T) {
	live := training(t, 10)
	term := newTerminal()
	ctx, cancel := context.WithCancel(t.Context())
	ended := start(t, ctx, term, Options{Session: live, Feed: live})
	term.await(t, "running")
	stall := make(chan struct{})
	term.set(func(t *terminal) { t.stall = stall })
	from := live.Take().Run.Step
	until(t, "fifty steps behind a stalled terminal", func() bool { return live.Take().Run.Step > from+50 })
	cancel()
	if err := finish(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled workbench ends with %v", err)
	}
	close(stall)
}

// A terminal whose input ends, or whose output fails, is gone: the screen ends and says so; the run does not.
func TestTerminalGone(t *testing.T) {
	for name, hangUp := range map[string]func(*terminal){
		"end of input":     func(term *terminal) { term.keys.Close() },
		"error on output":  func(term *terminal) { term.set(func(t *terminal) { t.broken = errors.New("input/output error") }) },
		"error on reading": func(term *terminal) { term.keys.CloseWithError(errors.New("input/output error")) },
	} {
		live := training(t, 10)
		term := newTerminal()
		ended := start(t, t.Context(), term, Options{Session: live, Feed: live})
		term.await(t, "running")
		hangUp(term)
		if err := finish(t, ended); !errors.Is(err, ErrTerminalGone) {
			t.Errorf("%s: the workbench ends with %v", name, err)
		}
		from := live.Take().Run.Step
		until(t, "steps after the terminal's end", func() bool { return live.Take().Run.Step > from })
	}
}

// Leaving a run that shall train on is told to the caller.
func TestDetach(t *testing.T) {
	live := training(t, 10)
	term := newTerminal()
	ended := start(t, t.Context(), term, Options{Session: live, Feed: live})
	term.await(t, "running")
	io.WriteString(term.keys, "q")
	term.await(t, "train on to the end")
	io.WriteString(term.keys, "3")
	if err := finish(t, ended); !errors.Is(err, ErrDetached) {
		t.Errorf("the workbench ends with %v", err)
	}
}

// A pane may ask for a suspension as any program may: it must not come to pass.
func TestSuspendIsFiltered(t *testing.T) {
	if msg := filter(nil, tea.SuspendMsg{}); msg != nil {
		t.Errorf("the filter lets %T through", msg)
	}
	if msg := filter(nil, tea.QuitMsg{}); msg == nil {
		t.Error("the filter drops everything")
	}
}

// The screen of a terminal that writes into a pane: mouse, paste and the session's dialogs reach it.
func TestMouseAndPaste(t *testing.T) {
	m := open(t, synthetic.At(247), 120, 40, Options{Front: "train"})
	m.View()
	m.handle(tea.MouseClickMsg{X: 20, Y: 10, Button: tea.MouseLeft})
	if got := ansi.Strip(m.View().Content); !strings.Contains(got, "step ") || !strings.Contains(got, "@") {
		t.Error("a click into the chart reads no step")
	}
	m.handle(tea.MouseWheelMsg{X: 20, Y: 10, Button: tea.MouseWheelUp})
	press(m, ":")
	m.handle(tea.PasteMsg{Content: "theme light"})
	press(m, "enter")
	if m.theme.Name() != "light" {
		t.Error("a paste does not reach the command line")
	}
	m.handle(tea.MouseClickMsg{X: 110, Y: 5, Button: tea.MouseLeft})
	if m.slots[m.front].pane.Name() != "memory" {
		t.Error("a click on a companion does not bring it up")
	}
	m.handle(tea.PasteMsg{Content: "x"})
	if !strings.Contains(status(m), "nothing takes text here") {
		t.Errorf("a paste into nothing answers %q", status(m))
	}
}

// A notice fades by a tick, and nothing ticks when nothing fades.
func TestTicks(t *testing.T) {
	m := open(t, synthetic.New(), 80, 24, Options{Front: "train"})
	if m.tick() != nil {
		t.Error("a workbench with nothing to fade ticks")
	}
	now := time.Now()
	m.now = func() time.Time { return now }
	m.told(pane.Told{Text: "news"})
	if m.tick() == nil || m.tick() != nil {
		t.Error("a notice needs one tick at a time")
	}
	now = now.Add(time.Minute)
	m.handle(ticked{})
	if n, ok := m.notices.Current(); ok {
		t.Errorf("%q outlives its time", n.Text)
	}
	if _, ok := (widget.Notice{}), m.tick() == nil; !ok {
		t.Error("it ticks on")
	}
}
