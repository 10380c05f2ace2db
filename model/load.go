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
		f.set.Forget(src)
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
	if t.weight.Quant == nil && dst.DType() == stored {
		b.dev.Upload(dst, src.Data)
		return b.dev.Sync()
	}
	staged, err := b.dev.Alloc(stored, int(t.elements()))
	if err != nil {
		return err
	}
	defer staged.Free()
	b.dev.Upload(staged, src.Data)
	if t.weight.Quant == nil {
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
	b.dev.Quantize4(w, staged)
	return b.dev.Sync()
}

// exponents are, for each type, the exponent bits of the elements in eight bytes, and one in the lowest of them: where all
// exponent bits are set (NaN, infinity), adding it carries into the sign's place.
var exponents = map[safetensors.DType]struct {
	mask, one, sign uint64
	size            int
}{
	safetensors.F64:  {0x7ff0000000000000, 0x0010000000000000, 0x8000000000000000, 8},
	safetensors.F32:  {0x7f8000007f800000, 0x0080000000800000, 0x8000000080000000, 4},
	safetensors.BF16: {0x7f807f807f807f80, 0x0080008000800080, 0x8000800080008000, 2},
	safetensors.F16:  {0x7c007c007c007c00, 0x0400040004000400, 0x8000800080008000, 2},
}

// firstNonFinite is the index of the first NaN or infinity, -1 when there is none.
func firstNonFinite(t safetensors.Tensor) int {
	e, ok := exponents[t.DType]
	if !ok {
		return -1
	}
	bad := func(x uint64) bool { return (x&e.mask+e.one)&e.sign != 0 }
	at := 0
	for ; at+8 <= len(t.Data); at += 8 {
		if bad(binary.LittleEndian.Uint64(t.Data[at:])) {
			break
		}
	}
	for ; at+e.size <= len(t.Data); at += e.size {
		var last [8]byte
		copy(last[:], t.Data[at:at+e.size])
		if bad(binary.LittleEndian.Uint64(last[:])) {
			return at / e.size
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
