package tui

import (
	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/tui/dialog"
	"lathe/tui/pane"
)

// leave ends the program, after asking what becomes of a run at work.
func (m *model) leave() tea.Cmd {
	r := m.view.Run
	if !r.State.Active() {
		return tea.Quit
	}
	if m.leaving {
		m.told(pane.Told{Text: "leaving when the checkpoint is written; ctrl+c leaves the screen at once"})
		return nil
	}
	options := []dialog.Option{
		{Text: "Stay"},
		{Text: "Stop with a checkpoint, then leave", Note: "resume later, same bits"},
		{Text: "Leave the screen, train on to the end", Note: "headless, in this process"},
	}
	if r.State == session.Paused {
		options[2].Off = "the run is paused: resume it first with space"
	}
	d := dialog.NewChoose(m.theme, "Run "+r.Name+" is "+string(r.State), options, 0, func(i int) tea.Cmd {
		switch i {
		case 1:
			return m.stopAndLeave()
		case 2:
			m.outcome = ErrDetached
			return tea.Quit
		}
		return nil
	})
	d.Plain = true
	m.stack.Push(d)
	return nil
}

// stopAndLeave stops the run; the program ends when the run has.
func (m *model) stopAndLeave() tea.Cmd {
	m.leaving = true
	if !m.view.Run.State.Active() {
		return tea.Quit
	}
	if m.view.Run.State == session.Stopping {
		return nil
	}
	return pane.Send(m.session, session.Stop{})
}
