package data

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/datasets"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
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

// foundRows draws the row's findings: a rule, then each with its code, field, message and the text it means.
func (p *Pane) foundRows(row, width, height int) []string {
	found := p.findingsOf(row)
	room := max(height/3, 3)
	if len(found) == 0 || height < 6 {
		return nil
	}
	th := p.c.Theme
	d, _ := p.details.get(row)
	p.chosen = min(max(p.chosen, 0), len(found)-1)
	title := "1 finding"
	if len(found) > 1 {
		title = fmt.Sprintf("finding %d of %d", p.chosen+1, len(found))
	}
	var rows []prose.Row
	first := 0
	for i, f := range found {
		if i == p.chosen {
			first = len(rows)
		}
		rows = append(rows, p.findingRows(f, i == p.chosen, &d, width)...)
	}
	first = max(min(first, len(rows)-(room-1)), 0)
	rows = rows[first:min(first+room-1, len(rows))]
	out := []string{widget.Rule(th, title, width)}
	for _, r := range rows {
		out = append(out, r.Draw(th, width))
	}
	return out
}

// findingRows are sign, code and message, wrapped, and a row of the text that is meant.
func (p *Pane) findingRows(f datasets.Finding, chosen bool, d *detail, width int) []prose.Row {
	code := themes.FG(themes.Text)
	if chosen {
		code = themes.FG(themes.Title, themes.Bold)
	}
	spans := []prose.Span{
		{Text: levelSign(p.c.Theme, f.Level) + " ", Pen: levelPen(f.Level)},
		{Text: f.Code, Pen: code},
		{Text: "  " + f.Message, Pen: themes.FG(themes.Muted)},
	}
	if f.Field != "" {
		spans = append(spans, prose.Span{Text: "  " + f.Field, Pen: themes.FG(themes.Faint)})
	}
	rows := prose.Wrap(spans, width, 2)
	if e := excerpt(d.row, f, width-2, p.c.Theme.Glyphs.Ellipsis); chosen && e != nil {
		rows = append(rows, prose.Wrap(append([]prose.Span{{Text: "  "}}, e...), width, 2)[0])
	}
	return rows
}

// excerpt is the text around a finding's span, nil when all of the field is meant.
func excerpt(r datasets.Row, f datasets.Finding, width int, ellipsis string) []prose.Span {
	text := fieldText(r, f.Field)
	from, to := f.Span[0], f.Span[1]
	if from < 0 || to <= from || to > len(text) {
		return nil
	}
	meant := clipText(text[from:to], width*2/3)
	around := max((width-widget.Width(widget.Sanitize(meant)))/2-2, 0)
	before, after := lastBytes(text[:from], around), clipText(text[to:], around)
	if len(before) < from {
		before = ellipsis + before
	}
	if to+len(after) < len(text) {
		after += ellipsis
	}
	quiet := themes.FG(themes.Faint)
	return []prose.Span{
		{Text: oneLine(before), Pen: quiet},
		{Text: oneLine(meant), Pen: levelPen(f.Level).With(themes.Underline)},
		{Text: oneLine(after), Pen: quiet},
	}
}

// fieldText is the value that a finding's spans count in: a field's decoded text, the raw bytes where there is no field.
func fieldText(r datasets.Row, field string) string {
	if field == "" {
		return string(r.Raw)
	}
	for _, f := range r.Fields() {
		if f.Key == field {
			return f.Value
		}
	}
	return ""
}

// oneLine keeps a text on its row: sanitised, line breaks seen.
func oneLine(s string) string { return widget.Sanitize(s) }

// clipText is the beginning of a text, at most n characters.
func clipText(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// lastBytes is the end of a text, at most n characters.
func lastBytes(s string, n int) string {
	r := []rune(s[max(len(s)-4*n-4, 0):])
	return string(r[max(len(r)-n, 0):])
}

// wheel scrolls what the mouse is over.
func (p *Pane) wheel(m tea.Mouse) {
	by := 3
	if m.Button == tea.MouseWheelUp {
		by = -3
	}
	if m.Button != tea.MouseWheelUp && m.Button != tea.MouseWheelDown {
		return
	}
	if p.overRow(m.X, m.Y) {
		p.scroll(by)
		return
	}
	p.table.Move(by)
	p.chosen = 0
}
