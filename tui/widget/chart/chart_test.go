package chart

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"lathe/themes"
	"lathe/tui/internal/golden"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

var (
	dark  = themes.Must(themes.Options{Name: "dark"})
	mono  = themes.Must(themes.Options{Name: "mono", Profile: colorprofile.ASCII})
	ascii = themes.Must(themes.Options{Name: "dark", ASCII: true})
)

// loss is a falling curve with noise that is the same on every run.
func loss(step int) float64 {
	x := float64(step)
	noise := math.Sin(x*12.9898) * 43758.5453
	noise -= math.Floor(noise)
	return 0.9 + 3.2*math.Exp(-x/120) + (noise-0.5)*0.3
}

func sample(th *themes.Theme) *Chart {
	c := New(th)
	c.SetTotal(1000)
	c.Series("train")
	c.Series("eval").Nodes = true
	for s := 1; s <= 600; s++ {
		v := loss(s)
		if s == 250 {
			v = math.NaN()
		}
		c.Push("train", s, v)
		if s%100 == 0 {
			c.Push("eval", s, loss(s)+0.3)
			c.Mark(s, Eval, "")
			c.Mark(s, Checkpoint, fmt.Sprint("checkpoint-", s))
		}
	}
	c.Mark(330, Pause, "")
	c.Mark(360, Resume, "")
	return c
}

func TestGoldens(t *testing.T) {
	for _, s := range [][2]int{{40, 10}, {76, 18}} {
		for name, th := range map[string]*themes.Theme{"dark": dark, "mono": mono, "ascii": ascii} {
			draw := func(what string, c *Chart) {
				view := c.View(s[0], s[1])
				golden.Size(t, view, s[0], s[1])
				golden.Plain(t, fmt.Sprintf("%s-%s-%dx%d", what, name, s[0], s[1]), view)
			}
			draw("loss", sample(th))
			smooth := sample(th)
			smooth.SetSmoothing(0.9)
			smooth.SetLog(true)
			draw("smoothlog", smooth)
			zoomed := sample(th)
			zoomed.SetCrosshair(340)
			zoomed.Zoom(4)
			draw("zoom", zoomed)
		}
	}
	golden.Styled(t, "loss-styled", sample(dark).View(30, 7))
	empty := New(dark)
	empty.Series("train")
	golden.Plain(t, "empty", empty.View(40, 10))
}

func TestSizes(t *testing.T) {
	for _, th := range []*themes.Theme{dark, ascii} {
		c := sample(th)
		c.Series("name 日本語 \x1b[31m")
		for _, log := range []bool{false, true} {
			c.SetLog(log)
			for _, w := range []int{0, 1, 2, 5, 23, 24, 31, 80, 200} {
				for _, h := range []int{0, 1, 2, 4, 5, 6, 24, 60} {
					golden.Size(t, c.View(w, h), w, h)
				}
			}
		}
	}
}

// TensorBoard's debiased average, written out.
func TestSmoothing(t *testing.T) {
	c := New(dark)
	c.SetSmoothing(0.6)
	values := []float64{4, 3, math.NaN(), 5, 1}
	for i, v := range values {
		c.Push("a", i+1, v)
	}
	s := c.Series("a")
	for i, v := range values {
		got := s.smooth.v[i]
		if math.IsNaN(v) {
			if !math.IsNaN(got) {
				t.Errorf("a gap is averaged to %v", got)
			}
			continue
		}
		sum, weights, w := 0.0, 0.0, 1.0
		for j := i; j >= 0; j-- {
			if !math.IsNaN(values[j]) {
				sum += w * values[j]
				weights += w
				w *= 0.6
			}
		}
		// Both sum five terms; they differ by rounding only.
		if want := sum / weights; math.Abs(got-want) > 1e-12 {
			t.Errorf("value %d: average %v, want %v", i, got, want)
		}
	}
	before := fmt.Sprint(s.smooth.v)
	c.SetSmoothing(0)
	c.SetSmoothing(0.6)
	if after := fmt.Sprint(s.smooth.v); after != before {
		t.Errorf("smoothing anew gives %s, was %s", after, before)
	}
}

