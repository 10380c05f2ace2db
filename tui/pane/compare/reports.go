package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"lathe/evalsuite"
	"lathe/session"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
)

// reportBody draws all reports.
func (p *Pane) reportBody(width, height int) string {
	if len(p.reports) == 0 {
		return p.noReports(width, height)
	}
	rows := p.reportRows(width, height-2)
	if n := p.sampleSize(); n > 0 && height > len(rows)+1 {
		note := fmt.Sprintf("95%% intervals over %d cases (Wilson); the best of each column is lit", n)
		rows = append(rows, "", widget.NewLine(p.c.Theme, width).Add(themes.FG(themes.Faint), note).String())
	}
	return widget.Block(strings.Join(rows, "\n"), width, height)
}

func (p *Pane) noReports(width, height int) string {
	if p.c.View.Evaluating != "" {
		return widget.Empty(p.c.Theme, width, height, "The first report is on its way")
	}
	return widget.Empty(p.c.Theme, width, height, "No version has been evaluated", "A suite's report on each version stands here: every KPI with its interval, and perplexity.")
}

func (p *Pane) sampleSize() int {
	for _, r := range p.reports {
		for _, s := range r.Report.Scores {
			return s.N
		}
	}
	return 0
}

// metrics are the names of the KPIs, in the order in which reports bring them.
func (p *Pane) metrics() []string {
	var out []string
	for _, r := range p.reports {
		for _, s := range r.Report.Scores {
			if !slices.Contains(out, s.Name) {
				out = append(out, s.Name)
			}
		}
	}
	return out
}

// reportRows are a heading and a row for each version, at most limit in all: the base, then the newest.
func (p *Pane) reportRows(width, limit int) []string {
	th := p.c.Theme
	shown := p.reports
	hidden := 0
	if room := max(limit-1, 1); len(shown) > room {
		hidden = len(shown) - room
		shown = append(slices.Clone(shown[:1]), shown[hidden+1:]...)
	}
	name := 8
	for _, r := range shown {
		name = max(name, min(widget.Width(widget.Sanitize(session.VersionName(r.Version))), 24))
	}
	metrics := p.metrics()
	const gap = 3
	const metric, step, perplexity = 12, 7, 12
	fit := max((width-name-step-perplexity)/(metric+gap), 0)
	title := "Version"
	if hidden > 0 {
		title = fmt.Sprintf("Version (%d of %d)", len(shown), len(p.reports))
	}
	muted := themes.FG(themes.Muted)
	l := widget.NewLine(th, width).Field(muted, title, max(name, 7), widget.Left).Field(muted, "Step", step, widget.Right)
	for _, m := range metrics[:min(fit, len(metrics))] {
		l.Space(gap).Field(muted, m, metric, widget.Left)
	}
	l.Field(muted, "Perplexity", perplexity, widget.Right)
	if more := len(metrics) - fit; more > 0 {
		l.Add(themes.FG(themes.Faint), fmt.Sprintf("  +%d", more))
	}
	rows := []string{l.String()}
	for _, r := range shown {
		l := widget.NewLine(th, width).Field(themes.FG(themes.Text), session.VersionName(r.Version), max(name, 7), widget.Left)
		steps := ""
		if r.Version != session.VersionBase {
			steps = widget.Group(int64(r.Step))
		}
		l.Field(muted, steps, step, widget.Right)
		for _, m := range metrics[:min(fit, len(metrics))] {
			l.Space(gap)
			p.addScore(l, r.Report, m, metric)
		}
		p.addPerplexity(l, r.Report.Perplexity, perplexity)
		rows = append(rows, l.String())
	}
	return rows
}

// addScore writes " 95%  86-98", lit where it is the best of its column.
func (p *Pane) addScore(l *widget.Line, r evalsuite.Report, name string, width int) {
	s, ok := r.Score(name)
	if !ok {
		l.Field(themes.FG(themes.Faint), "-", width, widget.Right)
		return
	}
	pen := themes.FG(themes.Text)
	if best, many := p.best(name); many && s.Value == best {
		pen = themes.FG(themes.Good, themes.Bold)
	}
	const value = len("100%")
	l.Field(pen, percent(s.Value)+"%", value, widget.Right).Space(2)
	l.Field(themes.FG(themes.Faint), percent(s.Low)+"-"+percent(s.High), width-value-2, widget.Left)
}

func percent(v float64) string { return fmt.Sprintf("%.0f", v*100) }

// best is the highest value of a KPI; many tells that there is something to be better than.
func (p *Pane) best(name string) (value float64, many bool) {
	value, low := math.Inf(-1), math.Inf(1)
	for _, r := range p.reports {
		if s, ok := r.Report.Score(name); ok {
			value, low = max(value, s.Value), min(low, s.Value)
		}
	}
	return value, value > low
}

