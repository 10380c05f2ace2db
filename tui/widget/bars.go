package widget

import (
	"math"
	"strconv"
	"strings"
	"time"

	"lathe/themes"
)

// Bar draws a fraction as a line of width cells: ━━━━━━╸────. It moves in
// half cells, so that a value that trembles does not redraw it.
func Bar(th *themes.Theme, frac float64, width int, tok themes.Token) string {
	l := NewLine(th, width)
	addBar(l, th, frac, width, tok)
	return l.String()
}

func addBar(l *Line, th *themes.Theme, frac float64, width int, tok themes.Token) {
	if math.IsNaN(frac) {
		frac = 0
	}
	half := int(math.Round(min(max(frac, 0), 1) * float64(2*width)))
	if frac > 0 && half == 0 {
		half = 1 // begun is never shown as nothing
	}
	if frac < 1 && half == 2*width && half > 0 {
		half-- // nor unfinished as done
	}
	g := &th.Glyphs
	l.Repeat(themes.FG(tok), g.BarFull, half/2)
	l.Repeat(themes.FG(tok), g.BarHalf, half%2)
	l.Repeat(themes.FG(themes.Track), g.BarTrack, width-(half+1)/2)
}

// Gauge is a labelled bar with its value: "GPU ━━━━━╸──── 61%".
type Gauge struct {
	Label      string
	LabelWidth int     // field of the label, for gauges that stand below each other
	Frac       float64 // 0 … 1
	Rest       float64 // of another owner, drawn after Frac in another tone and glyph
	Value      string  // shown right; empty shows the percentage
	ValueWidth int
	Tok        themes.Token // None: Good, from 0.8 Warn, from 0.95 Bad
}

// View draws the gauge as one row of width cells.
func (g Gauge) View(th *themes.Theme, width int) string {
	if width <= 0 {
		return ""
	}
	tok := g.Tok
	if tok == themes.None {
		tok = Level(g.Frac)
	}
	value := g.Value
	if value == "" {
		value = Percent(g.Frac)
	}
	l := NewLine(th, width)
	vw := max(g.ValueWidth, Width(value), 4)
	lw := max(g.LabelWidth, Width(g.Label))
	if lw+vw+6 > width {
		lw = min(max(width-vw-6, 0), width/3)
	}
	if lw > 0 {
		l.Field(themes.FG(themes.Muted), g.Label, lw, Left).Space(1)
	}
	if w := l.Left() - vw - 1; w > 0 {
		g.addBar(l, th, w, tok)
		l.Space(1)
	}
	return l.Field(themes.FG(themes.Text), value, l.Left(), Right).String()
}

// addBar draws the bar; with another owner's part both are in whole cells, and what is there at all has one.
func (g Gauge) addBar(l *Line, th *themes.Theme, width int, tok themes.Token) {
	if !(g.Rest > 0) {
		addBar(l, th, g.Frac, width, tok)
		return
	}
	cells := func(f float64) int {
		if !(f > 0) {
			return 0
		}
		return max(int(math.Round(min(f, 1)*float64(width))), 1)
	}
	own := min(cells(g.Frac), width-1)
	rest := min(cells(g.Rest), width-own)
	l.Repeat(themes.FG(tok), th.Glyphs.BarFull, own)
	l.Repeat(themes.FG(themes.Warn), th.Glyphs.BarHalf, rest)
	l.Repeat(themes.FG(themes.Track), th.Glyphs.BarTrack, width-own-rest)
}

// Level is the tone of a fill: Good, from 0.8 Warn, from 0.95 Bad.
func Level(frac float64) themes.Token {
	switch {
	case frac >= 0.95:
		return themes.Bad
	case frac >= 0.8:
		return themes.Warn
	default:
		return themes.Good
	}
}

// Percent writes 0 … 1 as a whole percentage; 100% only when all is done.
func Percent(frac float64) string {
	if math.IsNaN(frac) || math.IsInf(frac, 0) {
		return "-"
	}
	p := int(math.Floor(frac*100 + 1e-9))
	return strconv.Itoa(p) + "%"
}

// Progress is one row about work under way.
type Progress struct {
	Label string
	Done  float64
	Total float64       // 0: unknown, then no bar is drawn
	Unit  string        // of Done and Total: "steps"; empty shows none
	Rate  string        // "12.3k tok/s"
	Left  time.Duration // time left; < 0 unknown
	Tok   themes.Token  // None: Accent
}

// View draws the row: label, bar, share, done/total, rate, time left; what
// does not fit is left out from the right, the bar keeping at least 8 cells.
func (p Progress) View(th *themes.Theme, width int) string {
	l := NewLine(th, width)
	tok := p.Tok
	if tok == themes.None {
		tok = themes.Accent
	}
	tails := p.tails()
	const least = 8
	room := width
	if p.Label != "" {
		label := Truncate(Sanitize(p.Label), max(width/3, 4), th.Glyphs.Ellipsis)
		l.Add(themes.FG(themes.Text), label).Space(1)
		room -= Width(label) + 1
	}
	kept, used := tails[:0:0], 0
	for _, t := range tails {
		if w := Width(t) + 2; used+w+least <= room {
			kept = append(kept, t)
			used += w
		}
	}
	if p.Total > 0 {
		addBar(l, th, p.Done/p.Total, max(room-used, 0), tok)
	}
	for i, t := range kept {
		pen := themes.FG(themes.Muted)
		if i == 0 {
			pen = themes.FG(themes.Text)
		}
		l.Space(2).Add(pen, t)
	}
	return l.String()
}

// tails are the texts right of the bar, the most important first, in fields
// of a fixed width: the bar must not move while numbers grow.
func (p Progress) tails() []string {
	var t []string
	if p.Total > 0 {
		t = append(t, Fit(Percent(p.Done/p.Total), 4, Right, ""))
		total := Group(int64(p.Total))
		t = append(t, strings.TrimRight(Fit(Group(int64(p.Done)), len(total), Right, "")+"/"+total+" "+p.Unit, " "))
	} else {
		t = append(t, strings.TrimSpace(Group(int64(p.Done))+" "+p.Unit))
	}
	if p.Left >= 0 && p.Total > 0 {
		t = append(t, Fit(Duration(p.Left), 6, Right, "")+" left")
	}
	if p.Rate != "" {
		t = append(t, p.Rate)
	}
	return t
}

// Sparkline draws the newest width values as a row of small columns, scaled
// to their own range; NaN and Inf leave a blank.
func Sparkline(th *themes.Theme, values []float64, width int, tok themes.Token) string {
	if width <= 0 {
		return ""
	}
	values = values[max(len(values)-width, 0):]
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	l := NewLine(th, width)
	ramp := th.Glyphs.Spark
	for _, v := range values {
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			l.Space(1)
		case hi <= lo:
			l.Repeat(themes.FG(tok), ramp[0], 1)
		default:
			// Halves first: hi-lo may overflow.
			f := (v/2 - lo/2) / (hi/2 - lo/2)
			l.Repeat(themes.FG(tok), ramp[min(int(f*float64(len(ramp))), len(ramp)-1)], 1)
		}
	}
	return l.String()
}
