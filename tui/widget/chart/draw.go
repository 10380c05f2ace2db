package chart

import (
	"math"
	"unicode/utf8"

	"lathe/themes"
	"lathe/tui/widget"
)

// frame is the geometry of one drawing, in cells.
type frame struct {
	left, top     int // upper left cell of the plot
	width, height int // of the plot
	legend, axes  bool
	x, y          axis
	dotsX, dotsY  int // dots in a cell: 2×4 for braille, 1×1 for ASCII
}

// View draws the chart in width × height cells; unchanged, it returns the
// last drawing.
func (c *Chart) View(width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	k := key{c.rev, width, height, c.th}
	if c.cacheAt == k {
		return c.cached
	}
	c.canvas.resize(width, height)
	f := c.layout(width, height)
	c.drawAxes(&f)
	c.drawMarkers(&f)
	for _, s := range c.series {
		if !s.Hidden {
			c.drawSeries(&f, s)
		}
	}
	if f.axes && c.points() == 0 {
		c.drawEmpty(&f)
	}
	c.drawCrosshair(&f)
	c.drawLegend(&f)
	c.cached, c.cacheAt = c.canvas.String(c.th), k
	return c.cached
}

// layout chooses what there is room for and fits the axes to what is seen.
func (c *Chart) layout(width, height int) frame {
	f := frame{width: width, height: height, dotsX: 2, dotsY: 4}
	if c.th.ASCII() {
		f.dotsX, f.dotsY = 1, 1
	}
	if height >= 6 {
		f.legend = true
		f.top, f.height = 1, f.height-1
	}
	if height >= 5 && width >= 24 {
		f.axes = true
		f.height -= 2
	}
	f.x.lo, f.x.hi = c.Window()
	e := c.visible(f.x.lo, f.x.hi)
	c.ticksY = c.ticksY[:0]
	if c.log {
		f.y, c.ticksY = logAxis(e, min(max(f.height/3, 2), 8), c.ticksY)
	} else {
		f.y, c.ticksY = linearAxis(e, f.height, c.ticksY)
	}
	if f.axes {
		gutter := 5
		for _, t := range c.ticksY {
			gutter = max(gutter, len(t.label))
		}
		f.left = min(gutter, 10) + 1
		f.width -= f.left
	}
	c.columns, c.left = f.width, f.left
	return f
}

// visible are the extremes of all that the window shows.
func (c *Chart) visible(lo, hi float64) extremes {
	e := nothing
	for _, s := range c.series {
		if s.Hidden {
			continue
		}
		i, j := s.upTo(int(math.Ceil(lo))-1), s.upTo(int(math.Floor(hi)))
		e.merge(s.raw.extremes(i, j))
		e.merge(s.line().extremes(i, j))
	}
	return e
}

// cellY is the canvas row of a projected y.
func (f *frame) cellY(v float64) int {
	return f.top + f.height - 1 - int(math.Round((v-f.y.lo)/(f.y.hi-f.y.lo)*float64(f.height-1)))
}

// cellX is the canvas column of a step.
func (f *frame) cellX(step float64) int {
	return f.left + int(math.Round((step-f.x.lo)/(f.x.hi-f.x.lo)*float64(f.width-1)))
}

// fx is the dot column of a step. The ends of the window fall on the middle
// of the outermost cells, where the axis has its ticks.
func (f *frame) fx(step float64) float64 {
	return f.middle(f.dotsX) + (step-f.x.lo)/(f.x.hi-f.x.lo)*float64(max(f.width-1, 1)*f.dotsX)
}

// step is the inverse of fx.
func (f *frame) step(x float64) float64 {
	return f.x.lo + (x-f.middle(f.dotsX))/float64(max(f.width-1, 1)*f.dotsX)*(f.x.hi-f.x.lo)
}

// fy is the dot row of a value, from the top; ok is false for a gap.
func (f *frame) fy(v float64) (y float64, ok bool) {
	p, ok := f.y.project(v)
	// Beyond the plot by more than its height a line is only steep: bounded,
	// it costs no more dots.
	p = min(max(p, -1), 2)
	return f.middle(f.dotsY) + (1-p)*float64((f.height-1)*f.dotsY), ok
}

// middle of a cell of so many dots.
func (*frame) middle(dots int) float64 { return float64(dots-1) / 2 }

func (c *Chart) drawAxes(f *frame) {
	if !f.axes {
		return
	}
	g := &c.th.Glyphs
	line, label := themes.FG(themes.Border), themes.FG(themes.Muted)
	grid := themes.FG(themes.Grid)
	x, bottom := f.left-1, f.top+f.height
	for y := f.top; y < bottom; y++ {
		c.canvas.put(x, y, first(g.Vertical), line, layerGrid)
	}
	used := -2
	for _, t := range c.ticksY {
		y := f.cellY(t.at)
		if y < f.top || y >= bottom || used >= 0 && y >= used-1 {
			continue
		}
		used = y
		c.canvas.text(x-len(t.label), y, t.label, label)
		c.canvas.put(x, y, first(g.TeeLeft), line, layerGrid)
		for gx := x + 1; gx < x+1+f.width; gx += 4 {
			c.canvas.put(gx, y, first(g.Dot), grid, layerGrid)
		}
	}
	c.canvas.put(x, bottom, first(g.BottomLeft), line, layerGrid)
	for i := range f.width {
		c.canvas.put(x+1+i, bottom, first(g.Horizontal), line, layerGrid)
	}
	c.drawStepLabels(f, bottom)
}

