package model

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"lathe/compute"
	"lathe/model/safetensors"
	"lathe/model/tape"
)

// prefix is prefix tuning (Li & Liang 2021): keys and values of virtual tokens that every token of a sequence sees as if they
// stood before it. They get no rotation; the first real token has position c.VirtualTokens. Sliding windows count them as the
// positions that they have, as PEFT's cache and transformers' masks do: a query beyond the window does not see them.
type prefix struct {
	base    *base
	c       PrefixConfig
	encoder tape.PrefixEncoder
	list    []adapterTensor
}

// promptEmbeddings is the name of the one tensor in PEFT's file.
const promptEmbeddings = "prompt_embeddings"

func (c PrefixConfig) attach(b *base) (method, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.fit(&b.cfg); err != nil {
		return nil, err
	}
	if c.BaseModel == "" {
		c.BaseModel = b.files
	}
	p := &prefix{base: b, c: c}
	p.encoder = tape.PrefixEncoder{Rows: c.VirtualTokens, Columns: c.layers * 2 * c.tokenDim, Embedding: tape.Embedding{Scale: 1}}
	if c.Projection {
		p.project()
	} else {
		p.table(promptEmbeddings, p.encoder.Columns, false)
	}
	return p, nil
}

// table lists the embedding [tokens,width] ~ N(0,1), as torch.nn.Embedding.
func (p *prefix) table(name string, width int, state bool) {
	p.list = append(p.list, adapterTensor{
		name: name, shape: []int{p.c.VirtualTokens, width}, decay: true, state: state,
		init: func(rng *rand.Rand, values []float32) { drawNormal(rng, values, 1) },
		bind: func(value, grad compute.Buffer) { p.encoder.Embedding.Table, p.encoder.Embedding.Grad = value, grad },
	})
}

// project lists the embedding and the two layers, with the names of PEFT's modules.
func (p *prefix) project() {
	const module = "prompt_encoder.default."
	p.table(module+"embedding.weight", p.c.tokenDim, true)
	p.encoder.Down = p.layer(module+"transform.0", p.c.EncoderHidden, p.c.tokenDim)
	p.encoder.Up = p.layer(module+"transform.2", p.encoder.Columns, p.c.EncoderHidden)
}

// layer lists W and b ~ U(±1/√in), as torch.nn.Linear.
func (p *prefix) layer(name string, out, in int) *tape.Linear {
	l := &tape.Linear{W: compute.Weight{Out: out, In: in}}
	uniform := func(rng *rand.Rand, values []float32) { drawUniform(rng, values, 1/math.Sqrt(float64(in))) }
	p.list = append(p.list,
		adapterTensor{name: name + ".weight", shape: []int{out, in}, decay: true, state: true, init: uniform, bind: func(value, grad compute.Buffer) {
			l.W.Data, l.Grad = value, grad
		}},
		adapterTensor{name: name + ".bias", shape: []int{out}, state: true, init: uniform, bind: func(value, grad compute.Buffer) {
			l.Bias, l.BiasGrad = value, grad
		}})
	return l
}

func drawNormal(rng *rand.Rand, values []float32, std float64) {
	for j := range values {
		values[j] = float32(rng.NormFloat64() * std)
	}
}

func (p *prefix) config() AdapterConfig    { return p.c }
func (p *prefix) tensors() []adapterTensor { return p.list }
func (p *prefix) weightsFile() string      { return AdapterWeightsFile }
func (p *prefix) apply(m *Model)           { m.prefix = p }

// extra is the projected prefix, which the file holds instead of what makes it.
func (p *prefix) extra() []safetensors.Source {
	if !p.c.Projection {
		return nil
	}
	return []safetensors.Source{{
		Name: promptEmbeddings, DType: safetensors.F32, Shape: []int64{int64(p.encoder.Rows), int64(p.encoder.Columns)}, Data: p.projected,
	}}
}

