package tui

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// model is the workbench's state. Everything in it belongs to the program's event loop, but pace and link, which have locks.
type model struct {
	options Options
	session pane.Session
	feed    Feed
	closed  chan struct{} // ends the commands that wait

	theme     *themes.Theme
	themeName string // as chosen; empty follows the background
	profile   colorprofile.Profile
	light     bool // the terminal's background, dark until it has answered
	known     bool // it has answered
	silent    bool // it has not, and had its time

	width, height int
	view          session.View
	slots         []*slot
	tabbed        int // slots with a tab: the first ones
	front         int
	led           bool // the guide may still choose the pane

	stack   dialog.Stack
	line    *commandLine
	history []string
	notices widget.Notices
	caption string
	now     func() time.Time

	pace    *pace
	link    *link
	ticking bool     // a tick is on its way
	painter *painter // draws on the terminal; nil where the program of a caller does
	holds   bool     // drawings may be held back: a program shows them
	held    bool     // the last one still stands, and a redraw is on its way
	drawn   time.Time
	last    tea.View
	mouse   bool

	leaving bool  // stop was asked for, the program ends with the run
	outcome error // what Run returns
}

// New is the workbench as a model, for a program of the caller's own. [Run] is the usual way.
func New(o Options) tea.Model { return newModel(o.withDefaults(), newLink(nil)) }

func newModel(o Options, l *link) *model {
	m := &model{
		options: o, session: o.Session, feed: o.Feed, closed: make(chan struct{}),
		themeName: o.Theme, profile: themes.Detect(o.Output, o.Env),
		now: time.Now, led: true, mouse: true, link: l, pace: &pace{link: l},
	}
	if _, err := themes.New(themes.Options{Name: o.Theme}); err != nil {
		m.themeName = ""
		m.notices.Push(m.now(), widget.NoticeBad, err.Error())
	}
	m.dress()
	m.tabbed = len(o.Panes)
	for _, p := range append(slices.Clone(o.Panes), o.Aside...) {
		m.slots = append(m.slots, &slot{pane: p})
	}
	if o.Feed != nil {
		m.view = o.Feed.Take()
	}
	m.front = m.firstPane()
	for i := range m.slots {
		m.tell(i, pane.Changed{})
	}
	return m
}

// firstPane is the one asked for, or Train while there is a run to look at.
func (m *model) firstPane() int {
	name := m.options.Front
	if name == "" && m.view.Run.State.Active() {
		name = "train"
	}
	return max(m.paneNamed(name), 0)
}

func (m *model) paneNamed(name string) int {
	return slices.IndexFunc(m.slots, func(s *slot) bool { return strings.EqualFold(s.pane.Name(), name) })
}

// dress makes the theme anew, after its name, the terminal's colours or its background has changed.
func (m *model) dress() {
	m.theme = themes.Must(themes.Options{Name: m.themeName, Light: m.light, Profile: m.profile, ASCII: m.options.ASCII})
}

// silence says that the terminal has had its time to name its background.
type silence struct{}

// Init asks the terminal for its background and begins to wait for the session.
func (m *model) Init() tea.Cmd {
	silence := tea.Tick(time.Second, func(time.Time) tea.Msg { return silence{} })
	return tea.Batch(tea.RequestBackgroundColor, silence, m.nextFrame(), m.nextScene(), synchronised)
}

// Update handles one message. Whatever goes wrong in it, the program lives on.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) { return m, m.update(msg) }

func (m *model) update(msg tea.Msg) (cmd tea.Cmd) {
	defer func() {
		if p := recover(); p != nil {
			m.fault("workbench", p, debug.Stack())
		}
	}()
	return tea.Batch(m.handle(msg), m.tick(), m.hold())
}

