// Package pane is the contract between the workbench and its panes: what a pane is given, how it draws, which keys it has. A
// pane lives in a package of its own below this one and knows no other pane.
package pane

import (
	tea "charm.land/bubbletea/v2"

	"lathe/datasets"
	"lathe/session"
	"lathe/themes"
	"lathe/tui/dialog"
)

// Session is what panes ask of a session; *session.Session is one.
type Session interface {
	// Do answers at once, in microseconds, but is called from a tea.Cmd all the same: nothing waits in Update.
	Do(session.Command) error
	// Row and Tokens read the open dataset; they may wait for the disk, so they too are called from a tea.Cmd.
	Row(i int) (datasets.Row, error)
	Tokens(i int) (datasets.View, error)
}

// Context is what a pane sees when it handles a message or draws.
type Context struct {
	Session Session
	Theme   *themes.Theme
	// View is the newest state; panes cache what they draw by View.Version and size.
	View session.View
	// Focused tells whether keys go to this pane.
	Focused bool
	// Beside names the panes that are drawn beside this one: it need not show what they show.
	Beside []string
}

// Key is one row of the key table: it feeds the dispatch, the help panel and the hint line alike.
type Key struct {
	Keys  []string // as tea.KeyPressMsg.String() spells them
	Help  string   // two or three words
	Group string   // heading in the help panel
	// Reason says why the key cannot act now, or "": a key that cannot act answers with it.
	Reason func(Context) string
	// Run acts; its message comes back to the pane's Update.
	Run func(Context) tea.Cmd
}

// Pane is one part of the workbench.
type Pane interface {
	// Name is the pane's short name, as in the tab and after `:`.
	Name() string
	// Keys are the pane's rows of the key table; the rows of the workbench itself (digits, tab, space, ?, :, q, L, M) win.
	Keys() []Key
	// Commands are the pane's words of the command line `:`.
	Commands() []Word
	// Update handles what is no key of the table: answers of its own commands, typed text while Capturing, mouse clicks
	// with coordinates inside the pane, and Changed.
	Update(msg tea.Msg, c Context) tea.Cmd
	// Capturing tells that typed text goes to the pane (an input line is open): then only esc and ctrl keys leave it.
	Capturing() bool
	// View draws exactly width × height cells, frame included.
	View(width, height int, c Context) string
}

// Word is a command of the command line: ":" Name arguments.
type Word struct {
	Name string
	Args string // "FILE", "[STEP]", or ""
	Help string
	Run  func(c Context, args string) tea.Cmd
}

// Changed tells a pane that the View has changed. It comes at most once a frame.
type Changed struct{}

// Told is a line for the status bar: what happened, or why nothing did.
type Told struct {
	Text string
	Err  bool
}

// Show asks the workbench to bring a pane to the front, as if its tab had been chosen; Caption, where given, is shown until
// the next key.
type Show struct {
	Pane    string
	Caption string
}

// Open asks the workbench to put a dialog over the screen; what its callbacks answer comes back to the pane that opened it.
type Open struct {
	Dialog dialog.Dialog
	// Unasked is what the status bar says instead while the user is typing or has another dialog open: a dialog that nobody
	// has asked for must not take the keys that were meant for something else. Empty opens it at once.
	Unasked string
}

// ShowRow asks the workbench to open a dataset, unless it is open, and to bring a row of it to the front: Line is its line in
// the file, from 1. The Data pane gets it too.
type ShowRow struct {
	Path string
	Line int
}

// Send is a tea.Cmd that gives the session a command and tells the status bar why it was refused.
func Send(s Session, cmd session.Command) tea.Cmd {
	return func() tea.Msg {
		if err := s.Do(cmd); err != nil {
			return Told{Text: err.Error(), Err: true}
		}
		return nil
	}
}

// Refusal is a Key.Reason: the session's own reason against a command.
func Refusal(command func(Context) session.Command) func(Context) string {
	return func(c Context) string {
		if err := command(c).Refusal(c.View); err != nil {
			return err.Error()
		}
		return ""
	}
}
