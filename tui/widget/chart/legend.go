package chart

import (
	"math"
	"strconv"

	"lathe/themes"
	"lathe/tui/widget"
)

// crosshairLabel is the range of columns [from, to) of the step number below
// the crosshair; ok is false when it is not in the window.
func (c *Chart) crosshairLabel(f *frame) (from, to int, ok bool) {
	x := float64(c.cross)
	if !c.crossOn || x < f.x.lo || x > f.x.hi {
		return 0, 0, false
	}
	n := len(strconv.Itoa(c.cross))
	from = max(min(f.cellX(x)-n/2, f.left+f.width-n), f.left)
	return from, from + n, true
}

func (c *Chart) drawCrosshair(f *frame) {
	at, _, ok := c.crosshairLabel(f)
	if !ok {
		return
	}
	col, bottom := f.cellX(float64(c.cross)), f.top+f.height
	pen := themes.FG(themes.Accent)
	for y := f.top; y < bottom; y++ {
		c.canvas.put(col, y, first(c.th.Glyphs.Crosshair), pen, layerRaw)
	}
	if !f.axes {
		return
	}
	c.canvas.put(col, bottom, first(c.th.Glyphs.Cross), pen, layerText)
	c.canvas.text(at, bottom+1, strconv.Itoa(c.cross), pen.With(themes.Bold))
}

// drawLegend names the series with their values at the crosshair or the
// newest ones. Where room is short the note goes first, then the values.
func (c *Chart) drawLegend(f *frame) {
	if !f.legend {
		return
	}
	x, right := f.left, c.canvas.width
	step := math.MaxInt - 1
	if c.crossOn {
		step = c.cross
		x = c.canvas.text(x, 0, "@"+strconv.Itoa(step)+"  ", themes.FG(themes.Accent, themes.Bold))
	}
	c.legend = c.legend[:0]
	full, names := -3, -2
	for i, s := range c.series {
		if s.Hidden {
			continue
		}
		e := c.entry(i, s, step)
		full += 2 + widget.Width(e.name) + 1 + len(e.value) + 3
		names += 2 + widget.Width(e.name) + 2
		c.legend = append(c.legend, e)
	}
	note := c.note()
	if note != "" && x+max(full, names)+3+len(note) <= right {
		c.canvas.text(right-len(note), 0, note, themes.FG(themes.Faint))
	}
	values := x+full <= right
	for _, e := range c.legend {
		if x+2+widget.Width(e.name) > right {
			return
		}
		x = c.canvas.text(x, 0, e.swatch+" ", themes.FG(e.tok))
		x = c.canvas.text(x, 0, e.name, themes.FG(themes.Muted))
		if values {
			x = c.canvas.text(x+1, 0, e.value, themes.FG(themes.Text, themes.Bold)) + 1
		}
		x += 2
	}
}

// entry is what the legend says of one series.
type entry struct {
	swatch, name, value string
	tok                 themes.Token
}

func (c *Chart) entry(i int, s *Series, step int) entry {
	e := entry{swatch: c.th.Glyphs.Swatch, name: widget.Sanitize(s.Name), tok: s.Tok}
	switch {
	case c.th.ASCII():
		e.swatch = c.th.Glyphs.Marks[i%6]
	case c.dash(s) > 0:
		e.swatch = "╍"
	}
	format := c.Format
	if format == nil {
		format = widget.Number
	}
	if n := s.upTo(step); n > 0 {
		e.value = format(s.reading(n - 1).Smoothed)
	}
	return e
}

// note tells the view's options.
func (c *Chart) note() string {
	note := ""
	add := func(s string) {
		if note != "" {
			note += ", "
		}
		note += s
	}
	if c.smooth > 0 {
		add("smooth " + strconv.FormatFloat(c.smooth, 'g', 3, 64))
	}
	if c.log {
		add("log")
	}
	if c.zoomed {
		lo, hi := c.Window()
		add(strconv.Itoa(int(math.Round(lo))) + "-" + strconv.Itoa(int(math.Round(hi))))
	}
	return note
}
