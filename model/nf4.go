package model

import (
	"math"
	"slices"

	"lathe/compute"
)

// nf4Block is the number of weights that share a scale, and nf4Nested that of scales that share theirs.
const (
	nf4Block  = 64
	nf4Nested = 256
)

// newNF4 allocates a 4-bit matrix. dynamicMap is the shared table of double-quantised scales, nil for plain ones.
func (b *base) newNF4(out, in int) (compute.Weight, error) {
	n := out * in
	blocks := (n + nf4Block - 1) / nf4Block
	w := compute.Weight{Out: out, In: in, NF4: &compute.NF4{Block: nf4Block}}
	var err error
	alloc := func(t compute.DType, n int) (buf compute.Buffer) {
		if err == nil {
			buf, err = b.alloc(t, n)
		}
		return buf
	}
	w.Data = alloc(compute.U8, (n+1)/2)
	if !b.options.DoubleQuant {
		w.NF4.Absmax = alloc(compute.F32, blocks)
		return w, err
	}
	if b.dynamicMap == nil {
		if b.dynamicMap = alloc(compute.F32, 256); err == nil {
			compute.Upload(b.dev, b.dynamicMap, dynamicMap())
		}
	}
	w.NF4.Map = b.dynamicMap
	w.NF4.Codes = alloc(compute.U8, blocks)
	w.NF4.Nested = alloc(compute.F32, (blocks+nf4Nested-1)/nf4Nested)
	w.NF4.Offset = alloc(compute.F32, 1)
	return w, err
}

// dynamicMap is bitsandbytes' create_dynamic_map(signed=True): 7 exponent bits, sorted, in the float32 steps of torch.
func dynamicMap() []float32 {
	const exponents = 7
	values := []float32{0, 1}
	for i := range exponents {
		n := 1<<i + 1
		scale := float32(math.Pow10(i - exponents + 1))
		for j := range n - 1 {
			mean := (linspace(n, j) + linspace(n, j+1)) / 2
			values = append(values, scale*mean, -scale*mean)
		}
	}
	slices.Sort(values)
	return values
}

// linspace is element i of torch.linspace(0.1, 1, n), which counts from the nearer end.
func linspace(n, i int) float32 {
	const start, end = float32(0.1), float32(1)
	step := (end - start) / float32(n-1)
	if i < n/2 {
		return start + float32(step*float32(i))
	}
	return end - float32(step*float32(n-1-i))
}
