package tui

import (
	"slices"
	"strconv"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// row is a row of the key table: a pane's, or one of the workbench's own.
type row struct {
	pane.Key
	slot int // whose it is; none for the workbench's own
	run  func(m *model) tea.Cmd
}

const none = -1

// Headings of the help panel.
const (
	groupRun    = "Run"
	groupScreen = "Screen"
)

// global are the workbench's own rows, which act in every pane.
func global() []row {
	own := func(help, group string, run func(*model) tea.Cmd, keys ...string) row {
		return row{Key: pane.Key{Keys: keys, Help: help, Group: group}, slot: none, run: run}
	}
	space := own("pause or resume", groupRun, func(m *model) tea.Cmd { return pane.Send(m.session, steering(m.view)) }, "space")
	space.Reason = pane.Refusal(func(c pane.Context) session.Command { return steering(c.View) })
	rows := []row{
		space,
		own("command line", groupScreen, (*model).openLine, ":"),
		own("keys", groupScreen, (*model).openHelp, "?", "f1"),
		own("next pane", "Panes", func(m *model) tea.Cmd { return m.step(1) }, "tab"),
		own("pane before", "Panes", func(m *model) tea.Cmd { return m.step(-1) }, "shift+tab"),
		own("log of events", groupScreen, (*model).openLog, "L"),
		own("mouse on or off", groupScreen, (*model).toggleMouse, "M"),
		own("draw anew", groupScreen, (*model).redraw, "ctrl+l"),
		own("leave", groupScreen, (*model).leave, "q", "ctrl+c"),
	}
	return rows
}

// suspend answers ctrl+z where the pane in front has no use for it.
var suspend = row{slot: none, Key: pane.Key{
	Keys: []string{"ctrl+z"}, Help: "to the shell", Group: groupScreen,
	Reason: func(pane.Context) string {
		return "suspending would stop the training with the screen: open another window, or run lathe in tmux"
	},
}}

// steering is what space asks for in this view.
func steering(v session.View) session.Command {
	if v.Run.State == session.Paused || v.Run.State == session.Pausing {
		return session.Resume{}
	}
	return session.Pause{}
}

// table is the key table in force: it feeds the dispatch, the help and the hints alike.
func (m *model) table() []row {
	rows := global()
	for i, s := range m.slots[:m.tabbed] {
		run := func(m *model) tea.Cmd { m.choose(i); return nil }
		rows = append(rows, row{
			Key: pane.Key{Keys: []string{strconv.Itoa(i + 1)}, Help: title(s.pane.Name()), Group: "Panes"}, slot: none, run: run,
		})
	}
	for _, k := range m.slots[m.front].pane.Keys() {
		k.Keys = slices.DeleteFunc(slices.Clone(k.Keys), func(key string) bool {
			return slices.ContainsFunc(rows, func(r row) bool { return r.slot == none && slices.Contains(r.Keys, key) })
		})
		if k.Group == "" {
			k.Group = title(m.slots[m.front].pane.Name())
		}
		if len(k.Keys) > 0 {
			rows = append(rows, row{Key: k, slot: m.front})
		}
	}
	if !slices.ContainsFunc(rows, func(r row) bool { return slices.Contains(r.Keys, suspend.Keys[0]) }) {
		rows = append(rows, suspend)
	}
	return rows
}

// owns tells whether one of the workbench's own rows has a key.
func owns(rows []row, key string) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return r.slot == none && slices.Contains(r.Keys, key) })
}

// handleKey gives a key to whoever has the floor: a dialog, the command line, a pane that takes text, the key table, the pane.
func (m *model) handleKey(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	m.caption = ""
	m.notices.Clear()
	if m.leaving && key == "ctrl+c" {
		return tea.Quit
	}
	if handled, cmd := m.stack.Update(msg); handled {
		m.slots[m.front].touch()
		return cmd
	}
	if m.line != nil {
		return m.lineKey(msg)
	}
	capturing := m.slots[m.front].pane.Capturing()
	for _, r := range m.table() {
		if !slices.Contains(r.Keys, key) || capturing && (r.slot != none || len(key) < 6 || key[:5] != "ctrl+") {
			continue
		}
		return m.act(r)
	}
	return m.tell(m.front, msg)
}

// act runs a row of the key table, or says why it cannot.
func (m *model) act(r row) tea.Cmd {
	if reason := m.reason(r); reason != "" {
		m.notices.Push(m.now(), widget.NoticeWarn, reason)
		return nil
	}
	if r.slot == none {
		return r.run(m)
	}
	return m.guarded(r.slot, func() tea.Cmd {
		m.slots[r.slot].touch()
		if r.Run == nil {
			return nil
		}
		return r.Run(m.context(r.slot))
	})
}

