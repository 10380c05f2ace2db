package model

import "lathe/model/safetensors"

// LoRAConfig is PEFT's adapter_config.json for LoRA.
type LoRAConfig struct {
	R             int
	Alpha         float64
	TargetModules TargetModules
	Dropout       float64
	RSLoRA        bool
	BaseModel     string // base_model_name_or_path
}

// TargetModules is a list of module names (suffixes of the path), a regular expression that matches whole paths, or
// "all-linear": PEFT's target_modules.
type TargetModules struct {
	Names []string
	Regex string
}

// Adapter is a LoRA on a base.
type Adapter struct{}

// NewLoRA makes an untrained adapter: A ~ U(±1/√in), B = 0.
func NewLoRA(m *Model, c LoRAConfig, seed uint64) (*Adapter, error) { return nil, errUnbuilt }

// LoadAdapter reads a PEFT folder.
func LoadAdapter(m *Model, dir string) (*Adapter, error) { return nil, errUnbuilt }

// Save writes PEFT's adapter_config.json and adapter_model.safetensors into dir, each whole or not at all.
func (a *Adapter) Save(dir string) error { return errUnbuilt }

// Config is the adapter's configuration.
func (a *Adapter) Config() LoRAConfig { return LoRAConfig{} }

// Free gives the adapter's memory back.
func (a *Adapter) Free() {}

// MergedTensors lists the base's tensors with the adapter merged in: W + scale·B·A, as PEFT's merge_and_unload.
func (m *Model) MergedTensors() ([]safetensors.Source, error) { return nil, errUnbuilt }
