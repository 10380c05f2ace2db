package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lathe/compute"
	"lathe/model/safetensors"
	"lathe/model/tape"
)

// Adapter is a LoRA on a base (Hu et al. 2021), in float32.
type Adapter struct {
	base   *base
	config LoRAConfig
	pairs  [][numModules]*tape.LoRA // by block and module; nil where there is none
	params []*Param                 // A, then B, in the order of blocks and modules

	values, grads compute.Buffer // all tensors one after the other, each aligned
}

const paramAlign = 64 // elements

// newAdapter allocates the tensors that a configuration asks for.
func newAdapter(m *Model, c LoRAConfig) (*Adapter, error) {
	if err := c.check(); err != nil {
		return nil, loraError{err}
	}
	if c.TargetModules.Regex == AllLinear {
		c.TargetModules = TargetModules{Names: m.cfg.linearNames()}
	}
	if c.BaseModel == "" {
		c.BaseModel = m.files
	}
	a := &Adapter{base: m.base, config: c, pairs: make([][numModules]*tape.LoRA, len(m.layers))}
	size, err := a.layOut()
	if err != nil {
		return nil, loraError{err}
	}
	if a.values, err = m.dev.Alloc(compute.F32, size); err != nil {
		return nil, err
	}
	at := 0
	a.eachBuffer(func(p *Param, value, _ *compute.Buffer) {
		p.Value = a.values.Slice(at, p.Shape[0]*p.Shape[1])
		*value = p.Value
		at += alignParam(p)
	})
	return a, nil
}

func alignParam(p *Param) int {
	return (p.Shape[0]*p.Shape[1] + paramAlign - 1) / paramAlign * paramAlign
}

// layOut finds the modules to adapt and gives the number of elements of all tensors.
func (a *Adapter) layOut() (size int, err error) {
	cfg := &a.base.cfg
	n := familyNamed(cfg.Family).names
	for layer := range a.pairs {
		for m := range numModules {
			path := fmt.Sprintf(n.layer, layer) + n.modules[m]
			r, scale, err := a.config.pairShape(path, layer)
			if err != nil {
				return 0, err
			}
			if r == 0 {
				continue
			}
			out, in, _ := cfg.moduleShape(m)
			a.pairs[layer][m] = &tape.LoRA{R: r, Scale: float32(scale), Dropout: float32(a.config.Dropout), Stream: dropoutStream(layer, m)}
			prefix := "base_model.model." + path
			a.params = append(a.params,
				&Param{Name: prefix + ".lora_A.weight", Shape: []int{r, in}, Decay: true},
				&Param{Name: prefix + ".lora_B.weight", Shape: []int{out, r}, Decay: true})
		}
	}
	for _, p := range a.params {
		size += alignParam(p)
	}
	return size, a.checkTargets()
}

// checkTargets refuses names that match no linear layer of a block, which PEFT would adapt or complain about.
func (a *Adapter) checkTargets() error {
	if len(a.params) == 0 {
		return fmt.Errorf("target_modules: nothing matches; this model has %s", strings.Join(a.base.cfg.linearNames(), ", "))
	}
	for _, name := range a.config.TargetModules.Names {
		matched := slices.ContainsFunc(a.params, func(p *Param) bool {
			path := strings.TrimSuffix(strings.TrimPrefix(p.Name, "base_model.model."), ".lora_A.weight")
			return path == name || strings.HasSuffix(path, "."+name)
		})
		n := familyNamed(a.base.cfg.Family).names
		if !matched && (name == n.head || strings.HasSuffix(n.embed, name)) {
			return fmt.Errorf("target_modules: an adapter on %s is not supported (%s)", name, strings.Join(a.base.cfg.linearNames(), ", "))
		}
	}
	return nil
}

// linearNames are the last parts of the linear layers' paths, sorted: what all-linear stands for.
func (c *Config) linearNames() []string {
	n := familyNamed(c.Family).names
	out := make([]string, 0, numModules)
	for _, m := range n.modules {
		out = append(out, m[strings.LastIndexByte(m, '.')+1:])
	}
	slices.Sort(out)
	return out
}

// eachBuffer visits each parameter with the places in its pair where value and gradient are looked for.
func (a *Adapter) eachBuffer(visit func(p *Param, value, grad *compute.Buffer)) {
	i := 0
	for layer := range a.pairs {
		for _, pair := range a.pairs[layer] {
			if pair != nil {
				visit(a.params[i], &pair.A, &pair.GradA)
				visit(a.params[i+1], &pair.B, &pair.GradB)
				i += 2
			}
		}
	}
}

// train makes the gradients.
func (a *Adapter) train() error {
	if a.grads != nil {
		return nil
	}
	grads, err := a.base.dev.Alloc(compute.F32, a.values.Len())
	if err != nil {
		return fmt.Errorf("allocate the adapter's gradients: %w", err)
	}
	a.grads = grads
	at := 0
	a.eachBuffer(func(p *Param, _, grad *compute.Buffer) {
		p.Grad = grads.Slice(at, p.Value.Len())
		*grad = p.Grad
		at += alignParam(p)
	})
	return nil
}

