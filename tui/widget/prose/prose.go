// Package prose sets text of several colours: spans, each with its pen, wrapped at words into rows, and a pager to read them
// in. Its texts come from datasets and models: they are sanitised on the way.
package prose

import (
	"strings"
	"unicode/utf8"

	"lathe/themes"
	"lathe/tui/widget"
)

// Span is a stretch of text in one pen.
type Span struct {
	Text string
	Pen  themes.Pen
	// Anchor marks what a pager can be asked to show.
	Anchor bool
}

// piece is a part of a span on one row, sanitised.
type piece struct {
	text   string
	width  int
	pen    themes.Pen
	anchor bool
}

// Row is one row of wrapped text.
type Row []piece

// Plain is a row of one text in one pen, not wrapped.
func Plain(p themes.Pen, text string) Row {
	text = widget.Sanitize(text)
	return Row{{text: text, width: widget.Width(text), pen: p}}
}

// Anchored tells whether the row shows a part of an anchored span.
func (r Row) Anchored() bool {
	for _, p := range r {
		if p.anchor {
			return true
		}
	}
	return false
}

// Draw draws the row, exactly width cells.
func (r Row) Draw(th *themes.Theme, width int) string {
	l := widget.NewLine(th, width)
	r.Append(l)
	return l.String()
}

// Append adds the row to a line, as far as it fits.
func (r Row) Append(l *widget.Line) {
	for _, p := range r {
		l.AddSafe(p.pen, p.text, p.width)
	}
}

// Wrap sets spans in rows of at most width cells: after each newline, between words where it can, inside words where it
// must. Rows that go on with a line begin hang cells to the right. A word may have several pens.
func Wrap(spans []Span, width, hang int) []Row {
	if width <= 0 {
		return nil
	}
	w := wrapper{width: width, hang: min(max(hang, 0), width/2)}
	for _, s := range spans {
		w.span(s)
	}
	w.flush()
	if len(w.row) > 0 || len(w.rows) == 0 || w.broken {
		w.rows = append(w.rows, w.row)
	}
	return w.rows
}

type wrapper struct {
	width, hang int
	rows        []Row
	row         Row
	used        int
	word        []piece // not yet on a row
	wordWidth   int
	soft        bool // the row goes on with a line
	broken      bool // the last thing was a newline
}

func (w *wrapper) span(s Span) {
	for rest := s.Text; rest != ""; {
		w.broken = false
		switch n := strings.IndexAny(rest, " \t\r\n"); {
		case n > 0:
			w.addWord(rest[:n], s)
			rest = rest[n:]
		case n < 0:
			w.addWord(rest, s)
			rest = ""
		case rest[0] == '\n' || strings.HasPrefix(rest, "\r\n"):
			w.newline()
			rest = rest[strings.IndexByte(rest, '\n')+1:]
		case rest[0] == '\r':
			w.addWord("\r", s)
			rest = rest[1:]
		default:
			n := len(rest) - len(strings.TrimLeft(rest, " \t"))
			w.blanks(strings.ReplaceAll(rest[:n], "\t", "    "), s)
			rest = rest[n:]
		}
	}
}

func (w *wrapper) addWord(text string, s Span) {
	t := widget.Sanitize(text)
	p := piece{text: t, width: widget.Width(t), pen: s.Pen, anchor: s.Anchor}
	if p.width == 0 {
		return
	}
	w.word = append(w.word, p)
	w.wordWidth += p.width
}

// blanks ends a word. Those at a row's end vanish there.
func (w *wrapper) blanks(text string, s Span) {
	w.flush()
	n := min(len(text), w.width-w.used)
	if n <= 0 || w.soft && w.used <= w.hang {
		return
	}
	w.append(piece{text: text[:n], width: n, pen: s.Pen, anchor: s.Anchor})
}

func (w *wrapper) newline() {
	w.flush()
	w.rows = append(w.rows, w.row)
	w.row, w.used, w.soft, w.broken = nil, 0, false, true
}

// flush puts the gathered word on a row.
func (w *wrapper) flush() {
	if w.wordWidth == 0 {
		return
	}
	if w.used+w.wordWidth > w.width && !w.fresh() && w.wordWidth <= w.width-w.hang {
		w.wrap()
	}
	for _, p := range w.word {
		w.put(p)
	}
	w.word, w.wordWidth = w.word[:0], 0
}

// fresh tells whether the row has nothing but its indent.
func (w *wrapper) fresh() bool { return w.used == 0 || w.soft && w.used <= w.hang }

func (w *wrapper) wrap() {
	w.rows = append(w.rows, w.row)
	w.row, w.used, w.soft = nil, 0, true
	if w.hang > 0 {
		w.row = Row{{text: strings.Repeat(" ", w.hang), width: w.hang}}
		w.used = w.hang
	}
}

func (w *wrapper) put(p piece) {
	for p.width > w.width-w.used {
		head := widget.Truncate(p.text, w.width-w.used, "")
		hw := widget.Width(head)
		if hw == 0 || head == "" {
			if w.fresh() { // a wide character on a row of one cell
				p = piece{text: "?", width: 1, pen: p.pen, anchor: p.anchor}
				break
			}
			w.wrap()
			continue
		}
		w.append(piece{head, hw, p.pen, p.anchor})
		p.text, p.width = p.text[len(head):], p.width-hw
		if p.width == 0 {
			return
		}
		w.wrap()
	}
	w.append(p)
}

// parting keeps what follows from joining what stands before: a vowel sign that begins a token would be drawn on the cell
// before it by some terminals and on its own by others.
const parting = "\u200b"

// append adds a piece to the row, parted from the one before where the two would share a cell.
func (w *wrapper) append(p piece) {
	if p.text[0] >= utf8.RuneSelf {
		before := piece{text: " ", width: 1}
		if n := len(w.row); n > 0 {
			before = w.row[n-1]
		}
		if widget.Width(before.text+p.text) != before.width+p.width {
			p.text = parting + p.text
		}
	}
	w.row = append(w.row, p)
	w.used += p.width
}
