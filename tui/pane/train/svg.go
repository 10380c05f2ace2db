package train

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"

	"lathe/themes"
	"lathe/tui/widget"
	"lathe/tui/widget/chart"
)

// The picture's size and margins, in pixels.
const (
	svgWidth, svgHeight = 960, 480
	svgLeft, svgTop     = 70, 50
	svgRight, svgBottom = 20, 60
)

// drawSVG draws a chart's window as SVG, with the command that goes on with the run below it.
func drawSVG(th *themes.Theme, c *chart.Chart, title, output string) string {
	lo, hi := c.Window()
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range c.All() {
		for i := range s.Len() {
			if step, v := s.At(i); plottable(step, v, lo, hi, c.Log()) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if low > high {
		low, high = 0.1, 1
	}
	if low == high {
		low, high = low*0.9, high*1.1+1e-12
	}
	scale := func(v float64) float64 { return v }
	if c.Log() {
		scale = math.Log10
	}
	x := func(step float64) float64 { return svgLeft + (step-lo)/(hi-lo)*(svgWidth-svgLeft-svgRight) }
	y := func(v float64) float64 {
		return svgHeight - svgBottom - (scale(v)-scale(low))/(scale(high)-scale(low))*(svgHeight-svgTop-svgBottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="%s"/>`+"\n", th.Hex(themes.Base))
	text := func(at, from float64, tok themes.Token, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s" text-anchor="%s">%s</text>`+"\n", at, from, th.Hex(tok), anchor, escape(s))
	}
	text(svgLeft, 28, themes.Title, "start", title)
	text(svgLeft, svgHeight-14, themes.Muted, "start", "go on with it: lathe train -c run.yaml --resume "+output)
	for i := range 5 {
		part := float64(i) / 4
		v := low + part*(high-low)
		if c.Log() {
			v = math.Pow(10, scale(low)+part*(scale(high)-scale(low)))
		}
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="%s" stroke-width="0.5"/>`+"\n", svgLeft, y(v), svgWidth-svgRight, th.Hex(themes.Grid))
		text(svgLeft-8, y(v)+4, themes.Muted, "end", widget.Number(v))
		step := lo + part*(hi-lo)
		text(x(step), svgHeight-svgBottom+20, themes.Muted, "middle", widget.Group(int64(step)))
	}
	at := float64(svgWidth - svgRight)
	for _, s := range c.All() {
		text(at, 28, s.Tok, "end", s.Name)
		at -= 12 + 8*float64(len(s.Name))
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", line(s, lo, hi, c.Log(), x, y), th.Hex(s.Tok))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// line is a series as a path that is interrupted where a value is missing.
func line(s *chart.Series, lo, hi float64, log bool, x, y func(float64) float64) string {
	var b strings.Builder
	pen := "M"
	for i := range s.Len() {
		step, v := s.At(i)
		if !plottable(step, v, lo, hi, log) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x(float64(step)), y(v))
		pen = "L"
	}
	return b.String()
}

func plottable(step int, v, lo, hi float64, log bool) bool {
	return float64(step) >= lo && float64(step) <= hi && !math.IsNaN(v) && !math.IsInf(v, 0) && (!log || v > 0)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder never fails
	return b.String()
}
