package data

import (
	"fmt"
	"path/filepath"
	"strings"

	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// View draws the rows and the selected row: side by side where there is room, else one above the other.
func (p *Pane) View(width, height int, c pane.Context) string {
	p.c = c
	p.indexFindings(c.View.Data)
	p.countLabels(c.View.Data)
	d := c.View.Data
	switch {
	case width < 5 || height < 3:
		return widget.Block("", width, height)
	case d.Path == "":
		return p.empty(width, height, "No dataset is open", ":open FILE shows a dataset.",
			":config run.yaml opens a run's dataset, with its tokenizer and chat template.")
	case d.Rows == 0 && d.Err != "":
		return p.empty(width, height, "The dataset cannot be read", d.Err)
	case d.Rows == 0 && d.Indexed:
		return p.empty(width, height, "The dataset has no row", d.Path)
	case d.Rows == 0:
		return p.empty(width, height, "Reading "+filepath.Base(d.Path))
	case widget.Compact(width):
		return p.stacked(width, height)
	}
	return p.abreast(width, height)
}

func (p *Pane) empty(width, height int, title string, hints ...string) string {
	f := widget.Frame{Title: "Data", Focused: p.c.Focused}
	w, h := f.Inner(width, height)
	return f.View(p.c.Theme, widget.Empty(p.c.Theme, w, h, title, hints...), width, height)
}

// abreast puts the rows left and the row right.
func (p *Pane) abreast(width, height int) string {
	sizes := widget.Split(width, widget.Flex(11, 56), widget.Flex(10, 50))
	p.at.right, p.at.bottom = sizes[0], height
	return widget.JoinH(p.left(sizes[0], height), p.right(sizes[1], height))
}

func (p *Pane) left(width, height int) string {
	f := widget.Frame{Title: p.title(), Info: p.size(), Foot: p.foot(), Focused: p.c.Focused && !p.inside}
	w, h := f.Inner(width, height)
	return f.View(p.c.Theme, p.list(w, h), width, height)
}

func (p *Pane) right(width, height int) string {
	row := p.current()
	f := widget.Frame{Title: p.rowTitle(row), Info: p.rowInfo(row), Foot: p.rowFoot(), Focused: p.c.Focused && p.inside}
	w, h := f.Inner(width, height)
	body := widget.JoinV(p.ways(w), p.read(w, h-1))
	return f.View(p.c.Theme, body, width, height)
}

// stacked puts the row below the rows, in one frame.
func (p *Pane) stacked(width, height int) string {
	f := widget.Frame{Title: p.title(), Info: p.size(), Foot: p.foot(), Focused: p.c.Focused}
	w, h := f.Inner(width, height)
	top := max(h*2/5, 5)
	if p.inside {
		top = max(h/4, 4)
	}
	top = min(top, h)
	p.at.right, p.at.bottom = width, top+1
	body := []string{p.list(w, top)}
	if h-top > 2 {
		body = append(body, p.divide(w), p.read(w, h-top-1))
	}
	return f.View(p.c.Theme, widget.JoinV(body...), width, height)
}

func (p *Pane) title() string { return "Data " + p.c.Theme.Glyphs.Dot + " " + p.c.View.Data.Path }

// size is how many rows there are, and how many are shown.
func (p *Pane) size() string {
	rows := p.c.View.Data.Rows
	if p.filter != nil {
		return ""
	}
	if rows == 1 {
		return "1 row"
	}
	return widget.Group(int64(rows)) + " rows"
}

// foot names the keys that label.
func (p *Pane) foot() string {
	var words []string
	for _, l := range p.labels {
		words = append(words, l.key+" "+l.label)
	}
	return strings.Join(words, "  ")
}

func (p *Pane) rowTitle(row int) string {
	if row < 0 {
		return "No row"
	}
	return "Row " + widget.Group(int64(row))
}

// rowInfo is where the row stands and what it is.
func (p *Pane) rowInfo(row int) string {
	known, ok := p.rows.get(row)
	if !ok || known.at == 0 {
		return ""
	}
	return fmt.Sprintf("line %s %s %s", widget.Group(int64(known.at)), p.c.Theme.Glyphs.Dot, known.format)
}

func (p *Pane) rowFoot() string {
	if p.inside {
		return "esc back to the rows"
	}
	return ""
}

// ways names the three views, the one in force lit, and counts the tokens.
func (p *Pane) ways(width int) string {
	l := widget.NewLine(p.c.Theme, width)
	p.addWays(l)
	counts := p.tokenCounts()
	if w := widget.Width(counts); w+2 <= l.Left() {
		l.Space(l.Left()-w).Add(themes.FG(themes.Muted), counts)
	}
	return l.String()
}

func (p *Pane) addWays(l *widget.Line) {
	for i, name := range wayNames {
		pen := themes.FG(themes.Muted)
		if way(i) == p.way {
			pen = themes.FG(themes.Accent, themes.Bold)
			if p.c.Theme.Mono() {
				pen.Attr |= themes.Underline
			}
		}
		if i > 0 {
			l.Space(2)
		}
		l.Add(pen, name)
	}
}

// tokenCounts is how many tokens the row has, how many of them are trained, how many were cut.
func (p *Pane) tokenCounts() string {
	d, ok := p.details.get(p.current())
	if !ok || d.tokensErr != "" || len(d.tokens.Tokens) == 0 {
		return ""
	}
	dot := " " + p.c.Theme.Glyphs.Dot + " "
	s := fmt.Sprintf("%s tokens%s%s trained", widget.Group(int64(len(d.tokens.Tokens)+d.tokens.Cut)), dot, widget.Group(int64(d.tokens.Trained)))
	if d.tokens.Cut > 0 {
		s += dot + widget.Group(int64(d.tokens.Cut)) + " cut"
	}
	return s
}

// divide parts the rows from the row: ── Row 17 · line 18 ────────  raw  rendered  tokens.
func (p *Pane) divide(width int) string {
	row := p.current()
	dot := " " + p.c.Theme.Glyphs.Dot + " "
	title, counts := p.rowTitle(row), ""
	if known, ok := p.rows.get(row); ok && known.at > 0 {
		counts = dot + "line " + widget.Group(int64(known.at))
	}
	if n := p.tokenCounts(); n != "" {
		counts += dot + n
	}
	const waysWidth = len("raw  rendered  tokens")
	pen := themes.FG(themes.Muted)
	if p.inside && p.c.Focused {
		pen = themes.FG(themes.Accent)
	}
	l := widget.NewLine(p.c.Theme, width).Add(pen, title)
	if widget.Width(counts)+waysWidth+4 <= l.Left() {
		l.Add(themes.FG(themes.Muted), counts)
	}
	l.Space(1).Repeat(themes.FG(themes.Border), p.c.Theme.Glyphs.Horizontal, l.Left()-waysWidth-1)
	l.Space(1)
	p.addWays(l)
	return l.String()
}

// read draws the selected row and, below it, its findings.
func (p *Pane) read(width, height int) string {
	row := p.current()
	if row < 0 || height <= 0 {
		return widget.Block("", width, height)
	}
	found := p.foundRows(row, width, height)
	return widget.JoinV(p.body(row, width, height-len(found)), strings.Join(found, "\n"))
}

// body draws the row in the view in force.
func (p *Pane) body(row, width, height int) string {
	th := p.c.Theme
	d, ok := p.details.get(row)
	if !ok {
		return widget.Block(th.Paint(themes.Faint, th.Glyphs.Ellipsis), width, height)
	}
	switch {
	case d.rowErr != "":
		return widget.Empty(th, width, height, "This row cannot be read", d.rowErr)
	case p.way != asRaw && d.tokensErr != "":
		return widget.Empty(th, width, height, "No "+wayNames[p.way]+" view of this row", d.tokensErr)
	case p.way == asTokens:
		return p.tokenBody(&d, row, width, height)
	}
	t := p.write(&d, row, width-2) // the scroll bar's
	if t.cut == 0 || height < 3 {
		return p.pager.View(th, t.rows, width, height)
	}
	more := widget.NewLine(th, width).Add(themes.FG(themes.Faint), widget.Bytes(int64(t.cut))+" more are not shown: Y copies all").String()
	return widget.JoinV(p.pager.View(th, t.rows, width, height-1), more)
}

func (p *Pane) tokenBody(d *detail, row, width, height int) string {
	p.fillTokens(d, row)
	foot := p.tokens.Legend(width)
	if p.inside {
		foot = p.tokens.Detail(width)
	}
	if height < 4 {
		return p.tokens.View(width, height)
	}
	return widget.JoinV(p.tokens.View(width, height-1), foot)
}
