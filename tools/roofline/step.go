package main

import (
	"fmt"

	"lathe/compute"
	"lathe/cuda"
	"lathe/cuda/driver"
	"lathe/model"
)

// shape is a llama's sizes, those of the published models.
type shape struct {
	name                                           string
	hidden, layers, heads, kv, intermediate, vocab int
}

var shapes = []shape{
	{"7B", 4096, 32, 32, 32, 11008, 32000},  // LLaMA 2
	{"8B", 4096, 32, 32, 8, 14336, 128256},  // Llama 3
	{"13B", 5120, 40, 40, 40, 13824, 32000}, // LLaMA 2
	{"70B", 8192, 80, 64, 8, 28672, 128256}, // Llama 3
}

func (s shape) config() (model.Config, error) {
	return model.NewConfig("llama", map[string]any{
		"hidden_size": s.hidden, "num_hidden_layers": s.layers, "num_attention_heads": s.heads, "num_key_value_heads": s.kv,
		"head_dim": s.hidden / s.heads, "intermediate_size": s.intermediate, "vocab_size": s.vocab, "max_position_embeddings": 8192,
		"rms_norm_eps": 1e-5, "tie_word_embeddings": false,
	})
}

// method is a way of training with the options that it is measured with.
type method struct {
	name string
	load model.LoadOptions
	rank int // of LoRA on all linear layers; 0 trains all weights
}

const rank = 16

var methods = []method{
	{name: "full", load: model.LoadOptions{Compute: compute.BF16}},
	{name: "LoRA", load: model.LoadOptions{Compute: compute.BF16, KeepDType: true}, rank: rank},
	{name: "QLoRA", load: model.LoadOptions{Compute: compute.BF16, KeepDType: true, Quant4: true, DoubleQuant: true}, rank: rank},
}

// A micro-batch is one row of so many tokens, all of them trained; an optimiser step has so many micro-batches.
const (
	tokens = 4096
	micros = 8
)

// work is what a GPU is asked for by a micro-batch and by an optimiser step's end.
type work struct {
	shape      shape
	method     method
	checkpoint bool
	micro, end items
	peak       int64 // bytes: weights, gradients, optimiser's state, activations, workspace
	acts       int64 // of these activations and workspace
	trained    int64 // parameters
}

// items are launches that cost the same, counted.
type items map[item]int

// item is a launch and what it costs.
type item struct {
	kernel                   string
	threads, blocks, dynamic int  // dynamic shared memory of a block, bytes
	head                     bool // within LinearCrossEntropy
	cost
}

// recorder is a recording device that knows which operation a launch belongs to.
type recorder struct {
	*cuda.Device
	op      operation
	into    items
	fresh   packed
	marked  uint64  // weights lie below this address, activations above
	trained float64 // elements
	err     error
}

// operation is what of an operation its kernels' arguments do not tell.
type operation struct {
	head      bool
	attention *compute.AttentionShape
}

// record makes the model of a shape on a recording device and runs a training step, the program's own, with gradient checkpointing and
// without: in this order, for memory once reserved is kept.
func record(s shape, m method) ([]work, error) {
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	r := &recorder{into: items{}}
	// The PTX is for 8.0 and later; sizes of products do not hang on the GPU, so one recording is that of all.
	if r.Device, err = cuda.Record(driver.Info{Name: "recorder", Major: 8, Memory: 1 << 50}, r.tell); err != nil {
		return nil, err
	}
	base, err := model.NewUnfilled(r, cfg, m.load, stored(m))
	if err != nil {
		return nil, err
	}
	trained := base
	if m.rank > 0 {
		a, err := model.NewUnfilledAdapter(base, adapter(m))
		if err != nil {
			return nil, err
		}
		trained = base.With(a)
	} else if err := base.TrainAll(); err != nil {
		return nil, err
	}
	mark, err := r.Alloc(compute.U8, markBytes) // which is told as a fill of zeros, with its address
	if err != nil {
		return nil, err
	}
	defer mark.Free()
	list := make([]work, 0, 2)
	for _, c := range []bool{true, false} {
		w, err := r.step(trained, c)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", s.name, m.name, err)
		}
		w.shape, w.method, w.checkpoint = s, m, c
		list = append(list, w)
	}
	return list, nil
}

