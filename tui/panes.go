package tui

import (
	"lathe/tui/pane"
	"lathe/tui/pane/eventlog"
	"lathe/tui/pane/memory"
	"lathe/tui/pane/train"
)

// DefaultPanes are the workbench's tabs, and the panes that stand beside them.
func DefaultPanes() (tabs, aside []pane.Pane) {
	return []pane.Pane{train.New(), memory.New()}, []pane.Pane{eventlog.New()}
}