// A resume from an earlier step takes back what came after it.
func TestPushTakesBack(t *testing.T) {
	c := New(dark)
	c.SetSmoothing(0.5)
	for s := 1; s <= 1000; s++ {
		c.Push("a", s, float64(s))
	}
	c.Push("a", 301, -5)
	s := c.Series("a")
	if s.Len() != 301 {
		t.Fatalf("%d values, want 301", s.Len())
	}
	if step, v := s.At(300); step != 301 || v != -5 {
		t.Errorf("last is %v at %d", v, step)
	}
	if e := s.raw.extremes(0, 301); e.low != -5 || e.high != 300 {
		t.Errorf("extremes are %v … %v after taking back, want -5 … 300", e.low, e.high)
	}
	want := New(dark)
	want.SetSmoothing(0.5)
	for s := 1; s <= 300; s++ {
		want.Push("a", s, float64(s))
	}
	want.Push("a", 301, -5)
	if got, w := s.smooth.v[300], want.Series("a").smooth.v[300]; got != w {
		t.Errorf("average %v, want %v", got, w)
	}
}

func TestExtremesByBlocks(t *testing.T) {
	var tr track
	for i := range 3000 {
		v := math.Sin(float64(i)) * float64(i%700)
		if i%97 == 0 {
			v = math.Inf(1)
		}
		tr.push(v)
	}
	for _, r := range [][2]int{{0, 3000}, {5, 250}, {255, 257}, {256, 512}, {100, 2900}, {7, 7}} {
		want := nothing
		for _, v := range tr.v[r[0]:r[1]] {
			want.add(v)
		}
		if got := tr.extremes(r[0], r[1]); got != want {
			t.Errorf("extremes of %v: %+v, want %+v", r, got, want)
		}
	}
}

// One outlier among a million values must be seen: columns keep extremes.
func TestDecimationKeepsSpikes(t *testing.T) {
	c := New(dark)
	for s := 1; s <= 1_000_000; s++ {
		v := 1.0
		if s == 654_321 {
			v = 9
		}
		c.Push("a", s, v)
	}
	view := strings.Split(ansi.Strip(c.View(120, 30)), "\n")
	top := -1
	for y, row := range view[1:27] {
		for x, r := range []rune(row) {
			if r > 0x2800 && r <= 0x28ff && top < 0 {
				top = y
				if x < 70 || x > 90 {
					t.Errorf("the spike is drawn in column %d", x)
				}
			}
		}
	}
	if top < 0 || top > 5 {
		t.Errorf("the spike's top is in row %d of the plot, want one of the first:\n%s", top, strings.Join(view, "\n"))
	}
}

func TestWindow(t *testing.T) {
	c := New(dark)
	for s := 1; s <= 700; s++ {
		c.Push("a", s, 1)
	}
	check := func(what string, lo, hi float64) {
		t.Helper()
		if l, h := c.Window(); math.Abs(l-lo) > 1e-9 || math.Abs(h-hi) > 1e-9 {
			t.Errorf("%s: window is %v … %v, want %v … %v", what, l, h, lo, hi)
		}
	}
	check("unplanned, the domain is round", 0, 800)
	c.SetTotal(1000)
	check("planned", 0, 1000)
	c.Zoom(4)
	check("zoom in to the newest step", 450, 700)
	c.Push("a", 701, 1)
	check("the window goes along by quarters", 512.5, 762.5)
	c.Pan(-1)
	check("pan left", 262.5, 512.5)
	c.Push("a", 702, 1)
	check("panned away, it stays", 262.5, 512.5)
	c.Pan(-100)
	check("not below 0", 0, 250)
	c.SetCrosshair(125)
	c.Zoom(2)
	check("zoom around the crosshair", 62.5, 187.5)
	for range 40 {
		c.Zoom(3)
	}
	if lo, hi := c.Window(); hi-lo < minWindow-1e-9 {
		t.Errorf("window shrank to %v", hi-lo)
	}
	for range 40 {
		c.Zoom(0.5)
	}
	check("all the way out", 0, 1000)
	if c.Zoomed() {
		t.Error("still zoomed")
	}
	c.Zoom(math.NaN())
	c.Zoom(0)
	c.Pan(math.Inf(1))
	check("senseless factors change nothing", 0, 1000)
}

