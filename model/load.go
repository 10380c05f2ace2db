package model

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"lathe/compute"
	"lathe/model/safetensors"
)

// deviceType is the type that a stored tensor has on a device.
func deviceType(t safetensors.DType) (compute.DType, error) {
	switch t {
	case safetensors.F32, safetensors.F64:
		return compute.F32, nil
	case safetensors.BF16:
		return compute.BF16, nil
	case safetensors.F16:
		return compute.F16, nil
	}
	return 0, fmt.Errorf("weights of type %s are not supported (F32, BF16, F16 or F64)", t)
}

// Load reads the weights, one tensor at a time. progress (or nil) gets bytes read and bytes in all. A weight that is not
// finite is an error naming its tensor.
func Load(dev compute.Device, f *Files, o LoadOptions, progress func(done, total int64)) (*Model, error) {
	b, err := newBase(dev, f.Config, o, func(name string) compute.DType {
		t, _ := f.set.Tensor(name)
		dtype, _ := deviceType(t.DType)
		return dtype
	})
	if err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	b.files = f.Dir
	var done, total int64
	for _, t := range b.tensors {
		src, _ := f.set.Tensor(t.name)
		total += int64(len(src.Data))
	}
	for _, t := range b.tensors {
		src, _ := f.set.Tensor(t.name)
		if err := b.fill(t, src); err != nil {
			b.free()
			return nil, fmt.Errorf("load model: tensor %s: %w", t.name, err)
		}
		done += int64(len(src.Data))
		if progress != nil {
			progress(done, total)
		}
	}
	return newModel(b), nil
}

// fill brings one stored tensor to the device, in the form in which it is held there.
func (b *base) fill(t tensor, src safetensors.Tensor) error {
	if i := firstNonFinite(src); i >= 0 {
		return fmt.Errorf("element %d is NaN or infinite; the file is damaged, or training diverged before it was saved", i)
	}
	if src.DType == safetensors.F64 {
		values, err := safetensors.Float32s(src)
		if err != nil {
			return err
		}
		src.DType, src.Data = safetensors.F32, compute.Bytes(values)
	}
	stored, err := deviceType(src.DType)
	if err != nil {
		return err
	}
	dst := t.weight.Data
	if t.weight.NF4 == nil && dst.DType() == stored {
		b.dev.Upload(dst, src.Data)
		return b.dev.Sync()
	}
	staged, err := b.dev.Alloc(stored, int(t.elements()))
	if err != nil {
		return err
	}
	defer staged.Free()
	b.dev.Upload(staged, src.Data)
	if t.weight.NF4 == nil {
		b.dev.Cast(dst, staged)
		return b.dev.Sync()
	}
	return b.quantize(t.weight, staged)
}

// quantize turns staged values into 4 bits, through float32.
func (b *base) quantize(w compute.Weight, staged compute.Buffer) error {
	if staged.DType() != compute.F32 {
		wide, err := b.dev.Alloc(compute.F32, staged.Len())
		if err != nil {
			return err
		}
		defer wide.Free()
		b.dev.Cast(wide, staged)
		staged = wide
	}
	b.dev.QuantizeNF4(w, staged)
	return b.dev.Sync()
}

// firstNonFinite is the index of the first NaN or infinity, -1 when there is none: all bits of the exponent are set.
func firstNonFinite(t safetensors.Tensor) int {
	switch t.DType {
	case safetensors.F32:
		for i := 0; i+4 <= len(t.Data); i += 4 {
			if binary.LittleEndian.Uint32(t.Data[i:])&0x7f800000 == 0x7f800000 {
				return i / 4
			}
		}
	case safetensors.BF16, safetensors.F16:
		mask := uint16(0x7f80)
		if t.DType == safetensors.F16 {
			mask = 0x7c00
		}
		for i := 0; i+2 <= len(t.Data); i += 2 {
			if binary.LittleEndian.Uint16(t.Data[i:])&mask == mask {
				return i / 2
			}
		}
	case safetensors.F64:
		const mask = 0x7ff0000000000000
		for i := 0; i+8 <= len(t.Data); i += 8 {
			if binary.LittleEndian.Uint64(t.Data[i:])&mask == mask {
				return i / 8
			}
		}
	}
	return -1
}

// NewRandom makes a float32 model with weights drawn as transformers initialises them: N(0, initializer_range²) for
// matrices and embeddings, 1 for norms, 0 for biases.
func NewRandom(dev compute.Device, cfg Config, seed uint64) (*Model, error) {
	return NewRandomWith(dev, cfg, seed, LoadOptions{})
}

// NewRandomWith is NewRandom with the weights held as o says.
func NewRandomWith(dev compute.Device, cfg Config, seed uint64, o LoadOptions) (*Model, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("make random model: %w", err)
	}
	b, err := newBase(dev, cfg, o, func(string) compute.DType { return compute.F32 })
	if err != nil {
		return nil, fmt.Errorf("make random model: %w", err)
	}
	for i, t := range b.tensors {
		values := make([]float32, t.elements())
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		for j := range values {
			switch t.kind {
			case norm:
				values[j] = 1
			case embedding, matrix, head:
				values[j] = float32(rng.NormFloat64() * cfg.InitStd)
			case bias:
			}
		}
		src := safetensors.Tensor{DType: safetensors.F32, Data: compute.Bytes(values)}
		if err := b.fill(t, src); err != nil {
			b.free()
			return nil, fmt.Errorf("make random model: %w", err)
		}
	}
	return newModel(b), nil
}
