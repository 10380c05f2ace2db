package model

import (
	"fmt"

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
	const endless = 1 << 60
	saved, scratch, _ := newArenas(compute.NewDry(), demand{saved: endless, scratch: endless}) // a dry device never fails
	dry := compute.NewDryLike(b.rule)
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
	return nil
}

// manySeqs is a number of sequences from which on an attention has work for all threads without cutting any one into parts.
const manySeqs = 32

// measureLargest measures the largest batch within bounds, for each number of sequences: devices cut an attention over few
// sequences into more parts, each with memory of its own.
func (m *Model) measureLargest(maxTokens, maxSeqs, maxLen int, o *StepOptions) demand {
	maxSeqs = min(maxSeqs, maxTokens)
	need := m.measureStep(largest(maxTokens, maxSeqs, maxLen), o)
	for seqs := 1; seqs < min(maxSeqs, manySeqs); seqs++ {
		need = need.max(m.measureStep(largest(maxTokens, seqs, maxLen), o))
	}
	return need
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
	if err := m.ensureRotary(maxLen); err != nil {
		return fmt.Errorf("reserve memory: %w", err)
	}
	need := m.measureLargest(maxTokens, maxSeqs, maxLen, step)
	if err := m.work.grow(m.dev, need); err != nil {
		return fmt.Errorf("reserve memory for %d tokens: %w", maxTokens, err)
	}
	return nil
}

// Release frees the workspace until the next step or Reserve, as a paused run does.
func (m *Model) Release() { m.work.free() }

// PlanOptions is a method and a batch to plan for.
type PlanOptions struct {
	Load       LoadOptions
	Files      *Files        // the checkpoint, which knows the type of each tensor; nil: all are of type Stored
	Stored     compute.DType // type of the weights in the files, for Load.KeepDType
	Adapter    AdapterConfig // or nil
	Full       bool          // all weights are trained
	Checkpoint bool          // gradient checkpointing
	MaxTokens  int
	MaxSeqs    int
	MaxLen     int
	// Workspace is the rule of the device that will run it (Info.Workspace); nil leaves the device's own memory out.
	Workspace compute.WorkspaceRule
	// Optimizer makes the optimiser's state, here on a dry device; nil for none.
	Optimizer func(compute.Device, []*Param) error
}

// Memory is a plan in bytes, by owner.
type Memory struct {
	Base        int64 `json:"base"`
	Adapters    int64 `json:"adapters"`
	Gradients   int64 `json:"gradients"`
	Optimizer   int64 `json:"optimizer"` // what PlanOptions.Optimizer took
	Activations int64 `json:"activations"`
	KV          int64 `json:"kv"`        // cache of one generation of MaxLen tokens
	Workspace   int64 `json:"workspace"` // rotary tables, and the device's own
	Loading     int64 `json:"loading"`   // the most that is held at once while the weights are read and quantised
	Trainable   int64 `json:"trainable"` // parameters, not stacks
}

// Total is the sum of the bytes, the KV cache excluded: generation has memory of its own, and goes without if there is none.
func (p Memory) Total() int64 {
	return p.Base + p.Adapters + p.Gradients + p.Optimizer + p.Activations + p.Workspace
}

// Peak is the most that a run ever holds: while it loads its weights, or from then on.
func (p Memory) Peak() int64 { return max(p.Loading, p.Total()) }

// stored says how the weights lie in the files.
func (o *PlanOptions) stored(cfg *Config) func(tensorSpec) stored {
	if o.Files != nil {
		return o.Files.stored
	}
	as := stored{dtype: o.Stored}
	return func(t tensorSpec) stored {
		if q := cfg.Quantization; q != nil && t.kind == matrix {
			return stored{quant: &prequantized{Type: q.Type, DoubleQuant: q.DoubleQuant}}
		}
		return as
	}
}

// PlanMemory says what a run takes, from the configuration alone: the model is made and a step is run on a dry device.
func PlanMemory(cfg Config, o PlanOptions) (Memory, error) {
	var p Memory
	dry := compute.NewDryLike(o.Workspace)
	b, err := newBase(dry, cfg, o.Load, o.stored(&cfg))
	if err != nil {
		return p, err
	}
	m := newModel(b)
	last := int64(0)
	took := func() int64 {
		now := dry.Memory().Used - dry.Workspace().Bytes()
		d := now - last
		last = now
		return d
	}
	p.Base = took()
	b.loadDry(dry, o.stored(&cfg))
	p.Loading = dry.Memory().Peak
	if o.Adapter != nil {
		a, err := newAdapter(b, o.Adapter)
		if err != nil {
			return p, err
		}
		m = m.With(a)
		p.Adapters = took()
	} else if o.Full {
		if err := m.TrainAll(); err != nil {
			return p, err
		}
	}
	for _, t := range m.Trainable() {
		p.Trainable += int64(t.Value.Len())
	}
	p.Gradients = took()
	if o.Optimizer != nil {
		if err := o.Optimizer(dry, m.Trainable()); err != nil {
			return p, err
		}
		p.Optimizer = took()
	}
	if err := m.ensureRotary(o.MaxLen); err != nil {
		return p, err
	}
	p.Workspace = took()
	if err := m.ReserveStep(o.MaxTokens, o.MaxSeqs, o.MaxLen, o.Adapter != nil || o.Full, StepOptions{Checkpoint: o.Checkpoint}); err != nil {
		return p, err
	}
	p.Activations = took()
	p.Workspace += dry.Workspace().Bytes()
	p.KV = m.cfg.cacheBytes(o.MaxLen)
	return p, nil
}

// loadDry does what loading will, without a file.
func (b *base) loadDry(dry *compute.Dry, as func(tensorSpec) stored) {
	staged, _ := dry.Alloc(compute.U8, int(b.stagingBytes(as))) // which never fails
	defer staged.Free()
	for i := range b.tensors {
		if t := &b.tensors[i]; !t.comesAs(as(t.tensorSpec)) {
			b.settle(t.weight, staged)
		}
	}
}
