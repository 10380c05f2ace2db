// Package chart draws line charts of training metrics over steps.
//
// It draws its own canvas of braille cells (2×4 dots, the encoding of
// ntcharts' runes package) instead of ntcharts' line charts, which style each
// cell alone: here cells of one colour share one escape sequence, points are
// reduced to the smallest and largest of each dot column before they are
// drawn, and the x axis grows in steps, so that one more point changes a few
// cells and not the whole picture.
package chart

import (
	"math"

	"lathe/themes"
)

// Kind is what a marker on the step axis stands for.
type Kind uint8

// Where two markers share a column the one of higher kind is drawn.
const (
	Eval Kind = iota
	Checkpoint
	Resume
	Pause
	Note // anything that wants a look: a spike, a live edit
)

// Marker is an event at a step.
type Marker struct {
	Step  int
	Kind  Kind
	Label string
}

// Chart holds series, markers and the view on them. Make it with New; it is
// not safe for concurrent use.
type Chart struct {
	// XName is written at the end of the x axis; "step" unless set.
	XName string
	// Format writes y values in the legend; widget.Number unless set.
	Format func(float64) string
	// Empty is written into the plot while there is no value.
	Empty string

	th      *themes.Theme
	series  []*Series
	markers []Marker
	total   int // planned steps, 0 unknown
	log     bool
	smooth  float64
	zoomed  bool
	follow  bool // the window goes along with the newest step
	lo, hi  float64
	cross   int
	crossOn bool
	rev     uint64
	columns int // plot cells of the last View, for moving the crosshair
	left    int // gutter of the last View
	canvas  canvas
	cacheAt key
	cached  string
	ticksY  []tick
	ticksX  []tick
	legend  []entry
}

type key struct {
	rev           uint64
	width, height int
	th            *themes.Theme
}

// New makes an empty chart.
func New(th *themes.Theme) *Chart {
	return &Chart{th: th, XName: "step", Empty: "no values yet", rev: 1}
}

// SetTheme recolours the chart.
func (c *Chart) SetTheme(th *themes.Theme) { c.th = th; c.rev++ }

// Series is the series of that name, made on first use; series are drawn in
// the order they were made, later ones on top.
func (c *Chart) Series(name string) *Series {
	for _, s := range c.series {
		if s.Name == name {
			return s
		}
	}
	s := &Series{Name: name, Tok: themes.Series(len(c.series)), chart: c, weight: c.smooth}
	c.series = append(c.series, s)
	c.rev++
	return s
}

// All are the series in drawing order.
func (c *Chart) All() []*Series { return c.series }

// Push appends a value at a step. A step that is not above the last one takes
// everything from it on back first: that is what a resume from an earlier
// checkpoint means. NaN and Inf leave a gap and a mark on the axis.
func (c *Chart) Push(name string, step int, value float64) {
	c.Series(name).push(step, value)
	c.rev++
}

// Mark adds a marker; the same one twice counts once.
func (c *Chart) Mark(step int, kind Kind, label string) {
	m := Marker{step, kind, label}
	for _, old := range c.markers {
		if old == m {
			return
		}
	}
	c.markers = append(c.markers, m)
	c.rev++
}

// Markers are all markers in the order they were added.
func (c *Chart) Markers() []Marker { return c.markers }

// Reset drops data and markers; names, colours and the view's options stay.
func (c *Chart) Reset() {
	for _, s := range c.series {
		s.truncate(0)
	}
	c.markers = nil
	c.crossOn = false
	c.ResetWindow()
}

// SetTotal tells the planned number of steps, which then is the x domain.
func (c *Chart) SetTotal(steps int) {
	if steps != c.total {
		c.total = max(steps, 0)
		c.rev++
	}
}

// SetLog chooses a logarithmic y axis; values that are not positive are gaps
// there.
func (c *Chart) SetLog(on bool) { c.log = on; c.rev++ }

// Log says whether the y axis is logarithmic.
func (c *Chart) Log() bool { return c.log }

// SetSmoothing sets the weight of the exponential moving average, 0 (off) to
// 0.999: smooth[n] = Σ wᵏ·x[n-k] / Σ wᵏ, TensorBoard's debiased average. The
// raw values then are drawn faint behind it.
func (c *Chart) SetSmoothing(weight float64) {
	if math.IsNaN(weight) {
		weight = 0
	}
	weight = min(max(weight, 0), 0.999)
	if weight == c.smooth {
		return
	}
	c.smooth = weight
	for _, s := range c.series {
		s.resmooth(weight)
	}
	c.rev++
}

// Smoothing is the weight in force.
func (c *Chart) Smoothing() float64 { return c.smooth }

// Last is the newest step of any series, 0 when there is none.
func (c *Chart) Last() int {
	last := 0
	for _, s := range c.series {
		if n := len(s.steps); n > 0 {
			last = max(last, s.steps[n-1])
		}
	}
	return last
}

// domain is the whole x range: the planned steps, or the next round number
// above what has come.
func (c *Chart) domain() (lo, hi float64) {
	last := c.Last()
	if c.total > 0 && last <= c.total {
		return 0, float64(c.total)
	}
	return 0, grow(float64(last))
}

