package widget

import (
	"strings"

	"lathe/themes"
)

// Column of a Table. Width 0 makes it share what the fixed columns leave.
type Column struct {
	Title  string
	Width  int
	Weight int // share of a flexible column; 0 counts as 1
	Min    int // a flexible column that would get less is hidden, fixed ones never are
	Align  Align
}

// Cell is what a Table shows at one row and column. Text is sanitised when it
// is drawn; None as pen is Text.
type Cell struct {
	Text string
	Note string // at the right end of the field, muted, where there is room
	Pen  themes.Pen
}

// Table shows rows that it asks for one by one: a million rows cost what is
// visible. The zero value with Columns, Rows and Cell set is ready.
type Table struct {
	Columns  []Column
	Rows     func() int                 // number of rows
	Cell     func(row, column int) Cell // called for visible rows only
	Marked   func(row int) bool         // optional: rows with a mark in the margin
	Focused  bool
	NoHeader bool
	Empty    string // shown instead of rows when there are none

	cursor, offset, page int
}

// Cursor is the selected row, -1 when there is none.
func (t *Table) Cursor() int {
	t.clamp()
	return t.cursor
}

// Len is the number of rows.
func (t *Table) Len() int {
	if t.Rows == nil {
		return 0
	}
	return max(t.Rows(), 0)
}

// Select moves the cursor to row, clamped to what there is.
func (t *Table) Select(row int) {
	t.cursor = row
	t.clamp()
}

// Move moves the cursor by delta rows.
func (t *Table) Move(delta int) { t.Select(max(t.cursor, 0) + delta) }

// At is the row that the last View drew at line y, -1 when there is none.
func (t *Table) At(y int) int {
	if !t.NoHeader {
		y--
	}
	if row := t.offset + y; y >= 0 && y < t.page && row < t.Len() {
		return row
	}
	return -1
}

// Page is the number of rows the last View had room for.
func (t *Table) Page() int { return max(t.page, 1) }

// Key handles the keys by which lists are walked and says whether it knew the
// key: up/k, down/j, pgup/ctrl+b, pgdown/ctrl+f, ctrl+u, ctrl+d, home/g, end/G.
func (t *Table) Key(key string) bool {
	switch key {
	case "up", "k":
		t.Move(-1)
	case "down", "j":
		t.Move(1)
	case "pgup", "ctrl+b":
		t.Move(-t.Page())
	case "pgdown", "ctrl+f":
		t.Move(t.Page())
	case "ctrl+u":
		t.Move(-max(t.Page()/2, 1))
	case "ctrl+d":
		t.Move(max(t.Page()/2, 1))
	case "home", "g":
		t.Select(0)
	case "end", "G":
		t.Select(t.Len() - 1)
	default:
		return false
	}
	return true
}

func (t *Table) clamp() {
	t.cursor = min(max(t.cursor, 0), t.Len()-1)
}

// scroll keeps the cursor in sight, one row from the edge where there is one.
func (t *Table) scroll(rows int) {
	t.clamp()
	n := t.Len()
	margin := min(1, (rows-1)/2)
	c := max(t.cursor, 0)
	t.offset = max(t.offset, min(c+margin, n-1)-rows+1)
	t.offset = min(t.offset, max(c-margin, 0))
	t.offset = max(min(t.offset, n-rows), 0)
	t.page = rows
}