func (p *Pane) addPerplexity(l *widget.Line, v float64, width int) {
	if v == 0 {
		l.Field(themes.FG(themes.Faint), "-", width, widget.Right)
		return
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, r := range p.reports {
		if x := r.Report.Perplexity; x > 0 {
			low, high = min(low, x), max(high, x)
		}
	}
	pen := themes.FG(themes.Text)
	if v == low && low < high {
		pen = themes.FG(themes.Good, themes.Bold)
	}
	l.Field(pen, widget.Number(v), width, widget.Right)
}

// reportMarkdown is the table of reports, all of it.
func (p *Pane) reportMarkdown() string {
	if len(p.reports) == 0 {
		return ""
	}
	var b strings.Builder
	metrics := p.metrics()
	fmt.Fprintf(&b, "| version | step | %s | perplexity |\n|---|---:|%s---:|\n", strings.Join(metrics, " | "), strings.Repeat("---:|", len(metrics)))
	for _, r := range p.reports {
		fmt.Fprintf(&b, "| %s | %d |", session.VersionName(r.Version), r.Step)
		for _, m := range metrics {
			if s, ok := r.Report.Score(m); ok {
				fmt.Fprintf(&b, " %.3f [%.3f, %.3f] |", s.Value, s.Low, s.High)
			} else {
				b.WriteString(" |")
			}
		}
		fmt.Fprintf(&b, " %s |\n", widget.Number(r.Report.Perplexity))
	}
	return b.String()
}

// caseBody draws one case: what was asked, and what the versions said.
func (p *Pane) caseBody(width, height int) string {
	if len(p.cases) == 0 {
		return p.noReports(width, height)
	}
	c := p.cases[p.item]
	th := p.c.Theme
	spans := []prose.Span{{Text: c.Prompt, Pen: themes.FG(themes.Title)}}
	if c.Category != "" {
		spans = append(spans, prose.Span{Text: "  " + c.Category, Pen: themes.FG(themes.Faint)})
	}
	var head []string
	for i, r := range clipRows(prose.Wrap(spans, max(width-2, 1), 0), max(height/4, 1)) {
		l := widget.NewLine(th, width)
		if i == 0 {
			l.Repeat(themes.FG(themes.Accent), th.Glyphs.Pointer, 1)
		}
		l.FillTo(2)
		r.Append(l)
		head = append(head, l.String())
	}
	if c.Reference != "" && height > 10 {
		head = append(head, referenceRows(th, c.Reference, width)...)
	}
	h := height - len(head)
	if h < 3 {
		return widget.Block(widget.JoinV(head...), width, height)
	}
	shown := p.window(width, h)
	panels := make([]panel, len(shown))
	for i, r := range shown {
		panels[i].rows = func(w int) []prose.Row { return answerRows(r, c, w) }
	}
	body := p.draw(panels, func(i, w int) string { return p.caseHead(shown[i], c, w) }, width, h)
	return widget.Block(widget.JoinV(append(head, body)...), width, height)
}

// referenceRows are the beginning of what a good answer reads.
func referenceRows(th *themes.Theme, text string, width int) []string {
	const label, most = "reference  ", 2
	rows := prose.Wrap([]prose.Span{{Text: text, Pen: themes.FG(themes.Muted)}}, max(width-len(label)-4, 1), 0)
	var out []string
	for i, r := range clipRows(rows, most) {
		l := widget.NewLine(th, width).Space(2)
		if i == 0 {
			l.Add(themes.FG(themes.Faint), label)
		}
		l.FillTo(2 + len(label))
		r.Append(l)
		if i == most-1 && len(rows) > most {
			l.Space(1).Repeat(themes.FG(themes.Faint), th.Glyphs.Ellipsis, 1)
		}
		out = append(out, l.String())
	}
	return out
}

func clipRows(rows []prose.Row, n int) []prose.Row { return rows[:min(len(rows), n)] }

// window are the versions whose answers have room, the newest unless one goes back.
func (p *Pane) window(width, height int) []report {
	n := len(p.reports)
	p.fits = min(max((width+3)/(leastColumn+3), 1), maxColumns)
	if widget.Compact(width + 4) {
		p.fits = min(max(height/8, 1), maxColumns)
	}
	p.fits = min(p.fits, n)
	p.column = min(max(p.column, 0), n-p.fits)
	from := n - p.fits - p.column
	return p.reports[from : from+p.fits]
}

func answerRows(r report, c evalsuite.Case, width int) []prose.Row {
	a, ok := r.answer(c)
	if !ok {
		return prose.Wrap([]prose.Span{{Text: "not asked", Pen: themes.FG(themes.Faint)}}, width, 0)
	}
	if a.Text == "" {
		return prose.Wrap([]prose.Span{{Text: "an empty answer", Pen: themes.FG(themes.Faint)}}, width, 0)
	}
	return prose.Wrap([]prose.Span{{Text: a.Text, Pen: themes.FG(themes.Text)}}, width, 0)
}

// caseHead is the line above a version's answer: which it is, and which KPIs the answer meets.
func (p *Pane) caseHead(r report, c evalsuite.Case, width int) string {
	th := p.c.Theme
	l := widget.NewLine(th, width).Add(themes.FG(themes.Title), pane.VersionText(th, r.Version, r.Step))
	a, _ := r.answer(c)
	used := 0
	for i := range a.Scores {
		if i < len(r.Report.Scores) {
			used += widget.Width(widget.Sanitize(r.Report.Scores[i].Name)) + 4
		}
	}
	if used == 0 {
		return l.String()
	}
	l.Space(max(l.Left()-used+2, 2))
	for i, met := range a.Scores {
		if i >= len(r.Report.Scores) {
			break
		}
		sign, pen := th.Glyphs.Times, themes.FG(themes.Bad)
		if met {
			sign, pen = th.Glyphs.Check, themes.FG(themes.Good)
		}
		l.Repeat(pen, sign, 1).Space(1).Add(themes.FG(themes.Muted), r.Report.Scores[i].Name).Space(2)
	}
	return l.String()
}
