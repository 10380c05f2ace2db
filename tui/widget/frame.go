package widget

import (
	"strings"

	"lathe/themes"
)

// Frame is the border of a pane, with a title set into its top edge.
type Frame struct {
	Title   string // upper left
	Info    string // upper right: counts, state
	Foot    string // lower right: position, hints
	Focused bool
	Tone    themes.Token // colour of the border when not None: Bad for a failure
}

// Inner is the size left for the body of a frame of width × height.
func (Frame) Inner(width, height int) (int, int) { return max(width-4, 0), max(height-2, 0) }

// View draws body, of any size, in a frame of width × height. One blank cell
// keeps the text off the border on either side.
func (f Frame) View(th *themes.Theme, body string, width, height int) string {
	if width < 5 || height < 2 {
		return Block("", width, height)
	}
	border := themes.FG(themes.Border)
	title := themes.FG(themes.Muted)
	if f.Focused {
		border, title = themes.FG(themes.BorderFocus), themes.FG(themes.Title)
	}
	if f.Tone != themes.None {
		border = themes.FG(f.Tone)
	}
	g := &th.Glyphs
	iw, ih := f.Inner(width, height)
	var b strings.Builder
	b.Grow(len(body) + height*40 + width*8)
	b.WriteString(f.edge(th, border, title, width, g.TopLeft, g.TopRight, f.Title, f.Info))
	left := th.Draw(border, g.Vertical) + " "
	right := " " + th.Draw(border, g.Vertical)
	rest, more := body, body != ""
	for range ih {
		var line string
		if more {
			line, rest, more = strings.Cut(rest, "\n")
		}
		b.WriteByte('\n')
		b.WriteString(left)
		b.WriteString(Fit(line, iw, Left, ""))
		b.WriteString(right)
	}
	b.WriteByte('\n')
	b.WriteString(f.edge(th, border, title, width, g.BottomLeft, g.BottomRight, "", f.Foot))
	return b.String()
}

// edge draws the top or bottom row: ╭─ Title ───── info ─╮.
func (f Frame) edge(th *themes.Theme, border, title themes.Pen, width int, l, r, name, info string) string {
	h := th.Glyphs.Horizontal
	line := NewLine(th, width)
	line.Repeat(border, l, 1).Repeat(border, h, 1)
	name, info = Sanitize(name), Sanitize(info)
	room := width - 4
	if name != "" && room > 4 {
		name = Truncate(name, room-2, th.Glyphs.Ellipsis)
		line.Space(1).Add(title, name).Space(1)
		room -= Width(name) + 2
	}
	infoWidth := 0
	if w := Width(info) + 2; info != "" && w+1 <= room {
		infoWidth = w
	}
	line.Repeat(border, h, line.Left()-infoWidth-2)
	if infoWidth > 0 {
		line.Space(1).Add(themes.FG(themes.Muted), info).Space(1)
	}
	return line.Repeat(border, h, 1).Repeat(border, r, 1).String()
}

// Rule is a horizontal line across width cells with an optional title.
func Rule(th *themes.Theme, title string, width int) string {
	l := NewLine(th, width)
	if title != "" {
		l.Add(themes.FG(themes.Muted), title).Space(1)
	}
	return l.Repeat(themes.FG(themes.Border), th.Glyphs.Horizontal, l.Left()).String()
}

// Empty fills a pane that has nothing to show yet: a title and what to do
// about it, centred.
func Empty(th *themes.Theme, width, height int, title string, hints ...string) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	var rows []string
	for _, l := range Wrap(Sanitize(title), width) {
		rows = append(rows, NewLine(th, width).Field(themes.FG(themes.Muted, themes.Bold), l, width, Center).String())
	}
	for _, h := range hints {
		for _, l := range Wrap(Sanitize(h), width) {
			rows = append(rows, NewLine(th, width).Field(themes.FG(themes.Faint), l, width, Center).String())
		}
	}
	top := max(height-len(rows), 0) / 2
	return Block(strings.Repeat("\n", top)+strings.Join(rows, "\n"), width, height)
}
