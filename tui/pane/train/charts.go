package train

import (
	"math"
	"sort"

	"lathe/session"
	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/widget"
	"lathe/tui/widget/chart"
)

// kind is a chart that the pane can show.
type kind struct {
	name  string
	eval  bool // has a series of evaluations
	value func(trainer.StepDone) float64
}

// The charts, in the order in which c goes through them.
var kinds = []kind{
	{"loss", true, func(s trainer.StepDone) float64 { return s.Loss }},
	{"perplexity", true, func(s trainer.StepDone) float64 { return math.Exp(s.Loss) }},
	{"gradient norm", false, func(s trainer.StepDone) float64 { return s.GradNorm }},
	{"learning rate", false, func(s trainer.StepDone) float64 { return s.LearningRate }},
	{"tokens/s", false, func(s trainer.StepDone) float64 { return s.TokensPerSec }},
}

// lossKind is the chart that stands on top.
const lossKind = 0

// smoothings are what s goes through.
var smoothings = []float64{0, 0.6, 0.9, 0.98}

// charts are the pane's charts; they share one window and one crosshair.
type charts struct {
	all                 []*chart.Chart // made with the first theme
	theme               *themes.Theme
	run                 int64
	points              []session.StepPoint
	saved               []trainer.Saved
	steps, evals, marks int // of the run, already on the charts
	smoothing           int
	log                 bool
}

func newCharts() *charts { return &charts{} }

func (c *charts) empty() bool { return c.steps == 0 }

// follow puts what is new in a run on the charts.
func (c *charts) follow(th *themes.Theme, r session.RunView) {
	c.dress(th)
	if r.ID != c.run || len(r.Steps) < c.steps || len(r.Evals) < c.evals || len(r.Marks) < c.marks {
		for _, ch := range c.all {
			ch.Reset()
		}
		c.run, c.steps, c.evals, c.marks = r.ID, 0, 0, 0
	}
	for i, ch := range c.all {
		k := kinds[i]
		ch.SetTotal(r.TotalSteps)
		for _, s := range r.Steps[c.steps:] {
			ch.Push(trainSeries(k), s.Step, k.value(s.StepDone))
		}
		for _, e := range r.Evals[c.evals:] {
			if k.eval {
				ch.Push("eval", e.Step, evalValue(i, e))
			}
			ch.Mark(e.Step, chart.Eval, "")
		}
		for _, m := range r.Marks[c.marks:] {
			ch.Mark(m.Step, markKind(m.Kind), "")
		}
	}
	c.steps, c.evals, c.marks = len(r.Steps), len(r.Evals), len(r.Marks)
	c.points, c.saved = r.Steps, r.Saved
}

// dress makes the charts, or gives them another theme.
func (c *charts) dress(th *themes.Theme) {
	if th == c.theme {
		return
	}
	c.theme = th
	if c.all != nil {
		for _, ch := range c.all {
			ch.SetTheme(th)
		}
		return
	}
	for i, k := range kinds {
		ch := chart.New(th)
		ch.Empty = "the first step is on its way"
		s := ch.Series(trainSeries(k))
		s.Tok = themes.Series(seriesColour[i])
		if k.eval {
			e := ch.Series("eval")
			e.Nodes, e.Tok = true, themes.Series2
		}
		if k.name == "tokens/s" {
			ch.Format = widget.Count
		}
		c.all = append(c.all, ch)
	}
}

// seriesColour is the data colour of each chart's line.
var seriesColour = [...]int{0, 0, 3, 2, 4}

// trainSeries is the name of a chart's line in its legend, which is also its heading.
func trainSeries(k kind) string {
	if k.name == "loss" {
		return "train loss"
	}
	return k.name
}

func evalValue(i int, e session.EvalPoint) float64 {
	if i == lossKind {
		return e.EvalLoss
	}
	return e.Perplexity
}

func markKind(k trainer.Kind) chart.Kind {
	switch k {
	case trainer.KindPaused:
		return chart.Pause
	case trainer.KindResumed:
		return chart.Resume
	case trainer.KindSpike:
		return chart.Note
	}
	return chart.Checkpoint
}

func (c *charts) each(do func(*chart.Chart)) {
	for _, ch := range c.all {
		do(ch)
	}
}

func (c *charts) toggleLog() {
	c.log = !c.log
	c.each(func(ch *chart.Chart) { ch.SetLog(c.log) })
}

func (c *charts) smoother() {
	c.smoothing = (c.smoothing + 1) % len(smoothings)
	c.each(func(ch *chart.Chart) { ch.SetSmoothing(smoothings[c.smoothing]) })
}

func (c *charts) zoom(by float64) { c.each(func(ch *chart.Chart) { ch.Zoom(by) }) }
func (c *charts) pan(by float64)  { c.each(func(ch *chart.Chart) { ch.Pan(by) }) }
func (c *charts) reset()          { c.each((*chart.Chart).ResetWindow) }
func (c *charts) hide()           { c.each((*chart.Chart).HideCrosshair) }

// move moves the crosshair of the chart that was drawn last, and the others after it.
func (c *charts) move(cells int) {
	if c.all == nil {
		return
	}
	lead := c.all[lossKind]
	lead.MoveCrosshair(cells)
	step, _ := lead.Crosshair()
	lo, _ := lead.Window()
	for _, ch := range c.all[1:] {
		ch.SetCrosshair(step)
		if l, h := ch.Window(); h > l && l != lo {
			ch.Pan((lo - l) / (h - l))
		}
	}
}

// point puts the crosshair on the step under a column of chart i.
func (c *charts) point(i, column int) {
	if i >= len(c.all) {
		return
	}
	if step, ok := c.all[i].StepAt(column); ok {
		c.each(func(ch *chart.Chart) { ch.SetCrosshair(step) })
	}
}

// crosshair is the step that is read, the newest one where there is no crosshair.
func (c *charts) crosshair() (at session.StepPoint, on bool) {
	if len(c.all) == 0 || len(c.points) == 0 {
		return at, false
	}
	step, on := c.all[lossKind].Crosshair()
	if !on {
		return c.points[len(c.points)-1], false
	}
	i := sort.Search(len(c.points), func(i int) bool { return c.points[i].Step > step })
	return c.points[max(i-1, 0)], true
}

// nearest is the checkpoint closest to a step; ok is false when there is none.
func (c *charts) nearest(step int) (s trainer.Saved, ok bool) {
	best := math.MaxInt
	for _, saved := range c.saved {
		if d := max(saved.Step-step, step-saved.Step); d < best {
			best, s, ok = d, saved, true
		}
	}
	return s, ok
}
