package model

import (
	"errors"
	"fmt"
	"slices"

	"lathe/compute"
	"lathe/model/tape"
)

// LoadOptions says how weights are held.
type LoadOptions struct {
	// Quant4 quantises the linear layers (all but lm_head) to 4 bits while they are read, with the code book QuantType.
	Quant4    bool
	QuantType compute.QuantType
	// DoubleQuant quantises the scales too.
	DoubleQuant bool
	// Compute is the type of the operands of matrix products: F32, or BF16 where the device multiplies it.
	Compute compute.DType
	// KeepDType holds float16 and bfloat16 matrices as they are stored, at half the memory and with the same results;
	// else they become float32, as full fine-tuning needs.
	KeepDType bool
	// Cache keeps what Quant4 made.
	Cache QuantCache
}

// Model is a base with or without an adapter: a view, cheap to make.
type Model struct {
	*base
	// the base's, or with what the adapter changes
	embed      *tape.Embedding
	layers     []layer
	finalNorm  *tape.Norm
	head       *tape.Linear
	adapter    *Adapter
	prefix     *prefix       // or nil
	bottleneck []bottlenecks // by block, or nil
	failed     error         // of an allocation that Trainable could not make
}

func newModel(b *base) *Model {
	return &Model{base: b, embed: &b.embed, layers: b.layers, finalNorm: &b.finalNorm, head: &b.head}
}

// Config is the model's configuration.
func (m *Model) Config() Config { return m.cfg }

// Device is where the model's weights are.
func (m *Model) Device() compute.Device { return m.dev }

// Options says how the weights are held.
func (m *Model) Options() LoadOptions { return m.options }

// Adapter is the adapter of this view, or nil.
func (m *Model) Adapter() *Adapter { return m.adapter }

// With is a view of the same base with another adapter, or with none (nil). The adapter must have been made for this base.
func (m *Model) With(a *Adapter) *Model {
	v := newModel(m.base)
	if a == nil {
		return v
	}
	v.layers = slices.Clone(v.layers)
	v.adapter = a
	a.method.apply(v)
	return v
}

// Free gives the base's memory back; all views of it end. Adapters are freed on their own.
func (m *Model) Free() { m.free() }

// Param is a tensor that training changes.
type Param struct {
	Name  string // as in the file: model.layers.0.…, or PEFT's base_model.model.…lora_A.weight
	Shape []int
	Value compute.Buffer // F32
	Grad  compute.Buffer // F32, accumulated by ForwardBackward; the caller zeroes it
	Decay bool           // weight decay applies: not to biases and norms
}

// Trainable lists the adapter's tensors or, after TrainAll, all weights; the order is always the same. The first call makes
// the gradients; when there is no memory for them the list is empty and Reserve says why.
func (m *Model) Trainable() []*Param {
	if m.adapter != nil {
		m.failed = m.adapter.train()
		if m.trainAll {
			m.failed = errors.New("the base itself is being trained (TrainAll)")
		}
		if m.failed != nil {
			return nil
		}
		return m.adapter.params
	}
	if !m.trainAll {
		return nil
	}
	params := make([]*Param, len(m.tensors))
	for i, t := range m.tensors {
		decay := !t.kind.vector()
		params[i] = &Param{Name: t.name, Shape: slices.Clone(t.shape), Value: t.weight.Data, Grad: *t.grads[0], Decay: decay}
	}
	return params
}

// TrainAll makes every weight trainable (full fine-tuning). The weights must be float32: not in 4 bits, not kept in 16.
func (m *Model) TrainAll() error {
	if m.adapter != nil {
		return errors.New("train all weights: this view has an adapter; use that of the base")
	}
	if m.trainAll {
		return nil
	}
	for _, t := range m.tensors {
		if t.weight.Quant != nil || t.weight.Data.DType() != compute.F32 {
			return fmt.Errorf("train all weights: %s is held in 4 or 16 bits; load the model without load_in_4bit", t.name)
		}
	}
	for _, t := range m.tensors {
		g, err := m.dev.Alloc(compute.F32, t.weight.Data.Len())
		if err != nil {
			return fmt.Errorf("allocate the gradient of %s: %w", t.name, err)
		}
		m.grads = append(m.grads, g)
		for _, to := range t.grads {
			*to = g
		}
	}
	m.trainAll = true
	return nil
}

// firstTrained is the number of the first block with a trainable tensor: 0 when what is before the blocks is trained, their number
// when only what follows them is.
func (m *Model) firstTrained() int {
	if m.adapter == nil || m.prefix != nil || m.embed.Grad != nil {
		return 0
	}
	for i := range m.layers {
		if m.layers[i].trainsAny() || m.bottleneck != nil && m.bottleneck[i] != (bottlenecks{}) {
			return i
		}
	}
	return len(m.layers)
}

// trainsAny says whether a linear layer or a norm of the block has trainable tensors.
func (l *layer) trainsAny() bool {
	return slices.ContainsFunc(l.linear[:], (*tape.Linear).Trains) || slices.ContainsFunc(l.norm[:], (*tape.Norm).Trains)
}
