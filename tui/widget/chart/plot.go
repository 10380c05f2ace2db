package chart

import (
	"math"
	"sort"

	"lathe/themes"
)

// plotter draws one track.
type plotter struct {
	c     *Chart
	f     *frame
	pen   themes.Pen
	layer uint8
	mark  rune
	dash  int
}

// draw goes over the dot columns: for each it draws the span from the least
// to the greatest value that fall there, and a line from the last value of
// the column before to the first one here.
func (p *plotter) draw(steps []int, t *track) {
	f := p.f
	cols := f.width * f.dotsX
	// i is the first value of the column; begin with the one left of the
	// window, so that the line comes in from there.
	i := sort.SearchInts(steps, int(math.Ceil(f.step(-0.5))))
	var px, py float64 // end of the line so far
	joined := false
	if i > 0 {
		if y, ok := f.fy(t.v[i-1]); ok {
			px, py, joined = f.fx(float64(steps[i-1])), y, true
		}
	}
	for i < len(steps) {
		col := math.Round(f.fx(float64(steps[i])))
		if col > float64(cols-1) {
			if y, ok := f.fy(t.v[i]); ok && joined {
				p.line(px, py, f.fx(float64(steps[i])), y)
			}
			return
		}
		j := i + sort.SearchInts(steps[i:], int(math.Ceil(f.step(col+0.5))))
		j = max(j, i+1)
		px, py, joined = p.column(t, i, j, col, px, py, joined)
		i = j
	}
}

// column draws the values [i, j) of one dot column and returns where the line
// ends.
func (p *plotter) column(t *track, i, j int, x, px, py float64, joined bool) (float64, float64, bool) {
	f := p.f
	e := t.extremes(i, j)
	low := e.low
	if f.y.log {
		low = e.positive
	}
	if low > e.high || f.y.log && e.high <= 0 {
		p.missing(x)
		return px, py, false
	}
	if e.missing {
		p.missing(x)
	}
	if y, ok := f.fy(t.v[i]); ok && joined {
		p.line(px, py, x, y)
	}
	bottom, _ := f.fy(low)
	top, _ := f.fy(e.high)
	for y := int(math.Round(top)); y <= int(math.Round(bottom)); y++ {
		p.set(int(x), y)
	}
	y, ok := f.fy(t.v[j-1])
	return x, y, ok
}

// missing marks a value that is not a number on the axis.
func (p *plotter) missing(x float64) {
	f := p.f
	if col := f.left + int(x)/f.dotsX; f.axes && p.layer >= layerThread && x >= 0 {
		p.c.canvas.put(col, f.top+f.height, first(p.c.th.Glyphs.Missing), themes.FG(themes.Bad), layerText)
	}
}

// line draws from (x0, y0) to (x1, y1), x0 ≤ x1, clipped to the plot: column
// by column, the dots between where it enters and where it leaves.
func (p *plotter) line(x0, y0, x1, y1 float64) {
	cols := p.f.width * p.f.dotsX
	slope := 0.0
	if x1 > x0 {
		slope = (y1 - y0) / (x1 - x0)
	}
	from, to := max(int(math.Round(x0)), 0), min(int(math.Round(x1)), cols-1)
	at := func(x float64) float64 {
		return y0 + (min(max(x, x0), x1)-x0)*slope
	}
	for x := from; x <= to; x++ {
		a, b := at(float64(x)-0.5), at(float64(x)+0.5)
		if a > b {
			a, b = b, a
		}
		lo, hi := int(math.Round(a)), int(math.Round(b))
		if hi > lo && x > from && x < to {
			// The neighbour draws the dot where they meet.
			if y1 > y0 {
				lo++
			} else {
				hi--
			}
		}
		for y := lo; y <= hi; y++ {
			p.set(x, y)
		}
	}
}

func (p *plotter) set(x, y int) {
	f := p.f
	if x < 0 || y < 0 || x >= f.width*f.dotsX || y >= f.height*f.dotsY {
		return
	}
	if p.dash > 0 && x%(p.dash+2) >= p.dash {
		return
	}
	if f.dotsX == 1 {
		p.c.canvas.put(f.left+x, f.top+y, p.mark, p.pen, p.layer)
		return
	}
	p.c.canvas.dot(f.left, f.top, x, y, p.pen, p.layer)
}