// NewLoRA makes an untrained adapter: A ~ U(±1/√in), B = 0, as PEFT's kaiming_uniform_(a=√5).
func NewLoRA(m *Model, c LoRAConfig, seed uint64) (*Adapter, error) {
	a, err := newAdapter(m, c)
	if err != nil {
		return nil, fmt.Errorf("make adapter: %w", err)
	}
	for i, p := range a.params {
		values := make([]float32, p.Value.Len())
		if i%2 == 0 {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			bound := 1 / math.Sqrt(float64(p.Shape[1]))
			for j := range values {
				values[j] = float32((2*rng.Float64() - 1) * bound)
			}
		}
		compute.Upload(m.dev, p.Value, values)
	}
	if err := m.dev.Sync(); err != nil {
		a.Free()
		return nil, fmt.Errorf("make adapter: %w", err)
	}
	return a, nil
}

// The files of PEFT's folder.
const (
	AdapterConfigFile  = "adapter_config.json"
	AdapterWeightsFile = safetensors.AdapterFile
)

// LoadAdapter reads a PEFT folder. Tensors that are missing, superfluous or of another shape are an error: an adapter that
// loads is one that counts.
func LoadAdapter(m *Model, dir string) (*Adapter, error) {
	a, err := loadAdapter(m, dir)
	if err != nil {
		return nil, fmt.Errorf("load adapter %s: %w", dir, err)
	}
	return a, nil
}

func loadAdapter(m *Model, dir string) (*Adapter, error) {
	data, err := os.ReadFile(filepath.Join(dir, AdapterConfigFile))
	if err != nil {
		return nil, err
	}
	c, err := parseLoRAConfig(data)
	if err != nil {
		return nil, err
	}
	set, err := safetensors.Open(filepath.Join(dir, AdapterWeightsFile))
	if err != nil {
		return nil, err
	}
	defer set.Close()
	a, err := newAdapter(m, c)
	if err != nil {
		return nil, err
	}
	if err := a.fill(set); err != nil {
		a.Free()
		return nil, err
	}
	return a, nil
}

func (a *Adapter) fill(set *safetensors.Set) error {
	known := map[string]bool{}
	for _, p := range a.params {
		known[p.Name] = true
		t, ok := set.Tensor(p.Name)
		if !ok {
			return fmt.Errorf("tensor %s is missing: the configuration asks for it", p.Name)
		}
		if !sameShape(t.Shape, p.Shape) {
			return fmt.Errorf("tensor %s has shape %v; on this base with this configuration it is %v", p.Name, t.Shape, p.Shape)
		}
		if i := firstNonFinite(t); i >= 0 {
			return fmt.Errorf("tensor %s: element %d is NaN or infinite", p.Name, i)
		}
		values, err := safetensors.Float32s(t)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", p.Name, err)
		}
		compute.Upload(a.base.dev, p.Value, values)
	}
	for _, name := range set.Names() {
		if !known[name] {
			return fmt.Errorf("tensor %s belongs to no module that the configuration adapts", name)
		}
	}
	return a.base.dev.Sync()
}

// Save writes PEFT's adapter_model.safetensors and adapter_config.json into dir, each whole or not at all, the
// configuration last.
func (a *Adapter) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	sources := make([]safetensors.Source, len(a.params))
	for i, p := range a.params {
		shape := []int64{int64(p.Shape[0]), int64(p.Shape[1])}
		sources[i] = safetensors.Source{Name: p.Name, DType: safetensors.F32, Shape: shape, Data: func() ([]byte, error) {
			out := make([]byte, compute.ByteLen(p.Value))
			a.base.dev.Download(out, p.Value)
			return out, a.base.dev.Sync()
		}}
	}
	config, err := a.config.JSON()
	if err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	if err := safetensors.WriteSources(filepath.Join(dir, AdapterWeightsFile), sources, safetensors.PyTorch()); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	if err := writeFile(filepath.Join(dir, AdapterConfigFile), config); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	return nil
}

// Config is the adapter's configuration.
func (a *Adapter) Config() LoRAConfig { return a.config }

// Parameters is the number of the adapter's weights.
func (a *Adapter) Parameters() int64 {
	var n int64
	for _, p := range a.params {
		n += int64(p.Value.Len())
	}
	return n
}

// Copy is another adapter with the same weights, such as the best so far. Its gradients are its own.
func (a *Adapter) Copy() (*Adapter, error) {
	c, err := newAdapter(newModel(a.base), a.config)
	if err != nil {
		return nil, fmt.Errorf("copy adapter: %w", err)
	}
	a.base.dev.Copy(c.values, a.values)
	return c, a.base.dev.Sync()
}

// Free gives the adapter's memory back; views with it end.
func (a *Adapter) Free() {
	for _, b := range []compute.Buffer{a.values, a.grads} {
		if b != nil {
			b.Free()
		}
	}
	a.values, a.grads = nil, nil
}

// pairOf is the adapter's addition to a tensor of the base, nil where there is none.
func (m *Model) pairOf(t tensor) *tape.LoRA {
	if m.adapter == nil || t.kind != matrix {
		return nil
	}
	return m.adapter.pairs[t.layer][t.module]
}
