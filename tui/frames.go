package tui

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"lathe/session"
	"lathe/tui/pane"
)

// The least time between two frames.
const (
	frameUsual = 100 * time.Millisecond
	frameSlow  = 500 * time.Millisecond
)

// frameShared is the least time between two drawings, of keys too, while a run computes on the processors that draw. A drawing with all that
// belongs to it takes one of them 0.6 ms there (`lathe bench workbench`): this is 1/600 of the time of all.
var frameShared = max(frameUsual, 600*600*time.Microsecond/time.Duration(runtime.GOMAXPROCS(0)))

// frame brings the newest View: one message however much has happened.
type frame struct{ view session.View }

// scene is a step of the guide.
type scene struct{ pane.Show }

// ticked comes when something shown has had its time.
type ticked struct{}

// redraw comes when a drawing that was held back has had its time.
type redraw struct{}

// pace says how far apart frames are.
type pace struct {
	mu      sync.Mutex
	last    time.Time
	blurred bool
	link    *link
}

func (p *pace) blur(on bool) {
	p.mu.Lock()
	p.blurred = on
	p.mu.Unlock()
}

// apart is the time between frames: longer where nobody looks, and where the line takes its time.
func (p *pace) apart() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blurred || p.link.slow() {
		return frameSlow
	}
	return frameUsual
}

// wait is how long the next frame has to wait, and takes it as drawn then.
func (p *pace) wait(now time.Time) time.Duration {
	apart := p.apart()
	p.mu.Lock()
	defer p.mu.Unlock()
	d := max(p.last.Add(apart).Sub(now), 0)
	p.last = now.Add(d)
	return d
}

// crowded tells that a run computes on the processors that draw: a GPU would have gauges.
func (m *model) crowded() bool {
	return m.view.Run.State == session.Running && len(m.view.Gauges.GPUs) == 0
}

// hold keeps the last drawing on screen until a crowded processor may draw again. The first key after a pause is answered at once.
func (m *model) hold() tea.Cmd {
	if !m.holds || m.held || !m.crowded() {
		return nil
	}
	d := time.Until(m.drawn.Add(frameShared))
	if d <= 0 {
		return nil
	}
	m.held = true
	return tea.Tick(d, func(time.Time) tea.Msg { return redraw{} })
}

// nextFrame waits for a change, then for the frame's time, and takes the newest View.
func (m *model) nextFrame() tea.Cmd {
	if m.feed == nil {
		return nil
	}
	feed, closed, pace := m.feed, m.closed, m.pace
	return func() tea.Msg {
		select {
		case <-feed.Changed():
		case <-closed:
			return nil
		}
		if d := pace.wait(time.Now()); d > 0 {
			select {
			case <-time.After(d):
			case <-closed:
				return nil
			}
		}
		return frame{feed.Take()}
	}
}

func (m *model) nextScene() tea.Cmd {
	guide, closed := m.options.Guide, m.closed
	if guide == nil {
		return nil
	}
	return func() tea.Msg {
		select {
		case s, ok := <-guide:
			if ok {
				return scene{s}
			}
		case <-closed:
		}
		return nil
	}
}

// tick wakes the workbench once a second while something on screen fades by itself: a notice, the meter of the line.
func (m *model) tick() tea.Cmd {
	_, notice := m.notices.Current()
	if m.ticking || !notice && m.link.rate() == 0 {
		return nil
	}
	m.ticking = true
	return tea.Tick(time.Second, func(time.Time) tea.Msg { return ticked{} })
}

// synchronises is the report of a terminal that knows synchronised output.
var synchronises = tea.ModeReportMsg{Mode: ansi.ModeSynchronizedOutput, Value: ansi.ModeReset}

// synchronised switches synchronised output on where Bubble Tea does not ask for it, which is over SSH. A terminal that
// does not know mode 2026 passes over it.
func synchronised() tea.Msg {
	if strings.Contains(os.Getenv("TERM_PROGRAM"), "Apple") || os.Getenv("TERM") == "linux" {
		return nil
	}
	return synchronises
}