func TestCrosshair(t *testing.T) {
	c := sample(dark)
	c.View(76, 18)
	c.MoveCrosshair(-1)
	if step, on := c.Crosshair(); !on || step != 600 {
		t.Errorf("it appears at %d, %v; want the newest step", step, on)
	}
	c.MoveCrosshair(-1)
	if step, _ := c.Crosshair(); step >= 600 || step < 570 {
		t.Errorf("one cell to the left is step %d", step)
	}
	c.SetCrosshair(420)
	r := c.Readings(420)
	if len(r) != 2 || r[0].Step != 420 || r[0].Value != loss(420) || r[1].Step != 400 || r[1].Value != loss(400)+0.3 {
		t.Errorf("readings at 420: %+v", r)
	}
	if !strings.Contains(ansi.Strip(c.View(76, 18)), "@420") {
		t.Error("the legend does not name the step")
	}
	x := c.left + c.columns - 1
	if step, ok := c.StepAt(x); !ok || step < 980 || step > 1000 {
		t.Errorf("the rightmost cell is step %d", step)
	}
	if _, ok := c.StepAt(0); ok {
		t.Error("the gutter is no step")
	}
	c.SetCrosshair(5000)
	if step, _ := c.Crosshair(); step != 600 {
		t.Errorf("beyond the newest step it is at %d", step)
	}
	c.Reset()
	if _, on := c.Crosshair(); on || c.Last() != 0 {
		t.Error("Reset leaves something")
	}
}

func TestTicks(t *testing.T) {
	labels := func(ticks []tick) string {
		var s []string
		for _, tk := range ticks {
			s = append(s, tk.label)
		}
		return strings.Join(s, " ")
	}
	for _, c := range []struct {
		low, high float64
		rows      int
		want      string
	}{
		{0, 1, 13, "0 0.25 0.50 0.75 1.00"},
		{0.9, 4.1, 20, "0 1 2 3 4"},
		{0, 2e-4, 10, "0 1e-4 2e-4 3e-4"},
		{12000, 48000, 10, "0 20k 40k 60k"},
		{-1, 1, 9, "-1 0 1"},
		{5, 5, 9, "4.5 5.0 5.5"},
	} {
		_, ticks := linearAxis(extremes{low: c.low, high: c.high}, c.rows, nil)
		if got := labels(ticks); got != c.want {
			t.Errorf("linear axis %v … %v over %d rows: %q, want %q", c.low, c.high, c.rows, got, c.want)
		}
	}
	for _, c := range []struct {
		low, high float64
		n         int
		want      string
	}{
		{0.9, 4.1, 8, "0.5 1 2 5"},
		{1e-5, 1e3, 8, "1e-4 0.01 1 100"},
		{1e-5, 1e3, 4, "0.001 1 1000"},
		{3, 3, 8, "2 5"},
		{1, 10, 8, "1 2 5 10"},
		{2e4, 9e6, 8, "100k 1M 10M"},
	} {
		_, ticks := logAxis(extremes{high: c.high, positive: c.low}, c.n, nil)
		if got := labels(ticks); got != c.want {
			t.Errorf("log axis %v … %v with %d ticks: %q, want %q", c.low, c.high, c.n, got, c.want)
		}
	}
	if got, want := labels(stepTicks(0, 12000, 100, 12, nil)), "0 2000 4000 6000 8000 10k 12k"; got != want {
		t.Errorf("steps: %q, want %q", got, want)
	}
	if got, want := labels(stepTicks(3, 7, 100, 12, nil)), "3 4 5 6 7"; got != want {
		t.Errorf("few steps: %q, want %q", got, want)
	}
}

func TestGrow(t *testing.T) {
	for v, want := range map[float64]float64{0: 10, 10: 10, 11: 15, 16: 20, 81: 100, 99: 100, 101: 150, 7001: 8000} {
		if got := grow(v); got != want {
			t.Errorf("grow(%v) = %v, want %v", v, got, want)
		}
	}
}

