package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"lathe/compute"
	"lathe/model/safetensors"
)

const shardBytes = 5_000_000_000 // as transformers' default

// Save writes config.json and the base's weights in Hugging Face layout, as they are held; a base in 4 bits has none to
// write. Tokenizer files are the caller's to copy. Each file is whole or not there.
func (m *Model) Save(dir string) error {
	if m.options.Quant4 {
		return errors.New("save model: it is held in 4 bits; save the adapter, or merge")
	}
	return m.save(dir, m.sources(false))
}

// SaveMerged writes the model with its adapter merged in.
func (m *Model) SaveMerged(dir string) error {
	sources, err := m.MergedTensors()
	if err != nil {
		return err
	}
	return m.save(dir, sources)
}

func (m *Model) save(dir string, sources []safetensors.Source) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	config, err := m.cfg.JSON(m.savedDType())
	if err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	if err := safetensors.WriteSharded(dir, sources, safetensors.PyTorch(), shardBytes); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	if err := writeFile(filepath.Join(dir, "config.json"), config); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	return nil
}

// savedDType is the type in which matrices are written: as held, and what was stored for those in 4 bits.
func (m *Model) savedDType() compute.DType {
	if !m.options.Quant4 {
		return m.embed.Table.DType()
	}
	for _, t := range []compute.DType{compute.BF16, compute.F16} {
		if m.cfg.DType == t.String() {
			return t
		}
	}
	return compute.F32
}

// MergedTensors lists the base's tensors with the adapter merged in: W + scale·B·A in float32, as PEFT's
// merge_and_unload. Each is computed when it is written.
func (m *Model) MergedTensors() ([]safetensors.Source, error) {
	if m.adapter == nil {
		return nil, errors.New("merge adapter: this view of the model has none")
	}
	return m.sources(true), nil
}

// MergedTensorsAs is MergedTensors in the types that dtype names, tensor by tensor; each is rounded once, after it was merged.
func (m *Model) MergedTensorsAs(dtype func(name string) compute.DType) ([]safetensors.Source, error) {
	sources, err := m.MergedTensors()
	if err != nil {
		return nil, err
	}
	for i, t := range m.tensors {
		as := dtype(t.name)
		if sources[i].DType == fileType(as) {
			continue
		}
		sources[i].DType = fileType(as)
		sources[i].Data = func() ([]byte, error) { return m.tensorBytes(t, as, true) }
	}
	return sources, nil
}

func (m *Model) sources(merged bool) []safetensors.Source {
	sources := make([]safetensors.Source, len(m.tensors))
	for i, t := range m.tensors {
		shape := make([]int64, len(t.shape))
		for j, n := range t.shape {
			shape[j] = int64(n)
		}
		dtype := t.weight.Data.DType()
		if t.weight.Quant != nil {
			dtype = m.savedDType()
		}
		sources[i] = safetensors.Source{Name: t.name, DType: fileType(dtype), Shape: shape, Data: func() ([]byte, error) {
			return m.tensorBytes(t, dtype, merged)
		}}
	}
	return sources
}

func fileType(t compute.DType) safetensors.DType {
	switch t {
	case compute.BF16:
		return safetensors.BF16
	case compute.F16:
		return safetensors.F16
	}
	return safetensors.F32
}

// tensorBytes downloads a tensor, through float32 where it is merged or held in 4 bits.
func (m *Model) tensorBytes(t tensor, dtype compute.DType, merged bool) ([]byte, error) {
	pair := m.pairOf(t)
	if t.weight.Quant == nil && (!merged || pair == nil) && t.weight.Data.DType() == dtype {
		out := make([]byte, compute.ByteLen(t.weight.Data))
		m.dev.Download(out, t.weight.Data)
		return out, m.dev.Sync()
	}
	w, err := m.dev.Alloc(compute.F32, int(t.elements()))
	if err != nil {
		return nil, fmt.Errorf("merge %s: %w", t.name, err)
	}
	defer w.Free()
	if t.weight.Quant != nil {
		m.dev.Dequantize4(w, t.weight)
	} else {
		m.dev.Cast(w, t.weight.Data)
	}
	if merged && pair != nil {
		delta, err := m.dev.Alloc(compute.F32, w.Len())
		if err != nil {
			return nil, fmt.Errorf("merge %s: %w", t.name, err)
		}
		defer delta.Free()
		m.dev.LinearBackwardInput(compute.LinearBackwardInput{ // B·A, spelled as dy·W
			DX: delta, DY: pair.B, N: t.weight.Out, W: compute.Weight{Out: pair.R, In: t.weight.In, Data: pair.A},
		})
		m.dev.Add(compute.Add{Y: w, A: w, B: delta, Scale: pair.Scale})
	}
	values := compute.Download[float32](m.dev, w)
	if err := m.dev.Sync(); err != nil {
		return nil, fmt.Errorf("merge %s: %w", t.name, err)
	}
	return safetensors.AppendFloat32s(nil, fileType(dtype), values)
}

// JSON is config.json: as it was read, or written from the fields, with the dtype of the weights beside it.
func (c *Config) JSON(dtype compute.DType) ([]byte, error) {
	fields := map[string]any{}
	for key, raw := range c.raw {
		fields[key] = raw
	}
	if c.raw == nil {
		fields = c.fields()
	}
	delete(fields, "dtype")
	fields["torch_dtype"] = dtype.String() // both generations of transformers read it
	delete(fields, "quantization_config")
	out, err := json.MarshalIndent(maps.Clone(fields), "", "  ")
	return append(out, '\n'), err
}

// writeFile writes under a temporary name, syncs and renames, so that the file is whole or not there.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	folder, err := os.Open(filepath.Dir(path)) // synced too, so that the new name survives a power cut
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
