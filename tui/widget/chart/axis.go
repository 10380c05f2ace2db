package chart

import (
	"math"
	"strconv"
	"strings"
)

// tick is a labelled place on an axis, at is its projected value.
type tick struct {
	at    float64
	label string
}

// axis maps values to [0, 1]. On a log axis lo and hi are powers of ten.
type axis struct {
	lo, hi float64
	log    bool
}

// limit keeps projections clear of overflow: no metric is beyond it.
const limit = 1e300

// project maps v to [0, 1] on the axis (outside for what is beyond it); ok is
// false for what has no place there.
func (a axis) project(v float64) (f float64, ok bool) {
	if !finite(v) {
		return 0, false
	}
	v = min(max(v, -limit), limit)
	if a.log {
		if v <= 0 {
			return 0, false
		}
		v = math.Log10(v)
	}
	f = (v - a.lo) / (a.hi - a.lo)
	return f, finite(f)
}

// linearAxis covers e on a plot of rows cells. Ticks stand on round values a
// whole number of rows apart, so that their labels are evenly spaced; of the
// spacings that do, the one that wastes the least of the plot is taken.
func linearAxis(e extremes, rows int, ticks []tick) (axis, []tick) {
	lo, hi := widen(e)
	span := float64(max(rows-1, 1))
	best, bestStep, bestRows := axis{}, 0.0, 0.0
	least := 3.0
	if rows < 9 {
		least = 2
	}
	most := min(max(float64(rows/4+1), least), 6)
	for apart := least; apart <= min(most, max(span, least)); apart++ {
		n := span / apart // tick distances in the plot
		step := niceStep((hi - lo) / n)
		from := math.Floor(lo/step+1e-9) * step
		for from+step*n < hi*(1-1e-12) && step < limit {
			step = niceStep(step * 1.01)
			from = math.Floor(lo/step+1e-9) * step
		}
		if cover := step * n; bestStep == 0 || cover < (best.hi-best.lo)*(1-1e-9) {
			best, bestStep, bestRows = axis{lo: from, hi: from + cover}, step, n
		}
	}
	if step := bestStep; !finite(best.hi) || best.hi <= best.lo || step <= max(math.Abs(lo), math.Abs(hi))*1e-9 || best.hi < hi {
		// Values too close for their size: no numbers one can label.
		return axis{lo: lo, hi: hi}, append(ticks, tick{lo, shortest(lo)}, tick{hi, shortest(hi)})
	}
	first := math.Round(best.lo / bestStep)
	largest := max(math.Abs(best.lo), math.Abs(best.hi))
	for i := 0.0; i <= bestRows+1e-9; i++ {
		v := (first + i) * bestStep
		ticks = append(ticks, tick{v, linearLabel(v, bestStep, largest)})
	}
	return best, ticks
}

// widen gives the ends of e as a range that is neither empty nor beyond
// limit.
func widen(e extremes) (lo, hi float64) {
	lo, hi = max(e.low, -limit), min(e.high, limit)
	if lo > hi {
		return 0, 1
	}
	if lo == hi {
		pad := math.Abs(lo) / 10
		if pad < 1e-300 {
			pad = 1
		}
		lo, hi = lo-pad, hi+pad
		if e.low >= 0 {
			lo = max(lo, 0)
		}
	}
	return lo, hi
}

// niceStep is the least of 1, 2, 2.5, 5 times a power of ten at or above v.
func niceStep(v float64) float64 {
	if v <= 0 || !finite(v) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	if p == 0 {
		return v
	}
	for _, m := range [...]float64{1, 2, 2.5, 5} {
		if m*p >= v*(1-1e-12) {
			return m * p
		}
	}
	return 10 * p
}

// linearLabel writes v with the decimals that step needs; largest sets the
// unit for all labels of the axis.
func linearLabel(v, step, largest float64) string {
	if math.Abs(v) < step/2 {
		return "0"
	}
	switch {
	case largest >= 1e15 || step < 1e-3 && largest < 1e-2:
		return shortest(v)
	case largest >= 1e4:
		unit, suffix := 1e3, "k"
		for _, s := range [...]string{"M", "G", "T"} {
			if largest < unit*1e3 {
				break
			}
			unit, suffix = unit*1e3, s
		}
		return strconv.FormatFloat(v/unit, 'f', decimals(step/unit), 64) + suffix
	default:
		return strconv.FormatFloat(v, 'f', decimals(step), 64)
	}
}

