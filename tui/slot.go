package tui

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/datasets"
	"lathe/session"
	"lathe/themes"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// slot holds a pane with its last drawing.
type slot struct {
	pane   pane.Pane
	failed string // what a panic said; drawn in the pane's place
	rev    uint64 // grows with everything the pane was told
	at     drawing
	drawn  string
}

// drawing is all that a pane's looks depend on.
type drawing struct {
	rev           uint64
	version       int64
	width, height int
	theme         *themes.Theme
	focused       bool
	beside        string
}

// touch makes the next View draw the pane anew.
func (s *slot) touch() { s.rev++ }

// routed is the answer of a pane's command on its way back to that pane.
type routed struct {
	slot int
	msg  tea.Msg
}

// faulted says that a pane's command has panicked.
type faulted struct {
	reason any
	stack  []byte
}

// context is what pane i sees now.
func (m *model) context(i int) pane.Context {
	return pane.Context{Session: m.session, Theme: m.theme, View: m.view, Focused: i == m.front && m.stack.Len() == 0}
}

// tell gives a pane a message.
func (m *model) tell(i int, msg tea.Msg) tea.Cmd {
	s := m.slots[i]
	return m.guarded(i, func() tea.Cmd {
		s.touch()
		return s.pane.Update(msg, m.context(i))
	})
}

// guarded runs a part of a pane: a panic becomes a fault of that pane, and what its command answers comes back to it.
func (m *model) guarded(i int, f func() tea.Cmd) (cmd tea.Cmd) {
	defer func() {
		if p := recover(); p != nil {
			m.fail(i, p, debug.Stack())
			cmd = nil
		}
	}()
	return route(i, f())
}

func (m *model) fail(i int, reason any, stack []byte) {
	m.slots[i].failed = fmt.Sprint(reason)
	m.slots[i].touch()
	m.fault(m.slots[i].pane.Name(), reason, stack)
}

// note writes a line into the session's log.
func note(s pane.Session, text string) {
	if s == nil {
		return
	}
	go func() { _ = s.Do(session.Note{Level: datasets.LevelError, Text: text}) }() // a session that has ended keeps no log
}

// route wraps a pane's command: its answer is for slot i, unless it is for the workbench or for the terminal.
func route(i int, cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() (msg tea.Msg) {
		defer func() {
			if p := recover(); p != nil {
				msg = routed{i, faulted{p, debug.Stack()}}
			}
		}()
		return address(i, cmd())
	}
}

// address decides who gets a command's answer.
func address(i int, msg tea.Msg) tea.Msg {
	switch msg := msg.(type) {
	case nil, pane.Told, pane.Show, pane.ShowRow:
		return msg
	case pane.Open:
		return routed{i, msg}
	}
	v := reflect.ValueOf(msg)
	if v.Kind() == reflect.Slice && v.Type().Elem() == reflect.TypeFor[tea.Cmd]() { // tea.Batch and tea.Sequence
		for n := range v.Len() {
			v.Index(n).Set(reflect.ValueOf(route(i, v.Index(n).Interface().(tea.Cmd))))
		}
		return msg
	}
	if strings.HasPrefix(v.Type().PkgPath(), "charm.land/bubbletea") {
		return msg
	}
	return routed{i, msg}
}

func (m *model) handleRouted(r routed) tea.Cmd {
	switch msg := r.msg.(type) {
	case faulted:
		m.fail(r.slot, msg.reason, msg.stack)
		return nil
	case pane.Open:
		switch busy := m.stack.Len() > 0 || m.line != nil || m.slots[m.front].pane.Capturing(); {
		case msg.Unasked != "" && busy:
			m.told(pane.Told{Text: msg.Unasked, Err: true})
		case msg.Dialog != nil:
			m.stack.Push(owned{msg.Dialog, r.slot})
		}
		return nil
	}
	return m.tell(r.slot, r.msg)
}

// owned is a dialog that a pane has opened: its answers are that pane's.
type owned struct {
	dialog.Dialog
	slot int
}

func (o owned) Update(msg tea.Msg) (bool, tea.Cmd) {
	done, cmd := o.Dialog.Update(msg)
	return done, route(o.slot, cmd)
}

func (o owned) Cancel() tea.Cmd { return route(o.slot, o.Dialog.Cancel()) }

// drawPane draws a pane, from what was drawn last where nothing has changed.
func (m *model) drawPane(i, width, height int, focused bool, beside []string) (out string) {
	s := m.slots[i]
	at := drawing{s.rev, m.view.Version, width, height, m.theme, focused, strings.Join(beside, " ")}
	if s.at == at {
		return s.drawn
	}
	defer func() {
		if p := recover(); p != nil {
			m.fail(i, p, debug.Stack())
			out = m.drawFault(s, width, height)
		}
	}()
	if s.failed != "" {
		return m.drawFault(s, width, height)
	}
	c := m.context(i)
	c.Focused, c.Beside = focused, beside
	s.drawn = s.pane.View(width, height, c)
	s.at = at
	return s.drawn
}

func (m *model) drawFault(s *slot, width, height int) string {
	f := widget.Frame{Title: title(s.pane.Name()), Tone: themes.Bad}
	w, h := f.Inner(width, height)
	return f.View(m.theme, widget.Empty(m.theme, w, h, "This pane has failed: "+s.failed,
		"The run goes on, and so do the other panes.", "Choose the pane again to have it drawn anew."), width, height)
}

// title is a pane's name as its tab shows it.
func title(name string) string {
	if name == "" {
		return name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}
