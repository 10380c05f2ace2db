package widget

import "lathe/themes"

// Item is a row of a List.
type Item struct {
	Text string
	Info string // right-aligned, muted
	Pen  themes.Pen
}

// List is a Table of one column with a note at the right of each row.
type List struct {
	Table
}

// NewList makes a list of n() items that it asks item for.
func NewList(n func() int, item func(i int) Item) *List {
	l := &List{}
	l.Rows = n
	l.NoHeader = true
	l.Columns = []Column{{Weight: 1}}
	l.Cell = func(row, _ int) Cell {
		it := item(row)
		return Cell{Text: it.Text, Note: it.Info, Pen: it.Pen}
	}
	return l
}
