package chart

import (
	"math"
	"sort"

	"lathe/themes"
)

// Series is a named line. Name, Tok, Nodes, Raw and Hidden may be set by its
// owner before the next Push or option call.
type Series struct {
	Name   string
	Tok    themes.Token
	Nodes  bool // mark each value and never smooth: few values far apart, as evaluations are
	Raw    bool // never smooth
	Hidden bool

	chart  *Chart
	steps  []int // rising
	raw    track
	smooth track
	weight float64
	ema    float64 // Σ (1-w)·wᵏ·x[n-k]
	bias   float64 // Σ (1-w)·wᵏ, the weight that the sum holds so far
}

// Len is the number of values.
func (s *Series) Len() int { return len(s.steps) }

// At is the i-th value with its step.
func (s *Series) At(i int) (step int, value float64) { return s.steps[i], s.raw.v[i] }

func (s *Series) push(step int, v float64) {
	if n := len(s.steps); n > 0 && step <= s.steps[n-1] {
		s.truncate(sort.SearchInts(s.steps, step))
	}
	s.steps = append(s.steps, step)
	s.raw.push(v)
	if s.weight > 0 {
		s.smooth.push(s.average(v))
	}
}

// average moves the average on by v. What is not finite is passed through
// and leaves the average alone.
func (s *Series) average(v float64) float64 {
	if !finite(v) {
		return v
	}
	s.ema = s.weight*s.ema + (1-s.weight)*v
	s.bias = s.weight*s.bias + (1 - s.weight)
	return s.ema / s.bias
}

func (s *Series) truncate(n int) {
	s.steps = s.steps[:n]
	s.raw.truncate(n)
	s.resmooth(s.weight)
}

func (s *Series) resmooth(weight float64) {
	s.weight, s.ema, s.bias = weight, 0, 0
	s.smooth.truncate(0)
	if weight == 0 {
		return
	}
	for _, v := range s.raw.v {
		s.smooth.push(s.average(v))
	}
}

// upTo is the number of values at or before step.
func (s *Series) upTo(step int) int { return sort.SearchInts(s.steps, step+1) }

func (s *Series) reading(i int) Reading {
	r := Reading{Series: s, Step: s.steps[i], Value: s.raw.v[i]}
	r.Smoothed = s.line().v[i]
	return r
}

// line is what is drawn strong: the average when smoothing, else the values.
func (s *Series) line() *track {
	if s.weight > 0 && !s.Raw && !s.Nodes {
		return &s.smooth
	}
	return &s.raw
}

// track is a list of values with the extremes of each block of them, so that
// the extremes of a long range cost few reads.
type track struct {
	v      []float64
	blocks []extremes
}

const blockSize = 256

// extremes of the finite values of a range; low > high when it has none.
type extremes struct {
	low, high float64
	positive  float64 // least value above 0; +Inf when there is none
	missing   bool    // there are values that are not finite
}

var nothing = extremes{low: math.Inf(1), high: math.Inf(-1), positive: math.Inf(1)}

func (e *extremes) add(v float64) {
	if !finite(v) {
		e.missing = true
		return
	}
	e.low, e.high = min(e.low, v), max(e.high, v)
	if v > 0 {
		e.positive = min(e.positive, v)
	}
}

func (e *extremes) merge(f extremes) {
	e.low, e.high, e.positive = min(e.low, f.low), max(e.high, f.high), min(e.positive, f.positive)
	e.missing = e.missing || f.missing
}

func (t *track) push(v float64) {
	if len(t.v)%blockSize == 0 {
		t.blocks = append(t.blocks, nothing)
	}
	t.v = append(t.v, v)
	t.blocks[len(t.blocks)-1].add(v)
}

func (t *track) truncate(n int) {
	t.v = t.v[:n]
	t.blocks = t.blocks[:(n+blockSize-1)/blockSize]
	if n%blockSize != 0 {
		last := nothing
		for _, v := range t.v[n-n%blockSize:] {
			last.add(v)
		}
		t.blocks[len(t.blocks)-1] = last
	}
}

// extremes of v[i:j].
func (t *track) extremes(i, j int) extremes {
	e := nothing
	for i < j {
		if i%blockSize == 0 && i+blockSize <= j {
			e.merge(t.blocks[i/blockSize])
			i += blockSize
			continue
		}
		e.add(t.v[i])
		i++
	}
	return e
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
