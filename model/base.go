package model

import (
	"fmt"

	"lathe/compute"
	"lathe/model/tape"
)

// base is what all views of a model share: the weights, the rotary tables and the workspace.
type base struct {
	cfg     Config
	dev     compute.Device
	rule    compute.WorkspaceRule // of dev
	options LoadOptions
	files   string // where it came from, for adapter_config.json

	embed     tape.Embedding
	layers    []layer
	finalNorm tape.Norm
	head      tape.Linear
	tensors   []tensor // all of them, in layout order

	rope     rotary
	work     workspace
	grads    []compute.Buffer // of full fine-tuning
	trainAll bool
}

// layer is the weights of one block.
type layer struct {
	inputNorm, postNorm *tape.Norm
	linear              [numModules]*tape.Linear
}

// tensor is one weight of the base and the places where its gradient goes.
type tensor struct {
	tensorSpec
	weight compute.Weight    // a vector is [1,n]
	grads  []*compute.Buffer // two for a tied head
}

// newBase allocates all weights of a configuration, and the structures around them.
func newBase(dev compute.Device, cfg Config, o LoadOptions, stored func(tensorSpec) stored) (*base, error) {
	if q := cfg.Quantization; q != nil { // the checkpoint's own quantisation holds, as in transformers
		o.Quant4, o.QuantType, o.DoubleQuant = true, q.Type, q.DoubleQuant
	}
	b := &base{cfg: cfg, dev: dev, rule: dev.Info().Workspace, options: o, layers: make([]layer, cfg.Layers)}
	for i := range b.layers {
		for m := range b.layers[i].linear {
			b.layers[i].linear[m] = &tape.Linear{}
		}
	}
	for _, spec := range cfg.layout() {
		w, err := b.newWeight(spec, stored(spec))
		if err != nil {
			b.free()
			return nil, fmt.Errorf("allocate %s %v: %w", spec.name, spec.shape, err)
		}
		b.place(spec, w)
	}
	return b, nil
}

// newWeight allocates one tensor: vectors as float32, matrices in 4 bits, as they are stored, or as float32.
func (b *base) newWeight(t tensorSpec, as stored) (compute.Weight, error) {
	out, in := 1, t.shape[0]
	if len(t.shape) == 2 {
		out, in = t.shape[0], t.shape[1]
	}
	if q := as.quant; q != nil {
		return compute.NewQuant4(b.dev, out, in, q.Type, q.DoubleQuant)
	}
	if t.kind == matrix && b.options.Quant4 && b.cfg.Quantization == nil {
		return compute.NewQuant4(b.dev, out, in, b.options.QuantType, b.options.DoubleQuant)
	}
	dtype := compute.F32
	if b.options.KeepDType && (as.dtype == compute.BF16 || as.dtype == compute.F16) && t.kind != norm && t.kind != bias {
		dtype = as.dtype
	}
	data, err := b.dev.Alloc(dtype, out*in)
	return compute.Weight{Out: out, In: in, Data: data}, err
}

// place puts a tensor where the forward pass looks for it.
func (b *base) place(spec tensorSpec, w compute.Weight) {
	t := tensor{tensorSpec: spec, weight: w}
	switch spec.kind {
	case embedding:
		b.embed = tape.Embedding{Table: w.Data, Scale: 1}
		t.grads = []*compute.Buffer{&b.embed.Grad}
		if b.cfg.TieHead {
			b.head.W = w
			t.grads = append(t.grads, &b.head.Grad)
		}
	case head:
		b.head.W = w
		t.grads = []*compute.Buffer{&b.head.Grad}
	case norm:
		n := &tape.Norm{W: w.Data, Eps: b.cfg.NormEps}
		switch {
		case spec.layer < 0:
			n = &b.finalNorm
			*n = tape.Norm{W: w.Data, Eps: b.cfg.NormEps}
		case spec.post:
			b.layers[spec.layer].postNorm = n
		default:
			b.layers[spec.layer].inputNorm = n
		}
		t.grads = []*compute.Buffer{&n.Grad}
	case matrix:
		l := b.layers[spec.layer].linear[spec.module]
		l.W = w
		t.grads = []*compute.Buffer{&l.Grad}
	case bias:
		l := b.layers[spec.layer].linear[spec.module]
		l.Bias = w.Data
		t.grads = []*compute.Buffer{&l.BiasGrad}
	}
	b.tensors = append(b.tensors, t)
}

func (b *base) free() {
	b.work.free()
	b.rope.free()
	for _, t := range b.tensors {
		t.weight.Free()
	}
	for _, g := range b.grads {
		g.Free()
	}
	b.tensors, b.grads = nil, nil
}
