package computetest

import (
	"math"
	"testing"

	"lathe/compute"
)

type attentionCase struct {
	name  string
	shape compute.AttentionShape
	alibi []float64
}

func (c *attentionCase) sees(s compute.Span, i, j int) bool {
	p := s.KLen - s.QLen + i
	switch {
	case c.shape.NoCausal, j < c.shape.Prefix:
		return true
	case j > p:
		return false
	}
	return c.shape.Window == 0 || j > p-c.shape.Window
}

// roundBF16 is the nearest bfloat16, ties to even.
func roundBF16(x float64) float64 {
	bits := math.Float32bits(float32(x))
	return float64(math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff))
}

// rowScores are query i's scores for all keys of a span, -Inf where it sees none, and the softcap's slopes.
func (c *attentionCase) rowScores(s compute.Span, h, i int, q, k []float64) (scores, slopes []float64) {
	a := c.shape
	scores, slopes = make([]float64, s.KLen), make([]float64, s.KLen)
	row := q[((s.QStart+i)*a.H+h)*a.D:][:a.D]
	for j := range scores {
		if !c.sees(s, i, j) {
			scores[j] = math.Inf(-1)
			continue
		}
		x := dot(row, k[((s.KStart+j)*a.KV+h/(a.H/a.KV))*a.D:][:a.D])
		if c.alibi != nil {
			x += roundBF16(c.alibi[h] * roundBF16(float64(j)))
		}
		x *= float64(a.Scale)
		slopes[j] = 1
		if a.Softcap > 0 {
			t := math.Tanh(x / float64(a.Softcap))
			x, slopes[j] = float64(a.Softcap)*t, 1-t*t
		}
		scores[j] = x
	}
	return scores, slopes
}

