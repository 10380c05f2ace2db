package tape

import (
	"slices"

	"lathe/compute"
)

// Embedding is a table of rows; Grad is nil where it is frozen.
type Embedding struct {
	Table compute.Buffer // [V,C]
	Grad  compute.Buffer // [V,C], or nil
	Scale float32        // 1, or what the family multiplies its embeddings by
}

// Embedding gathers rows: y[n,c] = Scale · Table[ids].
func (t *Tape) Embedding(e *Embedding, ids compute.Buffer, n, c int) *Tensor {
	y := t.New(n*c, true)
	t.Device.Embedding(compute.Embedding{Y: y.Value, Table: e.Table, IDs: ids, N: n, C: c, Scale: e.Scale})
	y.needs = t.Record && e.Grad != nil
	if y.needs {
		t.push(func() {
			t.EmbeddingBackward(compute.EmbeddingBackward{DTable: e.Grad, DY: y.Grad, IDs: ids, N: n, C: c, Scale: e.Scale})
		})
	}
	return y
}

// Norm is an RMSNorm over rows of C or, with Layer, a LayerNorm.
type Norm struct {
	W        compute.Buffer // [C]
	Bias     compute.Buffer // [C] of a LayerNorm, or nil
	Grad     compute.Buffer // [C], or nil
	BiasGrad compute.Buffer // [C], or nil
	Eps      float32
	Offset   float32 // of an RMSNorm: 0, or 1 for Gemma
	Layer    bool
}

// Trains says whether the norm has trainable tensors; one that a family does not have, nil, has none.
func (w *Norm) Trains() bool { return w != nil && (w.Grad != nil || w.BiasGrad != nil) }

// again says whether the backward pass computes a result again that it needs (keep): what it is made of has to be there until then.
func (t *Tape) again(keep bool, from ...*Tensor) bool {
	return t.Record && t.Recompute && keep && !slices.ContainsFunc(from, func(x *Tensor) bool { return !x.survives() })
}

// Norm normalises x[n,c]; keep says that the result is needed in the backward pass (by a trainable linear layer).
func (t *Tape) Norm(x *Tensor, w *Norm, n, c int, keep bool) *Tensor {
	again := t.again(keep, x)
	y := t.NormInto(t.New(n*c, keep && !again), x, w, n, c)
	if again {
		t.recompute(y, func() { t.normalise(y, x, w, nil, nil, n, c) })
	}
	return y
}

// NormInto is Norm into a tensor that the caller made.
func (t *Tape) NormInto(y, x *Tensor, w *Norm, n, c int) *Tensor {
	y.needs = t.Record && (x.needs || w.Grad != nil || w.BiasGrad != nil)
	var mean, rstd compute.Buffer
	if y.needs {
		rstd = t.Saved.Alloc(compute.F32, n)
		if w.Layer {
			mean = t.Saved.Alloc(compute.F32, n)
		}
		t.push(func() { t.normBackward(y, x, w, mean, rstd, n, c) })
	}
	t.normalise(y, x, w, mean, rstd, n, c)
	return y
}

// normalise computes y, and what its backward pass reads.
func (t *Tape) normalise(y, x *Tensor, w *Norm, mean, rstd compute.Buffer, n, c int) {
	if w.Layer {
		t.LayerNorm(compute.LayerNorm{Y: y.Value, X: x.Value, Mean: mean, RStd: rstd, W: w.W, Bias: w.Bias, N: n, C: c, Eps: w.Eps})
	} else {
		t.RMSNorm(compute.RMSNorm{Y: y.Value, X: x.Value, RStd: rstd, W: w.W, N: n, C: c, Eps: w.Eps, Offset: w.Offset})
	}
}

func (t *Tape) normBackward(y, x *Tensor, w *Norm, mean, rstd compute.Buffer, n, c int) {
	t.restore(x)
	dx, accumulate := y.Grad, false
	if x.needs && x.Grad != nil {
		dx, accumulate = x.Grad, true
	} else if x.needs {
		x.Grad = y.Grad // in place
	}
	if w.Layer {
		t.LayerNormBackward(compute.LayerNormBackward{
			DX: dx, DY: y.Grad, X: x.Value, Mean: mean, RStd: rstd, W: w.W, DW: w.Grad, DBias: w.BiasGrad, N: n, C: c, Accumulate: accumulate,
		})
		return
	}
	t.RMSNormBackward(compute.RMSNormBackward{
		DX: dx, DY: y.Grad, X: x.Value, RStd: rstd, W: w.W, DW: w.Grad, N: n, C: c, Offset: w.Offset, Accumulate: accumulate,
	})
}

// Split takes the product of a fused linear layer apart: x[n,groups,Σwidths] has in each group a run of columns of every
// part, which the caller made as [n,groups,width].
func (t *Tape) Split(x *Tensor, n, groups int, parts ...*Tensor) {
	total := x.Value.Len() / n / groups
	each := func(visit func(part *Tensor, at, width int)) {
		at := 0
		for _, part := range parts {
			width := part.Value.Len() / n / groups
			visit(part, at, width)
			at += width
		}
	}
	each(func(part *Tensor, at, width int) {
		part.needs = x.needs
		t.CopyBlocks(compute.CopyBlocks{
			Dst: part.Value, Src: x.Value, N: n, Groups: groups, Width: width, DstWidth: width, SrcWidth: total, SrcAt: at,
		})
	})
	if !x.needs {
		return
	}
	t.push(func() {
		dx := t.Scratch.Alloc(compute.F32, x.Value.Len())
		each(func(part *Tensor, at, width int) {
			t.CopyBlocks(compute.CopyBlocks{
				Dst: dx, Src: part.Grad, N: n, Groups: groups, Width: width, DstWidth: total, DstAt: at, SrcWidth: width,
			})
		})
		t.give(x, dx)
	})
}