// grow is the next of 10, 15, 20, 30, 40, 50, 60, 80, 100, 150 … at or above v.
func grow(v float64) float64 {
	for scale := 10.0; ; scale *= 10 {
		for _, m := range [...]float64{1, 1.5, 2, 3, 4, 5, 6, 8} {
			if m*scale >= v {
				return m * scale
			}
		}
	}
}

// Window is the x range that is drawn.
func (c *Chart) Window() (lo, hi float64) {
	if !c.zoomed {
		return c.domain()
	}
	lo, hi = c.lo, c.hi
	if last := float64(c.Last()); c.follow && last > hi {
		// Quarters of the window at a time: a redraw now and then instead of
		// one at each step.
		quarter := (hi - lo) / 4
		shift := math.Ceil((last-hi)/quarter) * quarter
		lo, hi = lo+shift, hi+shift
	}
	return lo, hi
}

// Zoomed says whether less than the whole domain is drawn.
func (c *Chart) Zoomed() bool { return c.zoomed }

// minWindow is the least number of steps a window shows.
const minWindow = 4

// Zoom divides the window's width by factor (above 1 zooms in) around the
// crosshair, or towards the newest step.
func (c *Chart) Zoom(factor float64) {
	if factor <= 0 || math.IsNaN(factor) || math.IsInf(factor, 0) {
		return
	}
	lo, hi := c.Window()
	_, end := c.domain()
	last := min(float64(c.Last()), hi)
	width := max((hi-lo)/factor, minWindow)
	if width >= end {
		c.ResetWindow()
		return
	}
	at := 1.0 // the point that stays where it is, as a share of the window
	anchor := hi
	switch {
	case c.crossOn && float64(c.cross) >= lo && float64(c.cross) <= hi:
		anchor = float64(c.cross)
		at = (anchor - lo) / (hi - lo)
	case !c.zoomed && last > 0:
		anchor = last // what has come, not the empty rest of the plan
	case !c.follow:
		anchor, at = (lo+hi)/2, 0.5
	}
	c.setWindow(anchor-at*width, anchor+(1-at)*width)
}

// Pan moves the window by a share of its width, negative to the left.
func (c *Chart) Pan(share float64) {
	if !c.zoomed || math.IsNaN(share) || math.IsInf(share, 0) {
		return
	}
	lo, hi := c.Window()
	d := (hi - lo) * share
	c.setWindow(lo+d, hi+d)
}

// ResetWindow shows the whole domain again.
func (c *Chart) ResetWindow() { c.zoomed, c.follow = false, false; c.rev++ }

func (c *Chart) setWindow(lo, hi float64) {
	_, end := c.domain()
	width := hi - lo
	end = max(end, width)
	hi = min(hi, end)
	lo = max(hi-width, 0)
	hi = lo + width
	c.zoomed, c.lo, c.hi = true, lo, hi
	c.follow = hi >= float64(c.Last())
	c.rev++
}

// SetCrosshair puts the crosshair at a step and shows it.
func (c *Chart) SetCrosshair(step int) {
	c.cross = min(max(step, 0), max(c.Last(), 0))
	c.crossOn = true
	c.rev++
}

// HideCrosshair takes it away.
func (c *Chart) HideCrosshair() { c.crossOn = false; c.rev++ }

// Crosshair is the step under the crosshair; on is false when it is hidden.
func (c *Chart) Crosshair() (step int, on bool) { return c.cross, c.crossOn }

// MoveCrosshair moves the crosshair by cells of the last drawing, at least a
// step each, and takes the window along at its edge. Hidden, it appears at
// the newest step.
func (c *Chart) MoveCrosshair(cells int) {
	if !c.crossOn {
		_, hi := c.Window()
		c.SetCrosshair(min(c.Last(), int(hi)))
		return
	}
	lo, hi := c.Window()
	perCell := max((hi-lo)/float64(max(c.columns-1, 1)), 1)
	step := int(math.Round(float64(c.cross) + perCell*float64(cells)))
	if cells > 0 {
		step = max(step, c.cross+1)
	} else if cells < 0 {
		step = min(step, c.cross-1)
	}
	c.SetCrosshair(step)
	if x := float64(c.cross); c.zoomed && (x < lo || x > hi) {
		d := x - lo
		if x > hi {
			d = x - hi
		}
		c.setWindow(lo+d, hi+d)
	}
}

// StepAt is the step under a cell column of the last drawing, for the mouse.
func (c *Chart) StepAt(x int) (step int, ok bool) {
	x -= c.left
	if x < 0 || x >= c.columns {
		return 0, false
	}
	lo, hi := c.Window()
	return int(math.Round(lo + (hi-lo)*(float64(x)+0.5)/float64(c.columns))), true
}

// Reading is what a series shows at a step.
type Reading struct {
	Series   *Series
	Step     int // of the value: the last one at or before the step asked for
	Value    float64
	Smoothed float64 // equal to Value without smoothing
}

// Readings are the values at or before a step, of the series that have one.
func (c *Chart) Readings(step int) []Reading {
	var out []Reading
	for _, s := range c.series {
		if i := s.upTo(step); i > 0 && !s.Hidden {
			out = append(out, s.reading(i-1))
		}
	}
	return out
}