// softmax in place; returns the log-sum-exp, -Inf where no key is seen (then all are zero).
func softmax(x []float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, v)
	}
	if math.IsInf(top, -1) {
		clear(x)
		return top
	}
	for i := range x {
		x[i] = math.Exp(x[i] - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
	return top + math.Log(sum)
}

// forward is attention in float64.
func (c *attentionCase) forward(q, k, v []float64) (out, lse []float64) {
	a := c.shape
	out, lse = make([]float64, a.NQ*a.H*a.D), make([]float64, a.NQ*a.H)
	for _, s := range a.Spans {
		for i := range s.QLen {
			for h := range a.H {
				p, _ := c.rowScores(s, h, i, q, k)
				r := (s.QStart+i)*a.H + h
				lse[r] = softmax(p)
				for j, w := range p {
					value := v[((s.KStart+j)*a.KV+h/(a.H/a.KV))*a.D:]
					for d := range a.D {
						out[r*a.D+d] += w * value[d]
					}
				}
			}
		}
	}
	return out, lse
}

// backward is the exact gradient of Σ dout·forward.
func (c *attentionCase) backward(q, k, v, dout []float64) (dq, dk, dv []float64) {
	a := c.shape
	dq, dk, dv = make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
	for _, s := range a.Spans {
		for i := range s.QLen {
			for h := range a.H {
				p, slopes := c.rowScores(s, h, i, q, k)
				softmax(p)
				r := ((s.QStart+i)*a.H + h) * a.D
				g, mean := make([]float64, len(p)), 0.0
				for j, w := range p {
					at := ((s.KStart+j)*a.KV + h/(a.H/a.KV)) * a.D
					g[j] = dot(dout[r:r+a.D], v[at:at+a.D])
					mean += w * g[j]
				}
				for j, w := range p {
					at := ((s.KStart+j)*a.KV + h/(a.H/a.KV)) * a.D
					ds := w * (g[j] - mean) * slopes[j] * float64(a.Scale)
					for d := range a.D {
						dv[at+d] += w * dout[r+d]
						dk[at+d] += ds * q[r+d]
						dq[r+d] += ds * k[at+d]
					}
				}
			}
		}
	}
	return dq, dk, dv
}

// VerifyReference checks the suite's own attention gradient against differences of its forward pass; the suite's test runs
// it, so that a device is not held against a mistake.
func VerifyReference(t *testing.T) {
	for _, c := range attentionCases() {
		a := c.shape
		if a.NQ*a.H*a.D > 400 {
			continue
		}
		b := newBench(t, nil, Float32())
		q, k, v, dout := b.normal(a.NQ*a.H*a.D), b.normal(a.NK*a.KV*a.D), b.normal(a.NK*a.KV*a.D), b.normal(a.NQ*a.H*a.D)
		loss := func(q, k, v []float64) float64 { out, _ := c.forward(q, k, v); return dot(dout, out) }
		dq, dk, dv := c.backward(q, k, v, dout)
		b.closeTo(c.name+" dq", dq, slope(func(x []float64) float64 { return loss(x, k, v) }, q), 1e-8)
		b.closeTo(c.name+" dk", dk, slope(func(x []float64) float64 { return loss(q, x, v) }, k), 1e-8)
		b.closeTo(c.name+" dv", dv, slope(func(x []float64) float64 { return loss(q, k, x) }, v), 1e-8)
	}
}

func attentionCases() []attentionCase {
	one := func(n int) []compute.Span { return []compute.Span{{QLen: n, KLen: n}} }
	several := []compute.Span{{QStart: 0, QLen: 5, KLen: 5}, {QStart: 5, QLen: 1, KStart: 5, KLen: 1}, {QStart: 6, QLen: 70, KStart: 6, KLen: 70}}
	shape := func(spans []compute.Span, nq, nk, h, kv, d int) compute.AttentionShape {
		return compute.AttentionShape{Spans: spans, NQ: nq, NK: nk, H: h, KV: kv, D: d, Scale: float32(1 / math.Sqrt(float64(d)))}
	}
	with := func(s compute.AttentionShape, f func(*compute.AttentionShape)) compute.AttentionShape {
		f(&s)
		return s
	}
	slopes := []float64{0.5, 0.25, 0.70703125, 0.08837890625} // the last two are no powers of two: their products are rounded
	cached := []compute.Span{{QLen: 1, KLen: 9}, {QStart: 1, QLen: 3, KStart: 9, KLen: 70}}
	prefixed := shape([]compute.Span{{QLen: 5, KLen: 8}, {QStart: 5, QLen: 70, KStart: 8, KLen: 73}}, 75, 81, 4, 2, 16)
	return []attentionCase{
		{"one token", shape(one(1), 1, 1, 1, 1, 1), nil},
		{"small", shape(one(5), 5, 5, 2, 2, 3), nil},
		{"grouped heads", shape(one(7), 7, 7, 4, 2, 4), nil},
		{"one key head", shape(one(6), 6, 6, 5, 1, 3), nil},
		{"softcap", with(shape(one(6), 6, 6, 2, 1, 4), func(s *compute.AttentionShape) { s.Softcap = 1.5 }), nil},
		{"alibi", shape(one(6), 6, 6, 4, 2, 4), slopes},
		{"window", with(shape(one(9), 9, 9, 2, 1, 4), func(s *compute.AttentionShape) { s.Window = 3 }), nil},
		{"window of one", with(shape(one(4), 4, 4, 1, 1, 2), func(s *compute.AttentionShape) { s.Window = 1 }), nil},
		{"not causal", with(shape(one(7), 7, 7, 2, 1, 3), func(s *compute.AttentionShape) { s.NoCausal = true }), nil},
		{"prefix", with(shape([]compute.Span{{QLen: 5, KLen: 8}}, 5, 8, 2, 1, 3), func(s *compute.AttentionShape) { s.Prefix = 3 }), nil},
		{"prefix and window", with(shape([]compute.Span{{QLen: 9, KLen: 12}}, 9, 12, 2, 2, 3), func(s *compute.AttentionShape) { s.Prefix, s.Window = 3, 2 }), nil},
		{"queries within the prefix", with(shape([]compute.Span{{QLen: 9, KLen: 10}}, 9, 10, 2, 1, 3), func(s *compute.AttentionShape) { s.Prefix, s.Window = 6, 2 }), nil},
		{"queries before the first key", shape([]compute.Span{{QLen: 6, KLen: 4}}, 6, 4, 2, 1, 3), nil},
		{"rows of no span", shape([]compute.Span{{QStart: 2, QLen: 3, KStart: 1, KLen: 4}}, 7, 6, 2, 1, 3), nil},
		{"no span", shape(nil, 3, 3, 1, 1, 2), nil},
		{"empty span", shape([]compute.Span{{}, {QStart: 1, QLen: 2, KStart: 1, KLen: 2}, {QStart: 3, KStart: 3}}, 3, 3, 1, 1, 2), nil},
		{"cache", shape(cached, 4, 79, 4, 2, 16), nil},
		{"cache, window, alibi", with(shape(cached, 4, 79, 4, 2, 16), func(s *compute.AttentionShape) { s.Window = 20 }), slopes},
		{"several spans", shape(several, 76, 76, 4, 2, 16), nil},
		{"63", shape(one(63), 63, 63, 2, 2, 63), nil},
		{"64", shape(one(64), 64, 64, 2, 2, 64), nil},
		{"65", shape(one(65), 65, 65, 2, 2, 65), nil},
		{"head of 128", shape(one(130), 130, 130, 2, 1, 128), nil},
		{"head of 80", shape(one(100), 100, 100, 2, 2, 80), nil},
		{"many heads, one key head", shape(one(33), 33, 33, 71, 1, 8), nil},
		{"long", shape(one(300), 300, 300, 2, 1, 20), nil},
		{"long window", with(shape(one(300), 300, 300, 2, 1, 20), func(s *compute.AttentionShape) { s.Window = 100 }), nil},
		{"long prefix and window", with(shape([]compute.Span{{QLen: 200, KLen: 290}}, 200, 290, 2, 1, 20), func(s *compute.AttentionShape) { s.Window, s.Prefix = 40, 90 }), nil},
		{"alibi beyond 256 keys, which bfloat16 rounds", shape(one(300), 300, 300, 4, 2, 64), slopes},
		{"heads of Qwen2 0.5B", shape(one(40), 40, 40, 14, 2, 64), nil},
		{"three heads a key head, of 20", shape(one(70), 70, 70, 9, 3, 20), nil},
		{"head of 96", shape(one(66), 66, 66, 2, 1, 96), nil},
		{"head of 256", shape(one(70), 70, 70, 2, 1, 256), nil},
		{"head of 8, cache", shape(cached, 4, 79, 6, 3, 8), nil},
		{"Gemma 2's local layer", with(shape(several, 76, 76, 4, 2, 32), func(s *compute.AttentionShape) {
			s.Window, s.Softcap, s.Scale = 24, 50, 1
		}), nil},
		{"prefixes of several spans", with(prefixed, func(s *compute.AttentionShape) { s.Prefix = 3 }), nil},
		{"prefixes, windows, softcap", with(prefixed, func(s *compute.AttentionShape) { s.Prefix, s.Window, s.Softcap = 3, 16, 4 }), nil},
		{"prefix, alibi", with(prefixed, func(s *compute.AttentionShape) { s.Prefix = 3 }), slopes},
		{"prefix, window, cache", with(shape(cached, 4, 79, 4, 2, 16), func(s *compute.AttentionShape) { s.Prefix, s.Window = 5, 4 }), nil},
		{"spans in another order than their rows, cache", shape([]compute.Span{
			{QStart: 3, QLen: 67, KStart: 90, KLen: 130}, {QStart: 0, QLen: 3, KStart: 10, KLen: 80},
		}, 70, 220, 4, 1, 24), nil},
		{"long, all of it", with(shape(one(260), 260, 260, 4, 2, 24), func(s *compute.AttentionShape) { s.Window, s.Softcap = 90, 5 }), slopes},
	}
}

// decodingCases are sequences with one query each, as generation has them: keys over several parts of whatever a device cuts them into.
// There is no backward pass of these.
func decodingCases() []attentionCase {
	shape := func(spans []compute.Span, nq, nk, h, kv, d int) compute.AttentionShape {
		return compute.AttentionShape{Spans: spans, NQ: nq, NK: nk, H: h, KV: kv, D: d, Scale: float32(1 / math.Sqrt(float64(d)))}
	}
	with := func(s compute.AttentionShape, f func(*compute.AttentionShape)) compute.AttentionShape {
		f(&s)
		return s
	}
	slopes := []float64{0.5, 0.25, 0.70703125, 0.08837890625}
	decoding := []compute.Span{ // in another order than the rows
		{QStart: 2, QLen: 1, KStart: 0, KLen: 600},
		{QStart: 0, QLen: 1, KStart: 600, KLen: 1},
		{QStart: 1, QLen: 1, KStart: 610, KLen: 256},
		{QStart: 3, QLen: 1, KStart: 870, KLen: 257},
	}
	return []attentionCase{
		{"decoding", shape(decoding, 4, 1130, 4, 2, 20), nil},
		{"decoding, head of 64, one key head", shape(decoding, 4, 1130, 3, 1, 64), nil},
		{"decoding, head of 72", shape(decoding, 4, 1130, 2, 2, 72), nil},
		{"decoding, window", with(shape(decoding, 4, 1130, 4, 2, 16), func(s *compute.AttentionShape) { s.Window = 70 }), nil},
		{"decoding, window, prefix", with(shape(decoding, 4, 1130, 4, 2, 16), func(s *compute.AttentionShape) { s.Window, s.Prefix = 70, 9 }), nil},
		{"decoding, alibi", shape(decoding, 4, 1130, 4, 2, 16), slopes},
		{"decoding, softcap, not causal", with(shape(decoding, 4, 1130, 4, 1, 8), func(s *compute.AttentionShape) { s.Softcap, s.NoCausal = 3, true }), nil},
		{"decoding, window, softcap, alibi, prefix", with(shape(decoding, 4, 1130, 4, 2, 24), func(s *compute.AttentionShape) {
			s.Window, s.Softcap, s.Prefix = 300, 5, 3
		}), slopes},
		{"decoding beside a prompt", shape(append([]compute.Span{{QStart: 4, QLen: 30, KStart: 1130, KLen: 90}}, decoding...), 34, 1220, 4, 2, 16), nil},
		{"decoding, no query of one span", shape(append([]compute.Span{{KStart: 1130, KLen: 9}}, decoding[:3]...), 4, 1139, 4, 2, 16), nil},
	}
}

// attentions: forward and backward of every case in every type of operands that the device has; the mask's borders are what tiles
// get wrong.
func attentions(b *bench) {
	for _, t := range b.Info().MatMul {
		for _, c := range attentionCases() {
			c.shape.Compute = t
			name := c.name
			if t != compute.F32 {
				name += "/" + t.String()
			}
			b.sub(name, func(b *bench) { b.attention(c, true) })
		}
		for _, c := range decodingCases() {
			c.shape.Compute = t
			b.sub(c.name+"/"+t.String(), func(b *bench) { b.attention(c, false) })
		}
	}
	b.sub("shared rows", func(b *bench) {
		spans := []compute.Span{{QLen: 2, KLen: 2}, {QStart: 1, QLen: 2, KStart: 2, KLen: 2}}
		x := b.zeros(4)
		b.Attention(compute.Attention{AttentionShape: compute.AttentionShape{Spans: spans, NQ: 4, NK: 4, H: 1, KV: 1, D: 1}, Out: x, Q: b.zeros(4), K: x, V: x})
		if b.Sync() == nil {
			b.Error("two spans wrote one row, and nothing was said")
		}
	})
}

// attention runs one case. In a 16-bit type Q, K, V and DOut are numbers of that type, so that the operands are the reference's own and
// a device that multiplies more exactly fits as well: what is left is the rounding of probabilities and of the scores' gradients.
func (b *bench) attention(c attentionCase, backward bool) {
	a, tol := c.shape, b.tol.Attention
	if c.alibi != nil {
		a.Alibi = b.put(c.alibi)
	}
	q, k, v, dout := b.normal(a.NQ*a.H*a.D), b.normal(a.NK*a.KV*a.D), b.normal(a.NK*a.KV*a.D), b.normal(a.NQ*a.H*a.D)
	if a.Compute != compute.F32 {
		if tol = b.tol.NarrowAttention; a.Compute == compute.F16 {
			tol /= 8
		}
		for _, x := range []*[]float64{&q, &k, &v, &dout} {
			_, *x = b.halves(a.Compute, *x)
		}
	}
	out, lse := c.forward(q, k, v)
	Q, K, V := b.put(q), b.put(k), b.put(v)
	forward := compute.Attention{AttentionShape: a, Out: b.garbage(len(out)), LSE: b.garbage(len(lse)), Q: Q, K: K, V: V}
	b.Attention(forward)
	b.close("Out", forward.Out, out, tol)
	b.logSumExp(forward.LSE, lse)
	without := forward
	without.Out, without.LSE = b.garbage(len(out)), nil
	b.Attention(without)
	b.close("Out without LSE", without.Out, out, tol)
	if !backward {
		return
	}
	dq, dk, dv := c.backward(q, k, v, dout)
	back := compute.AttentionBackward{
		AttentionShape: a, DQ: b.garbage(len(q)), DK: b.garbage(len(k)), DV: b.garbage(len(v)),
		DOut: b.put(dout), Out: forward.Out, LSE: forward.LSE, Q: Q, K: K, V: V,
	}
	b.AttentionBackward(back)
	b.close("DQ", back.DQ, dq, tol)
	b.close("DK", back.DK, dk, tol)
	b.close("DV", back.DV, dv, tol)
}

// logSumExp compares where there is one; what a row without keys holds is the device's own affair.
func (b *bench) logSumExp(got compute.Buffer, want []float64) {
	b.Helper()
	for i, g := range b.get(got) {
		if w := want[i]; !math.IsInf(w, -1) && !(math.Abs(g-w) <= b.tol.Attention*(1+math.Abs(w))) {
			b.Fatalf("LSE[%d] is %v, want %v", i, g, w)
		}
	}
}
