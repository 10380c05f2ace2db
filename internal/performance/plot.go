package performance

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// line is one curve of a plot.
type line struct {
	name   string
	colour string
	x, y   []float64
}

// The plot's size and margins in pixels.
const (
	plotWidth, plotHeight        = 720, 360
	plotLeft, plotRight          = 70, 20
	plotTop, plotBottom          = 40, 50
	plotInnerWidth, plotInnerHei = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
)

// axis maps values to pixels.
type axis struct {
	low, high float64
	log       bool
	from, to  float64
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(v)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// plot draws curves as SVG; ticks are the values that the x axis names. An axis is logarithmic where its values span decades.
func plot(title, xName, yName string, log bool, ticks []float64, lines []line) string {
	x := axis{math.Inf(1), math.Inf(-1), log, plotLeft, plotLeft + plotInnerWidth}
	y := axis{0, math.Inf(-1), log && spansDecades(lines), plotTop + plotInnerHei, plotTop}
	least := math.Inf(1)
	for _, l := range lines {
		for i := range l.x {
			x.low, x.high = min(x.low, l.x[i]), max(x.high, l.x[i])
			y.high, least = max(y.high, l.y[i]), min(least, l.y[i])
		}
	}
	if y.log {
		y.low = least / 1.5
	}
	y.high *= 1.1
	var s strings.Builder
	fmt.Fprintf(&s, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", plotWidth, plotHeight)
	fmt.Fprintf(&s, "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", plotWidth, plotHeight)
	text := func(px, py float64, anchor, t string) {
		fmt.Fprintf(&s, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"#333333\">%s</text>\n", px, py, anchor, html.EscapeString(t))
	}
	text(plotWidth/2, 20, "middle", title)
	text(plotWidth/2, plotHeight-10, "middle", xName)
	text(8, plotTop-8, "start", yName)
	for _, t := range ticks {
		px := x.at(t)
		fmt.Fprintf(&s, "<path d=\"M%.1f %dV%d\" stroke=\"#dddddd\"/>\n", px, plotTop, plotTop+plotInnerHei)
		text(px, plotTop+plotInnerHei+16, "middle", short(t))
	}
	for _, t := range yTicks(y) {
		py := y.at(t)
		fmt.Fprintf(&s, "<path d=\"M%d %.1fH%d\" stroke=\"#dddddd\"/>\n", plotLeft, py, plotLeft+plotInnerWidth)
		text(plotLeft-6, py+4, "end", short(t))
	}
	for i, l := range lines {
		var d strings.Builder
		for j := range l.x {
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(j, 1)], x.at(l.x[j]), y.at(l.y[j]))
			fmt.Fprintf(&s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x.at(l.x[j]), y.at(l.y[j]), l.colour)
		}
		fmt.Fprintf(&s, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", d.String(), l.colour)
		py := float64(plotTop + 16 + 16*i)
		fmt.Fprintf(&s, "<path d=\"M%d %.1fh20\" stroke=\"%s\" stroke-width=\"2\"/>\n", plotLeft+10, py-4, l.colour)
		text(plotLeft+36, py, "start", l.name)
	}
	s.WriteString("</svg>\n")
	return s.String()
}

func spansDecades(lines []line) bool {
	low, high := math.Inf(1), 0.0
	for _, l := range lines {
		for _, y := range l.y {
			low, high = min(low, y), max(high, y)
		}
	}
	return low > 0 && high > 20*low
}

// yTicks are about five round values.
func yTicks(a axis) (ticks []float64) {
	if a.log {
		for t := math.Pow(10, math.Ceil(math.Log10(a.low))); t <= a.high; t *= 10 {
			ticks = append(ticks, t)
		}
		return ticks
	}
	step := math.Pow(10, math.Floor(math.Log10(a.high/2)))
	for a.high/step > 6 {
		step *= 2
	}
	for t := 0.0; t <= a.high; t += step {
		ticks = append(ticks, t)
	}
	return ticks
}

// short is a number with K or M for large ones.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e5:
		return fmt.Sprintf("%.3gK", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}
