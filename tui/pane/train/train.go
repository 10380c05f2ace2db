// Package train is the pane of a run: its charts with their history, its rates, its progress and its events.
package train

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/pane"
)

// Pane is the Train pane. Make it with [New].
type Pane struct {
	charts *charts
	main   int  // the chart that is shown where there is room for one, and below the loss where there is room for two
	two    bool // the last drawing had room for two

	trouble *trainer.NonFiniteError // of the guard, as last seen
	looked  bool                    // a view has been seen at all

	places []place
}

// place is where a chart was drawn last, for the mouse.
type place struct{ chart, top, height int }

// New makes the pane.
func New() *Pane { return &Pane{charts: newCharts()} }

// Name is "train".
func (*Pane) Name() string { return "train" }

// Capturing is false: the pane takes no text.
func (*Pane) Capturing() bool { return false }

// Keys are the pane's rows of the key table.
func (p *Pane) Keys() []pane.Key {
	charted := func(pane.Context) string {
		if p.charts.empty() {
			return "no step to look at yet"
		}
		return ""
	}
	chart := func(help string, run func(), keys ...string) pane.Key {
		return pane.Key{Keys: keys, Help: help, Group: "Charts", Reason: charted, Run: func(pane.Context) tea.Cmd { run(); return nil }}
	}
	c := p.charts
	return []pane.Key{
		{Keys: []string{"t"}, Help: "start the run", Group: "Run", Reason: refuseStart, Run: start},
		{Keys: []string{"S"}, Help: "save", Group: "Run", Reason: refusal(session.Save{}), Run: send(session.Save{})},
		{Keys: []string{"g"}, Help: "ways on", Group: "Run", Reason: refuseGuard, Run: openGuard},
		{Keys: []string{"x"}, Help: "stop", Group: "Run", Reason: refusal(session.Stop{}), Run: askStop},
		chart("other chart", p.other, "c"),
		chart("log axis", c.toggleLog, "y"),
		chart("smooth", c.smoother, "s"),
		chart("zoom in", func() { c.zoom(1.5) }, "+", "="),
		chart("zoom out", func() { c.zoom(1 / 1.5) }, "-"),
		chart("earlier", func() { c.pan(-0.25) }, "["),
		chart("later", func() { c.pan(0.25) }, "]"),
		chart("whole run", c.reset, "0"),
		chart("crosshair", func() { c.move(-1) }, "left"),
		chart("crosshair", func() { c.move(1) }, "right"),
		chart("crosshair by ten", func() { c.move(-10) }, "shift+left"),
		chart("crosshair by ten", func() { c.move(10) }, "shift+right"),
		{Keys: []string{"r"}, Help: "all runs", Group: "Run", Reason: refuseRuns, Run: openRuns},
		{Keys: []string{"Y"}, Help: "copy as Markdown", Group: "Run", Reason: refuseCopy, Run: copyMarkdown},
		{Keys: []string{"e"}, Help: "export as SVG", Group: "Charts", Reason: charted, Run: p.export},
	}
}

// Commands are none: the workbench's own words serve runs.
func (*Pane) Commands() []pane.Word { return nil }

// Update takes the newest steps, esc that hides the crosshair, and the mouse: the wheel zooms, a click reads a step.
func (p *Pane) Update(msg tea.Msg, c pane.Context) tea.Cmd {
	switch msg := msg.(type) {
	case pane.Changed:
		p.charts.follow(c.Theme, c.View.Run)
		return p.guarded(c)
	case tea.KeyPressMsg:
		if msg.String() == "esc" {
			p.charts.hide()
		}
	case tea.MouseWheelMsg:
		switch msg.Button {
		case tea.MouseWheelUp:
			p.charts.zoom(1.25)
		case tea.MouseWheelDown:
			p.charts.zoom(1 / 1.25)
		}
	case tea.MouseClickMsg:
		for _, at := range p.places {
			if msg.Y >= at.top && msg.Y < at.top+at.height {
				p.charts.point(at.chart, msg.X-2) // the frame and its blank
			}
		}
	}
	return nil
}

// other goes on to the next chart; the loss is passed over where it is on screen anyway.
func (p *Pane) other() {
	p.main = (p.shown() + 1) % len(kinds)
	if p.two && p.main == lossKind {
		p.main = lossKind + 1
	}
}

// shown is the chart that c changes: never the loss where that stands above it.
func (p *Pane) shown() int {
	if p.two && p.main == lossKind {
		return lossKind + 1
	}
	return p.main
}

func refusal(cmd session.Command) func(pane.Context) string {
	return pane.Refusal(func(pane.Context) session.Command { return cmd })
}

func send(cmd session.Command) func(pane.Context) tea.Cmd {
	return func(c pane.Context) tea.Cmd { return pane.Send(c.Session, cmd) }
}

func refuseStart(c pane.Context) string {
	if c.View.Config == nil {
		return "no run.yaml is on the table: name one, :train FILE"
	}
	return refusal(session.Start{})(c)
}

func start(c pane.Context) tea.Cmd {
	return pane.Send(c.Session, session.Start{Config: *c.View.Config})
}

// seconds is a number of seconds as a duration.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// tone is the colour of a run's state.
func tone(s session.State) themes.Token {
	switch s {
	case session.Paused, session.Pausing:
		return themes.Warn
	case session.Failed:
		return themes.Bad
	case session.Done:
		return themes.Good
	}
	return themes.Accent
}
