package tape

import "lathe/compute"

// Linear is y = x·Wᵀ + b, with a low-rank addition or not. Grad and BiasGrad are nil where W and b are frozen.
type Linear struct {
	W        compute.Weight // [Out,In]
	Bias     compute.Buffer // [Out], or nil
	Grad     compute.Buffer // [Out,In], or nil
	BiasGrad compute.Buffer // [Out], or nil
	LoRA     *LoRA          // or nil
}

// LoRA adds Scale · dropout(x)·Aᵀ·Bᵀ (Hu et al. 2021).
type LoRA struct {
	R            int
	A, B         compute.Buffer // [R,In], [Out,R]
	GradA, GradB compute.Buffer // or nil where the adapter is frozen
	Scale        float32
	Dropout      float32
	Stream       uint64     // number of this layer, for its dropout mask
	DoRA         *Magnitude // or nil
}

// Trains says whether the layer has trainable tensors, so that its input is needed in the backward pass; one that a family
// does not have, nil, has none.
func (l *Linear) Trains() bool {
	return l != nil && (l.Grad != nil || l.BiasGrad != nil || l.LoRA != nil && l.LoRA.GradA != nil)
}

// Linear is y[n,Out] = l(x[n,In]).
func (t *Tape) Linear(x *Tensor, l *Linear, n int) *Tensor {
	return t.LinearInto(t.New(n*l.W.Out, true), x, l, n)
}

// LinearInto is Linear into a tensor that the caller made, such as a slice of a KV cache.
func (t *Tape) LinearInto(y, x *Tensor, l *Linear, n int) *Tensor {
	kept := t.project(y, x, l, n, false)
	if y.needs {
		t.push(func() { t.linearBackward(y, x, l, kept, n) })
	}
	return y
}

// AddLinear is x + l(h): the end of a residual branch. The residual stream's gradient passes through without a copy.
func (t *Tape) AddLinear(x, h *Tensor, l *Linear, n int) *Tensor {
	if !t.Record {
		t.project(x, h, l, n, true)
		return x
	}
	y := t.New(n*l.W.Out, true)
	t.Copy(y.Value, x.Value)
	kept := t.project(y, h, l, n, true)
	y.needs = y.needs || x.needs
	if y.needs {
		t.push(func() {
			t.linearBackward(y, h, l, kept, n)
			t.give(x, y.Grad)
		})
	}
	return y
}

// kept is what a low-rank addition's backward pass reads: u = dropout(x)·Aᵀ [n,R] and, of a DoRA, z [n,Out].
type kept struct{ u, z compute.Buffer }

// project computes y = l(x), or y += l(x).
func (t *Tape) project(y, x *Tensor, l *Linear, n int, accumulate bool) (k kept) {
	y.needs = t.Record && (x.needs || l.Trains())
	if t.Record && l.Trains() && !x.saved {
		panic("tape: the input of a trainable linear layer was not saved")
	}
	mark := t.Scratch.Mark()
	defer t.Scratch.Release(mark)
	op := compute.Linear{Y: y.Value, X: x.Value, N: n, W: l.W, Bias: l.Bias, Accumulate: accumulate, Compute: t.Compute}
	if a := l.LoRA; a != nil && a.DoRA != nil {
		k.u, k.z = t.projectDoRA(y, x, l, n, accumulate)
		return k
	} else if a != nil {
		k.u = t.New(n*a.R, true).Value
		t.Device.Linear(compute.Linear{Y: k.u, X: t.dropped(x, a), N: n, W: compute.Weight{Out: a.R, In: l.W.In, Data: a.A}})
		op.LowRank = &compute.LowRank{R: a.R, U: k.u, V: a.B, Scale: a.Scale}
	}
	t.Device.Linear(op)
	return k
}

// dropped is dropout(x) in scratch, or x itself where there is no dropout.
func (t *Tape) dropped(x *Tensor, a *LoRA) compute.Buffer {
	if t.Dropout == nil || a.Dropout == 0 {
		return x.Value
	}
	y := t.Scratch.Alloc(compute.F32, x.Value.Len())
	t.mask(y, x.Value, a, 1, false)
	return y
}

