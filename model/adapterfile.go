package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lathe/compute"
	"lathe/model/safetensors"
)

// The files of PEFT's folder.
const (
	AdapterConfigFile  = "adapter_config.json"
	AdapterWeightsFile = safetensors.AdapterFile
	// BottleneckWeightsFile is that of the adapters library.
	BottleneckWeightsFile = "adapter.safetensors"
)

// LoadAdapter reads a folder of PEFT's or of the adapters library; its adapter_config.json says which method it is. Tensors
// that are missing, superfluous or of another shape are an error: an adapter that loads is one that counts.
func LoadAdapter(m *Model, dir string) (*Adapter, error) {
	a, err := loadAdapter(m.base, dir)
	if err != nil {
		return nil, fmt.Errorf("load adapter %s: %w", dir, err)
	}
	return a, nil
}

func loadAdapter(b *base, dir string) (*Adapter, error) {
	c, err := readAdapterConfig(dir)
	if err != nil {
		return nil, err
	}
	a, err := newAdapter(b, asLoaded(c))
	if err != nil {
		return nil, err
	}
	if err := a.read(filepath.Join(dir, a.method.weightsFile()), false); err != nil {
		a.Free()
		return nil, pickled(dir, err)
	}
	return a, nil
}

// pickled says what to do about weights that only pickle holds.
func pickled(dir string, err error) error {
	for _, name := range []string{"adapter_model.bin", "pytorch_adapter.bin"} {
		if _, found := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) && found == nil {
			return fmt.Errorf("%w: %s is pickle, which can run code and is not read; save the adapter again as safetensors (PEFT: safe_serialization=True, adapters: use_safetensors=True)", err, name)
		}
	}
	return err
}

// ResumeAdapter reads the adapter of a checkpoint: dir is what Save wrote, state the file that SaveState wrote, if it wrote one.
func ResumeAdapter(m *Model, dir, state string) (*Adapter, error) {
	c, err := readAdapterConfig(dir)
	if err != nil {
		return nil, fmt.Errorf("load adapter %s: %w", dir, err)
	}
	if p, ok := c.(PrefixConfig); !ok || !p.Projection {
		return LoadAdapter(m, dir)
	}
	a, err := newAdapter(m.base, c)
	if err != nil {
		return nil, fmt.Errorf("load adapter %s: %w", dir, err)
	}
	if err := a.read(state, true); err != nil {
		a.Free()
		return nil, fmt.Errorf("load adapter %s: %w", state, err)
	}
	return a, nil
}

