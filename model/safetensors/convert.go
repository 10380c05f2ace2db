package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Float32s gives the elements of a tensor of F32, F16, BF16 or F64 as float32. F16 and BF16 widen exactly; F64 is
// rounded to nearest even.
func Float32s(t Tensor) ([]float32, error) {
	want, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if want != int64(len(t.Data)) {
		return nil, fmt.Errorf("tensor %q: %s%v needs %d bytes, has %d", t.Name, t.DType, t.Shape, want, len(t.Data))
	}
	le, b := binary.LittleEndian, t.Data
	switch t.DType {
	case F32:
		out := make([]float32, len(b)/4)
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
		return out, nil
	case BF16:
		out := make([]float32, len(b)/2)
		for i := range out {
			out[i] = math.Float32frombits(uint32(le.Uint16(b[2*i:])) << 16)
		}
		return out, nil
	case F16:
		out := make([]float32, len(b)/2)
		for i := range out {
			out[i] = float16to32(le.Uint16(b[2*i:]))
		}
		return out, nil
	case F64:
		out := make([]float32, len(b)/8)
		for i := range out {
			out[i] = float32(math.Float64frombits(le.Uint64(b[8*i:])))
		}
		return out, nil
	}
	return nil, fmt.Errorf("tensor %q: dtype %s holds no floats that lathe reads (F32, F16, BF16, F64)", t.Name, t.DType)
}

// AppendFloat32s appends v to dst in the given type, F32, F16, BF16 or F64, rounding to nearest even.
func AppendFloat32s(dst []byte, d DType, v []float32) ([]byte, error) {
	le := binary.LittleEndian
	switch d {
	case F32:
		for _, x := range v {
			dst = le.AppendUint32(dst, math.Float32bits(x))
		}
	case BF16:
		for _, x := range v {
			dst = le.AppendUint16(dst, bfloat16(x))
		}
	case F16:
		for _, x := range v {
			dst = le.AppendUint16(dst, float16(x))
		}
	case F64:
		for _, x := range v {
			dst = le.AppendUint64(dst, math.Float64bits(float64(x)))
		}
	default:
		return dst, fmt.Errorf("write floats as %s: not a type that lathe writes (F32, F16, BF16, F64)", d)
	}
	return dst, nil
}

// float16to32 widens an IEEE 754 binary16.
func float16to32(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp := uint32(h>>10) & 31
	frac := uint32(h) & 0x3ff
	switch {
	case exp == 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp == 0: // zero or subnormal: frac · 2^-24, exact in float32
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// float16 rounds to IEEE 754 binary16, nearest even; overflow gives infinity.
func float16(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b>>16) & 0x8000
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN stays a quiet NaN
		return sign | 0x7e00 | uint16(abs>>13)&0x3ff
	case abs >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case abs < 0x38800000: // subnormal: scale so that float32's own rounding does the work
		f := math.Float32frombits(abs) + 0.5
		return sign | uint16(math.Float32bits(f)-math.Float32bits(0.5))
	}
	abs += 0xfff + abs>>13&1
	return sign | uint16(abs>>13-112<<10)
}

// bfloat16 rounds to the upper half of a float32, nearest even.
func bfloat16(x float32) uint16 {
	b := math.Float32bits(x)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
