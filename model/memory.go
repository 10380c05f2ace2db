package model

import (
	"fmt"

	"lathe/compute"
)

// workspace is the memory of a step: two stacks, sized by a dry run.
type workspace struct {
	saved, scratch *compute.Arena
	want           stacks // the most that was ever asked for: what a released workspace is made again with
}

// stacks is what a step takes from each stack.
type stacks struct{ saved, scratch int64 }

// free gives the memory back, but remembers how much it was.
func (w *workspace) free() {
	if w.saved != nil {
		w.saved.Free()
		w.scratch.Free()
	}
	w.saved, w.scratch = nil, nil
}

// fits says whether a step that needs so much can run as it is.
func (w *workspace) fits(need stacks) bool {
	return w.saved != nil && need.saved <= w.saved.Size() && need.scratch <= w.scratch.Size()
}

func (w *workspace) err() error {
	if err := w.saved.Err(); err != nil {
		return err
	}
	return w.scratch.Err()
}

// grow makes the workspace at least as large as need.
func (w *workspace) grow(dev compute.Device, need stacks) error {
	if w.fits(need) {
		return nil
	}
	w.free()
	want := stacks{max(need.saved, w.want.saved), max(need.scratch, w.want.scratch)}
	saved, scratch, err := newArenas(dev, want)
	if err != nil {
		return err
	}
	*w = workspace{saved: saved, scratch: scratch, want: want}
	return nil
}

func newArenas(dev compute.Device, size stacks) (saved, scratch *compute.Arena, err error) {
	if saved, err = compute.NewArena(dev, size.saved); err != nil {
		return nil, nil, err
	}
	if scratch, err = compute.NewArena(dev, size.scratch); err != nil {
		saved.Free()
		return nil, nil, err
	}
	return saved, scratch, nil
}

// measure runs the step of a batch on a dry device.
func (m *Model) measure(in Input, o *StepOptions) stacks {
	saved, scratch := dryArenas()
	m.lossPass(compute.NewDry(), saved, scratch, in, o)
	return stacks{saved.Peak(), scratch.Peak()}
}

// dryArenas are stacks without an end.
func dryArenas() (saved, scratch *compute.Arena) {
	const endless = 1 << 60
	saved, scratch, _ = newArenas(compute.NewDry(), stacks{endless, endless}) // a dry device never fails
	return saved, scratch
}

// prepare makes rotary tables and workspace large enough for a batch.
func (m *Model) prepare(in Input, o *StepOptions) error {
	if err := m.ensureRotary(in.maxPositionPlusOne()); err != nil {
		return err
	}
	if in.Labels == nil {
		in.Labels = in.Tokens // any will do to measure
	}
	need := m.measure(in, o)
	if err := m.work.grow(m.dev, need); err != nil {
		return fmt.Errorf("reserve memory for %d tokens: %w", len(in.Tokens), err)
	}
	return nil
}

// largest is a batch as large as its bounds allow, for a dry run.
func largest(maxTokens, maxSeqs, maxLen int) Input {
	in := Input{Tokens: make([]int32, maxTokens), Labels: make([]int32, maxTokens), Positions: make([]int32, maxTokens), Seqs: []int32{0}}
	for at := 0; at < maxTokens; {
		at = min(at+maxLen, maxTokens)
		if len(in.Seqs) == maxSeqs {
			at = maxTokens
		}
		in.Seqs = append(in.Seqs, int32(at))
	}
	return in
}

// Reserve sizes the workspace for batches of at most maxTokens tokens in at most maxSeqs sequences of at most maxLen, by a
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
	need := m.measure(largest(maxTokens, maxSeqs, maxLen), step)
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
	Stored     compute.DType // type of the weights in the files, for Load.KeepDType
	LoRA       *LoRAConfig   // or nil
	Full       bool          // all weights are trained
	Checkpoint bool          // gradient checkpointing
	MaxTokens  int
	MaxSeqs    int
	MaxLen     int
}

// Memory is a plan in bytes, by owner.
type Memory struct {
	Base        int64 `json:"base"`
	Adapters    int64 `json:"adapters"`
	Gradients   int64 `json:"gradients"`
	Optimizer   int64 `json:"optimizer"` // left to the caller
	Activations int64 `json:"activations"`
	KV          int64 `json:"kv"`        // cache of one generation of MaxLen tokens
	Workspace   int64 `json:"workspace"` // rotary tables
	Trainable   int64 `json:"trainable"` // parameters, not stacks
}

// Total is the sum of the bytes, the KV cache excluded: generation has memory of its own, and goes without if there is none.
func (p Memory) Total() int64 {
	return p.Base + p.Adapters + p.Gradients + p.Optimizer + p.Activations + p.Workspace
}

// PlanMemory says what a run takes, from the configuration alone: the model is made and a step is run on a dry device.
func PlanMemory(cfg Config, o PlanOptions) (Memory, error) {
	var p Memory
	dry := compute.NewDry()
	b, err := newBase(dry, cfg, o.Load, func(string) compute.DType { return o.Stored })
	if err != nil {
		return p, err
	}
	m := newModel(b)
	last := int64(0)
	took := func() int64 {
		now := dry.Memory().Used
		d := now - last
		last = now
		return d
	}
	p.Base = took()
	if o.LoRA != nil {
		a, err := newAdapter(m, *o.LoRA)
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
	if err := m.ensureRotary(o.MaxLen); err != nil {
		return p, err
	}
	p.Workspace = took()
	if err := m.ReserveStep(o.MaxTokens, o.MaxSeqs, o.MaxLen, o.LoRA != nil || o.Full, StepOptions{Checkpoint: o.Checkpoint}); err != nil {
		return p, err
	}
	p.Activations = took()
	p.KV = m.cfg.cacheBytes(o.MaxLen)
	return p, nil
}
