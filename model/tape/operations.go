package tape

import "lathe/compute"

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

// Norm is an RMSNorm over rows of C.
type Norm struct {
	W      compute.Buffer // [C]
	Grad   compute.Buffer // [C], or nil
	Eps    float32
	Offset float32 // 0, or 1 for Gemma
}

// RMSNorm normalises x[n,c]; keep says that the result is needed in the backward pass (by a trainable linear layer).
func (t *Tape) RMSNorm(x *Tensor, w *Norm, n, c int, keep bool) *Tensor {
	y := t.New(n*c, keep)
	y.needs = t.Record && (x.needs || w.Grad != nil)
	var rstd compute.Buffer
	if y.needs {
		rstd = t.Saved.Alloc(compute.F32, n)
		t.push(func() { t.rmsNormBackward(y, x, w, rstd, n, c) })
	}
	t.Device.RMSNorm(compute.RMSNorm{Y: y.Value, X: x.Value, RStd: rstd, W: w.W, N: n, C: c, Eps: w.Eps, Offset: w.Offset})
	return y
}

func (t *Tape) rmsNormBackward(y, x *Tensor, w *Norm, rstd compute.Buffer, n, c int) {
	op := compute.RMSNormBackward{DX: y.Grad, DY: y.Grad, X: x.Value, RStd: rstd, W: w.W, DW: w.Grad, N: n, C: c, Offset: w.Offset}
	if x.needs && x.Grad != nil {
		op.DX, op.Accumulate = x.Grad, true
	} else if x.needs {
		x.Grad = y.Grad // in place
	}
	t.Device.RMSNormBackward(op)
}

// RoPE rotates x in place. Its X is ignored.
func (t *Tape) RoPE(x *Tensor, op compute.RoPE) {
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
	y := t.New(gate.Value.Len(), keep)
	y.needs = gate.needs || up.needs
	t.GatedActivation(compute.GatedActivation{Y: y.Value, Gate: gate.Value, Up: up.Value, Act: act})
	if y.needs {
		t.push(func() {
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

// CrossEntropy is ln p(label) of each row of x[n,C] under the head, [n]; recording, it leaves gradScale times the gradient
// of the summed loss as x's gradient at once, so that no [n,V] matrix is ever kept.
func (t *Tape) CrossEntropy(x *Tensor, head *Linear, labels compute.Buffer, n int, gradScale float32) compute.Buffer {
	op := compute.LinearCrossEntropy{
		X: x.Value, W: head.W, Bias: head.Bias, Labels: labels, N: n, GradScale: gradScale, Compute: t.Compute,
		LogProbs: t.Scratch.Alloc(compute.F32, n),
	}
	if t.Record {
		op.DW, op.DBias = head.Grad, head.BiasGrad
		op.DX, _ = t.grad(x)
	}
	t.LinearCrossEntropy(op)
	return op.LogProbs
}
