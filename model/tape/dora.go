package tape

import "lathe/compute"

// Magnitude makes a LoRA a DoRA (Liu et al. 2024): the rows of W + s·B·A are scaled to the lengths M. Their own lengths are
// taken as constants in the backward pass (section 4.3 of the paper), so they are computed once for a step, by [Magnitude.Refresh].
type Magnitude struct {
	M, Grad compute.Buffer // [Out]; Grad is nil where it is frozen
	Gain    compute.Buffer // [Out] working: M/‖W + s·B·A‖
	Inverse compute.Buffer // [Out] working: 1/‖W + s·B·A‖
}

// Refresh computes the gain of each row from the present weights.
func (m *Magnitude) Refresh(dev compute.Device, scratch *compute.Arena, l *Linear) {
	a, out := l.LoRA, l.W.Out
	mark := scratch.Mark()
	norm, one := scratch.Alloc(compute.F32, out), scratch.Alloc(compute.F32, 1)
	dev.RowNorm(compute.RowNorm{Y: norm, W: l.W, LowRank: &compute.LowRank{R: a.R, U: a.A, V: a.B, Scale: a.Scale}})
	// 1/√(mean(x²)) of a row of one element is its reciprocal
	dev.Zero(one)
	dev.RMSNorm(compute.RMSNorm{Y: norm, X: norm, RStd: m.Inverse, W: one, N: out, C: 1})
	dev.ScaleColumns(compute.ScaleColumns{Y: m.Gain, X: m.M, S: m.Inverse, N: 1, C: out})
	scratch.Release(mark)
}

// projectDoRA is y = gain ⊙ (W·x + s·B·A·x) + b or, with dropout, as PEFT has it, y = W·x + b + gain ⊙ z - W·x' where z = W·x' + s·B·A·x'
// and x' = dropout(x). It returns u = A·x' [n,R] and z [n,Out], which the backward pass reads.
func (t *Tape) projectDoRA(y, x *Tensor, l *Linear, n int, accumulate bool) (u, z compute.Buffer) {
	a := l.LoRA
	u, z = t.New(n*a.R, true).Value, t.New(n*l.W.Out, true).Value
	dropped := t.dropped(x, a)
	t.Device.Linear(compute.Linear{Y: u, X: dropped, N: n, W: compute.Weight{Out: a.R, In: l.W.In, Data: a.A}})
	if t.Dropout == nil || a.Dropout == 0 {
		t.Device.Linear(compute.Linear{
			Y: z, X: x.Value, N: n, W: l.W, Compute: t.Compute, LowRank: &compute.LowRank{R: a.R, U: u, V: a.B, Scale: a.Scale},
		})
		if l.Bias != nil {
			t.addRows(y.Value, l.Bias, n, l.W.Out, accumulate)
			accumulate = true
		}
		t.ScaleColumns(compute.ScaleColumns{Y: y.Value, X: z, S: a.DoRA.Gain, N: n, C: l.W.Out, Accumulate: accumulate})
		return u, z
	}
	plain := t.Scratch.Alloc(compute.F32, n*l.W.Out) // W·x'
	t.Device.Linear(compute.Linear{Y: plain, X: dropped, N: n, W: l.W, Compute: t.Compute})
	t.Device.Linear(compute.Linear{Y: z, X: u, N: n, W: compute.Weight{Out: l.W.Out, In: a.R, Data: a.B}})
	t.Device.Add(compute.Add{Y: z, A: plain, B: z, Scale: a.Scale})
	t.Device.Linear(compute.Linear{Y: y.Value, X: x.Value, N: n, W: l.W, Bias: l.Bias, Accumulate: accumulate, Compute: t.Compute})
	t.ScaleColumns(compute.ScaleColumns{Y: y.Value, X: z, S: a.DoRA.Gain, N: n, C: l.W.Out, Accumulate: true})
	t.Device.Add(compute.Add{Y: y.Value, A: y.Value, B: plain, Scale: -1})
	return u, z
}

// addRows writes the row b [c] into each of y's n rows, or adds it.
func (t *Tape) addRows(y, b compute.Buffer, n, c int, accumulate bool) {
	zeros, rows := t.Scratch.Alloc(compute.I32, n), y
	t.Zero(zeros)
	if accumulate {
		rows = t.Scratch.Alloc(compute.F32, n*c)
	}
	t.Device.Embedding(compute.Embedding{Y: rows, Table: b, IDs: zeros, N: n, C: c, Scale: 1})
	if accumulate {
		t.Device.Add(compute.Add{Y: y, A: y, B: rows, Scale: 1})
	}
}

// doraBackward is, with dz = gain ⊙ dy: dM += (Σ dy ⊙ z)/‖…‖, then LoRA's backward pass of dz; with dropout dx is
// W·dy + mask(W·(dz - dy) + s·A·B·dz).
func (t *Tape) doraBackward(op compute.LinearBackwardInput, x *Tensor, l *Linear, u, z compute.Buffer) {
	a, m, n, out := l.LoRA, l.LoRA.DoRA, op.N, l.W.Out
	dy, dz := op.DY, t.Scratch.Alloc(compute.F32, op.N*out)
	back := compute.ScaleColumnsBackward{DX: dz, DY: dy, X: z, S: m.Gain, N: n, C: out}
	if m.Grad != nil {
		back.DS = t.Scratch.Alloc(compute.F32, out)
		t.Zero(back.DS)
	}
	t.ScaleColumnsBackward(back)
	if m.Grad != nil {
		t.ScaleColumns(compute.ScaleColumns{Y: m.Grad, X: back.DS, S: m.Inverse, N: 1, C: out, Accumulate: true})
	}
	op.DY = dz
	du, dropped := t.lowRankBackward(op, x, l, u)
	if !x.needs {
		return
	}
	addition := &compute.LowRank{R: a.R, U: du, V: a.A, Scale: a.Scale}
	if t.Dropout == nil || a.Dropout == 0 {
		op.LowRank = addition
		t.LinearBackwardInput(op)
		return
	}
	op.DY = dy
	t.LinearBackwardInput(op)
	t.Device.Add(compute.Add{Y: dz, A: dz, B: dy, Scale: -1})
	t.LinearBackwardInput(compute.LinearBackwardInput{DX: dropped, DY: dz, N: n, W: l.W, LowRank: addition, Compute: t.Compute})
	t.mask(op.DX, dropped, a, 1, true)
}
