package tui

import (
	"lathe/tui/pane"
	"lathe/tui/pane/compare"
	"lathe/tui/pane/data"
	"lathe/tui/pane/eventlog"
	"lathe/tui/pane/memory"
	"lathe/tui/pane/playground"
	"lathe/tui/pane/train"
)

// DefaultPanes are the workbench's tabs, and the panes that stand beside them.
func DefaultPanes() (tabs, aside []pane.Pane) {
	tabs = []pane.Pane{data.New(), train.New(), playground.New(), compare.New(), memory.New()}
	return tabs, []pane.Pane{eventlog.New()}
}
