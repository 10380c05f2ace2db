// Package eventlog is the pane of the newest events, which stands beside others where there is room.
package eventlog

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/tui/pane"
	"lathe/tui/widget"
)

// Pane shows the end of the log. It keeps no state and takes no keys: L opens the whole log.
type Pane struct{}

// New makes the pane.
func New() *Pane { return &Pane{} }

// Name is "log".
func (*Pane) Name() string { return "log" }

// Keys are none.
func (*Pane) Keys() []pane.Key { return nil }

// Commands are none.
func (*Pane) Commands() []pane.Word { return nil }

// Update has nothing to do.
func (*Pane) Update(tea.Msg, pane.Context) tea.Cmd { return nil }

// Capturing is false.
func (*Pane) Capturing() bool { return false }

// View draws the newest events, the newest last.
func (*Pane) View(width, height int, c pane.Context) string {
	f := widget.Frame{Title: "Log", Info: "L all", Focused: c.Focused}
	w, h := f.Inner(width, height)
	rows := pane.LogRows(c.Theme, c.View.Log, w, h)
	if len(rows) == 0 {
		return f.View(c.Theme, widget.Empty(c.Theme, w, h, "Nothing has happened yet"), width, height)
	}
	return f.View(c.Theme, strings.Join(rows, "\n"), width, height)
}
