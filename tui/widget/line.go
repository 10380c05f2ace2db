package widget

import (
	"lathe/themes"

	"github.com/charmbracelet/x/ansi"
)

// Line builds one row of a fixed width from styled pieces. Neighbours of the
// same pen share one escape sequence; what does not fit is cut.
type Line struct {
	th    *themes.Theme
	buf   []byte
	width int
	used  int
	bg    themes.Token
	pen   themes.Pen
	open  bool // a pen other than the default is in force
}

// NewLine starts a row of width cells.
func NewLine(th *themes.Theme, width int) *Line {
	return &Line{th: th, width: max(width, 0), buf: make([]byte, 0, width+48)}
}

// On sets the background of every piece that has none of its own.
func (l *Line) On(bg themes.Token) *Line { l.bg = bg; return l }

// Left is the number of cells still free.
func (l *Line) Left() int { return l.width - l.used }

// Add appends text, sanitised, as far as it fits.
func (l *Line) Add(p themes.Pen, s string) *Line {
	s = Sanitize(s)
	w := Width(s)
	if w > l.Left() {
		s = Truncate(s, l.Left(), "")
		w = Width(s)
	}
	return l.put(p, s, w)
}

// AddSafe appends text that is sanitised and known to be w cells wide, as far
// as it fits.
func (l *Line) AddSafe(p themes.Pen, s string, w int) *Line {
	if w > l.Left() {
		s = Truncate(s, l.Left(), "")
		w = Width(s)
	}
	return l.put(p, s, w)
}

// Field appends text in a field of exactly w cells, cut with an ellipsis.
func (l *Line) Field(p themes.Pen, s string, w int, a Align) *Line {
	w = min(w, l.Left())
	if w <= 0 {
		return l
	}
	return l.put(p, Fit(Sanitize(s), w, a, l.th.Glyphs.Ellipsis), w)
}

// Space appends n blank cells.
func (l *Line) Space(n int) *Line {
	n = min(n, l.Left())
	if n > 0 {
		l.put(themes.Pen{}, spaces(n), n)
	}
	return l
}

// Repeat appends a one-cell glyph n times.
func (l *Line) Repeat(p themes.Pen, glyph string, n int) *Line {
	n = min(n, l.Left())
	if n <= 0 {
		return l
	}
	l.switchTo(p, glyph == " ")
	for range n {
		l.buf = append(l.buf, glyph...)
	}
	l.used += n
	return l
}

// FillTo appends blanks until used cells are col.
func (l *Line) FillTo(col int) *Line { return l.Space(col - l.used) }

// String pads the row to its width and returns it.
func (l *Line) String() string {
	l.Space(l.Left())
	if l.open {
		l.buf = append(l.buf, ansi.ResetStyle...)
		l.open, l.pen = false, themes.Pen{}
	}
	return string(l.buf)
}

func (l *Line) put(p themes.Pen, s string, w int) *Line {
	if s == "" {
		return l
	}
	l.switchTo(p, blank(s))
	l.buf = append(l.buf, s...)
	l.used += w
	return l
}

// switchTo puts p in force. Blanks show no foreground, so they keep the pen
// in force where the background is the same.
func (l *Line) switchTo(p themes.Pen, isBlank bool) {
	if p.BG == themes.None {
		p.BG = l.bg
	}
	p = l.th.Canonical(p)
	const visible = themes.Underline | themes.Reverse | themes.Strike
	if isBlank && p.BG == l.pen.BG && (p.Attr|l.pen.Attr)&visible == 0 && !l.th.Mono() {
		return
	}
	if p == l.pen && (l.open || p == (themes.Pen{})) {
		return
	}
	l.buf = l.th.AppendPen(l.buf, p)
	l.pen, l.open = p, p != (themes.Pen{})
}

func blank(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != ' ' {
			return false
		}
	}
	return true
}