// decimals needed to write multiples of step.
func decimals(step float64) int {
	d := 0
	for d < 12 && math.Abs(step-math.Round(step)) > step*1e-6 {
		step *= 10
		d++
	}
	return d
}

// shortest writes v with three digits: 3e-4, 1.5e-5, 42.
func shortest(v float64) string {
	format := byte('g')
	if math.Abs(v) < 1e-2 {
		format = 'e'
	}
	m, e, ok := strings.Cut(strconv.FormatFloat(v, format, 3, 64), "e")
	if !ok {
		return m
	}
	if strings.Contains(m, ".") {
		m = strings.TrimRight(strings.TrimRight(m, "0"), ".")
	}
	sign := ""
	if e[0] == '-' {
		sign = "-"
	}
	if e = strings.TrimLeft(e, "+-0"); e == "" {
		return m
	}
	return m + "e" + sign + e
}

// logAxis covers the positive values of e with ends at 1, 2 or 5 times a
// power of ten and gives at most about n ticks.
func logAxis(e extremes, n int, ticks []tick) (axis, []tick) {
	lo, hi := e.positive, min(e.high, limit)
	if lo > hi {
		lo, hi = 0.1, 1
	}
	first, last := logFloor(lo), logCeil(hi)
	if last <= first {
		last = first + 1
	}
	a := axis{lo: logTick(first), hi: logTick(last), log: true}
	// Ticks 1, 2, 5 of each decade where there is room, else decades only,
	// else every k-th decade.
	stride := 1
	if last-first+1 > n {
		stride = 3
		for (last-first)/stride+1 > max(n, 2) {
			stride += 3
		}
	}
	for i := first; i <= last; i++ {
		if stride > 1 && i%stride != 0 {
			continue
		}
		v := logTick(i)
		ticks = append(ticks, tick{v, logLabel(i)})
	}
	if len(ticks) < 2 {
		ticks = append(ticks[:0], tick{a.lo, logLabel(first)}, tick{a.hi, logLabel(last)})
	}
	return a, ticks
}

var mantissas = [3]float64{1, 2, 5}

// Log ticks are numbered: 3k+j is mantissas[j]·10ᵏ.
func logTick(i int) float64 {
	k := floorDiv(i, 3)
	return float64(k) + math.Log10(mantissas[i-3*k])
}

func logFloor(v float64) int {
	i := 3*int(math.Floor(math.Log10(v))) + 3
	for logTick(i) > math.Log10(v)+1e-9 {
		i--
	}
	return i
}

func logCeil(v float64) int {
	i := 3 * int(math.Floor(math.Log10(v)))
	for logTick(i) < math.Log10(v)-1e-9 {
		i++
	}
	return i
}

func logLabel(i int) string {
	k := floorDiv(i, 3)
	m := mantissas[i-3*k]
	switch {
	case k >= -3 && k < 0:
		return strconv.FormatFloat(m*math.Pow10(k), 'f', -k, 64)
	case k >= 0 && k < 4:
		return strconv.FormatFloat(m*math.Pow10(k), 'f', 0, 64)
	case k >= 4 && k < 6:
		return strconv.FormatFloat(m*math.Pow10(k-3), 'f', 0, 64) + "k"
	case k >= 6 && k < 9:
		return strconv.FormatFloat(m*math.Pow10(k-6), 'f', 0, 64) + "M"
	default:
		return strconv.FormatFloat(m, 'f', 0, 64) + "e" + strconv.Itoa(k)
	}
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// stepTicks are round steps in [lo, hi], at least apart cells from each other
// on an axis of cells.
func stepTicks(lo, hi float64, cells, apart int, ticks []tick) []tick {
	n := max(cells/apart, 1)
	step := max(niceStep((hi-lo)/float64(n)), 1)
	step = math.Ceil(step) // no half steps
	for i := math.Ceil(lo / step); i*step <= hi && len(ticks) <= n+1; i++ {
		ticks = append(ticks, tick{i * step, stepLabel(i*step, step)})
	}
	return ticks
}

func stepLabel(v, step float64) string {
	switch {
	case v < 1e4:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v < 1e6:
		return strconv.FormatFloat(v/1e3, 'f', min(decimals(step/1e3), 3), 64) + "k"
	default:
		return strconv.FormatFloat(v/1e6, 'f', min(decimals(step/1e6), 6), 64) + "M"
	}
}
