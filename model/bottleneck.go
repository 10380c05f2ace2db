package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"lathe/compute"
	"lathe/model/tape"
)

// bottleneck is adapters behind the branches of the blocks, as the adapters library has them in pre-norm decoders: with h a branch's
// output, x the residual stream before it and A the adapter, x + h + A(h) (Houlsby) or x + h + A(x + h) (Pfeiffer).
//
// For llama and mistral the library has models of its own, for gemma2, gemma3, qwen2 and qwen3 it hooks the output projections, with the same
// result; where a block norms a branch's output (Gemma 2 and 3), x + norm(h + A(…)), and Pfeiffer's adapter reads the norm of x + h. Families that it does not
// know (gemma, gpt_neox, falcon, phi3, starcoder2) have the same placement and names here; in parallel blocks the MLP's
// adapter reads the branch alone, as the library has it for phi.
type bottleneck struct {
	base   *base
	c      BottleneckConfig
	blocks []bottlenecks
	list   []adapterTensor
}

// bottlenecks are the adapters of one block, nil where there is none.
type bottlenecks struct {
	attention, output *tape.Bottleneck
}

// bottleneckOf is what adapter a branch of a block has behind the layer m, nil for none.
func (m *Model) bottleneckOf(layer int, at module) *tape.Bottleneck {
	switch {
	case m.bottleneck == nil:
		return nil
	case at == oProj:
		return m.bottleneck[layer].attention
	}
	return m.bottleneck[layer].output
}

// adapted is h + A(h) or h + A(x + h): a branch's output with its adapter. x is the residual stream before the branch, at the layer that
// ends it.
func (p *pass) adapted(b *tape.Bottleneck, x, h *tape.Tensor, at module, after place) *tape.Tensor {
	in := h
	if alone := p.cfg.Parallel && at != oProj; p.adapter.method.(*bottleneck).c.OriginalLNBefore && !alone {
		in = p.tape.Sum(x, h, true)
		// the library finds the norm in a closure over its loop's variable, so that every block has that of the last one
		if norm := p.layers[len(p.layers)-1].norm[after]; norm != nil {
			in = p.norm(in, norm, true)
		}
	}
	return p.tape.Bottleneck(h, in, b, p.n)
}

func (c BottleneckConfig) attach(b *base) (method, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.hidden != 0 && c.hidden != b.cfg.Hidden {
		return nil, fmt.Errorf("hidden_size: %d, but this base has %d: the adapter belongs to another model", c.hidden, b.cfg.Hidden)
	}
	c.hidden, c.modelType, c.modelClass = b.cfg.Hidden, b.cfg.Family, b.cfg.Architecture
	if c.BaseModel == "" {
		c.BaseModel = b.files
	}
	if c.Name == "" {
		c.Name = "lathe"
	}
	a := &bottleneck{base: b, c: c, blocks: make([]bottlenecks, b.cfg.Layers)}
	for i := range a.blocks {
		if slices.Contains(c.LeaveOut, i) {
			continue
		}
		if err := a.addBlock(i); err != nil {
			return nil, err
		}
	}
	if len(a.list) == 0 {
		return nil, fmt.Errorf("leave_out: it leaves out all %d blocks", b.cfg.Layers)
	}
	return a, nil
}

func (a *bottleneck) addBlock(layer int) error {
	width, err := a.c.size(a.base.cfg.Hidden, layer)
	if err != nil {
		return err
	}
	block := &a.blocks[layer]
	prefix := fmt.Sprintf(familyNamed(a.base.cfg.Family).names.layer, layer)
	if a.c.Attention {
		block.attention = a.add(prefix+"attention_adapters", layer, 0, width)
	}
	if a.c.Output {
		block.output = a.add(prefix+"output_adapters", layer, 1, width)
	}
	return nil
}

// bottleneckStream keeps the dropout masks apart from those of the linear layers: their numbers are below 128.
const bottleneckStream = 128

// add lists one adapter's tensors, initialised as the library's init_weights says.
func (a *bottleneck) add(prefix string, layer, place, width int) *tape.Bottleneck {
	c := a.base.cfg.Hidden
	b := &tape.Bottleneck{
		Down: tape.Linear{W: compute.Weight{Out: width, In: c}}, Up: tape.Linear{W: compute.Weight{Out: c, In: width}},
		Act: nonLinearities[strings.ToLower(a.c.NonLinearity)], Scale: float32(a.c.Scaling), Dropout: float32(a.c.Dropout),
		Stream: uint64(layer)<<8 | uint64(bottleneckStream+place),
	}
	down, up := a.draws(c)
	prefix += ".adapters." + a.c.Name + "."
	for _, l := range []struct {
		name   string
		linear *tape.Linear
		draw   func(*rand.Rand, []float32)
	}{{"adapter_down.0", &b.Down, down}, {"adapter_up", &b.Up, up}} {
		w := &l.linear.W
		a.list = append(a.list,
			adapterTensor{name: prefix + l.name + ".weight", shape: []int{w.Out, w.In}, decay: true, init: l.draw, bind: func(value, grad compute.Buffer) {
				w.Data, l.linear.Grad = value, grad
			}},
			adapterTensor{name: prefix + l.name + ".bias", shape: []int{w.Out}, bind: func(value, grad compute.Buffer) {
				l.linear.Bias, l.linear.BiasGrad = value, grad
			}})
	}
	return b
}

// draws are the distributions of the first weights; biases are 0.
func (a *bottleneck) draws(in int) (down, up func(*rand.Rand, []float32)) {
	switch a.c.InitWeights {
	case "mam_adapter": // kaiming_uniform_(a=√5), and an adapter that starts as none
		return func(rng *rand.Rand, v []float32) { drawUniform(rng, v, 1/math.Sqrt(float64(in))) }, nil
	case "houlsby":
		truncated := func(rng *rand.Rand, v []float32) {
			for j := range v {
				x := rng.NormFloat64()
				for math.Abs(x) > 2 {
					x = rng.NormFloat64()
				}
				v[j] = float32(x * 1e-2)
			}
		}
		return truncated, truncated
	}
	bert := func(rng *rand.Rand, v []float32) { drawNormal(rng, v, 0.02) }
	return bert, bert
}

func (a *bottleneck) config() AdapterConfig    { return a.c }
func (a *bottleneck) tensors() []adapterTensor { return a.list }
func (a *bottleneck) weightsFile() string      { return BottleneckWeightsFile }

func (a *bottleneck) apply(m *Model) { m.bottleneck = a.blocks }
