package compute

import (
	"fmt"
	"slices"
)

// QuantBlock is the number of elements that share a scale, NestedBlock the number of scales that share one of the second
// level: bitsandbytes' defaults.
const (
	QuantBlock  = 64
	NestedBlock = 256
)

// QuantType is the code book of a 4-bit weight.
type QuantType uint8

// The code books of bitsandbytes.
const (
	NF4 QuantType = iota // 4-bit NormalFloat
	FP4                  // a 4-bit float: sign, two bits of exponent, one of mantissa
)

// String is bitsandbytes' name: nf4 or fp4.
func (t QuantType) String() string {
	if t == FP4 {
		return "fp4"
	}
	return "nf4"
}

// NF4Code is the code book of 4-bit NormalFloat (Dettmers et al. 2023, appendix E), ascending, with bitsandbytes' digits.
var NF4Code = [16]float32{
	-1, -.6961928009986877, -.5250730514526367, -.39491748809814453,
	-.28444138169288635, -.18477343022823334, -.09105003625154495, 0,
	.07958029955625534, .16093020141124725, .24611230194568634, .33791524171829224,
	.44070982933044434, .5626170039176941, .7229568362236023, 1,
}

// FP4Code is the code book of bitsandbytes' 4-bit float by code: the sign, then 0, 1/192, 2/3, 1, 1/3, 1/2, 1/6 and 1/4
// (functional.py, get_4bit_type); 0 has two codes.
var FP4Code = [16]float32{
	0, 0.0625 / 12., 8 / 12., 1, 4 / 12., 6 / 12., 2 / 12., 3 / 12.,
	0, -0.0625 / 12., -8 / 12., -1, -4 / 12., -6 / 12., -2 / 12., -3 / 12.,
}

// Code is the type's code book.
func (t QuantType) Code() [16]float32 {
	if t == FP4 {
		return FP4Code
	}
	return NF4Code
}

// QuantBlocks is the number of scales of a 4-bit matrix; the last block may be short.
func QuantBlocks(out, in int) int { return (out*in + QuantBlock - 1) / QuantBlock }

// NestedBlocks is the number of second-level scales for that many first-level ones.
func NestedBlocks(blocks int) int { return (blocks + NestedBlock - 1) / NestedBlock }

// DynamicMap is bitsandbytes' signed dynamic 8-bit map (create_dynamic_map; Dettmers 2016), ascending: seven decades, each
// twice as finely cut as the one below, zero and one. It computes in float32 as torch does, so the values are the same bits.
func DynamicMap() [256]float32 { return dynamicMap(true) }

// DynamicMapUnsigned is the same without a sign and cut twice as finely: the map of second moments (create_dynamic_map with
// signed=False), from 3.3e-7 to 0.996, with 0 and 1.
func DynamicMapUnsigned() [256]float32 { return dynamicMap(false) }

func dynamicMap(signed bool) [256]float32 {
	const decades = 7
	var m []float32
	for i, scale := range [decades]float32{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1} {
		n := 1 << i
		if !signed {
			n *= 2
		}
		for j := range n {
			mean := (linspace(0.1, 1, n+1, j) + linspace(0.1, 1, n+1, j+1)) / 2
			x := scale * mean
			m = append(m, x)
			if signed {
				m = append(m, -x)
			}
		}
	}
	m = append(m, 0, 1)
	slices.Sort(m)
	return [256]float32(m)
}

// linspace is element j of torch.linspace(start, end, n) in float32: counted from the nearer end, with one rounding (a fused
// multiply-add, for which float64 is wide enough here).
func linspace(start, end float32, n, j int) float32 {
	step := float64((end - start) / float32(n-1))
	if j < n/2 {
		return float32(float64(start) + step*float64(j))
	}
	return float32(float64(end) - step*float64(n-1-j))
}

// NewQuant4 allocates a 4-bit weight [out,in] for Device.Quantize4 to fill, or for the bytes of a checkpoint that is
// quantised already. With doubleQuant its scales are 8-bit codes, and the map is uploaded.
func NewQuant4(d Device, out, in int, code QuantType, doubleQuant bool) (Weight, error) {
	blocks := QuantBlocks(out, in)
	w := Weight{Out: out, In: in, Quant: &Quant4{Type: code, Block: QuantBlock}}
	type part struct {
		buffer *Buffer
		dtype  DType
		n      int
	}
	parts := []part{{&w.Data, U8, (out*in + 1) / 2}}
	if doubleQuant {
		parts = append(
			parts,
			part{&w.Quant.Codes, U8, blocks},
			part{&w.Quant.Nested, F32, NestedBlocks(blocks)},
			part{&w.Quant.Map, F32, 256},
			part{&w.Quant.Offset, F32, 1},
		)
	} else {
		parts = append(parts, part{&w.Quant.Absmax, F32, blocks})
	}
	for _, p := range parts {
		b, err := d.Alloc(p.dtype, p.n)
		if err != nil {
			w.Free()
			return Weight{}, fmt.Errorf("allocate %s weight [%d,%d]: %w", code, out, in, err)
		}
		*p.buffer = b
	}
	if doubleQuant {
		m := DynamicMap()
		Upload(d, w.Quant.Map, m[:])
	}
	return w, nil
}

// Free gives all of a weight's buffers back.
func (w Weight) Free() {
	for _, b := range w.Buffers() {
		b.Free()
	}
}

// Buffers are the buffers that a weight consists of.
func (w Weight) Buffers() []Buffer {
	all := []Buffer{w.Data}
	if q := w.Quant; q != nil {
		all = append(all, q.Absmax, q.Codes, q.Nested, q.Map, q.Offset)
	}
	return slices.DeleteFunc(all, func(b Buffer) bool { return b == nil })
}

// Bytes is a weight's size in memory, scales included.
func (w Weight) Bytes() int64 {
	var n int64
	for _, b := range w.Buffers() {
		n += ByteLen(b)
	}
	return n
}
