package main

import (
	"math"
	"strings"
)

// seconds is the roofline of a launch: the longest of what it computes on tensor cores, what it computes in float32, and what it moves in
// memory and in shared memory.
func (l limits) seconds(c cost) float64 {
	tensor, shared := l.tensor, c.shared/l.shared
	switch c.role {
	case product:
		tensor = l.products
	case attention:
		tensor = l.heads
	}
	if tensor > l.tensor { // by wgmma, which takes its operands from shared memory itself
		shared = 0
	}
	return max(c.padded/tensor, c.float/l.float, c.bytes()/l.memory, shared)
}

// change is a way to do a launch otherwise, or not at all (false).
type change func(item, cost) (cost, bool)

// after applies changes one after the other.
func after(i item, changes []change) (cost, bool) {
	c := i.cost
	for _, change := range changes {
		var stays bool
		if c, stays = change(i, c); !stays {
			return cost{}, false
		}
	}
	return c, true
}

// times are seconds by role.
type times map[role]float64

func (t times) total() (sum float64) {
	for _, r := range roles { // in their order, so that the last bits are always the same
		sum += t[r]
	}
	return sum
}

// time is the roofline of a micro-batch with its share of the step's end.
func (w work) time(l limits, changes ...change) times {
	t := times{}
	add := func(all items, share float64) {
		for _, i := range all.sorted() {
			if c, stays := after(i, changes); stays {
				t[c.role] += share * float64(all[i]) * l.seconds(c)
			}
		}
	}
	add(w.micro, 1)
	add(w.end, 1./micros)
	return t
}

// sum adds a number over the launches of a micro-batch.
func (w work) sum(of func(cost) float64, changes ...change) (sum float64) {
	for _, i := range w.micro.sorted() {
		if c, stays := after(i, changes); stays {
			sum += float64(w.micro[i]) * of(c)
		}
	}
	return sum
}

// launches is how many a micro-batch has.
func (w work) launches() (n int) {
	for _, count := range w.micro {
		n += count
	}
	return n
}

// fits says whether a device holds the work.
func (w work) fits(g gpu) bool { return w.peak+reserve <= g.size }

// utilisation is the share of the data sheet's products that tokens a second are, where a token needs so many operations.
func (g gpu) utilisation(perSecond, perToken float64) float64 { return perSecond * perToken / g.tensor }

// The changes that would make a step faster, as far as a roofline can tell.

// wholeChunks gives the head chunks of 1024 rows, whole tiles, in place of as many as 64 MiB of logits hold.
func wholeChunks(i item, c cost) (cost, bool) {
	const rows = 1024
	if i.head && c.role == product && c.rows < rows {
		c.padded, c.weights = c.tensor, c.weights*float64(c.rows)/rows
	}
	return c, true
}

// packOnce leaves out packing what the product before has packed.
func packOnce(_ item, c cost) (cost, bool) {
	return c, !c.again
}

// lowRankTensor does LoRA's inner products on tensor cores.
func lowRankTensor(_ item, c cost) (cost, bool) {
	if c.role == lowRank {
		c.padded, c.float = c.padded+c.float, 0
	}
	return c, true
}

// attentionTensor does attention on tensor cores, where it is not.
func attentionTensor(_ item, c cost) (cost, bool) {
	if c.role == attention {
		c.padded, c.float = c.padded+c.float, 0
	}
	return c, true
}

// halfLoads lets a warp of attention's backward pass have twice the rows, as forward: each operand it loads meets twice as many.
func halfLoads(i item, c cost) (cost, bool) {
	if c.role == attention && !strings.HasPrefix(i.kernel, "attention_forward_") {
		c.shared /= 2
	}
	return c, true
}

// fiveProducts makes attention's backward pass compute scores and their gradients once for both of its kernels: 5 products in place of 7.
func fiveProducts(i item, c cost) (cost, bool) {
	if c.role == attention && !strings.HasPrefix(i.kernel, "attention_forward_") {
		c.padded, c.float, c.shared = c.padded*5/7, c.float*5/7, c.shared*5/7
	}
	return c, true
}

// narrowActs holds activations and their gradients in bf16: half the bytes, and nothing to pack.
func narrowActs(_ item, c cost) (cost, bool) {
	if c.role == packActs || c.role == packHeads && c.rest > 0 && c.acts > 0 {
		return c, false
	}
	c.acts /= 2
	return c, true
}

// keptWeights holds a bf16 copy of every weight, so that none is dequantised.
func keptWeights(_ item, c cost) (cost, bool) {
	return c, c.role != packWeights
}

// fusedEnds leaves copies out: of the residual stream, which a product could read where it lies.
func fusedEnds(_ item, c cost) (cost, bool) {
	return c, c.role != copies
}

// round rounds to some significant digits, so that a document does not hang on the last bits.
func round(x float64, digits int) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, float64(digits-1)-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}
