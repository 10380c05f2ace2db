// Package tape records what a forward pass computes, so that its gradient can be computed backwards: reverse-mode
// automatic differentiation over coarse operations. Each operation runs on the device at once and, where a trainable
// parameter lies upstream, pushes its backward pass. There is no graph: the list of closures, run from its end, is the
// backward pass.
//
// # Memory
//
// Two stacks serve a step. Saved holds activations that the backward pass reads; Scratch holds what dies earlier:
// temporaries of the forward pass and all gradients of activations. A [Tape.Scope] gives its scratch back at its end, on the
// way forward and again on the way back, so the scratch of a step is that of its largest scope. Since both are stacks, a
// smaller batch never needs more than a larger one, and a dry run of the largest tells the size of both.
package tape

import "lathe/compute"

// Tensor is an activation, N rows of some width, and in the backward pass its gradient.
type Tensor struct {
	Value compute.Buffer
	Grad  compute.Buffer // nil until the backward pass reaches a consumer
	needs bool           // a trainable parameter lies upstream
	saved bool           // Value survives until the backward pass, or comes back there
	again func()         // computes a Value that comes back, nil once it is there
}

// Tape runs operations and records their backward passes.
type Tape struct {
	compute.Device
	Saved, Scratch *compute.Arena
	// Record says whether a backward pass follows. Without it residual sums are made in place and nothing is saved.
	Record bool
	// Recompute has the backward pass compute the results of norms and activation functions again, instead of keeping them.
	Recompute bool
	// Dropout names the masks of this step; nil is evaluation, without dropout.
	Dropout *Dropout
	// Compute is the type of matrix products' operands.
	Compute compute.DType

	back []func()
}

// Dropout is what a step's masks are drawn from: the same numbers give the same masks.
type Dropout struct {
	Seed   uint64
	Stream uint64 // of the step and the micro-batch; a layer's own number is added
}

// New makes a tensor of n float32 elements with undefined content, saved for the backward pass if keep.
func (t *Tape) New(n int, keep bool) *Tensor {
	if keep && t.Record {
		return &Tensor{Value: t.Saved.Alloc(compute.F32, n), saved: true}
	}
	return &Tensor{Value: t.Scratch.Alloc(compute.F32, n)}
}

// recompute lets y's value die with its scope: the backward pass has compute make it anew where it is needed.
func (t *Tape) recompute(y *Tensor, compute func()) {
	y.saved, y.again = true, func() {
		y.Value = t.Scratch.Alloc(y.Value.DType(), y.Value.Len())
		compute()
	}
}

// restore has x's value in memory, until the end of the scope that it was made in.
func (t *Tape) restore(x *Tensor) {
	if x.again != nil {
		x.again()
		x.again = nil
	}
}

// survives says whether the value lies in Saved.
func (x *Tensor) survives() bool { return x.saved && x.again == nil }

// Scope runs f, and gives back the scratch that f took when f ends and when its backward pass ends.
func (t *Tape) Scope(f func()) {
	var mark int64
	t.push(func() { t.Scratch.Release(mark) })
	begin := t.Scratch.Mark()
	f()
	t.Scratch.Release(begin)
	t.push(func() { mark = t.Scratch.Mark() })
}

// Keep makes x one that survives until the backward pass.
func (t *Tape) Keep(x *Tensor) *Tensor {
	if x.survives() || !t.Record {
		return x
	}
	y := t.New(x.Value.Len(), true)
	t.Copy(y.Value, x.Value)
	return y
}

// Checkpoint runs a block, keeps only its input and its output, and in the backward pass runs it again to get its
// activations back (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Dropout masks are functions of their
// names, so the second run repeats the first.
func (t *Tape) Checkpoint(x *Tensor, trains bool, block func(x *Tensor) *Tensor) *Tensor {
	if !t.Record {
		return block(x)
	}
	y := t.New(x.Value.Len(), true)
	t.Copy(y.Value, x.Value)
	t.Record = false
	t.Scope(func() { block(y) }) // not recording, so in place
	t.Record = true
	y.needs = x.needs || trains
	if y.needs {
		t.push(func() { t.repeat(x, y, block) })
	}
	return y
}

// repeat is a checkpointed block's backward pass.
func (t *Tape) repeat(x, y *Tensor, block func(x *Tensor) *Tensor) {
	mark, rest, recompute := t.Saved.Mark(), t.back, t.Recompute
	t.back = nil
	t.Record, t.Recompute = true, false // what one block keeps is little
	again := block(x)
	again.Grad = y.Grad
	t.Backward()
	t.back, t.Recompute = rest, recompute
	t.Saved.Release(mark)
}

// Backward runs the recorded passes from the last to the first and forgets them.
func (t *Tape) Backward() {
	for i := len(t.back) - 1; i >= 0; i-- {
		t.back[i]()
	}
	t.Reset()
}

// Reset forgets what was recorded.
func (t *Tape) Reset() {
	clear(t.back)
	t.back = t.back[:0]
}

func (t *Tape) push(f func()) {
	if t.Record {
		t.back = append(t.back, f)
	}
}

// grad is where a gradient of x goes: a new buffer to write, or one that has a gradient to add to.
func (t *Tape) grad(x *Tensor) (dx compute.Buffer, accumulate bool) {
	if x.Grad != nil {
		return x.Grad, true
	}
	x.Grad = t.Scratch.Alloc(compute.F32, x.Value.Len())
	return x.Grad, false
}

// give makes dy, of which nobody else has need any more, the gradient of x.
func (t *Tape) give(x *Tensor, dy compute.Buffer) {
	switch {
	case !x.needs:
	case x.Grad == nil:
		x.Grad = dy
	default:
		t.Device.Add(compute.Add{Y: x.Grad, A: x.Grad, B: dy, Scale: 1})
	}
}