// Add is x + y. The gradient of x passes through without a copy.
func (t *Tape) Add(x, y *Tensor) *Tensor {
	op := compute.Add{Y: x.Value, A: x.Value, B: y.Value, Scale: 1}
	if !t.Record {
		t.Device.Add(op)
		return x
	}
	z := t.New(x.Value.Len(), true)
	z.needs = x.needs || y.needs
	op.Y = z.Value
	t.Device.Add(op)
	if z.needs {
		t.push(func() {
			if y.needs {
				dy, accumulate := t.grad(y)
				if accumulate {
					t.Device.Add(compute.Add{Y: dy, A: dy, B: z.Grad, Scale: 1})
				} else {
					t.Copy(dy, z.Grad) // which y's own backward pass may overwrite
				}
			}
			t.give(x, z.Grad)
		})
	}
	return z
}

// RoPE rotates x in place. Its X is ignored.
func (t *Tape) RoPE(x *Tensor, op compute.RoPE) {
	if x.again != nil {
		panic("tape: a tensor that is computed again was changed in place")
	}
	op.X = x.Value
	t.Device.RoPE(op)
	if x.needs {
		t.push(func() {
			op.X, op.Inverse = x.Grad, true
			t.Device.RoPE(op)
		})
	}
}

// Attention is softmax(mask(q·kᵀ·Scale))·v over the spans of s.
func (t *Tape) Attention(q, k, v *Tensor, s compute.AttentionShape) *Tensor {
	y := t.New(s.NQ*s.H*s.D, true)
	y.needs = t.Record && (q.needs || k.needs || v.needs)
	var lse compute.Buffer
	if y.needs {
		lse = t.Saved.Alloc(compute.F32, s.NQ*s.H)
		t.push(func() { t.attentionBackward(y, q, k, v, lse, s) })
	}
	t.Device.Attention(compute.Attention{AttentionShape: s, Out: y.Value, LSE: lse, Q: q.Value, K: k.Value, V: v.Value})
	return y
}

func (t *Tape) attentionBackward(y, q, k, v *Tensor, lse compute.Buffer, s compute.AttentionShape) {
	dq := t.Scratch.Alloc(compute.F32, q.Value.Len())
	dk := t.Scratch.Alloc(compute.F32, k.Value.Len())
	dv := t.Scratch.Alloc(compute.F32, v.Value.Len())
	t.AttentionBackward(compute.AttentionBackward{
		AttentionShape: s, DQ: dq, DK: dk, DV: dv, DOut: y.Grad, Out: y.Value, LSE: lse, Q: q.Value, K: k.Value, V: v.Value,
	})
	t.give(q, dq)
	t.give(k, dk)
	t.give(v, dv)
}

// Gated is act(gate)·up; keep says that the result is needed in the backward pass.
func (t *Tape) Gated(gate, up *Tensor, act compute.Act, keep bool) *Tensor {
	if !t.Record {
		t.GatedActivation(compute.GatedActivation{Y: gate.Value, Gate: gate.Value, Up: up.Value, Act: act})
		return gate
	}
	again := t.again(keep, gate, up)
	y := t.New(gate.Value.Len(), keep && !again)
	y.needs = gate.needs || up.needs
	activate := func() {
		t.GatedActivation(compute.GatedActivation{Y: y.Value, Gate: gate.Value, Up: up.Value, Act: act})
	}
	activate()
	if again {
		t.recompute(y, activate)
	}
	if y.needs {
		t.push(func() {
			t.restore(gate)
			t.restore(up)
			dup := t.Scratch.Alloc(compute.F32, up.Value.Len())
			t.GatedActivationBackward(compute.GatedActivationBackward{
				DGate: y.Grad, DUp: dup, DY: y.Grad, Gate: gate.Value, Up: up.Value, Act: act,
			})
			t.give(gate, y.Grad)
			t.give(up, dup)
		})
	}
	return y
}

// Activation is act(x); keep says that the result is needed in the backward pass.
func (t *Tape) Activation(x *Tensor, act compute.Act, keep bool) *Tensor {
	if !t.Record {
		t.Device.Activation(compute.Activation{Y: x.Value, X: x.Value, Act: act})
		return x
	}
	again := t.again(keep, x)
	y := t.New(x.Value.Len(), keep && !again)
	y.needs = x.needs
	activate := func() { t.Device.Activation(compute.Activation{Y: y.Value, X: x.Value, Act: act}) }
	activate()
	if again {
		t.recompute(y, activate)
	}
	if y.needs {
		t.push(func() {
			t.restore(x)
			t.ActivationBackward(compute.ActivationBackward{DX: y.Grad, DY: y.Grad, X: x.Value, Act: act})
			t.give(x, y.Grad)
		})
	}
	return y
}

// CrossEntropy is ln p(label) of each row of x[n,C] under the head, [n]; recording, it leaves gradScale times the gradient
// of the summed loss as x's gradient at once, so that no [n,V] matrix is ever kept. Scores are bounded by softcap, unless 0.
func (t *Tape) CrossEntropy(x *Tensor, head *Linear, labels compute.Buffer, n int, softcap, gradScale float32) compute.Buffer {
	op := compute.LinearCrossEntropy{
		X: x.Value, W: head.W, Bias: head.Bias, Labels: labels, N: n, Softcap: softcap, GradScale: gradScale, Compute: t.Compute,
		LogProbs: t.Scratch.Alloc(compute.F32, n),
	}
	if t.Record {
		op.DW, op.DBias = head.Grad, head.BiasGrad
		op.DX, _ = t.grad(x)
	}
	t.LinearCrossEntropy(op)
	return op.LogProbs
}
