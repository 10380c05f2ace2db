package data

import (
	"fmt"
	"sort"

	tea "charm.land/bubbletea/v2"

	"lathe/tui/pane"
)

// rowFound answers a search for a line of the file: row is the dataset's row that holds it, -1 where no row begins there.
type rowFound struct {
	era, row, line int
}

// seek looks for the row that another part of the workbench wants to show, once its dataset is open and indexed so far.
func (p *Pane) seek() tea.Cmd {
	w, d := p.wanted, p.c.View.Data
	if w == nil || d.Path != w.Path || d.Rows < w.Line && !d.Indexed {
		return nil
	}
	p.wanted = nil
	s, era, rows, line := p.c.Session, p.era, d.Rows, w.Line
	return func() tea.Msg { return rowFound{era, rowOfLine(s, rows, line), line} }
}

// rowOfLine finds the row that begins on a line. Rows lie in the order of their lines, but blank lines are none of them.
func rowOfLine(s pane.Session, rows, line int) int {
	at := sort.Search(rows, func(i int) bool {
		row, err := s.Row(i)
		return err != nil || row.Line >= line
	})
	if at == rows {
		return -1
	}
	if row, err := s.Row(at); err != nil || row.Line != line {
		return -1
	}
	return at
}

// takeFound puts the cursor on the row; a filter that hides it gives way.
func (p *Pane) takeFound(m rowFound) tea.Cmd {
	switch {
	case m.era != p.era:
		return nil
	case m.row < 0:
		return told(fmt.Sprintf("no row begins on line %d of this dataset: it has changed since", m.line), true)
	}
	if !p.goTo(m.row) {
		p.stopFilter()
		p.goTo(m.row)
	}
	return nil
}