// projected computes the prefix on the device: in the memory of a step where a run holds it, else in memory of its own.
func (p *prefix) projected() ([]byte, error) {
	pass := func(dev compute.Device, saved, scratch *compute.Arena) compute.Buffer {
		return (&tape.Tape{Device: dev, Saved: saved, Scratch: scratch}).Prefix(&p.encoder).Value
	}
	need := p.base.measure(func(dev compute.Device, saved, scratch *compute.Arena) { pass(dev, saved, scratch) })
	if err := p.base.dev.Reserve(need.device); err != nil {
		return nil, fmt.Errorf("project the prefix: %w", err)
	}
	w := workspace{saved: p.base.work.saved, scratch: p.base.work.scratch}
	if w.fits(need) {
		defer w.saved.Release(w.saved.Mark())
		defer w.scratch.Release(w.scratch.Mark())
	} else {
		var err error
		if w.saved, w.scratch, err = newArenas(p.base.dev, need); err != nil {
			return nil, fmt.Errorf("project the prefix: %w", err)
		}
		defer w.free()
	}
	y := pass(p.base.dev, w.saved, w.scratch)
	out := make([]byte, compute.ByteLen(y))
	p.base.dev.Download(out, y)
	return out, errors.Join(p.base.dev.Sync(), w.err())
}

// columns are where the keys and the values of a block stand in a row of the prefix, and how many they are.
func (p *prefix) columns(layer int) (key, value, width int) {
	width = p.c.tokenDim
	return 2 * layer * width, (2*layer + 1) * width, width
}

// virtualTokens is the length of the view's prefix, 0 where it has none.
func (m *Model) virtualTokens() int {
	if m.prefix == nil {
		return 0
	}
	return m.prefix.c.VirtualTokens
}

// prefixed puts the prefix' keys and values before those of each sequence.
func (p *pass) prefixed(k, v *tape.Tensor, layer int) (allK, allV *tape.Tensor) {
	e, spans := &p.prefix.encoder, p.attention.Spans
	key, value, width := p.prefix.columns(layer)
	return p.tape.Prefixed(k, p.virtual, e, key, width, spans), p.tape.Prefixed(v, p.virtual, e, value, width, spans)
}

// afterPrefix makes room for n keys before those of each sequence.
func afterPrefix(s compute.AttentionShape, n int) compute.AttentionShape {
	if n == 0 {
		return s
	}
	s.Spans = slices.Clone(s.Spans)
	for i := range s.Spans {
		s.Spans[i].KStart += i * n
		s.Spans[i].KLen += n
	}
	s.NK += n * len(s.Spans)
	return s
}

// seed puts the prefix before every sequence of a cache.
func (p *prefix) seed(dev compute.Device, saved, scratch *compute.Arena, c *cache) {
	t := &tape.Tape{Device: dev, Saved: saved, Scratch: scratch}
	mark, scratchMark := saved.Mark(), scratch.Mark()
	x := t.Prefix(&p.encoder)
	rows := scratch.Alloc(compute.F32, p.encoder.Rows*c.width)
	for layer := range c.k {
		key, value, width := p.columns(layer)
		for _, to := range []struct {
			cached compute.Buffer
			at     int
		}{{c.k[layer], key}, {c.v[layer], value}} {
			t.PrefixRows(rows, x.Value, &p.encoder, to.at, width)
			for slot := range c.slots {
				t.Copy(c.slice(to.cached, piece{slot: slot, n: p.encoder.Rows}), rows)
			}
		}
	}
	saved.Release(mark)
	scratch.Release(scratchMark)
}

// check is Input.check for the view: where it has a prefix, positions count from behind that.
func (m *Model) check(in Input, labelled bool) (Input, error) {
	in, err := in.check(&m.cfg, labelled)
	if n := m.virtualTokens(); err == nil && n > 0 {
		in.Positions = slices.Clone(in.Positions)
		for i := range in.Positions {
			in.Positions[i] += int32(n)
		}
	}
	return in, err
}
