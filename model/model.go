package model

import "lathe/compute"

// LoadOptions says how weights are held.
type LoadOptions struct {
	// NF4 quantises the linear layers (all but lm_head) to 4 bits while they are read.
	NF4 bool
	// DoubleQuant quantises the scales too.
	DoubleQuant bool
	// Compute is the type of the operands of matrix products: F32, or BF16 where the device multiplies it.
	Compute compute.DType
	// KeepDType holds float16 and bfloat16 matrices as they are stored, at half the memory and with the same results;
	// else they become float32, as full fine-tuning needs.
	KeepDType bool
}

// Model is a base with or without an adapter: a view, cheap to make.
type Model struct {
	cfg Config
}

// Load reads the weights, one tensor at a time. progress (or nil) gets bytes read and bytes in all.
func Load(dev compute.Device, f *Files, o LoadOptions, progress func(done, total int64)) (*Model, error) {
	return nil, errUnbuilt
}

// NewRandom makes a model with weights drawn as transformers initialises them.
func NewRandom(dev compute.Device, cfg Config, seed uint64) (*Model, error) { return nil, errUnbuilt }

// Config is the model's configuration.
func (m *Model) Config() Config { return m.cfg }

// Device is where the model's weights are.
func (m *Model) Device() compute.Device { return nil }

// Save writes config.json and model.safetensors in Hugging Face layout.
func (m *Model) Save(dir string) error { return errUnbuilt }

// With is a view of the same base with another adapter, or with none (nil).
func (m *Model) With(a *Adapter) *Model { return m }

// Adapter is the adapter of this view, or nil.
func (m *Model) Adapter() *Adapter { return nil }

// Free gives the base's memory back; all views of it end.
func (m *Model) Free() {}

// Param is a tensor that training changes.
type Param struct {
	Name  string // as in the file: model.layers.0.…, or PEFT's base_model.model.…lora_A.weight
	Shape []int
	Value compute.Buffer // F32
	Grad  compute.Buffer // F32, accumulated by ForwardBackward; the caller zeroes it
	Decay bool           // weight decay applies: not to biases and norms
}

// Trainable lists the adapter's tensors or, after TrainAll, all weights; the order is always the same.
func (m *Model) Trainable() []*Param { return nil }

// TrainAll makes every weight trainable (full fine-tuning). The weights must be float32.
func (m *Model) TrainAll() error { return errUnbuilt }