// View draws the table in width × height.
func (t *Table) View(th *themes.Theme, width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	out := make([]string, 0, height)
	n := t.Len()
	body := height
	bar := 0
	if !t.NoHeader {
		body--
	}
	if n > body && width > 4 {
		bar = 1
	}
	sizes := t.widths(width - 2 - 2*bar)
	if !t.NoHeader {
		out = append(out, t.header(th, sizes, width))
	}
	if n == 0 {
		if t.Empty != "" && body > 0 {
			out = append(out, Empty(th, width, body, t.Empty))
		}
		return Block(strings.Join(out, "\n"), width, height)
	}
	t.scroll(max(body, 1))
	for i := range body {
		row := t.offset + i
		if row >= n {
			out = append(out, spaces(width))
			continue
		}
		line := t.row(th, row, sizes, width-2*bar)
		if bar > 0 {
			line += " " + ScrollCell(th, i, body, t.offset, n)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// widths gives each column its cells; columns stand two blanks apart.
func (t *Table) widths(total int) []int {
	sizes := make([]int, len(t.Columns))
	left, weights := total, 0
	for i, c := range t.Columns {
		if i > 0 {
			left -= 2
		}
		if c.Width > 0 {
			sizes[i] = c.Width
			left -= c.Width
		} else {
			weights += max(c.Weight, 1)
		}
	}
	for i, c := range t.Columns {
		if c.Width > 0 || weights == 0 {
			continue
		}
		w := max(left, 0) * max(c.Weight, 1) / weights
		weights -= max(c.Weight, 1)
		left -= w
		if w < c.Min {
			left += w
			w = 0
		}
		sizes[i] = w
	}
	return sizes
}

func (t *Table) header(th *themes.Theme, sizes []int, width int) string {
	l := NewLine(th, width).Space(2)
	first := true
	for i, c := range t.Columns {
		if sizes[i] == 0 {
			continue
		}
		if !first {
			l.Space(2)
		}
		first = false
		l.Field(themes.FG(themes.Muted), c.Title, sizes[i], c.Align)
	}
	return l.String()
}

func (t *Table) row(th *themes.Theme, row int, sizes []int, width int) string {
	l := NewLine(th, width)
	selected := row == t.cursor
	lit := selected && t.Focused
	if lit {
		l.On(themes.Select)
	}
	switch {
	case selected && t.Focused:
		l.Repeat(themes.FG(themes.Accent), th.Glyphs.Pointer, 1)
	case selected:
		l.Repeat(themes.FG(themes.Faint), th.Glyphs.Pointer, 1)
	case t.Marked != nil && t.Marked(row):
		l.Repeat(themes.FG(themes.Accent), th.Glyphs.Bullet, 1)
	default:
		l.Space(1)
	}
	l.Space(1)
	first := true
	for i, c := range t.Columns {
		if sizes[i] == 0 {
			continue
		}
		if !first {
			l.Space(2)
		}
		first = false
		cell := t.Cell(row, i)
		pen := cell.Pen
		if pen.FG == themes.None {
			pen.FG = themes.Text
		}
		if lit && (pen.FG == themes.Text || pen.FG == themes.Muted || pen.FG == themes.Faint || pen.FG == themes.Masked) {
			pen.FG = themes.OnSelect
		}
		w := sizes[i]
		cell.Note = Sanitize(cell.Note)
		note := Width(cell.Note)
		if cell.Note != "" && note > w*2/3 {
			cell.Note, note = "", 0
		}
		if note > 0 {
			w -= note + 2
		}
		l.Field(pen, clip(cell.Text, w), w, c.Align)
		if note > 0 {
			l.Space(2).Field(notePen(lit), cell.Note, note, Right)
		}
	}
	return l.String()
}

func notePen(lit bool) themes.Pen {
	if lit {
		return themes.FG(themes.OnSelect)
	}
	return themes.FG(themes.Muted)
}

// clip cuts a long text before it is sanitised and measured: a row of a
// megabyte costs no more than one of a kilobyte.
func clip(s string, width int) string {
	limit := width*16 + 64 // bytes: a wide cluster of many marks is about this
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xc0 == 0x80 {
		limit--
	}
	return s[:limit]
}

// ScrollCell is row i of a scroll bar of height rows over n items of which
// those from offset on are visible.
func ScrollCell(th *themes.Theme, i, height, offset, n int) string {
	if n <= height || height <= 0 {
		return " "
	}
	thumb := max(height*height/n, 1)
	span := height - thumb
	at := 0
	if n > height {
		at = (offset*span + (n-height)/2) / (n - height)
	}
	if i >= at && i < at+thumb {
		return th.Paint(themes.Muted, th.Glyphs.Thumb)
	}
	return th.Paint(themes.Border, th.Glyphs.Rail)
}