func (m *model) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case frame:
		return m.handleFrame(msg)
	case tea.KeyPressMsg:
		return m.handleKey(msg)
	case tea.PasteMsg:
		return m.handlePaste(msg)
	case tea.MouseMsg:
		return m.handleMouse(msg)
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.held, m.drawn = false, time.Time{} // at once: the terminal has torn the old drawing
		return nil
	case tea.ColorProfileMsg:
		if !themes.NoColor(m.options.Env) {
			m.profile = msg.Profile
			m.dress()
		}
		return nil
	case tea.BackgroundColorMsg:
		m.light, m.known = !msg.IsDark(), true
		m.dress()
		return nil
	case silence:
		m.silent = !m.known
		return nil
	case tea.FocusMsg:
		m.pace.blur(false)
		return nil
	case tea.BlurMsg:
		m.pace.blur(true)
		return nil
	case routed:
		return m.handleRouted(msg)
	case pane.Told:
		m.told(msg)
		return nil
	case pane.Show:
		m.show(msg)
		return nil
	case pane.ShowRow:
		return m.showRow(msg)
	case scene:
		return m.handleScene(msg)
	case completions:
		m.handleCompletions(msg)
		return nil
	case redraw:
		m.held = false
		return nil
	case ticked:
		m.ticking = false
		m.notices.Tick(m.now())
		return nil
	case tea.ModeReportMsg:
		if m.painter != nil && msg == synchronises {
			m.painter.synchronise()
		}
		return nil
	case tea.EnvMsg, tea.KeyReleaseMsg, tea.KeyboardEnhancementsMsg, nil:
		return nil
	}
	return m.tell(m.front, msg)
}

// handleFrame takes the newest View and waits for the next.
func (m *model) handleFrame(f frame) tea.Cmd {
	m.view = f.view
	cmds := []tea.Cmd{m.nextFrame()}
	for i := range m.slots {
		cmds = append(cmds, m.tell(i, pane.Changed{}))
	}
	if m.leaving && !m.view.Run.State.Active() {
		cmds = append(cmds, tea.Quit)
	}
	return tea.Batch(cmds...)
}

// told shows a line in place of the hints for a while.
func (m *model) told(t pane.Told) {
	kind := widget.NoticeInfo
	if t.Err {
		kind = widget.NoticeWarn
	}
	m.notices.Push(m.now(), kind, t.Text)
}

// show brings a pane to the front, with a caption until the next key.
func (m *model) show(s pane.Show) {
	if i := m.paneNamed(s.Pane); i >= 0 && i < m.tabbed {
		m.bring(i)
	}
	m.caption = s.Caption
}

// showRow brings a row of a dataset to the front.
func (m *model) showRow(r pane.ShowRow) tea.Cmd {
	i := m.paneNamed("data")
	if i < 0 {
		return nil
	}
	m.choose(i)
	wait := m.tell(i, r)
	if m.view.Data.Path == r.Path {
		return wait
	}
	return tea.Batch(pane.Send(m.session, session.OpenData{Path: r.Path}), wait)
}

// bring puts a pane in front; a pane that has failed gets another chance.
func (m *model) bring(i int) {
	if i != m.front {
		m.slots[m.front].touch()
	}
	m.front = i
	m.slots[i].failed = ""
	m.slots[i].touch()
}

// handleScene follows the guide until the user has chosen a pane; afterwards its captions say where to look.
func (m *model) handleScene(s scene) tea.Cmd {
	switch i := m.paneNamed(s.Pane); {
	case i < 0 || i >= m.tabbed || i == m.front:
		m.caption = s.Caption
	case m.led && m.stack.Len() == 0 && m.line == nil && !m.slots[m.front].pane.Capturing():
		m.show(s.Show)
	default:
		m.caption = fmt.Sprintf("%s (press %d)", s.Caption, i+1)
	}
	return m.nextScene()
}

// fault notes that a part of the workbench has failed; the run goes on.
func (m *model) fault(where string, reason any, stack []byte) {
	text := fmt.Sprintf("%s: internal error: %v; the run goes on", where, reason)
	m.notices.Push(m.now(), widget.NoticeBad, text)
	note(m.session, fmt.Sprintf("%s; please report it with %.1200q", text, stack))
}

// View is the screen, drawn anew unless the last drawing is held.
func (m *model) View() tea.View {
	if !m.held {
		m.last, m.drawn = m.screen(), time.Now()
		if m.painter != nil {
			m.painter.show(take(&m.last, m.width, m.height, m.profile))
		}
	}
	return m.last
}

// screen draws, and says what the terminal should do.
func (m *model) screen() (v tea.View) {
	v.AltScreen, v.ReportFocus = true, true
	if m.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	v.WindowTitle, v.ProgressBar = m.title(), m.progressBar()
	if m.themeName != "" && !m.theme.Mono() && (m.silent || m.known && m.theme.Dark() == m.light) {
		v.BackgroundColor, v.ForegroundColor = m.theme.Color(themes.Base), m.theme.Color(themes.Text)
	}
	defer func() {
		if p := recover(); p != nil {
			m.fault("workbench", p, debug.Stack())
			v.Content = widget.Block("lathe: the screen could not be drawn; the run goes on. Press q to leave.", m.width, m.height)
		}
	}()
	v.Content = m.draw()
	return v
}
