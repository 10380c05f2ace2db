package chart

import (
	"math"
	"sort"
	"strconv"
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
		for gx := x + 1; gx < x+1+f.width; gx += 2 {
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
	free := 0
	if name := widget.Sanitize(c.XName); widget.Width(name) < f.left {
		c.canvas.text(f.left-1-widget.Width(name), bottom+1, name, themes.FG(themes.Faint))
		free = f.left
	}
	for _, t := range c.ticksX {
		x := f.cellX(t.at)
		c.canvas.put(x, bottom, first(c.th.Glyphs.TeeDown), themes.FG(themes.Border), layerGrid)
		at := min(max(x-len(t.label)/2, f.left), limit-len(t.label))
		if at < free || at+len(t.label) > limit {
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

func (c *Chart) drawCrosshair(f *frame) {
	x := float64(c.cross)
	if !c.crossOn || x < f.x.lo || x > f.x.hi {
		return
	}
	col, bottom := f.cellX(x), f.top+f.height
	pen := themes.FG(themes.Accent)
	for y := f.top; y < bottom; y++ {
		c.canvas.put(col, y, first(c.th.Glyphs.Crosshair), pen, layerRaw)
	}
	if !f.axes {
		return
	}
	c.canvas.put(col, bottom, first(c.th.Glyphs.Cross), pen, layerText)
	label := strconv.Itoa(c.cross)
	at := min(max(col-len(label)/2, f.left), f.left+f.width-len(label))
	// A blank on either side sets the number off from the tick labels.
	c.canvas.text(at-1, bottom+1, " "+label+" ", pen.With(themes.Bold))
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

func first(glyph string) rune {
	r, _ := utf8.DecodeRuneInString(glyph)
	return r
}