func readAdapterConfig(dir string) (AdapterConfig, error) {
	data, err := os.ReadFile(filepath.Join(dir, AdapterConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it has no %s: not an adapter's folder: %w", AdapterConfigFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return ParseAdapterConfig(data)
}

// ReadAdapterConfig reads the configuration of an adapter's folder, as LoadAdapter takes it.
func ReadAdapterConfig(dir string) (AdapterConfig, error) {
	c, err := readAdapterConfig(dir)
	if err != nil {
		return nil, fmt.Errorf("load adapter %s: %w", dir, err)
	}
	return asLoaded(c), nil
}

// asLoaded leaves out what a folder's files no longer hold: they have the prefix that a projection made, not the projection.
func asLoaded(c AdapterConfig) AdapterConfig {
	if p, ok := c.(PrefixConfig); ok {
		p.Projection = false
		return p
	}
	return c
}

// ParseAdapterConfig reads an adapter_config.json of any method: PEFT's says peft_type, that of the adapters library has its options
// under config.
func ParseAdapterConfig(data []byte) (AdapterConfig, error) {
	k, err := parseKeys(AdapterConfigFile, data)
	if err != nil {
		return nil, err
	}
	kind := k.text("peft_type", "")
	switch {
	case k.err != nil:
		return nil, k.err
	case kind == "LORA":
		return nonNil(parseLoRAConfig(k))
	case kind == "PREFIX_TUNING":
		return nonNil(parsePrefixConfig(k))
	case kind == "" && k.has("config"):
		return nonNil(parseBottleneckConfig(k))
	case kind == "":
		return nil, fmt.Errorf("%s: peft_type: the key is missing (LORA, PREFIX_TUNING; or, of the adapters library, config)", AdapterConfigFile)
	}
	return nil, fmt.Errorf("%s: peft_type: %q is not supported (LORA, PREFIX_TUNING)", AdapterConfigFile, kind)
}

func nonNil[C AdapterConfig](c C, err error) (AdapterConfig, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// read fills the adapter from a file: the library's, or (state) that of the tensors which only a checkpoint has.
func (a *Adapter) read(path string, state bool) (err error) {
	set, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	known := map[string]bool{}
	for i := range a.list {
		if t := &a.list[i]; !t.working && t.state == state {
			name, err := a.readTensor(i, set)
			if err != nil {
				return err
			}
			known[name], known[t.twin] = true, true
		}
	}
	for _, name := range set.Names() {
		if !known[name] && !leftOver(name) {
			return fmt.Errorf("tensor %s belongs to no module that the configuration adapts", name)
		}
	}
	return a.base.dev.Sync()
}

// leftOver says whether a tensor is one that PEFT 0.21 writes with bias: all beside modules_to_save, and does not read.
func leftOver(name string) bool {
	return strings.HasSuffix(name, ".bias") && (strings.Contains(name, ".original_module.") || strings.Contains(name, ".modules_to_save."))
}

func (a *Adapter) readTensor(i int, set *safetensors.Set) (name string, err error) {
	want := &a.list[i]
	name = want.name
	t, ok := set.Tensor(name)
	if !ok && want.also != "" {
		name = want.also
		t, ok = set.Tensor(name)
	}
	if !ok {
		return "", fmt.Errorf("tensor %s is missing: the configuration asks for it", want.name)
	}
	if !sameShape(t.Shape, want.shape) {
		return "", fmt.Errorf("tensor %s has shape %v; on this base with this configuration it is %v", name, t.Shape, want.shape)
	}
	if i := firstNonFinite(t); i >= 0 {
		return "", fmt.Errorf("tensor %s: element %d is NaN or infinite", name, i)
	}
	values, err := safetensors.Float32s(t)
	if err != nil {
		return "", fmt.Errorf("tensor %s: %w", name, err)
	}
	compute.Upload(a.base.dev, a.values[i], values)
	return name, nil
}

// Save writes the library's weights file and adapter_config.json into dir, each whole or not at all, the configuration last.
func (a *Adapter) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	config, err := a.Config().JSON()
	if err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	if err := safetensors.WriteSources(filepath.Join(dir, a.method.weightsFile()), a.sources(false), safetensors.PyTorch()); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	if err := writeFile(filepath.Join(dir, AdapterConfigFile), config); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	return nil
}

// sources are the tensors of the library's file, or (state) those which only a checkpoint has.
func (a *Adapter) sources(state bool) []safetensors.Source {
	var sources []safetensors.Source
	if p, ok := a.method.(*prefix); ok && !state {
		sources = p.extra()
	}
	for i := range a.list {
		t, value := &a.list[i], a.values[i]
		if t.working || t.state != state {
			continue
		}
		shape := make([]int64, len(t.shape))
		for j, n := range t.shape {
			shape[j] = int64(n)
		}
		source := safetensors.Source{Name: t.name, DType: safetensors.F32, Shape: shape, Data: func() ([]byte, error) {
			out := make([]byte, compute.ByteLen(value))
			a.base.dev.Download(out, value)
			return out, a.base.dev.Sync()
		}}
		sources = append(sources, source)
		if t.twin != "" {
			source.Name = t.twin
			sources = append(sources, source)
		}
	}
	return sources
}

// SaveState writes the trained tensors that the library's files do not hold (those of a prefix' projection), which a resume needs; without
// any it writes nothing.
func (a *Adapter) SaveState(path string) error {
	sources := a.sources(true)
	if len(sources) == 0 {
		return nil
	}
	if err := safetensors.WriteSources(path, sources, nil); err != nil {
		return fmt.Errorf("save adapter: %w", err)
	}
	return nil
}
