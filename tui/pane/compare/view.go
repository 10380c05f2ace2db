package compare

import (
	"fmt"
	"strings"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
)

const (
	maxColumns  = 8
	leastColumn = 36 // cells of a column that is worth reading
	tall        = 30 // rows from which the reports stand above the answers
	maxReports  = 6  // rows of reports there
)

// View draws the pane: views, reports where there is room, prompt and answers, and below them what is asked next.
func (p *Pane) View(width, height int, c pane.Context) string {
	p.follow(c)
	f := widget.Frame{Title: "Compare", Info: p.state(), Foot: p.foot(), Focused: c.Focused}
	w, h := f.Inner(width, height)
	if w <= 0 || h <= 0 {
		return f.View(c.Theme, "", width, height)
	}
	head := []string{p.tabs(w)}
	if p.c.View.Evaluating != "" {
		head = append(head, p.progress(w))
	}
	if p.way != asReports && h >= tall && len(p.reports) > 0 {
		head = append(head, p.reportRows(w, maxReports)...)
		head = append(head, widget.Rule(c.Theme, "", w))
	}
	var foot []string
	if p.way == asPrompts && h >= 6 {
		rows := p.prompt.Rows(max(h/3, 1))
		foot = append(foot, p.settings(w), p.prompt.View(c.Theme, p.hint(w), w, rows))
		h -= rows + 1
	}
	h -= len(head)
	body := append(head, p.body(w, max(h, 0)))
	return f.View(c.Theme, widget.JoinV(append(body, foot...)...), width, height)
}

func (p *Pane) state() string {
	r := p.c.View.Run
	if !r.HasModel {
		return ""
	}
	return fmt.Sprintf("%s %s step %s", r.State, p.c.Theme.Glyphs.Dot, widget.Group(int64(r.Step)))
}

func (p *Pane) foot() string {
	if p.prompt.Typing() {
		return "enter ask both  ctrl+j new line  esc done"
	}
	return ""
}

// tabs names the views, the one in force lit, and says where in it the pane stands.
func (p *Pane) tabs(width int) string {
	l := widget.NewLine(p.c.Theme, width)
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
	at := ""
	switch {
	case p.way == asPrompts && len(p.pairs) > 1:
		at = fmt.Sprintf("%d of %d", len(p.pairs)-p.back, len(p.pairs))
	case p.way == asCases && len(p.cases) > 0:
		at = fmt.Sprintf("case %d of %d", p.item+1, len(p.cases))
		if p.differing {
			at += " that differ"
		}
	}
	if w := widget.Width(at); w+2 <= l.Left() {
		l.Space(l.Left()-w).Add(themes.FG(themes.Muted), at)
	}
	return l.String()
}

// progress is how far the evaluation under way is.
func (p *Pane) progress(width int) string {
	v := p.c.View
	return widget.Progress{
		Label: "evaluating " + session.VersionName(v.Evaluating), Done: float64(v.EvalDone), Total: float64(v.EvalTotal), Unit: "cases", Left: -1,
	}.View(p.c.Theme, width)
}

// settings are the versions to be asked and how they sample.
func (p *Pane) settings(width int) string {
	th := p.c.Theme
	l := widget.NewLine(th, width)
	options := pane.SamplingText(p.options)
	for side, v := range p.versions() {
		if side > 0 {
			l.Space(2)
		}
		l.Add(sidePen(th, side), sideNames[side]).Space(1)
		l.Add(themes.FG(themes.Muted), pane.VersionText(th, v, pane.VersionStep(p.c.View.Run, v)))
	}
	l.Space(1)
	if room := l.Left() - widget.Width(options) - 1; room > 0 {
		l.Repeat(themes.FG(themes.Border), th.Glyphs.Horizontal, room).Space(1)
		l.Add(themes.FG(themes.Muted), options)
	}
	return l.String()
}

func (p *Pane) hint(width int) string {
	l := widget.NewLine(p.c.Theme, width)
	if why := p.needModel(p.c); why != "" {
		return l.Add(themes.FG(themes.Faint), why).String()
	}
	return l.Add(themes.FG(themes.Accent), "i").Add(themes.FG(themes.Faint), " types a prompt for both").String()
}

// sidePen is the colour of A or B.
func sidePen(th *themes.Theme, side int) themes.Pen {
	return themes.FG(themes.Series(side), themes.Bold)
}

func (p *Pane) body(width, height int) string {
	switch p.way {
	case asCases:
		return p.caseBody(width, height)
	case asReports:
		return p.reportBody(width, height)
	}
	return p.pairBody(width, height)
}

// panel is a column of text.
type panel struct {
	rows func(width int) []prose.Row
}

// draw sets panels side by side where each gets enough, else one above the other.
func (p *Pane) draw(panels []panel, heads func(i, width int) string, width, height int) string {
	n := len(panels)
	if n == 0 || height <= 0 {
		return widget.Block("", width, height)
	}
	th := p.c.Theme
	if !widget.Compact(width + 4) {
		gap := th.Paint(themes.Border, " "+th.Glyphs.Vertical+" ")
		gutter := strings.TrimSuffix(strings.Repeat(gap+"\n", height), "\n")
		var blocks []string
		left := width - 3*(n-1)
		for i, pa := range panels {
			w := left / (n - i)
			left -= w
			if i > 0 {
				blocks = append(blocks, gutter)
			}
			blocks = append(blocks, widget.Block(widget.JoinV(heads(i, w), p.pagers[i].View(th, pa.rows(max(w-2, 1)), w, height-1)), w, height))
		}
		return widget.JoinH(blocks...)
	}
	var blocks []string
	for i, pa := range panels {
		h := height / (n - i)
		height -= h
		blocks = append(blocks, widget.Block(widget.JoinV(heads(i, width), p.pagers[i].View(th, pa.rows(max(width-2, 1)), width, h-1)), width, h))
	}
	return widget.JoinV(blocks...)
}
