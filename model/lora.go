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

// lora is low-rank adaptation (Hu et al. 2021) of a base's linear layers, or DoRA, with the biases and whole modules that train beside it.
type lora struct {
	base *base
	c    LoRAConfig
	list []adapterTensor // A, then B, in the order of blocks and modules; then biases; then modules_to_save

	// copies of the base's layers with other tensors in them; nil where the base's own serve
	embed     *tape.Embedding
	linear    [][numModules]*tape.Linear
	norm      [][numNorms]*tape.Norm
	finalNorm *tape.Norm
	head      *tape.Linear
	instead   map[string]int // by name of a base's tensor: the place in list of the one that stands for it
	untied    bool           // the head no longer is the embedding
}

// Method is LoRA or DoRA.
func (c LoRAConfig) Method() string {
	if c.DoRA {
		return "DoRA"
	}
	return "LoRA"
}

func (c LoRAConfig) attach(b *base) (method, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	list := lastPart(strings.TrimSuffix(familyNamed(b.cfg.Family).names.layer, ".%d."))
	for _, p := range c.LayersPattern {
		if p != list {
			return nil, fmt.Errorf("layers_pattern: %q names no list of blocks of this model (%s)", p, list)
		}
	}
	c.TargetModules = c.TargetModules.resolve(&b.cfg)
	if c.BaseModel == "" {
		c.BaseModel = b.files
	}
	l := &lora{
		base: b, c: c, linear: make([][numModules]*tape.Linear, b.cfg.Layers), norm: make([][numNorms]*tape.Norm, b.cfg.Layers),
		instead: map[string]int{},
	}
	if err := l.layOut(); err != nil {
		return nil, err
	}
	l.addBiases()
	return l, l.addModules()
}

// resolve spells all-linear out, and PEFT's default where nothing is named.
func (t TargetModules) resolve(c *Config) TargetModules {
	switch {
	case strings.EqualFold(t.Regex, AllLinear):
		return TargetModules{Names: c.linearNames()}
	case t.IsZero():
		return TargetModules{Names: c.defaultTargets()}
	}
	return t
}

// defaultTargets is PEFT's TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING: queries and values, or the projection that holds
// them. phi3 and starcoder2, which it lacks, follow the same rule.
func (c *Config) defaultTargets() []string {
	var names []string
	for _, m := range c.modules() {
		if m == qProj || m == vProj || m == qkvProj {
			names = append(names, lastPart(c.modulePath(0, m)))
		}
	}
	return names
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

func (l *lora) config() AdapterConfig    { return l.c }
func (l *lora) tensors() []adapterTensor { return l.list }
func (l *lora) weightsFile() string      { return AdapterWeightsFile }

func (l *lora) apply(m *Model) {
	for i := range m.layers {
		for s, own := range l.linear[i] {
			if own != nil {
				m.layers[i].linear[s] = own
			}
		}
		for s, own := range l.norm[i] {
			if own != nil {
				m.layers[i].norm[s] = own
			}
		}
	}
	if l.embed != nil {
		m.embed = l.embed
	}
	if l.finalNorm != nil {
		m.finalNorm = l.finalNorm
	}
	if l.head != nil {
		m.head = l.head
	}
}

// ownLinear is the adapter's copy of a linear layer.
func (l *lora) ownLinear(layer int, m module) *tape.Linear {
	if l.linear[layer][m] == nil {
		own := *l.base.layers[layer].linear[m]
		l.linear[layer][m] = &own
	}
	return l.linear[layer][m]
}

// layOut finds the modules to adapt.
func (l *lora) layOut() error {
	cfg := &l.base.cfg
	for layer := range l.linear {
		for _, m := range cfg.modules() {
			path := cfg.modulePath(layer, m)
			if l.c.saves(path) { // as PEFT: a module that is trained whole is not adapted
				continue
			}
			r, scale, err := l.c.pairShape(path, layer)
			if err != nil {
				return err
			}
			if r == 0 {
				continue
			}
			pair := &tape.LoRA{R: r, Scale: float32(scale), Dropout: float32(l.c.Dropout), Stream: dropoutStream(layer, m)}
			own := l.ownLinear(layer, m)
			own.LoRA = pair
			l.addPair(path, own)
		}
	}
	return l.checkTargets()
}

// addPair lists A ~ U(±1/√in), as PEFT's kaiming_uniform_(a=√5), and B = 0.
func (l *lora) addPair(path string, own *tape.Linear) {
	pair, in, out := own.LoRA, own.W.In, own.W.Out
	path = peftPrefix + path
	uniform := func(rng *rand.Rand, values []float32) { drawUniform(rng, values, 1/math.Sqrt(float64(in))) }
	l.list = append(l.list,
		adapterTensor{name: path + ".lora_A.weight", shape: []int{pair.R, in}, decay: true, init: uniform, bind: func(value, grad compute.Buffer) {
			pair.A, pair.GradA = value, grad
		}},
		adapterTensor{name: path + ".lora_B.weight", shape: []int{out, pair.R}, decay: true, bind: func(value, grad compute.Buffer) {
			pair.B, pair.GradB = value, grad
		}})
	if !l.c.DoRA {
		return
	}
	m := &tape.Magnitude{}
	pair.DoRA = m
	const name = ".lora_magnitude_vector"
	l.list = append(l.list,
		adapterTensor{name: path + name, also: path + name + ".weight", shape: []int{out}, decay: true, bind: func(value, grad compute.Buffer) {
			m.M, m.Grad = value, grad
		}},
		adapterTensor{shape: []int{out}, working: true, bind: func(value, _ compute.Buffer) { m.Gain = value }},
		adapterTensor{shape: []int{out}, working: true, bind: func(value, _ compute.Buffer) { m.Inverse = value }})
}

// prepare gives DoRA's magnitudes their first values, the lengths of the base's rows (B is 0).
func (l *lora) prepare(dev compute.Device) error {
	l.eachDoRA(func(own *tape.Linear) { dev.RowNorm(compute.RowNorm{Y: own.LoRA.DoRA.M, W: own.W}) })
	return dev.Sync()
}

func (l *lora) eachDoRA(visit func(own *tape.Linear)) {
	if !l.c.DoRA {
		return
	}
	for i := range l.linear {
		for _, own := range l.linear[i] {
			if own != nil && own.LoRA != nil {
				visit(own)
			}
		}
	}
}

// refresh computes what a pass reads and the weights decide: DoRA's gains.
func (m *Model) refresh(dev compute.Device, scratch *compute.Arena) {
	if m.adapter == nil {
		return
	}
	if l, ok := m.adapter.method.(*lora); ok {
		l.eachDoRA(func(own *tape.Linear) { own.LoRA.DoRA.Refresh(dev, scratch, own) })
	}
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
	n := familyNamed(l.base.cfg.Family).names
	for _, name := range l.c.TargetModules.Names {
		matched := slices.ContainsFunc(l.list, func(t adapterTensor) bool {
			path := strings.TrimSuffix(strings.TrimPrefix(t.name, peftPrefix), ".lora_A.weight")
			return path == name || strings.HasSuffix(path, "."+name)
		})
		if !matched && (name == n.head || strings.HasSuffix(n.embed, name)) {
			return fmt.Errorf("target_modules: an adapter on %s is not supported (%s); modules_to_save trains it whole", name, linear)
		}
	}
	return nil
}

// linearNames are the last parts of the linear layers' paths, sorted: what all-linear stands for.
func (c *Config) linearNames() []string {
	out := make([]string, 0, numModules)
	for _, m := range c.modules() {
		out = append(out, lastPart(c.modulePath(0, m)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
