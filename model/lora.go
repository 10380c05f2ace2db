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

// lora is low-rank adaptation (Hu et al. 2021) of a base's linear layers.
type lora struct {
	base   *base
	c      LoRAConfig
	linear [][numModules]*tape.Linear // by block and module, the base's with an addition; nil where there is none
	list   []adapterTensor            // A, then B, in the order of blocks and modules
}

// Method is LoRA.
func (LoRAConfig) Method() string { return "LoRA" }

func (c LoRAConfig) attach(b *base) (method, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.TargetModules.Regex == AllLinear {
		c.TargetModules = TargetModules{Names: b.cfg.linearNames()}
	}
	if c.BaseModel == "" {
		c.BaseModel = b.files
	}
	l := &lora{base: b, c: c, linear: make([][numModules]*tape.Linear, b.cfg.Layers)}
	return l, l.layOut()
}

func (l *lora) config() AdapterConfig    { return l.c }
func (l *lora) tensors() []adapterTensor { return l.list }
func (l *lora) weightsFile() string      { return AdapterWeightsFile }

func (l *lora) apply(m *Model) {
	for i := range l.linear {
		for s, adapted := range l.linear[i] {
			if adapted != nil {
				m.layers[i].linear[s] = adapted
			}
		}
	}
}

// layOut finds the modules to adapt.
func (l *lora) layOut() error {
	cfg := &l.base.cfg
	for layer := range l.linear {
		for _, m := range cfg.modules() {
			path := cfg.modulePath(layer, m)
			r, scale, err := l.c.pairShape(path, layer)
			if err != nil {
				return err
			}
			if r == 0 {
				continue
			}
			pair := &tape.LoRA{R: r, Scale: float32(scale), Dropout: float32(l.c.Dropout), Stream: dropoutStream(layer, m)}
			adapted := *l.base.layers[layer].linear[m]
			adapted.LoRA = pair
			l.linear[layer][m] = &adapted
			l.addPair(path, m, pair)
		}
	}
	return l.checkTargets()
}

// addPair lists A ~ U(±1/√in), as PEFT's kaiming_uniform_(a=√5), and B = 0.
func (l *lora) addPair(path string, m module, pair *tape.LoRA) {
	out, in, _ := l.base.cfg.moduleShape(m)
	prefix := peftPrefix + path
	uniform := func(rng *rand.Rand, values []float32) { drawUniform(rng, values, 1/math.Sqrt(float64(in))) }
	l.list = append(l.list,
		adapterTensor{name: prefix + ".lora_A.weight", shape: []int{pair.R, in}, decay: true, init: uniform, bind: func(value, grad compute.Buffer) {
			pair.A, pair.GradA = value, grad
		}},
		adapterTensor{name: prefix + ".lora_B.weight", shape: []int{out, pair.R}, decay: true, bind: func(value, grad compute.Buffer) {
			pair.B, pair.GradB = value, grad
		}})
}

// peftPrefix is what PEFT puts before the names of a model's modules.
const peftPrefix = "base_model.model."

func drawUniform(rng *rand.Rand, values []float32, bound float64) {
	for j := range values {
		values[j] = float32((2*rng.Float64() - 1) * bound)
	}
}

// checkTargets refuses names that match no linear layer of a block, which PEFT would adapt or complain about.
func (l *lora) checkTargets() error {
	linear := strings.Join(l.base.cfg.linearNames(), ", ")
	if len(l.list) == 0 {
		return fmt.Errorf("target_modules: nothing matches; this model has %s", linear)
	}
	for _, name := range l.c.TargetModules.Names {
		matched := slices.ContainsFunc(l.list, func(t adapterTensor) bool {
			path := strings.TrimSuffix(strings.TrimPrefix(t.name, peftPrefix), ".lora_A.weight")
			return path == name || strings.HasSuffix(path, "."+name)
		})
		n := familyNamed(l.base.cfg.Family).names
		if !matched && (name == n.head || strings.HasSuffix(n.embed, name)) {
			return fmt.Errorf("target_modules: an adapter on %s is not supported (%s)", name, linear)
		}
	}
	return nil
}

// linearNames are the last parts of the linear layers' paths, sorted: what all-linear stands for.
func (c *Config) linearNames() []string {
	out := make([]string, 0, numModules)
	for _, m := range c.modules() {
		path := c.modulePath(0, m)
		out = append(out, path[strings.LastIndexByte(path, '.')+1:])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// pairOf is the adapter's addition to a tensor of the base, nil where there is none.
func (m *Model) pairOf(t tensor) *tape.LoRA {
	if m.adapter == nil || t.kind != matrix {
		return nil
	}
	if l, ok := m.adapter.method.(*lora); ok && l.linear[t.layer][t.module] != nil {
		return l.linear[t.layer][t.module].LoRA
	}
	return nil
}
