package dialog

import (
	"strings"

	"lathe/themes"
	"lathe/tui/widget"

	tea "charm.land/bubbletea/v2"
)

// Confirm asks a question that is answered by yes or no.
type Confirm struct {
	Title    string
	Body     string
	Yes, No  string // labels; "Yes" and "No" unless set
	Danger   bool   // what cannot be undone: red, and No is preselected
	OnYes    func() tea.Cmd
	OnNo     func() tea.Cmd // also on esc; may be nil
	answer   bool
	answered bool // the preselection was made
}

// Update answers by y, n, enter and space; left, right, h, l and tab choose.
func (c *Confirm) Update(msg tea.Msg) (bool, tea.Cmd) {
	c.preselect()
	key, ok := msg.(tea.KeyPressMsg)
	if !ok {
		return false, nil
	}
	switch key.String() {
	case "y", "Y":
		return true, call(c.OnYes)
	case "n", "N", "q":
		return true, call(c.OnNo)
	case "left", "right", "h", "l", "tab", "shift+tab":
		c.answer = !c.answer
	case "enter", "space":
		if c.answer {
			return true, call(c.OnYes)
		}
		return true, call(c.OnNo)
	}
	return false, nil
}

// Cancel is No.
func (c *Confirm) Cancel() tea.Cmd { return call(c.OnNo) }

func (c *Confirm) preselect() {
	if !c.answered {
		c.answer, c.answered = !c.Danger, true
	}
}

// View draws the question with its two buttons.
func (c *Confirm) View(th *themes.Theme, width, height int) string {
	c.preselect()
	w := fitWidth(min(max(longest(c.Body), widget.Width(c.Title)+4), 60), 36, width)
	inner := max(w-4, 1)
	body := clipRows(paragraph(th, themes.FG(themes.Text), c.Body, inner), height-4)
	tone := themes.None
	if c.Danger {
		tone = themes.Bad
	}
	yes, no := orText(c.Yes, "Yes"), orText(c.No, "No")
	l := widget.NewLine(th, inner)
	l.Space(inner - widget.Width(yes) - widget.Width(no) - 10)
	button(l, yes, "y", c.answer, c.Danger)
	l.Space(2)
	button(l, no, "n", !c.answer, false)
	return box(th, c.Title, tone, body, l.String(), w)
}

// button draws a label with its key; the chosen one is lit.
func button(l *widget.Line, label, key string, chosen, danger bool) {
	pen, keyPen := themes.FG(themes.Muted), themes.FG(themes.Accent)
	if chosen {
		pen = themes.FG(themes.OnCursor, themes.Bold).On(themes.Cursor)
		if danger {
			pen = themes.Pen{FG: themes.Bad, Attr: themes.Reverse | themes.Bold}
		}
		keyPen = pen
	}
	l.Add(keyPen, " "+key).Add(pen, " "+label+" ")
}

// Message tells something that has to be read.
type Message struct {
	Title string
	Body  string
	Kind  widget.NoticeKind
	Done  func() tea.Cmd // may be nil
	top   int
	rows  int
	page  int
}

// Update closes on enter, space and q; up and down scroll.
func (m *Message) Update(msg tea.Msg) (bool, tea.Cmd) {
	key, ok := msg.(tea.KeyPressMsg)
	if !ok {
		return false, nil
	}
	switch key.String() {
	case "enter", "space", "q":
		return true, call(m.Done)
	}
	m.top = scrollKey(key.String(), m.top, m.page, m.rows)
	return false, nil
}

// Cancel calls Done too: the message was seen.
func (m *Message) Cancel() tea.Cmd { return call(m.Done) }

// View draws the text, scrolled where it is long.
func (m *Message) View(th *themes.Theme, width, height int) string {
	w := fitWidth(min(max(longest(m.Body), widget.Width(m.Title)+4), 76), 30, width)
	inner := max(w-4, 1)
	rows := paragraph(th, themes.FG(themes.Text), m.Body, inner)
	m.rows, m.page = len(rows), max(height-4, 1)
	m.top = min(max(m.top, 0), max(m.rows-m.page, 0))
	shown := rows[m.top:min(m.top+m.page, m.rows)]
	tone := themes.None
	if m.Kind >= widget.NoticeWarn {
		_, tone = widget.Notice{Kind: m.Kind}.Sign(th)
	}
	pairs := []string{"enter", "close"}
	if m.rows > m.page {
		pairs = append(pairs, th.Glyphs.Up+th.Glyphs.Down, "scroll")
	}
	return box(th, m.Title, tone, shown, hint(th, inner, pairs...), w)
}

// scrollKey moves a scroll position by a key.
func scrollKey(key string, top, page, rows int) int {
	switch key {
	case "up", "k":
		top--
	case "down", "j":
		top++
	case "pgup", "ctrl+b":
		top -= page
	case "pgdown", "ctrl+f":
		top += page
	case "home", "g":
		top = 0
	case "end", "G":
		top = rows
	}
	return min(max(top, 0), max(rows-page, 0))
}

func clipRows(rows []string, n int) []string { return rows[:min(len(rows), max(n, 1))] }

func call(f func() tea.Cmd) tea.Cmd {
	if f == nil {
		return nil
	}
	return f()
}

func orText(s, other string) string {
	if strings.TrimSpace(s) == "" {
		return other
	}
	return s
}
