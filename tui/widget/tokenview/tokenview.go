// Package tokenview shows a tokenised text: each token apart from its
// neighbours, trained ones green, masked ones dim, special ones marked, white
// space visible, or coloured by a value such as the loss of each token.
package tokenview

import (
	"math"
	"strconv"
	"strings"

	"lathe/themes"
	"lathe/tui/widget"
)

// Token is one token of the text.
type Token struct {
	Text    string // the bytes it stands for, not always whole characters
	ID      int
	Trained bool    // takes part in the loss
	Special bool    // control token
	Heat    float64 // NaN: none
}

// Mode is what the colours tell.
type Mode uint8

// The modes: what colours the tokens.
const (
	Mask Mode = iota // trained, masked, special
	Heat             // Token.Heat, see SetHeat
)

// Model is a token view with a cursor. Make it with New.
type Model struct {
	Focused bool // show the cursor

	th       *themes.Theme
	tokens   []Token
	mode     Mode
	low      float64 // Heat range
	high     float64
	cursor   int
	anchor   int // other end of the selection, -1 when there is none
	offset   int // first line shown
	height   int // of the last View
	follow   bool
	width    int // that lines were laid out for
	lines    []line
	lineOf   []int32 // line on which a token begins
	laidFor  *themes.Theme
	cache    widget.Cache[state]
	revision uint64
}

// state is all that a drawing depends on.
type state struct {
	revision      uint64
	width, height int
	cursor        int
	anchor        int
	offset        int
	focused       bool
	th            *themes.Theme
}

// New makes an empty view.
func New(th *themes.Theme) *Model {
	return &Model{th: th, anchor: -1, high: 1}
}

// SetTheme recolours the view.
func (m *Model) SetTheme(th *themes.Theme) { m.th = th }

// SetTokens shows other tokens, from the first one on.
func (m *Model) SetTokens(tokens []Token) {
	m.tokens = tokens
	m.cursor, m.anchor, m.offset = 0, -1, 0
	m.width = 0
	m.revision++
}

// Tokens are the tokens shown.
func (m *Model) Tokens() []Token { return m.tokens }

// SetMode chooses what the colours tell.
func (m *Model) SetMode(mode Mode) { m.mode = mode; m.revision++ }

// Mode is what the colours tell.
func (m *Model) Mode() Mode { return m.mode }

// SetHeat sets the values that are drawn coldest and hottest; where low is
// not below high, they are taken from the tokens.
func (m *Model) SetHeat(low, high float64) {
	if !(low < high) {
		low, high = math.Inf(1), math.Inf(-1)
		for _, t := range m.tokens {
			if !math.IsNaN(t.Heat) && !math.IsInf(t.Heat, 0) {
				low, high = min(low, t.Heat), max(high, t.Heat)
			}
		}
		if !(low < high) {
			low, high = 0, 1
		}
	}
	m.low, m.high = low, high
	m.revision++
}

// Counts are the numbers of tokens, of trained and of special ones.
func (m *Model) Counts() (total, trained, special int) {
	for _, t := range m.tokens {
		if t.Trained {
			trained++
		}
		if t.Special {
			special++
		}
	}
	return len(m.tokens), trained, special
}

// Cursor is the token under the cursor; ok is false when there is none.
func (m *Model) Cursor() (i int, t Token, ok bool) {
	if len(m.tokens) == 0 {
		return 0, Token{}, false
	}
	return m.cursor, m.tokens[m.cursor], true
}

// Select puts the cursor on token i and scrolls it into sight.
func (m *Model) Select(i int) {
	m.cursor = min(max(i, 0), max(len(m.tokens)-1, 0))
	m.follow = true
}

// Mark begins a selection at the cursor, or ends it.
func (m *Model) Mark() {
	if m.anchor >= 0 {
		m.anchor = -1
	} else if len(m.tokens) > 0 {
		m.anchor = m.cursor
	}
}

// Selection is the range [from, to) of selected tokens, the one under the
// cursor when no selection was begun.
func (m *Model) Selection() (from, to int) {
	if len(m.tokens) == 0 {
		return 0, 0
	}
	if m.anchor < 0 {
		return m.cursor, m.cursor + 1
	}
	return min(m.cursor, m.anchor), max(m.cursor, m.anchor) + 1
}

// Text is the text of the tokens [from, to).
func (m *Model) Text(from, to int) string {
	var b strings.Builder
	for _, t := range m.tokens[max(from, 0):min(to, len(m.tokens))] {
		b.WriteString(t.Text)
	}
	return b.String()
}

// Key handles the keys by which the view is walked and says whether it knew
// the key: arrows and hjkl, w and b to where training begins or ends, v for a
// selection, pages, home and end.
func (m *Model) Key(key string) bool {
	switch key {
	case "left", "h":
		m.Select(m.cursor - 1)
	case "right", "l":
		m.Select(m.cursor + 1)
	case "up", "k":
		m.moveLine(-1)
	case "down", "j":
		m.moveLine(1)
	case "pgup", "ctrl+b":
		m.moveLine(-max(m.height-1, 1))
	case "pgdown", "ctrl+f":
		m.moveLine(max(m.height-1, 1))
	case "home", "g":
		m.Select(0)
	case "end", "G":
		m.Select(len(m.tokens) - 1)
	case "w":
		m.nextRun(1)
	case "b":
		m.nextRun(-1)
	case "v":
		m.Mark()
	default:
		return false
	}
	return true
}

