package model

import (
	"fmt"
	"slices"

	"lathe/compute"
)

// workspace is the memory of a step: two stacks, sized by a dry run.
type workspace struct {
	saved, scratch *compute.Arena
	want           demand // the most that was ever asked for: what a released workspace is made again with
}

// demand is what a step takes from each stack, and what the device's operations need beside.
type demand struct {
	saved, scratch int64
	device         compute.Workspace
}

// max is what serves both.
func (d demand) max(o demand) demand {
	return demand{max(d.saved, o.saved), max(d.scratch, o.scratch), d.device.Max(o.device)}
}

// free gives the memory back, but remembers how much it was.
func (w *workspace) free() {
	if w.saved != nil {
		w.saved.Free()
		w.scratch.Free()
	}
	w.saved, w.scratch = nil, nil
}

// fits says whether a step that needs so much of the stacks can run as it is.
func (w *workspace) fits(need demand) bool {
	return w.saved != nil && need.saved <= w.saved.Size() && need.scratch <= w.scratch.Size()
}

func (w *workspace) err() error {
	if err := w.saved.Err(); err != nil {
		return err
	}
	return w.scratch.Err()
}

// grow makes the workspace, and that of the device, at least as large as need.
func (w *workspace) grow(dev compute.Device, need demand) error {
	if err := dev.Reserve(need.device); err != nil {
		return err
	}
	if w.fits(need) {
		return nil
	}
	w.free()
	want := need.max(w.want)
	saved, scratch, err := newArenas(dev, want)
	if err != nil {
		return err
	}
	*w = workspace{saved: saved, scratch: scratch, want: want}
	return nil
}

func newArenas(dev compute.Device, size demand) (saved, scratch *compute.Arena, err error) {
	if saved, err = compute.NewArena(dev, size.saved); err != nil {
		return nil, nil, err
	}
	if scratch, err = compute.NewArena(dev, size.scratch); err != nil {
		saved.Free()
		return nil, nil, err
	}
	return saved, scratch, nil
}

// measure runs a pass on a dry device of the model's kind, with stacks without an end.
func (b *base) measure(pass func(dry compute.Device, saved, scratch *compute.Arena)) demand {
	return b.measureWith(b.rule, pass)
}

func (b *base) measureWith(rule compute.WorkspaceRule, pass func(dry compute.Device, saved, scratch *compute.Arena)) demand {
	const endless = 1 << 60
	saved, scratch, _ := newArenas(compute.NewDry(), demand{saved: endless, scratch: endless}) // a dry device never fails
	dry := compute.NewDryLike(rule)
	pass(dry, saved, scratch)
	return demand{saved.Peak(), scratch.Peak(), dry.Workspace()}
}

// measureStep measures the step of a batch.
func (m *Model) measureStep(in Input, o *StepOptions) demand {
	return m.measure(func(dry compute.Device, saved, scratch *compute.Arena) { m.lossPass(dry, saved, scratch, in, o) })
}

// prepare makes rotary tables and workspace large enough for a batch.
func (m *Model) prepare(in Input, o *StepOptions) error {
	if err := m.ensureRotary(in.maxPositionPlusOne()); err != nil {
		return err
	}
	if in.Labels == nil {
		in.Labels = in.Tokens // any will do to measure
	}
	need := m.measureStep(in, o)
	if err := m.work.grow(m.dev, need); err != nil {
		return fmt.Errorf("reserve memory for %d tokens: %w", len(in.Tokens), err)
	}
	m.work.saved.Touch(need.saved)
	m.work.scratch.Touch(need.scratch)
	return nil
}

// measureLargest measures the largest piece of a batch within bounds, and the attention of other shapes within them that devices divide
// otherwise: of as few sequences as have all tokens, and of as many of one token, which may be done as one generates.
func (m *Model) measureLargest(maxTokens, maxSeqs, maxLen int, o *StepOptions) demand {
	if limit := compute.PieceTokens(m.rule); limit > 0 {
		maxTokens = min(maxTokens, max(limit, maxLen))
	}
	maxSeqs = min(maxSeqs, maxTokens)
	seen := &attentions{of: m.rule}
	need := m.measureWith(seen, func(dry compute.Device, saved, scratch *compute.Arena) {
		m.lossPass(dry, saved, scratch, largest(maxTokens, maxSeqs, maxLen), o)
	})
	few := min(maxSeqs, (maxTokens+maxLen-1)/maxLen)
	for _, in := range []Input{largest(maxTokens, few, maxLen), largest(maxSeqs, maxSeqs, 1)} {
		need.device = need.device.Max(seen.over(in.spans()))
	}
	return need
}

