package model

import (
	"errors"
	"math"
	"math/rand/v2"
)

var errNotFinite = errors.New("the model's scores are not finite: its weights are damaged, or training diverged")

// sampler draws tokens from scores.
type sampler struct {
	temperature float64
	topK        int
	topP        float64
	rng         *rand.Rand
	heap        []candidate
}

type candidate struct {
	score float32
	id    int32
}

func newSampler(o GenerateOptions, seed uint64) *sampler {
	return &sampler{temperature: o.Temperature, topK: o.TopK, topP: o.TopP, rng: rand.New(rand.NewPCG(seed, 0x6c61746865))}
}

// next is a token and ln p of it under the scores as they are, before temperature and truncation.
func (s *sampler) next(scores []float32) (id int32, logprob float32, err error) {
	best := 0
	for i, x := range scores {
		if x > scores[best] {
			best = i
		}
	}
	top, sum := float64(scores[best]), 0.0
	for _, x := range scores {
		sum += expNegative(float64(x) - top)
	}
	if math.IsNaN(sum) || math.IsInf(top, 0) {
		return 0, 0, errNotFinite
	}
	id = int32(best)
	if s.temperature > 0 {
		id = s.draw(scores, top)
	}
	return id, float32(float64(scores[id]) - top - math.Log(sum)), nil
}

// expNegative is eˣ for x ≤ 0 within 3e-10 of it, at half the cost of math.Exp over a whole vocabulary: the power of two nearest below or
// above (Cody and Waite), and Taylor's polynomial for what is left, at most ln 2 / 2. NaN stays.
func expNegative(x float64) float64 {
	if x < -700 {
		return 0
	}
	const round = 0x1.8p52 // adding it leaves an integer in the low bits
	t := x*math.Log2E + round
	r := x - (t-round)*math.Ln2
	p := 1 + r*(1+r*(1.0/2+r*(1.0/6+r*(1.0/24+r*(1.0/120+r*(1.0/720+r*(1.0/5040+r*(1.0/40320))))))))
	return p * math.Float64frombits(math.Float64bits(t)<<52+1023<<52)
}

// draw applies temperature, then top-k, then top-p, as transformers does.
func (s *sampler) draw(scores []float32, top float64) int32 {
	weight := func(x float32) float64 { return expNegative((float64(x) - top) / s.temperature) }
	if s.topK <= 0 && (s.topP <= 0 || s.topP >= 1) {
		sum := 0.0
		for _, x := range scores {
			sum += weight(x)
		}
		u := s.rng.Float64() * sum
		for i, x := range scores {
			if u -= weight(x); u < 0 {
				return int32(i)
			}
		}
		return int32(len(scores) - 1)
	}
	kept, sum := s.truncate(scores, weight)
	u := s.rng.Float64() * sum
	for _, c := range kept {
		if u -= weight(c.score); u < 0 {
			return c.id
		}
	}
	return kept[len(kept)-1].id
}

// truncate gives the candidates that survive, best first, and the sum of their weights.
func (s *sampler) truncate(scores []float32, weight func(float32) float64) (kept []candidate, sum float64) {
	s.heap = s.heap[:0]
	mass := 0.0
	for i, x := range scores {
		s.heap = append(s.heap, candidate{x, int32(i)})
		mass += weight(x)
	}
	for i := len(s.heap)/2 - 1; i >= 0; i-- {
		s.sink(i)
	}
	limit := len(s.heap)
	if s.topK > 0 && s.topK < limit {
		limit, mass = s.topK, 0
		for range limit {
			kept = append(kept, s.pop())
			mass += weight(kept[len(kept)-1].score)
		}
	}
	if s.topP <= 0 || s.topP >= 1 {
		return kept, mass
	}
	for i := range limit {
		if i == len(kept) {
			kept = append(kept, s.pop())
		}
		if sum += weight(kept[i].score); sum >= s.topP*mass {
			return kept[:i+1], sum
		}
	}
	return kept, sum
}

func (c candidate) before(d candidate) bool {
	return c.score > d.score || c.score == d.score && c.id < d.id
}

func (s *sampler) pop() candidate {
	h := s.heap
	best := h[0]
	h[0] = h[len(h)-1]
	s.heap = h[:len(h)-1]
	s.sink(0)
	return best
}

func (s *sampler) sink(i int) {
	h := s.heap
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
