package tokenview

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"lathe/themes"
	"lathe/tui/widget"

	"github.com/charmbracelet/x/ansi"
)

// piece is a stretch of one token on one line; token -1 is a separator.
type piece struct {
	text  string
	width int
	token int
	space bool // white space made visible
}

type line []piece

// layout breaks the tokens into lines of at most width cells: after each
// newline, and before a token that does not fit. Tokens wider than a line are
// broken between characters.
func (m *Model) layout(width int) {
	if m.width == width && m.laidFor == m.th {
		return
	}
	m.width, m.laidFor = width, m.th
	m.lines = m.lines[:0]
	m.lineOf = make([]int32, len(m.tokens))
	f := flow{width: width}
	separate := !m.th.Shaded()
	for i := range m.tokens {
		pieces := m.pieces(i)
		w := 0
		for _, p := range pieces {
			w += p.width
		}
		if f.used > 0 && f.used+w > width {
			f.wrap()
		}
		if separate && f.used > 0 && f.used+1+min(w, 1) <= width {
			f.add(piece{text: m.th.Glyphs.Vertical, width: 1, token: -1})
		}
		m.lineOf[i] = int32(len(f.lines))
		for _, p := range pieces {
			f.add(p)
			if p.space && p.text == m.th.Glyphs.Newline {
				f.wrap()
			}
		}
	}
	if f.used > 0 {
		f.wrap()
	}
	m.lines = f.lines
	m.revision++
	for i := range m.lineOf {
		// An empty token at the end has no line of its own.
		m.lineOf[i] = min(m.lineOf[i], int32(max(len(m.lines)-1, 0)))
	}
}

// flow fills lines with pieces.
type flow struct {
	width, used int
	cur         line
	lines       []line
}

func (f *flow) wrap() {
	f.lines = append(f.lines, f.cur)
	f.cur, f.used = nil, 0
}

func (f *flow) add(p piece) {
	for p.width > f.width-f.used {
		head := widget.Truncate(p.text, f.width-f.used, "")
		hw := widget.Width(head)
		if hw == 0 {
			if f.used == 0 { // a wide character on a line of one cell
				p = piece{text: "?", width: 1, token: p.token}
				break
			}
			f.wrap()
			continue
		}
		f.cur = append(f.cur, piece{head, hw, p.token, p.space})
		p.text, p.width = p.text[len(head):], p.width-hw
		f.wrap()
	}
	if p.width == 0 {
		return
	}
	f.cur = append(f.cur, p)
	f.used += p.width
}

// pieces makes a token's text visible: spaces, tabs and newlines as signs,
// bytes that are no whole character as \xF0, the rest sanitised. A token
// without text shows as its id.
func (m *Model) pieces(i int) []piece {
	s := m.tokens[i].Text
	g := &m.th.Glyphs
	if s == "" {
		s = fmt.Sprintf("<%d>", m.tokens[i].ID)
	}
	var out []piece
	sign := func(glyph string) { out = append(out, piece{glyph, 1, i, true}) }
	for len(s) > 0 {
		switch {
		case s[0] == ' ':
			n := len(s) - len(strings.TrimLeft(s, " "))
			out = append(out, piece{strings.Repeat(g.Space, n), n, i, true})
			s = s[n:]
		case s[0] == '\t':
			sign(g.Tab)
			s = s[1:]
		case strings.HasPrefix(s, "\r\n"):
			s = s[1:]
		case s[0] == '\n':
			sign(g.Newline)
			s = s[1:]
		default:
			n := wordLen(s)
			t := s[:n]
			if r, k := utf8.DecodeRuneInString(t); r == utf8.RuneError && k == 1 {
				t = fmt.Sprintf(`\x%02X`, s[0])
			}
			t = widget.Sanitize(t)
			out = append(out, piece{t, ansi.StringWidth(t), i, false})
			s = s[n:]
		}
	}
	return out
}

// wordLen is the length of the text before white space or a broken byte; a
// broken byte stands alone.
func wordLen(s string) int {
	for i, r := range s {
		broken := r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd")
		switch {
		case broken && i == 0:
			return 1
		case broken, r == ' ', r == '\t', r == '\n', strings.HasPrefix(s[i:], "\r\n"):
			return i
		}
	}
	return len(s)
}

// Legend explains the colours on one row.
func (m *Model) Legend(width int) string {
	l := widget.NewLine(m.th, width)
	muted := themes.FG(themes.Muted)
	if m.mode == Heat {
		l.Add(muted, widget.Number(m.low)+" ")
		for i := range themes.NumHeat {
			l.Add(themes.Heat((float64(i)+0.5)/themes.NumHeat), "  ")
		}
		return l.Add(muted, " "+widget.Number(m.high)).String()
	}
	total, trained, special := m.Counts()
	add := func(t Token, name string, n int) {
		l.Add(m.tokenPen(0, &t), " "+name+" ").Add(muted, fmt.Sprintf(" %d  ", n))
	}
	add(Token{Trained: true}, "trained", trained)
	add(Token{}, "masked", total-trained)
	add(Token{Special: true}, "special", special)
	return l.String()
}
