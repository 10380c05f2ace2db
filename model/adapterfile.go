package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lathe/compute"
	"lathe/model/safetensors"
)

// The files of PEFT's folder.
const (
	AdapterConfigFile  = "adapter_config.json"
	AdapterWeightsFile = safetensors.AdapterFile
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
	data, err := os.ReadFile(filepath.Join(dir, AdapterConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it has no %s: not an adapter's folder", AdapterConfigFile)
	}
	if err != nil {
		return nil, err
	}
	c, err := ParseAdapterConfig(data)
	if err != nil {
		return nil, err
	}
	return readAdapter(b, c, dir)
}

func readAdapter(b *base, c AdapterConfig, dir string) (*Adapter, error) {
	a, err := newAdapter(b, c)
	if err != nil {
		return nil, err
	}
	if err := a.read(filepath.Join(dir, a.method.weightsFile()), false); err != nil {
		a.Free()
		return nil, err
	}
	return a, nil
}

// ParseAdapterConfig reads an adapter_config.json of any method.
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
	}
	return nil, fmt.Errorf("%s: peft_type: %q is not supported (LORA)", AdapterConfigFile, kind)
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
			known[name] = true
		}
	}
	for _, name := range set.Names() {
		if !known[name] {
			return fmt.Errorf("tensor %s belongs to no module that the configuration adapts", name)
		}
	}
	return a.base.dev.Sync()
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
	for i := range a.list {
		t, value := &a.list[i], a.values[i]
		if t.working || t.state != state {
			continue
		}
		shape := make([]int64, len(t.shape))
		for j, n := range t.shape {
			shape[j] = int64(n)
		}
		sources = append(sources, safetensors.Source{Name: t.name, DType: safetensors.F32, Shape: shape, Data: func() ([]byte, error) {
			out := make([]byte, compute.ByteLen(value))
			a.base.dev.Download(out, value)
			return out, a.base.dev.Sync()
		}})
	}
	return sources
}
