package model

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"lathe/compute"
)

// AdapterConfig is a way of adapting a frozen base: a [LoRAConfig] (DoRA too), a [PrefixConfig] or a [BottleneckConfig].
type AdapterConfig interface {
	// Method is what the method is called: LoRA, DoRA, prefix tuning, bottleneck adapter.
	Method() string
	// JSON is the adapter_config.json of the library that the method comes from.
	JSON() ([]byte, error)
	// attach lays the method out on a base; its error begins with a key of the configuration.
	attach(b *base) (method, error)
}

// method is an adapter's own part: which tensors it has, and where the forward pass finds them.
type method interface {
	// config is the configuration with what the base decides filled in.
	config() AdapterConfig
	// tensors lists what the method needs; the order is always the same.
	tensors() []adapterTensor
	// apply puts the tensors into a view's layers, which are copies of its own.
	apply(m *Model)
	// weightsFile is the name of the file that holds the tensors.
	weightsFile() string
}

// adapterTensor is one tensor of a method.
type adapterTensor struct {
	name  string // in the library's file
	shape []int
	decay bool
	// working marks a tensor that is computed from the others: neither trained nor saved.
	working bool
	// state marks a trained tensor that the library's file does not hold: it belongs to a checkpoint's trainer_state.
	state bool
	// also is another name under which files hold it, twin one under which they hold it a second time.
	also, twin string
	// init draws the first values; nil leaves them 0. from, instead, is the tensor of the base they are copied from.
	init func(rng *rand.Rand, values []float32)
	from *tensor
	// bind puts the tensor and (in training) its gradient where the forward pass looks for them.
	bind func(value, grad compute.Buffer)
}

func (t *adapterTensor) elements() int {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// Adapter is a method's tensors on a base, in float32.
type Adapter struct {
	base   *base
	method method
	list   []adapterTensor
	values []compute.Buffer // of list
	params []*Param         // of the trained ones, in the order of list

	memory, grads compute.Buffer // all tensors one after the other, each aligned; gradients of those that are trained
}

const paramAlign = 64 // elements

func alignParam(n int) int { return (n + paramAlign - 1) / paramAlign * paramAlign }

// ErrAdapter marks a configuration that no model, or not this one, can have; its text begins with the key.
var ErrAdapter = errors.New("adapter configuration")

type adapterError struct{ error }

func (e adapterError) Unwrap() error      { return e.error }
func (adapterError) Is(target error) bool { return target == ErrAdapter }

// newAdapter allocates the tensors that a configuration asks for; their content is undefined.
func newAdapter(b *base, c AdapterConfig) (*Adapter, error) {
	how, err := c.attach(b)
	if err != nil {
		return nil, adapterError{err}
	}
	a := &Adapter{base: b, method: how, list: how.tensors()}
	size := 0
	for i := range a.list {
		size += alignParam(a.list[i].elements())
	}
	if a.memory, err = b.dev.Alloc(compute.F32, size); err != nil {
		return nil, fmt.Errorf("allocate the adapter: %w", err)
	}
	at := 0
	for i := range a.list {
		t := &a.list[i]
		value := a.memory.Slice(at, t.elements())
		at += alignParam(t.elements())
		a.values = append(a.values, value)
		t.bind(value, nil)
		if !t.working {
			a.params = append(a.params, &Param{Name: t.name, Shape: slices.Clone(t.shape), Value: value, Decay: t.decay})
		}
	}
	return a, nil
}

// NewAdapter makes an untrained adapter, with first values as the method's library draws them, from seed.
func NewAdapter(m *Model, c AdapterConfig, seed uint64) (*Adapter, error) {
	a, err := newAdapter(m.base, c)
	if err != nil {
		return nil, fmt.Errorf("make adapter: %w", err)
	}
	for i := range a.list {
		if err := a.initialise(i, seed); err != nil {
			a.Free()
			return nil, fmt.Errorf("make adapter: %w", err)
		}
	}
	if p, ok := a.method.(interface{ prepare(compute.Device) error }); ok {
		if err := p.prepare(m.dev); err != nil {
			a.Free()
			return nil, fmt.Errorf("make adapter: %w", err)
		}
	}
	if err := m.dev.Sync(); err != nil {
		a.Free()
		return nil, fmt.Errorf("make adapter: %w", err)
	}
	return a, nil
}

// NewUnfilledAdapter makes an adapter whose tensors keep what the device's new memory holds, for measuring as NewUnfilled.
func NewUnfilledAdapter(m *Model, c AdapterConfig) (*Adapter, error) {
	a, err := newAdapter(m.base, c)
	if err != nil {
		return nil, fmt.Errorf("make adapter: %w", err)
	}
	return a, nil
}

// initialise gives a tensor its first values; the same seed gives the same.
func (a *Adapter) initialise(i int, seed uint64) error {
	t := &a.list[i]
	if t.from != nil {
		return a.base.widen(a.values[i], t.from)
	}
	values := make([]float32, t.elements())
	if t.init != nil {
		t.init(rand.New(rand.NewPCG(seed, uint64(i))), values)
	}
	compute.Upload(a.base.dev, a.values[i], values)
	return nil
}

// widen copies a tensor of the base as float32.
func (b *base) widen(dst compute.Buffer, t *tensor) error {
	if t.weight.Quant != nil {
		return fmt.Errorf("%s is held in 4 bits", t.name)
	}
	b.dev.Cast(dst, t.weight.Data)
	return b.dev.Sync()
}

// train makes the gradients.
func (a *Adapter) train() error {
	if a.grads != nil {
		return nil
	}
	size := 0
	for _, p := range a.params {
		size += alignParam(p.Value.Len())
	}
	grads, err := a.base.dev.Alloc(compute.F32, size)
	if err != nil {
		return fmt.Errorf("allocate the adapter's gradients: %w", err)
	}
	a.grads = grads
	at, next := 0, 0
	for i := range a.list {
		if t := &a.list[i]; !t.working {
			p := a.params[next]
			p.Grad = grads.Slice(at, p.Value.Len())
			t.bind(p.Value, p.Grad)
			at += alignParam(p.Value.Len())
			next++
		}
	}
	return nil
}

// Config is the adapter's configuration.
func (a *Adapter) Config() AdapterConfig { return a.method.config() }

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
	c, err := newAdapter(a.base, a.Config())
	if err != nil {
		return nil, fmt.Errorf("copy adapter: %w", err)
	}
	a.base.dev.Copy(c.memory, a.memory)
	return c, a.base.dev.Sync()
}

// Free gives the adapter's memory back; views with it end.
func (a *Adapter) Free() {
	for _, b := range []compute.Buffer{a.memory, a.grads} {
		if b != nil {
			b.Free()
		}
	}
	a.memory, a.grads = nil, nil
}