// Unchanged, a chart costs nothing; changed, a fixed handful of allocations
// whatever the number of points.
func TestAllocations(t *testing.T) {
	for _, n := range []int{100, 10_000} {
		c := New(dark)
		c.SetTotal(2 * n)
		c.SetSmoothing(0.9)
		for s := 1; s <= n; s++ {
			c.Push("train", s, loss(s))
			c.Push("eval", s, loss(s)+1)
		}
		c.View(120, 30)
		if got := testing.AllocsPerRun(20, func() { c.View(120, 30) }); got != 0 {
			t.Errorf("%d points: an unchanged View allocates %v times", n, got)
		}
		step := n
		got := testing.AllocsPerRun(20, func() {
			step++
			c.Push("train", step, loss(step))
			c.View(120, 30)
		})
		// The text, the labels of two axes, the values of the legend.
		if got > 60 {
			t.Errorf("%d points: a changed View allocates %v times, budget 60", n, got)
		}
	}
}

// One more point must change few cells: that is what a slow line pays for.
func TestFewCellsChange(t *testing.T) {
	c := New(dark)
	c.SetTotal(2000)
	for s := 1; s <= 1000; s++ {
		c.Push("train", s, loss(s))
		c.Push("eval", s, loss(s)+0.5)
	}
	before := []rune(ansi.Strip(c.View(120, 38)))
	total := 0
	const frames = 20
	for s := 1001; s <= 1000+frames; s++ {
		c.Push("train", s, loss(s))
		c.Push("eval", s, loss(s)+0.5)
		after := []rune(ansi.Strip(c.View(120, 38)))
		for i := range after {
			if after[i] != before[i] {
				total++
			}
		}
		before = after
	}
	// Two values of six digits in the legend and the tips of two lines.
	if mean := float64(total) / frames; mean > 24 {
		t.Errorf("a step changes %.1f cells on average, want at most 24", mean)
	}
}

func FuzzChart(f *testing.F) {
	add := func(vs ...float64) {
		var b []byte
		for _, v := range vs {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
		f.Add(b, uint8(60), uint8(15), uint8(0))
		f.Add(b, uint8(33), uint8(7), uint8(255))
	}
	add()
	add(1, 2, 3)
	add(math.NaN(), math.Inf(1), math.Inf(-1))
	add(math.MaxFloat64, -math.MaxFloat64, 0, math.SmallestNonzeroFloat64)
	add(1e300, 1e300*(1+1e-15))
	add(5e-324, 1e-323)
	add(1e15, 1e15+1, -1e-300)
	add(0, math.Copysign(0, -1), 1e-320)
	f.Fuzz(func(t *testing.T, data []byte, w, h, options uint8) {
		if len(data) > 4096 || h > 60 {
			return
		}
		th := dark
		if options&1 != 0 {
			th = ascii
		}
		c := New(th)
		c.SetLog(options&2 != 0)
		if options&4 != 0 {
			c.SetSmoothing(0.9)
		}
		if options&8 != 0 {
			c.SetTotal(int(options))
		}
		step := 0
		for len(data) >= 8 {
			v := math.Float64frombits(binary.LittleEndian.Uint64(data))
			data = data[8:]
			step += 1 + int(math.Float64bits(v)>>40&15)
			if options&16 != 0 && step%7 == 0 {
				step = max(step-9, 0)
			}
			c.Push("a", step, v)
			c.Push("b", step/2, -v)
			c.Mark(step, Kind(step%5), "")
		}
		if options&32 != 0 {
			c.SetCrosshair(step / 2)
		}
		if options&64 != 0 {
			c.Zoom(3)
			c.Pan(-0.5)
			c.MoveCrosshair(-3)
		}
		golden.Size(t, c.View(int(w), int(h)), int(w), int(h))
	})
}

func benchmarkView(b *testing.B, points int) {
	c := New(dark)
	c.SetTotal(2 * points)
	c.SetSmoothing(0.9)
	for s := 1; s <= points; s++ {
		c.Push("train", s, loss(s))
		c.Push("eval", s, loss(s)+1)
	}
	step := points
	b.ReportAllocs()
	for b.Loop() {
		step++
		c.Push("train", step, loss(step))
		c.View(120, 30)
	}
}

func BenchmarkView10k(b *testing.B) { benchmarkView(b, 10_000) }
func BenchmarkView1M(b *testing.B)  { benchmarkView(b, 1_000_000) }
