package model

import (
	"fmt"
	"math"

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

	rope     [2]rotary      // by Config.ropeOf
	alibi    compute.Buffer // [H] slopes, or nil
	work     workspace
	keeping  *keeping         // or nil
	grads    []compute.Buffer // of full fine-tuning
	trainAll bool
}

// layer is the weights of one block; nil is what the family does not have.
type layer struct {
	norm   [numNorms]*tape.Norm
	linear [numModules]*tape.Linear
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
	b.finalNorm = b.newNorm()
	for i := range b.layers {
		for _, m := range cfg.modules() {
			b.layers[i].linear[m] = &tape.Linear{}
		}
		for _, at := range cfg.norms() {
			n := b.newNorm()
			b.layers[i].norm[at] = &n
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
	if cfg.Alibi {
		var err error
		if b.alibi, err = compute.From(dev, alibiSlopes(cfg.Heads)); err != nil {
			b.free()
			return nil, fmt.Errorf("allocate the alibi slopes: %w", err)
		}
	}
	return b, nil
}

func (b *base) newNorm() tape.Norm {
	return tape.Norm{Layer: b.cfg.LayerNorm, Eps: b.cfg.NormEps, Offset: b.cfg.NormOffset}
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
	if b.options.KeepDType && (as.dtype == compute.BF16 || as.dtype == compute.F16) && !t.kind.vector() {
		dtype = as.dtype
	}
	data, err := b.dev.Alloc(dtype, out*in)
	return compute.Weight{Out: out, In: in, Data: data}, err
}

// place puts a tensor where the forward pass looks for it.
func (b *base) place(spec tensorSpec, w compute.Weight) {
	t := tensor{tensorSpec: spec, weight: w}
	grad := func(to ...*compute.Buffer) { t.grads = to }
	at := &b.finalNorm
	if spec.layer >= 0 {
		at = b.layers[spec.layer].norm[spec.place]
	}
	switch spec.kind {
	case embedding:
		b.embed = tape.Embedding{Table: w.Data, Scale: b.cfg.embeddingScale(w.Data.DType())}
		grad(&b.embed.Grad)
		if b.cfg.TieHead {
			b.head.W = w
			grad(&b.embed.Grad, &b.head.Grad)
		}
	case head:
		b.head.W = w
		grad(&b.head.Grad)
	case norm:
		at.W = w.Data
		grad(&at.Grad)
	case normBias:
		at.Bias = w.Data
		grad(&at.BiasGrad)
	case matrix:
		l := b.layers[spec.layer].linear[spec.module]
		l.W = w
		grad(&l.Grad)
	case bias:
		l := b.layers[spec.layer].linear[spec.module]
		l.Bias = w.Data
		grad(&l.BiasGrad)
	}
	b.tensors = append(b.tensors, t)
}

// embeddingScale is 1 or, for Gemma, √C rounded to the type in which the embeddings are held.
func (c *Config) embeddingScale(held compute.DType) float32 {
	if !c.EmbedScale {
		return 1
	}
	root := float32(math.Sqrt(float64(c.Hidden)))
	switch held {
	case compute.BF16:
		return roundBF16(root)
	case compute.F16: // 11 significant bits; √C is far from both ends of its range
		bits := math.Float32bits(root)
		return math.Float32frombits((bits + 0xfff + bits>>13&1) &^ 0x1fff)
	}
	return root
}

func (b *base) free() {
	b.keeping.stop()
	b.work.free()
	for i := range b.rope {
		b.rope[i].free()
	}
	if b.alibi != nil {
		b.alibi.Free()
	}
	for _, t := range b.tensors {
		t.weight.Free()
	}
	for _, g := range b.grads {
		g.Free()
	}
	b.tensors, b.grads, b.alibi = nil, nil, nil
}
