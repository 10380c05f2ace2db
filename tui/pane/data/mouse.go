package data

import tea "charm.land/bubbletea/v2"

// place says where the last View drew the table: its first line, its right edge and its bottom.
type place struct{ top, right, bottom int }

// click selects a row.
func (p *Pane) click(m tea.Mouse) {
	if m.Button != tea.MouseLeft {
		return
	}
	if p.overRow(m.X, m.Y) {
		p.inside = true
		return
	}
	p.inside = false
	if at := p.table.At(m.Y - p.at.top); at >= 0 {
		p.table.Select(at)
		p.chosen = 0
	}
}

// overRow tells whether a point lies on the selected row's side.
func (p *Pane) overRow(x, y int) bool { return x >= p.at.right || y >= p.at.bottom }

// wheel scrolls what the mouse is over.
func (p *Pane) wheel(m tea.Mouse) {
	by := 3
	if m.Button == tea.MouseWheelUp {
		by = -3
	}
	if m.Button != tea.MouseWheelUp && m.Button != tea.MouseWheelDown {
		return
	}
	if p.overRow(m.X, m.Y) {
		p.scroll(by)
		return
	}
	p.table.Move(by)
	p.chosen = 0
}
