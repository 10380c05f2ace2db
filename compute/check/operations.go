package check

import (
	"cmp"
	"slices"

	"lathe/compute"
)

// The numbers of operations, apart from their buffers.

// Act fails on an activation that compute does not name.
func (c *Check[P]) Act(a compute.Act) {
	c.Want(a <= compute.LeakyReLU, "activation %d is none that compute names", a)
}

// Probability fails outside of [0,1].
func (c *Check[P]) Probability(name string, p float32) {
	c.Want(p >= 0 && p <= 1, "%s is %g: want a probability", name, p)
}

// Step fails below 1.
func (c *Check[P]) Step(step int) { c.Want(step >= 1, "Step is %d: steps count from 1", step) }

// Rotary fails on a part of the heads that cannot turn.
func (c *Check[P]) Rotary(a compute.RoPE) {
	c.Want(a.Rotary > 0 && a.Rotary%2 == 0 && a.Rotary <= a.D, "Rotary is %d: want an even number up to D = %d", a.Rotary, a.D)
}

// Columns fails where a CopyBlocks leaves its groups.
func (c *Check[P]) Columns(a compute.CopyBlocks) {
	c.Want(a.Width >= 0 && a.DstAt >= 0 && a.DstAt+a.Width <= a.DstWidth, "columns %d to %d lie outside of Dst's groups of %d",
		a.DstAt, a.DstAt+a.Width, a.DstWidth)
	c.Want(a.SrcAt >= 0 && a.SrcAt+a.Width <= a.SrcWidth, "columns %d to %d lie outside of Src's groups of %d",
		a.SrcAt, a.SrcAt+a.Width, a.SrcWidth)
}

// Rank fails on a negative rank; no extension is right.
func (c *Check[P]) Rank(r *compute.LowRank) {
	if r != nil {
		c.Want(r.R >= 0, "LowRank has rank %d", r.R)
	}
}

// Quant4 are the addresses of a 4-bit weight: Absmax, or the four of double quantisation.
type Quant4[P any] struct{ Data, Absmax, Codes, Nested, Map, Offset P }

// Quant4 checks a 4-bit weight.
func (c *Check[P]) Quant4(w compute.Weight) (a Quant4[P]) {
	c.Want(w.Quant != nil, "the weight has no 4-bit scales")
	if !c.OK {
		return a
	}
	q := w.Quant
	c.Want(w.Out >= 0 && w.In >= 0, "W is [%d,%d]", w.Out, w.In)
	c.Want(q.Block >= 32 && q.Block <= 4096 && q.Block&(q.Block-1) == 0, "4-bit blocks of %d elements: want a power of two from 32 to 4096", q.Block)
	c.Want(q.Type <= compute.FP4, "4-bit weight of type %d: want NF4 or FP4", q.Type)
	if !c.OK {
		return a
	}
	blocks := (w.Out*w.In + q.Block - 1) / q.Block
	if q.Absmax != nil {
		a.Absmax = c.F32("Absmax", q.Absmax, blocks)
	} else {
		a.Codes = c.Typed("Codes", q.Codes, compute.U8, blocks)
		a.Nested = c.F32("Nested", q.Nested, compute.NestedBlocks(blocks))
		a.Map = c.F32("Map", q.Map, 256)
		a.Offset = c.F32("Offset", q.Offset, 1)
	}
	a.Data = c.Typed("W", w.Data, compute.U8, (w.Out*w.In+1)/2)
	return a
}

// Attention checks what both passes share: heads, and spans that lie within the rows and write no row of queries twice.
func (c *Check[P]) Attention(s compute.AttentionShape) {
	c.Want(s.KV > 0 && s.H%max(s.KV, 1) == 0, "H = %d heads do not divide among KV = %d key heads", s.H, s.KV)
	c.Want(s.D > 0, "D is %d", s.D)
	c.Want(s.Window >= 0 && s.Prefix >= 0 && s.Softcap >= 0, "Window %d, Prefix %d and Softcap %g must not be negative",
		s.Window, s.Prefix, s.Softcap)
	for i, p := range s.Spans {
		c.Want(p.QStart >= 0 && p.QLen >= 0 && p.QLen <= s.NQ-p.QStart,
			"span %d: queries %d to %d lie outside of the %d rows", i, p.QStart, p.QStart+p.QLen, s.NQ)
		c.Want(p.KStart >= 0 && p.KLen >= 0 && p.KLen <= s.NK-p.KStart,
			"span %d: keys %d to %d lie outside of the %d rows", i, p.KStart, p.KStart+p.KLen, s.NK)
	}
	c.disjoint("query", s.Spans, func(s compute.Span) (int, int) { return s.QStart, s.QLen })
}

// DisjointKeys fails where two spans share a row of keys, whose gradient both would write.
func (c *Check[P]) DisjointKeys(spans []compute.Span) {
	c.disjoint("key", spans, func(s compute.Span) (int, int) { return s.KStart, s.KLen })
}

func (c *Check[P]) disjoint(what string, spans []compute.Span, rows func(compute.Span) (start, length int)) {
	if !c.OK {
		return
	}
	order := make([]int, 0, len(spans))
	for i, s := range spans {
		if _, n := rows(s); n > 0 {
			order = append(order, i)
		}
	}
	start := func(i int) int { at, _ := rows(spans[i]); return at }
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(start(i), start(j)) })
	for k := 1; k < len(order); k++ {
		if at, n := rows(spans[order[k-1]]); at+n > start(order[k]) {
			c.Fail("spans %d and %d share %s row %d", order[k-1], order[k], what, start(order[k]))
			return
		}
	}
}

// Covered counts the rows of queries and of keys in spans: rows of none have to be zeroed.
func Covered(spans []compute.Span) (queries, keys int) {
	for _, s := range spans {
		queries += s.QLen
		keys += s.KLen
	}
	return queries, keys
}

// CrossEntropy checks a loss's buffers apart from the labels.
func (c *Check[P]) CrossEntropy(a compute.LinearCrossEntropy) {
	v, in := a.W.Out, a.W.In
	c.Want(v > 0 && in > 0, "W is [%d,%d]", v, in)
	c.F32("X", a.X, a.N, in)
	c.F32("LogProbs", a.LogProbs, a.N)
	c.Optional("Bias", a.Bias, v)
	c.Optional("DX", a.DX, a.N, in)
	c.Optional("DW", a.DW, v, in)
	c.Optional("DBias", a.DBias, v)
}