const markBytes = 1

// adapter is LoRA on all linear layers.
func adapter(m method) model.LoRAConfig {
	return model.LoRAConfig{R: m.rank, Alpha: 2 * float64(m.rank), TargetModules: model.TargetModules{Regex: model.AllLinear}}
}

// stored is the type of the files: trained weights are float32 whatever they were.
func stored(m method) compute.DType {
	if m.load.KeepDType {
		return compute.BF16
	}
	return compute.F32
}

// step is a training step as package trainer makes it: gradients zeroed, forward and backward, the norm, AdamW.
func (r *recorder) step(m *model.Model, checkpoint bool) (w work, err error) {
	o := model.StepOptions{GradScale: 1, Checkpoint: checkpoint}
	params := m.Trainable()
	adam := compute.AdamW{LR: 1e-4, Beta1: .9, Beta2: .999, Eps: 1e-8, Step: 1, GradScale: 1}
	var grads []compute.Buffer
	for _, p := range params {
		n := p.Value.Len()
		w.trained += int64(n)
		state, err := r.Alloc(compute.F32, 2*n)
		if err != nil {
			return w, err
		}
		defer state.Free()
		adam.Tensors = append(adam.Tensors, compute.AdamWTensor{Param: p.Value, Grad: p.Grad, M: state.Slice(0, n), V: state.Slice(n, n)})
		grads = append(grads, p.Grad)
	}
	r.trained = float64(w.trained)
	m.Release()
	r.ResetPeak()
	held := r.Memory().Used - r.Info().WorkspaceHeld
	if err := m.ReserveStep(tokens, 1, tokens, true, o); err != nil {
		return w, err
	}
	r.into = items{}
	if _, err := m.ForwardBackward(row(), o); err != nil {
		return w, err
	}
	w.micro, r.into = r.into, items{}
	for _, g := range grads {
		r.Zero(g)
	}
	r.GlobalNorm(grads)
	r.AdamW(adam)
	w.end, w.peak = r.into, r.Memory().Peak
	w.acts = w.peak - held
	if err := r.Sync(); err != nil {
		return w, err
	}
	return w, r.err
}

// row is a row of tokens that are all trained.
func row() model.Input {
	in := model.Input{Tokens: make([]int32, tokens), Labels: make([]int32, tokens), Positions: make([]int32, tokens), Seqs: []int32{0, tokens}}
	for i := range in.Positions {
		in.Positions[i] = int32(i)
	}
	return in
}

// tell counts a launch.
func (r *recorder) tell(c driver.Call) {
	if r.trained == 0 { // the model is being made
		if c.Kernel == "memset" {
			r.marked = c.Args[0]
		}
		return
	}
	k, err := r.costOf(c)
	if err != nil && r.err == nil {
		r.err = err
	}
	l := c.Launch
	r.into[item{
		kernel: c.Kernel, threads: l.Block[0] * l.Block[1] * l.Block[2], blocks: l.Grid[0] * l.Grid[1] * l.Grid[2], dynamic: l.Shared,
		head: r.op.head, cost: k,
	}]++
}

// The operations whose kernels cannot tell what they belong to.

// LinearCrossEntropy is the device's.
func (r *recorder) LinearCrossEntropy(a compute.LinearCrossEntropy) {
	r.op.head = true
	r.Device.LinearCrossEntropy(a)
	r.op.head = false
}

// Attention is the device's.
func (r *recorder) Attention(a compute.Attention) {
	r.op.attention = &a.AttentionShape
	r.Device.Attention(a)
}

// AttentionBackward is the device's.
func (r *recorder) AttentionBackward(a compute.AttentionBackward) {
	r.op.attention = &a.AttentionShape
	r.Device.AttentionBackward(a)
}

var _ compute.Device = (*recorder)(nil)
