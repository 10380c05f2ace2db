package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

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
	return m.save(dir, &m.cfg, m.sources(false, m.writtenDType))
}

// SaveMerged writes the model with its adapter merged in.
func (m *Model) SaveMerged(dir string) error {
	sources, err := m.MergedTensors()
	if err != nil {
		return err
	}
	c := m.MergedConfig()
	return m.save(dir, &c, sources)
}

func (m *Model) save(dir string, c *Config, sources []safetensors.Source) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	config, err := c.JSON(m.savedDType())
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
		return m.base.embed.Table.DType()
	}
	for _, t := range []compute.DType{compute.BF16, compute.F16} {
		if m.cfg.DType == t.String() {
			return t
		}
	}
	return compute.F32
}

// MergedTensors lists the base's tensors with the adapter merged in, computed in float32 as PEFT's merge_and_unload does. Each is
// computed when it is written. The error matches ErrNoMerge where the adapter is no change of weights.
func (m *Model) MergedTensors() ([]safetensors.Source, error) {
	if err := m.canMerge(); err != nil {
		return nil, err
	}
	return m.sources(true, m.writtenDType), nil
}

// MergedTensorsAs is MergedTensors in the types that dtype names, tensor by tensor; each is rounded once, after it was merged. A head that
// the adapter parted from the embedding has the embedding's type.
func (m *Model) MergedTensorsAs(dtype func(name string) compute.DType) ([]safetensors.Source, error) {
	if err := m.canMerge(); err != nil {
		return nil, err
	}
	return m.sources(true, func(t tensor) compute.DType {
		if t.kind == embedding {
			return dtype(m.embedding().name)
		}
		return dtype(t.name)
	}), nil
}

// writtenDType is the type in which a tensor is held, or was stored before it was quantised.
func (m *Model) writtenDType(t tensor) compute.DType {
	if t.weight.Quant != nil {
		return m.savedDType()
	}
	return t.weight.Data.DType()
}

func (m *Model) sources(merged bool, as func(t tensor) compute.DType) []safetensors.Source {
	list := m.tensors
	if own := m.headTensor(); merged && own != nil {
		list = append(slices.Clone(list), *own)
	}
	sources := make([]safetensors.Source, len(list))
	for i, t := range list {
		shape := make([]int64, len(t.shape))
		for j, n := range t.shape {
			shape[j] = int64(n)
		}
		dtype := as(t)
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

// tensorBytes downloads a tensor, through float32 where it is merged, held in 4 bits or written in another type.
func (m *Model) tensorBytes(t tensor, dtype compute.DType, merged bool) ([]byte, error) {
	from, pair := t.weight, m.pairOf(t)
	if own := m.insteadOf(t.name); merged && own != nil {
		from, pair = compute.Weight{Out: from.Out, In: from.In, Data: own}, nil
	}
	if from.Quant == nil && (!merged || pair == nil) && from.Data.DType() == dtype {
		out := make([]byte, compute.ByteLen(from.Data))
		m.dev.Download(out, from.Data)
		return out, m.dev.Sync()
	}
	w, err := m.dev.Alloc(compute.F32, int(t.elements()))
	if err != nil {
		return nil, fmt.Errorf("merge %s: %w", t.name, err)
	}
	defer w.Free()
	if from.Quant != nil {
		m.dev.Dequantize4(w, from)
	} else {
		m.dev.Cast(w, from.Data)
	}
	if merged && pair != nil {
		if err := m.mergePair(w, t, pair); err != nil {
			return nil, fmt.Errorf("merge %s: %w", t.name, err)
		}
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