// nextRun goes to the next token, in a direction, with which a trained or
// masked run begins.
func (m *Model) nextRun(dir int) {
	for i := m.cursor + dir; i >= 0 && i < len(m.tokens); i += dir {
		if i == 0 || m.tokens[i].Trained != m.tokens[i-1].Trained {
			m.Select(i)
			return
		}
	}
	if dir > 0 {
		m.Select(len(m.tokens) - 1)
	}
}

// moveLine goes delta lines down, to the token nearest in column.
func (m *Model) moveLine(delta int) {
	if len(m.lines) == 0 || len(m.tokens) == 0 {
		m.Select(m.cursor + delta)
		return
	}
	from := int(m.lineOf[m.cursor])
	to := min(max(from+delta, 0), len(m.lines)-1)
	col := 0
	for _, p := range m.lines[from] {
		if p.token == m.cursor {
			break
		}
		col += p.width
	}
	best := m.cursor
	at := 0
	for _, p := range m.lines[to] {
		if p.token >= 0 && (at <= col || best == m.cursor) {
			best = p.token
		}
		at += p.width
	}
	m.Select(best)
}

// Scroll moves the text by lines without the cursor.
func (m *Model) Scroll(delta int) {
	m.offset = min(max(m.offset+delta, 0), max(len(m.lines)-m.height, 0))
	m.follow = false
}

// View draws the tokens in width × height.
func (m *Model) View(width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	textWidth := max(width-1, 1) // a column for the scroll bar
	m.layout(textWidth)
	m.height = height
	if m.follow && len(m.tokens) > 0 {
		at := int(m.lineOf[m.cursor])
		m.offset = min(m.offset, at)
		m.offset = max(m.offset, at-height+1)
		m.follow = false
	}
	m.offset = min(max(m.offset, 0), max(len(m.lines)-height, 0))
	k := state{m.revision, width, height, m.cursor, m.anchor, m.offset, m.Focused, m.th}
	return m.cache.Get(k, func() string { return m.draw(width, textWidth, height) })
}

func (m *Model) draw(width, textWidth, height int) string {
	var b strings.Builder
	for i := range height {
		if i > 0 {
			b.WriteByte('\n')
		}
		l := widget.NewLine(m.th, textWidth)
		if at := m.offset + i; at < len(m.lines) {
			for _, p := range m.lines[at] {
				l.AddSafe(m.pen(p), p.text, p.width)
			}
		}
		b.WriteString(l.String())
		if width > textWidth {
			b.WriteString(widget.ScrollCell(m.th, i, height, m.offset, len(m.lines)))
		}
	}
	return b.String()
}

// pen is how a piece is drawn.
func (m *Model) pen(p piece) themes.Pen {
	if p.token < 0 {
		return themes.FG(themes.Border)
	}
	t := &m.tokens[p.token]
	pen := m.tokenPen(p.token, t)
	if p.space {
		pen.FG = themes.Faint
		if m.mode == Heat && m.heated(t) {
			pen.FG = m.heatPen(t).FG
		}
	}
	from, to := m.Selection()
	switch {
	case m.Focused && p.token == m.cursor:
		return themes.Pen{FG: themes.OnCursor, BG: themes.Cursor}
	case m.anchor >= 0 && p.token >= from && p.token < to:
		return themes.Pen{FG: themes.OnSelect, BG: themes.Select}
	}
	return pen
}

func (m *Model) tokenPen(i int, t *Token) themes.Pen {
	if m.mode == Heat && m.heated(t) {
		return m.heatPen(t)
	}
	fg, bg := themes.Masked, themes.MaskedA
	if t.Trained {
		fg, bg = themes.Trained, themes.TrainedA
	}
	if i%2 == 1 {
		bg++ // the other shade
	}
	if !m.th.Shaded() {
		bg = themes.None
	}
	pen := themes.FG(fg).On(bg)
	if t.Special {
		pen.FG = themes.Special
		if t.Trained {
			pen.Attr |= themes.Bold
		}
	}
	return pen
}

// heated says whether a token has a value to be coloured by.
func (m *Model) heated(t *Token) bool { return !math.IsNaN(t.Heat) }

func (m *Model) heatPen(t *Token) themes.Pen {
	return themes.Heat((t.Heat - m.low) / (m.high - m.low))
}

// Detail describes the token under the cursor on one row.
func (m *Model) Detail(width int) string {
	l := widget.NewLine(m.th, width)
	i, t, ok := m.Cursor()
	if !ok {
		return l.String()
	}
	muted, text := themes.FG(themes.Muted), themes.FG(themes.Text)
	l.Add(muted, "token ").Add(text, strconv.Itoa(i+1)+"/"+strconv.Itoa(len(m.tokens)))
	l.Add(muted, "  id ").Add(text, strconv.Itoa(t.ID)).Space(2)
	l.Add(text, strconv.Quote(clip(t.Text, 64))).Space(2)
	if t.Trained {
		l.Add(themes.FG(themes.Trained), "trained")
	} else {
		l.Add(themes.FG(themes.Masked), "masked")
	}
	if t.Special {
		l.Space(2).Add(themes.FG(themes.Special), "special")
	}
	if m.mode == Heat && m.heated(&t) {
		l.Space(2).Add(muted, "value ").Add(text, widget.Number(t.Heat))
	}
	return l.String()
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
