package data

import (
	"fmt"

	"lathe/datasets"
	"lathe/themes"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
)

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
