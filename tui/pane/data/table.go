package data

import (
	"fmt"
	"strconv"
	"strings"

	"lathe/datasets"
	"lathe/themes"
	"lathe/tui/widget"
)

// list draws the summary, the filter and the table.
func (p *Pane) list(width, height int) string {
	head := []string{p.summary(width)}
	if p.typing != nil || p.filter != nil {
		head = append(head, p.filterLine(width))
	}
	p.at.top = 1 + len(head)
	p.layColumns(width)
	p.table.Focused = p.c.Focused && !p.inside
	p.table.Empty = ""
	if p.filter != nil && p.filter.done {
		p.table.Empty = "no row matches"
	}
	return widget.JoinV(append(head, p.table.View(p.c.Theme, width, max(height-len(head), 0)))...)
}

// summary is what is known of the file: the index or the check under way, or the findings and labels.
func (p *Pane) summary(width int) string {
	th, d := p.c.Theme, p.c.View.Data
	switch {
	case !d.Indexed:
		return widget.Progress{Label: "indexing", Done: d.Part * 100, Total: 100, Left: -1}.View(th, width)
	case d.Linting:
		return widget.Progress{Label: "checking", Done: float64(d.LintRows), Total: float64(d.Rows), Unit: "rows", Left: -1}.View(th, width)
	}
	l := widget.NewLine(th, width)
	muted := themes.FG(themes.Muted)
	switch {
	case d.Err != "":
		l.Repeat(themes.FG(themes.Bad), th.Glyphs.Times, 1).Space(1).Field(themes.FG(themes.Bad), d.Err, l.Left(), widget.Left)
		return l.String()
	case d.Summary == nil:
		l.Add(themes.FG(themes.Accent), "l").Add(muted, " checks the rows")
	case d.Summary.Errors+d.Summary.Warnings+d.Summary.Infos == 0:
		l.Repeat(themes.FG(themes.Good), th.Glyphs.Check, 1).Add(muted, " nothing found")
	default:
		addCount(l, th.Glyphs.Times, "error", d.Summary.Errors, levelPen(datasets.LevelError))
		addCount(l, th.Glyphs.Warning, "warning", d.Summary.Warnings, levelPen(datasets.LevelWarn))
		addCount(l, th.Glyphs.Bullet, "note", d.Summary.Infos, levelPen(datasets.LevelInfo))
		if p.unlisted() > 0 {
			l.Add(themes.FG(themes.Faint), "the first "+widget.Group(int64(len(d.Findings)))+" listed ")
		}
	}
	for _, n := range p.counts.list {
		text := fmt.Sprintf("%s %s", n.label, widget.Group(int64(n.n)))
		if l.Left() < widget.Width(widget.Sanitize(text))+4 {
			break
		}
		l.Space(3).Add(themes.FG(themes.Text), n.label).Space(1).Add(muted, widget.Group(int64(n.n)))
	}
	return l.String()
}

func addCount(l *widget.Line, sign, what string, n int, pen themes.Pen) {
	if n == 0 {
		return
	}
	if n != 1 {
		what += "s"
	}
	l.Repeat(pen, sign, 1).Space(1).Add(themes.FG(themes.Text), widget.Group(int64(n))).Add(themes.FG(themes.Muted), " "+what).Space(2)
}

// filterLine is the filter being typed or in force, with what it has found.
func (p *Pane) filterLine(width int) string {
	th := p.c.Theme
	status := ""
	if p.filter != nil {
		status = p.filter.status(p.c.View.Data.Rows)
	}
	room := max(width-widget.Width(status)-2, width/3)
	l := widget.NewLine(th, width-room)
	l.Space(2).Add(themes.FG(themes.Muted), status)
	if p.typing != nil {
		p.typing.SetTheme(th)
		return p.typing.View(room) + l.String()
	}
	left := widget.NewLine(th, room).Add(themes.FG(themes.Accent), "/").Field(themes.FG(themes.Text), p.filter.line, room-1, widget.Left)
	return left.String() + l.String()
}

// layColumns chooses the table's columns for a width.
func (p *Pane) layColumns(width int) {
	digits := max(len(widget.Group(int64(max(p.c.View.Data.Rows-1, 0)))), 3)
	label := 5
	for _, l := range p.counts.list {
		label = max(label, widget.Width(widget.Sanitize(l.label)))
	}
	p.columns = []column{{colRow, widget.Column{Title: "Row", Width: digits, Align: widget.Right}}}
	add := func(is int, c widget.Column) { p.columns = append(p.columns, column{is, c}) }
	if len(p.faulty) > 0 {
		add(colLint, widget.Column{Title: "Lint", Width: 4})
	}
	if p.counts.total > 0 {
		add(colLabel, widget.Column{Title: "Label", Width: min(label, 10)})
	}
	if s := p.c.View.Data.Summary; width >= 84 && (s == nil || len(s.Formats) > 1) { // else the row's own line says it
		add(colFormat, widget.Column{Title: "Format", Width: 10})
	}
	add(colPreview, widget.Column{Title: "Preview", Weight: 1})
	p.table.Columns = p.table.Columns[:0]
	for _, c := range p.columns {
		p.table.Columns = append(p.table.Columns, c.Column)
	}
}

// column is a column of the table, and what it shows.
type column struct {
	is int
	widget.Column
}

const (
	colRow = iota
	colLint
	colLabel
	colFormat
	colPreview
)

// cell draws one cell of the table.
func (p *Pane) cell(at, column int) widget.Cell {
	row := p.row(at)
	known, ok := p.rows.get(row)
	switch p.columns[column].is {
	case colRow:
		return widget.Cell{Text: widget.Group(int64(row)), Pen: themes.FG(themes.Muted)}
	case colLint:
		return p.badge(row)
	case colLabel:
		return widget.Cell{Text: p.c.View.Data.Labels[row], Pen: themes.FG(themes.Accent)}
	case colFormat:
		return widget.Cell{Text: string(known.format), Pen: themes.FG(themes.Muted)}
	}
	switch {
	case !ok:
		return widget.Cell{Text: p.c.Theme.Glyphs.Ellipsis, Pen: themes.FG(themes.Faint)}
	case known.problem != "" && known.preview == "":
		return widget.Cell{Text: known.problem, Pen: themes.FG(themes.Bad)}
	}
	if p.c.Theme.ASCII() {
		return widget.Cell{Text: strings.ReplaceAll(known.preview, "→", "->")} // Preview's own sign
	}
	return widget.Cell{Text: known.preview}
}

// badge counts a row's findings, in the colour of the gravest.
func (p *Pane) badge(row int) widget.Cell {
	found := p.findings[row]
	if len(found) == 0 || found[0] >= len(p.c.View.Data.Findings) {
		return widget.Cell{}
	}
	level := p.c.View.Data.Findings[found[0]].Level
	text := levelSign(p.c.Theme, level)
	if len(found) > 1 {
		text += " " + strconv.Itoa(len(found))
	}
	return widget.Cell{Text: text, Pen: levelPen(level)}
}

func levelSign(th *themes.Theme, l datasets.Level) string {
	switch l {
	case datasets.LevelError:
		return th.Glyphs.Times
	case datasets.LevelWarn:
		return th.Glyphs.Warning
	}
	return th.Glyphs.Bullet
}
