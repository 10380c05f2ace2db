package model

import (
	"fmt"

	"lathe/compute"
)

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

// PlanMemory says what a run takes, from the configuration alone: the model is made and a step is run on a dry device.
func PlanMemory(cfg Config, o PlanOptions) (Memory, error) {
	p, err := NewPlanner(cfg, o)
	if err != nil {
		return Memory{}, err
	}
	return p.Batch(o.MaxTokens, o.MaxSeqs, o.MaxLen)
}

// Planner is a method's model on a dry device, with its gradients and its optimiser's state: what no batch changes. It plans one
// batch after the other.
type Planner struct {
	model   *Model
	step    *StepOptions // nil where nothing is trained
	fixed   Memory
	loading compute.Workspace
}

// NewPlanner makes the model that PlanOptions describe; its batch is not looked at.
func NewPlanner(cfg Config, o PlanOptions) (*Planner, error) {
	dry := compute.NewDryLike(o.Workspace)
	b, err := newBase(dry, cfg, o.Load, o.stored(&cfg))
	if err != nil {
		return nil, err
	}
	p := &Planner{model: newModel(b)}
	last := int64(0)
	took := func() int64 {
		now := dry.Memory().Used - dry.Workspace().Bytes()
		d := now - last
		last = now
		return d
	}
	p.fixed.Base = took()
	b.loadDry(dry, o.stored(&cfg))
	p.fixed.Loading = dry.Memory().Peak
	if o.Adapter != nil {
		a, err := newAdapter(b, o.Adapter)
		if err != nil {
			return nil, err
		}
		p.model = p.model.With(a)
		p.fixed.Adapters = took()
	} else if o.Full {
		if err := p.model.TrainAll(); err != nil {
			return nil, err
		}
	}
	params := p.model.Trainable()
	for _, t := range params {
		p.fixed.Trainable += int64(t.Value.Len())
	}
	p.fixed.Gradients = took()
	if o.Optimizer != nil {
		if err := o.Optimizer(dry, params); err != nil {
			return nil, err
		}
		p.fixed.Optimizer = took()
	}
	if o.Adapter != nil || o.Full {
		p.step = &StepOptions{Checkpoint: o.Checkpoint}
	}
	p.loading = dry.Workspace()
	return p, nil
}

// Batch plans batches of at most maxTokens tokens in at most maxSeqs sequences of at most maxLen: what Reserve will take for them.
func (p *Planner) Batch(maxTokens, maxSeqs, maxLen int) (Memory, error) {
	out, m := p.fixed, p.model
	if maxTokens < 1 || maxSeqs < 1 || maxLen < 1 {
		return out, fmt.Errorf("plan memory: %d tokens in %d sequences of %d: each must be at least 1", maxTokens, maxSeqs, maxLen)
	}
	if p.step != nil && len(m.Trainable()) == 0 {
		return out, fmt.Errorf("plan memory: %w", m.nothingTrained())
	}
	for i := range m.rope { // those of a longer batch before
		m.rope[i].free()
	}
	before := m.dev.Memory().Used
	if err := m.ensureRotary(m.positions(maxLen)); err != nil {
		return out, err
	}
	need := m.measureLargest(maxTokens, maxSeqs, maxLen, p.step)
	out.Activations = need.saved + need.scratch
	out.Workspace = m.dev.Memory().Used - before + need.device.Max(p.loading).Bytes()
	out.KV = m.cfg.cacheBytes(m.positions(maxLen))
	return out, nil
}

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

// loadDry does what loading will, without a file, on a device that never fails.
func (b *base) loadDry(dry *compute.Dry, as func(tensorSpec) stored) {
	if n := compute.Loaders(b.rule); n > 0 {
		size, _ := b.loaderBytes(as)
		space, _ := dry.Alloc(compute.U8, n*size)
		space.Free()
		return
	}
	staged, _ := dry.Alloc(compute.U8, int(b.stagingBytes(as)))
	defer staged.Free()
	for i := range b.tensors {
		if t := &b.tensors[i]; !t.comesAs(as(t.tensorSpec)) {
			b.settle(t.weight, staged)
		}
	}
}