func (t *Tape) mask(y, x compute.Buffer, a *LoRA, scale float32, accumulate bool) {
	t.Device.Dropout(compute.Dropout{
		Y: y, X: x, P: a.Dropout, Scale: scale,
		Seed: t.Dropout.Seed, Stream: t.Dropout.Stream + a.Stream, Accumulate: accumulate,
	})
}

// linearBackward adds the gradients of l's tensors and of x, given y's.
func (t *Tape) linearBackward(y, x *Tensor, l *Linear, k kept, n int) {
	dy := y.Grad
	if l.Trains() {
		t.restore(x)
	}
	if l.Grad != nil || l.BiasGrad != nil {
		t.LinearBackwardWeight(compute.LinearBackwardWeight{
			DW: l.Grad, DBias: l.BiasGrad, DY: dy, X: x.Value, N: n, Out: l.W.Out, In: l.W.In, Scale: 1, Compute: t.Compute,
		})
	}
	op := compute.LinearBackwardInput{DY: dy, N: n, W: l.W, Compute: t.Compute}
	if x.needs {
		op.DX, op.Accumulate = t.grad(x)
	}
	mark := t.Scratch.Mark()
	defer t.Scratch.Release(mark)
	switch {
	case l.LoRA == nil && x.needs:
		t.LinearBackwardInput(op)
	case l.LoRA == nil:
	case l.LoRA.DoRA != nil:
		t.doraBackward(op, x, l, k.u, k.z)
	default:
		t.loraBackward(op, x, l, k.u)
	}
}

// lowRankBackward is, with s the scale and x' = dropout(x): du = dy·B, dB += s·dyᵀ·u, dA += s·duᵀ·x'. It returns du and a
// buffer of x's size, x' where there is dropout, that is free to use.
func (t *Tape) lowRankBackward(op compute.LinearBackwardInput, x *Tensor, l *Linear, u compute.Buffer) (du, dropped compute.Buffer) {
	a, n := l.LoRA, op.N
	du = t.Scratch.Alloc(compute.F32, n*a.R)
	down := compute.Weight{Out: a.R, In: l.W.In, Data: a.A}
	up := compute.Weight{Out: l.W.Out, In: a.R, Data: a.B}
	t.LinearBackwardInput(compute.LinearBackwardInput{DX: du, DY: op.DY, N: n, W: up})
	if a.GradA != nil {
		dropped = t.dropped(x, a)
		t.LinearBackwardWeight(compute.LinearBackwardWeight{DW: a.GradB, DY: op.DY, X: u, N: n, Out: up.Out, In: up.In, Scale: a.Scale})
		t.LinearBackwardWeight(compute.LinearBackwardWeight{DW: a.GradA, DY: du, X: dropped, N: n, Out: down.Out, In: down.In, Scale: a.Scale})
	} else if t.Dropout != nil && a.Dropout != 0 && x.needs {
		dropped = t.Scratch.Alloc(compute.F32, x.Value.Len())
	}
	return du, dropped
}

// loraBackward is lowRankBackward and dx = dy·W + s·dropout(du·A), where the mask is the forward pass's.
func (t *Tape) loraBackward(op compute.LinearBackwardInput, x *Tensor, l *Linear, u compute.Buffer) {
	a := l.LoRA
	du, dx := t.lowRankBackward(op, x, l, u)
	if !x.needs {
		return
	}
	if t.Dropout == nil || a.Dropout == 0 {
		op.LowRank = &compute.LowRank{R: a.R, U: du, V: a.A, Scale: a.Scale}
		t.LinearBackwardInput(op)
		return
	}
	t.LinearBackwardInput(op)
	t.LinearBackwardInput(compute.LinearBackwardInput{DX: dx, DY: du, N: op.N, W: compute.Weight{Out: a.R, In: l.W.In, Data: a.A}})
	t.mask(op.DX, dx, a, a.Scale, true)
}
