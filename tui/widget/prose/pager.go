package prose

import (
	"strings"

	"lathe/themes"
	"lathe/tui/widget"
)

// Pager shows rows through a window that can be moved. The zero value shows the beginning.
type Pager struct {
	offset, height, total int
	// Tail keeps the end in sight while rows are added, until the window is moved up.
	Tail bool
}

// Key handles the keys by which a text is read and says whether it knew the key: up/k, down/j, pgup/ctrl+b, pgdown/ctrl+f,
// ctrl+u, ctrl+d, home, end/G.
func (p *Pager) Key(key string) bool {
	switch key {
	case "up", "k":
		p.Move(-1)
	case "down", "j":
		p.Move(1)
	case "pgup", "ctrl+b":
		p.Move(-max(p.height-1, 1))
	case "pgdown", "ctrl+f":
		p.Move(max(p.height-1, 1))
	case "ctrl+u":
		p.Move(-max(p.height/2, 1))
	case "ctrl+d":
		p.Move(max(p.height/2, 1))
	case "home":
		p.Move(-p.total)
	case "end", "G":
		p.Move(p.total)
	default:
		return false
	}
	return true
}

// Move moves the window by delta rows.
func (p *Pager) Move(delta int) {
	p.offset = p.clamp(p.offset + delta)
	p.Tail = p.offset >= p.total-p.height
}

// Top goes back to the beginning.
func (p *Pager) Top() { p.offset, p.Tail = 0, false }

// Offset is the first row in the window, Hidden the number of rows below it.
func (p *Pager) Offset() int { return p.offset }

// Hidden is the number of rows below the window.
func (p *Pager) Hidden() int { return max(p.total-p.height-p.offset, 0) }

// Reveal moves the window so that row i of total rows is in its upper part, where it is not in sight already.
func (p *Pager) Reveal(i int) {
	if i >= p.offset && i < p.offset+max(p.height, 1) {
		return
	}
	p.offset = max(i-max(p.height/4, 0), 0) // View clamps
	p.Tail = false
}

func (p *Pager) clamp(offset int) int { return min(max(offset, 0), max(p.total-p.height, 0)) }

// View draws the window on rows in width × height, with a scroll bar where there is more.
func (p *Pager) View(th *themes.Theme, rows []Row, width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	p.total, p.height = len(rows), height
	if p.Tail {
		p.offset = len(rows)
	}
	p.offset = p.clamp(p.offset)
	bar := 0
	if len(rows) > height && width > 4 {
		bar = 1
	}
	var b strings.Builder
	for i := range height {
		if i > 0 {
			b.WriteByte('\n')
		}
		var row Row
		if at := p.offset + i; at < len(rows) {
			row = rows[at]
		}
		b.WriteString(row.Draw(th, width-2*bar))
		if bar > 0 {
			b.WriteByte(' ')
			b.WriteString(widget.ScrollCell(th, i, height, p.offset, len(rows)))
		}
	}
	return b.String()
}