func (c *Chart) drawStepLabels(f *frame, bottom int) {
	label := themes.FG(themes.Muted)
	c.ticksX = stepTicks(f.x.lo, f.x.hi, f.width, 12, c.ticksX[:0])
	limit := f.left + f.width
	from, to, crossed := c.crosshairLabel(f)
	free := 0
	if name := widget.Sanitize(c.XName); widget.Width(name) < f.left {
		c.canvas.text(f.left-1-widget.Width(name), bottom+1, name, themes.FG(themes.Faint))
		free = f.left
	}
	for _, t := range c.ticksX {
		x := f.cellX(t.at)
		c.canvas.put(x, bottom, first(c.th.Glyphs.TeeDown), themes.FG(themes.Border), layerGrid)
		at := min(max(x-len(t.label)/2, f.left), limit-len(t.label))
		covered := crossed && at+len(t.label) >= from-1 && at <= to+1
		if at < free || covered {
			continue
		}
		free = c.canvas.text(at, bottom+1, t.label, label) + 1
	}
}

// points is the number of values that are shown at all.
func (c *Chart) points() int {
	n := 0
	for _, s := range c.series {
		if !s.Hidden {
			n += len(s.steps)
		}
	}
	return n
}

// drawEmpty says why the plot is blank.
func (c *Chart) drawEmpty(f *frame) {
	text := widget.Truncate(widget.Sanitize(c.Empty), f.width, "")
	if text == "" {
		return
	}
	c.canvas.text(f.left+(f.width-widget.Width(text))/2, f.top+f.height/2, text, themes.FG(themes.Muted))
}

func (c *Chart) drawMarkers(f *frame) {
	bottom := f.top + f.height
	best := map[int]Kind{}
	for _, m := range c.markers {
		x := float64(m.Step)
		if x < f.x.lo || x > f.x.hi {
			continue
		}
		col := f.cellX(x)
		if k, ok := best[col]; !ok || m.Kind >= k {
			best[col] = m.Kind
		}
	}
	for col, k := range best {
		glyph, tok, tall := c.markerLook(k)
		if f.axes {
			c.canvas.put(col, bottom, first(glyph), themes.FG(tok), layerNodes)
		}
		if !tall {
			continue
		}
		for y := f.top; y < bottom; y++ {
			c.canvas.put(col, y, first(c.th.Glyphs.GridV), themes.FG(themes.Grid), layerGrid)
		}
	}
}

// markerLook is the glyph of a kind, its tone, and whether a line goes up
// from it.
func (c *Chart) markerLook(k Kind) (string, themes.Token, bool) {
	g := &c.th.Glyphs
	switch k {
	case Pause:
		return g.Pause, themes.Warn, true
	case Resume:
		return g.Resume, themes.Good, true
	case Checkpoint:
		return g.Checkpoint, themes.Info, false
	case Note:
		return g.Note, themes.Bad, true
	default:
		return g.Eval, themes.Muted, false
	}
}

func (c *Chart) drawSeries(f *frame, s *Series) {
	pen := themes.FG(s.Tok)
	p := plotter{c: c, f: f, pen: pen, layer: layerLine, mark: first(c.th.Glyphs.Marks[c.index(s)%6]), dash: c.dash(s)}
	if s.Nodes {
		p.layer = layerThread
	}
	if line := s.line(); line != &s.raw {
		raw := p
		raw.pen, raw.layer, raw.mark = themes.FG(themes.Faint), layerRaw, '.'
		raw.dash = 0
		raw.draw(s.steps, &s.raw)
		p.draw(s.steps, line)
	} else {
		p.draw(s.steps, &s.raw)
	}
	if s.Nodes {
		c.drawNodes(f, s, pen)
	}
}

func (c *Chart) index(s *Series) int {
	for i, t := range c.series {
		if t == s {
			return i
		}
	}
	return 0
}

// dash tells lines apart where there is no colour: the number of dots of a
// dash, 0 for a solid line.
func (c *Chart) dash(s *Series) int {
	if !c.th.Mono() || c.th.ASCII() {
		return 0
	}
	return [...]int{0, 4, 2, 1}[c.index(s)%4]
}

// drawNodes marks each value that has a cell to itself.
func (c *Chart) drawNodes(f *frame, s *Series, pen themes.Pen) {
	i, j := s.upTo(int(math.Ceil(f.x.lo))-1), s.upTo(int(math.Floor(f.x.hi)))
	if j-i > f.width/2 {
		return
	}
	for ; i < j; i++ {
		y, ok := f.fy(s.line().v[i])
		if !ok {
			continue
		}
		row := f.top + int(math.Round(y))/f.dotsY
		if row >= f.top && row < f.top+f.height {
			c.canvas.put(f.cellX(float64(s.steps[i])), row, first(c.th.Glyphs.Bullet), pen.With(themes.Bold), layerNodes)
		}
	}
}

func first(glyph string) rune {
	r, _ := utf8.DecodeRuneInString(glyph)
	return r
}