// attentions is a device's rule that remembers the attentions it was asked about, one of each kind.
type attentions struct {
	of    compute.WorkspaceRule
	kinds []attentionKind
}

type attentionKind struct {
	shape    compute.AttentionShape
	backward bool
}

// Workspace is compute.WorkspaceRule's Workspace.
func (a *attentions) Workspace(operation any) compute.Workspace {
	if a.of == nil {
		return compute.Workspace{}
	}
	switch op := operation.(type) {
	case compute.Attention:
		a.remember(attentionKind{op.AttentionShape, false})
	case compute.AttentionBackward:
		a.remember(attentionKind{op.AttentionShape, true})
	}
	return a.of.Workspace(operation)
}

func (a *attentions) remember(k attentionKind) {
	if !slices.ContainsFunc(a.kinds, k.same) {
		a.kinds = append(a.kinds, k)
	}
}

// same compares all but the sequences, which are those of one batch.
func (k attentionKind) same(o attentionKind) bool {
	x, y := k.shape, o.shape
	return k.backward == o.backward && x.H == y.H && x.KV == y.KV && x.D == y.D && x.Window == y.Window && x.Softcap == y.Softcap &&
		(x.Alibi == nil) == (y.Alibi == nil) && x.NoCausal == y.NoCausal && x.Prefix == y.Prefix && x.Compute == y.Compute
}

// over is the workspace of the same attentions over other sequences, with as many keys before each as there were.
func (a *attentions) over(spans []compute.Span) compute.Workspace {
	var w compute.Workspace
	for _, k := range a.kinds {
		shape := k.shape
		before := shape.Spans[0].KLen - shape.Spans[0].QLen
		shape.Spans, shape.NQ, shape.NK = slices.Clone(spans), 0, 0
		for i, s := range shape.Spans {
			shape.Spans[i].KStart, shape.Spans[i].KLen = s.KStart+i*before, s.KLen+before
			shape.NQ, shape.NK = shape.NQ+s.QLen, shape.NK+s.KLen+before
		}
		if k.backward {
			w = w.Max(a.of.Workspace(compute.AttentionBackward{AttentionShape: shape}))
		} else {
			w = w.Max(a.of.Workspace(compute.Attention{AttentionShape: shape}))
		}
	}
	return w
}

// largest is a batch of that many sequences as large as its bounds allow, for a dry run.
func largest(maxTokens, seqs, maxLen int) Input {
	n := min(maxTokens, seqs*maxLen)
	in := Input{Tokens: make([]int32, n), Labels: make([]int32, n), Positions: make([]int32, n), Seqs: []int32{0}}
	for at, left := 0, seqs-1; left >= 0; left-- {
		at += min(maxLen, n-at-left) // each that follows has a token at least
		in.Seqs = append(in.Seqs, int32(at))
	}
	return in
}

// Reserve sizes the workspace, and the device's own, for batches of at most maxTokens tokens in at most maxSeqs sequences of at most maxLen, by a
// dry run of the very same step. A step within these bounds allocates nothing afterwards.
func (m *Model) Reserve(maxTokens, maxSeqs, maxLen int, train bool) error {
	return m.ReserveStep(maxTokens, maxSeqs, maxLen, train, StepOptions{})
}

// ReserveStep is Reserve for a step with options such as Checkpoint.
func (m *Model) ReserveStep(maxTokens, maxSeqs, maxLen int, train bool, o StepOptions) error {
	if maxTokens < 1 || maxSeqs < 1 || maxLen < 1 {
		return fmt.Errorf("reserve memory: %d tokens in %d sequences of %d: each must be at least 1", maxTokens, maxSeqs, maxLen)
	}
	step := &o
	if !train {
		step = nil
	} else if len(m.Trainable()) == 0 {
		return fmt.Errorf("reserve memory: %w", m.nothingTrained())
	}
	if err := m.ensureRotary(m.positions(maxLen)); err != nil {
		return fmt.Errorf("reserve memory: %w", err)
	}
	need := m.measureLargest(maxTokens, maxSeqs, maxLen, step)
	if err := m.work.grow(m.dev, need); err != nil {
		return fmt.Errorf("reserve memory for %d tokens: %w", maxTokens, err)
	}
	return nil
}

// positions is how many positions a sequence of n tokens takes.
func (m *Model) positions(n int) int { return n + m.virtualTokens() }

// Release frees the workspace until the next step or Reserve, as a paused run does.
func (m *Model) Release() { m.work.free() }