// reason is why a row cannot act now, or "".
func (m *model) reason(r row) (why string) {
	if r.Reason == nil {
		return ""
	}
	slot := max(r.slot, m.front)
	defer func() {
		if p := recover(); p != nil {
			why = "this key has failed: internal error"
		}
	}()
	return r.Reason(m.context(slot))
}

// choose brings a pane to the front as the user's own choice: the guide no longer leads.
func (m *model) choose(i int) {
	m.led = false
	m.bring(i)
}

func (m *model) step(by int) tea.Cmd {
	m.choose((m.front + by + m.tabbed) % m.tabbed)
	return nil
}

func (m *model) openHelp() tea.Cmd {
	m.stack.Push(&dialog.Help{Title: "Keys and commands", Bindings: append(m.ordered(), m.wordBindings()...)})
	return nil
}

// ordered are the bindings with the front pane's own first; neighbours that do the same share a row.
func (m *model) ordered() []widget.Binding {
	rows := m.table()
	slices.SortStableFunc(rows, func(a, b row) int { return b.slot - a.slot })
	var out []widget.Binding
	for _, r := range rows {
		if n := len(out); n > 0 && out[n-1].Help == r.Help && out[n-1].Group == r.Group {
			out[n-1].Keys = append(slices.Clone(out[n-1].Keys), r.Keys...)
			continue
		}
		b := widget.Binding{Keys: r.Keys, Help: r.Help, Group: r.Group}
		if m.reason(r) != "" {
			b.Disabled = "not now" // the reason is long, and the key itself tells it
		}
		out = append(out, b)
	}
	return out
}

func (m *model) toggleMouse() tea.Cmd {
	m.mouse = !m.mouse
	text := "the mouse is the terminal's again: select text with it"
	if m.mouse {
		text = "the mouse works here: click tabs, turn the wheel; with shift it selects text"
	}
	m.told(pane.Told{Text: text})
	return nil
}

// redraw draws everything anew, panes that have failed too.
func (m *model) redraw() tea.Cmd {
	for _, s := range m.slots {
		s.failed = ""
		s.touch()
	}
	return tea.ClearScreen
}

// handlePaste gives pasted text to whoever takes text.
func (m *model) handlePaste(msg tea.PasteMsg) tea.Cmd {
	if handled, cmd := m.stack.Update(msg); handled {
		return cmd
	}
	if m.line != nil {
		_, cmd := m.line.input.Update(msg)
		return cmd
	}
	if m.slots[m.front].pane.Capturing() {
		return m.tell(m.front, msg)
	}
	m.told(pane.Told{Text: "nothing takes text here: press : for the command line", Err: true})
	return nil
}

// handleMouse chooses tabs by clicks and gives the rest to the pane under the pointer, with coordinates inside it.
func (m *model) handleMouse(msg tea.MouseMsg) tea.Cmd {
	if handled, cmd := m.stack.Update(msg); handled {
		return cmd
	}
	at := msg.Mouse()
	click, clicked := msg.(tea.MouseClickMsg)
	if clicked && at.Y == 0 && click.Button == tea.MouseLeft {
		if i := m.tabAt(at.X); i >= 0 {
			m.choose(i)
		}
		return nil
	}
	for _, a := range m.arrange() {
		if at.X < a.x || at.Y < a.y || at.X >= a.x+a.width || at.Y >= a.y+a.height {
			continue
		}
		if a.slot != m.front && !clicked {
			return nil
		}
		if a.slot != m.front && a.slot < m.tabbed {
			m.choose(a.slot)
			return nil
		}
		if a.slot != m.front {
			return m.openLog()
		}
		return m.tell(a.slot, shifted(msg, a.x, a.y))
	}
	return nil
}

// shifted moves a mouse message's coordinates into a pane that begins at (x, y).
func shifted(msg tea.MouseMsg, x, y int) tea.Msg {
	switch msg := msg.(type) {
	case tea.MouseClickMsg:
		msg.X, msg.Y = msg.X-x, msg.Y-y
		return msg
	case tea.MouseReleaseMsg:
		msg.X, msg.Y = msg.X-x, msg.Y-y
		return msg
	case tea.MouseWheelMsg:
		msg.X, msg.Y = msg.X-x, msg.Y-y
		return msg
	case tea.MouseMotionMsg:
		msg.X, msg.Y = msg.X-x, msg.Y-y
		return msg
	}
	return msg
}
