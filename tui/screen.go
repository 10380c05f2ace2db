package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/widget"
)

// The least terminal, and where companions begin to stand beside a pane.
const (
	minWidth, minHeight = 60, 16
	wideWidth           = 120
	tallest             = 25 // rows of a companion that has another one below
)

// companions are the panes drawn beside a front pane on a wide terminal, from the top.
var companions = map[string][]string{
	"train":  {"memory", "log"},
	"memory": {"log"},
}

// area is a pane's place on the screen.
type area struct {
	slot                int
	x, y, width, height int
}

// chrome is the rows that are not the panes': tabs, hints, status.
const chrome = 3

// arrange says which panes are drawn where.
func (m *model) arrange() []area {
	body := area{slot: m.front, y: 1, width: m.width, height: m.height - chrome}
	var beside []int
	for _, name := range companions[m.slots[m.front].pane.Name()] {
		if i := m.paneNamed(name); i >= 0 {
			beside = append(beside, i)
		}
	}
	if m.width < wideWidth || len(beside) == 0 {
		return []area{body}
	}
	column := min(max(m.width*36/100, 44), 64)
	body.width -= column
	areas := []area{body}
	top, left := 1, m.height-chrome
	for n, i := range beside {
		height := left
		if rest := len(beside) - n - 1; rest > 0 {
			height = min(max(left*3/5, 10), tallest)
		}
		areas = append(areas, area{slot: i, x: body.width, y: top, width: column, height: height})
		top, left = top+height, left-height
	}
	return areas
}

// draw is the whole screen.
func (m *model) draw() string {
	if m.width <= 0 || m.height <= 0 {
		return ""
	}
	if m.width < minWidth || m.height < minHeight {
		return m.drawTooSmall()
	}
	areas := m.arrange()
	var beside []string
	for _, a := range areas[1:] {
		beside = append(beside, m.slots[a.slot].pane.Name())
	}
	focused := m.stack.Len() == 0 && m.line == nil
	body := m.drawPane(m.front, areas[0].width, areas[0].height, focused, beside)
	if len(areas) > 1 {
		var column []string
		for _, a := range areas[1:] {
			column = append(column, m.drawPane(a.slot, a.width, a.height, false, nil))
		}
		body = widget.JoinH(body, widget.JoinV(column...))
	}
	screen := strings.Join([]string{m.drawTabs(), body, m.drawHints(), m.drawStatus()}, "\n")
	return m.stack.View(m.theme, screen, m.width, m.height)
}

func (m *model) drawTooSmall() string {
	text := fmt.Sprintf("lathe needs %d×%d, this is %d×%d", minWidth, minHeight, m.width, m.height)
	rows := widget.Wrap(text, m.width)
	if m.view.Run.State.Active() {
		rows = append(rows, widget.Wrap(m.progressText(), m.width)...)
	}
	return widget.Block(strings.Join(rows, "\n"), m.width, m.height)
}

// progressText is the run in one line, for titles and tiny terminals.
func (m *model) progressText() string {
	r := m.view.Run
	switch {
	case r.Name == "":
		return "no run"
	case r.TotalSteps > 0 && r.State.Active():
		return fmt.Sprintf("%s %s %s", r.Name, r.State, widget.Percent(float64(r.Step)/float64(r.TotalSteps)))
	}
	return fmt.Sprintf("%s %s", r.Name, r.State)
}

func (m *model) title() string { return "lathe · " + widget.Sanitize(m.progressText()) }

// progressBar is what a terminal shows in its own tab or task bar.
func (m *model) progressBar() *tea.ProgressBar {
	r := m.view.Run
	part := 0
	if r.TotalSteps > 0 {
		part = 100 * r.Step / r.TotalSteps
	}
	switch r.State {
	case session.Starting:
		return tea.NewProgressBar(tea.ProgressBarIndeterminate, 0)
	case session.Running, session.Pausing, session.Stopping:
		return tea.NewProgressBar(tea.ProgressBarDefault, part)
	case session.Paused:
		return tea.NewProgressBar(tea.ProgressBarWarning, part)
	case session.Failed:
		return tea.NewProgressBar(tea.ProgressBarError, part)
	}
	return nil
}

// tabs are the panes that have a number.
func (m *model) tabs() []widget.Tab {
	var tabs []widget.Tab
	for _, s := range m.slots[:m.tabbed] {
		tab := widget.Tab{Title: title(s.pane.Name())}
		if s.failed != "" {
			tab.Badge, tab.Tone = m.theme.Glyphs.Times, themes.Bad
		}
		tabs = append(tabs, tab)
	}
	return tabs
}

func (m *model) drawTabs() string {
	const name = " lathe "
	w := widget.Width(name)
	tabs := widget.Tabs(m.theme, m.width-w, m.tabs(), m.front)
	return tabs + widget.NewLine(m.theme, w).Add(themes.FG(themes.Faint), name).String()
}

// tabAt is the pane whose tab lies at a column, -1 for none.
func (m *model) tabAt(x int) int {
	at := 0
	for n, t := range m.tabs() {
		// as widget.Tabs draws them: " 1 Title ", with a badge behind
		w := 3 + widget.Width(t.Title) + 1
		if t.Badge != "" {
			w += widget.Width(t.Badge) + 1
		}
		if x >= at && x < at+w {
			return n
		}
		at += w
	}
	return -1
}

// drawHints is the row above the status bar: the command line, news, the guide's caption, or the keys that act now.
func (m *model) drawHints() string {
	if m.line != nil {
		return m.line.input.View(m.width)
	}
	if n, ok := m.notices.Current(); ok {
		return " " + n.View(m.theme, m.width-1)
	}
	if m.caption != "" {
		l := widget.NewLine(m.theme, m.width).Space(1).Repeat(themes.FG(themes.Accent), m.theme.Glyphs.Pointer, 1).Space(1)
		return l.Field(themes.FG(themes.Text), m.caption, l.Left()-1, widget.Left).String()
	}
	return m.drawKeys()
}

// drawKeys is the hint line: the front pane's keys from the left, the workbench's at the right edge.
func (m *model) drawKeys() string {
	var own, rest []widget.Binding
	for _, r := range m.table() {
		b := widget.Binding{Keys: r.Keys, Help: r.Help, Disabled: m.reason(r)}
		switch {
		case r.slot != none:
			own = append(own, b)
		case r.Keys[0] == "space":
			b.Help = "pause"
			if m.view.Run.State == session.Paused || m.view.Run.State == session.Pausing {
				b.Help = "resume"
			}
			own = append([]widget.Binding{b}, own...)
		case slices.Contains([]string{":", "?", "q"}, r.Keys[0]):
			b.Help, _, _ = strings.Cut(b.Help, " ")
			rest = append(rest, b)
		}
	}
	w := 2
	for _, b := range rest {
		w += widget.Width(b.Keys[0]) + 1 + widget.Width(b.Help) + 2
	}
	return widget.HelpLine(m.theme, own, m.width-w) + widget.HelpLine(m.theme, rest, w)
}

// drawStatus is the lowest row.
func (m *model) drawStatus() string {
	if m.line != nil {
		return m.line.status(m)
	}
	left, right := m.runSegments(), m.machineSegments()
	return widget.StatusBar(m.theme, m.width, left, right)
}

func (m *model) runSegments() []widget.Segment {
	r := m.view.Run
	if r.Name == "" {
		return []widget.Segment{{Text: "no run yet", Pen: themes.FG(themes.Muted)}}
	}
	glyph, tone := m.stateSign()
	state := string(r.State)
	if m.leaving {
		state = "stopping, then leaving"
	}
	segments := []widget.Segment{{Text: glyph + " " + state, Pen: themes.FG(tone)}}
	if r.State == session.Starting && r.Stage.Stage != "" {
		text := r.Stage.Stage
		if r.Stage.Total > 0 {
			text += " " + widget.Percent(float64(r.Stage.Done)/float64(r.Stage.Total))
		}
		return append(segments, widget.Segment{Text: text, Rank: 1})
	}
	if r.TotalSteps > 0 {
		total := widget.Group(int64(r.TotalSteps))
		step := widget.Fit(widget.Group(int64(r.Step)), len(total), widget.Right, "")
		segments = append(segments, widget.Segment{Text: "step " + step + "/" + total, Pen: themes.FG(themes.Text), Rank: 1})
	}
	if r.Last.Step > 0 {
		segments = append(segments, widget.Segment{Text: "loss " + widget.Number(r.Loss), Pen: themes.FG(themes.Text), Rank: 2})
	}
	if r.State.Training() && r.Last.Step > 0 {
		segments = append(segments, widget.Segment{Text: widget.Count(r.Last.TokensPerSec) + " tok/s", Rank: 4})
	}
	if r.State == session.Running && r.Last.SecondsLeft > 0 {
		left := widget.Duration(time.Duration(r.Last.SecondsLeft * float64(time.Second)))
		segments = append(segments, widget.Segment{Text: left + " left", Rank: 3})
	}
	return segments
}

// stateSign is the run's state as a glyph and its tone.
func (m *model) stateSign() (string, themes.Token) {
	g := &m.theme.Glyphs
	switch m.view.Run.State {
	case session.Running:
		return g.Resume, themes.Good
	case session.Pausing, session.Paused:
		return g.Pause, themes.Warn
	case session.Starting, session.Stopping:
		return g.Ellipsis, themes.Info
	case session.Done:
		return g.Check, themes.Good
	case session.Failed:
		return g.Times, themes.Bad
	}
	return g.Dot, themes.Muted
}

func (m *model) machineSegments() []widget.Segment {
	var segments []widget.Segment
	if mem := m.view.Memory; mem.Used > 0 {
		text := widget.Bytes(mem.Used)
		if mem.Total > 0 {
			text += " of " + widget.Bytes(mem.Total)
		}
		segments = append(segments, widget.Segment{Text: text, Rank: 5})
	}
	rate := int64(0)
	if m.link != nil {
		rate = m.link.rate()
	}
	text := "idle"
	if rate > 0 {
		text = coarse(rate) + "/s"
	}
	fps := fmt.Sprintf("%d fps", int(time.Second/m.pace.apart()))
	return append(segments, widget.Segment{Text: "line " + text, Rank: 7}, widget.Segment{Text: fps, Rank: 8})
}

// coarse writes bytes with one digit in decimal units: a meter that trembles would feed itself.
func coarse(n int64) string {
	unit := int64(1)
	for n/unit >= 10 {
		unit *= 10
	}
	n = n / unit * unit
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%d MB", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%d kB", n/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
