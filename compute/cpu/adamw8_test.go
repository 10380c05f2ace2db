package cpu

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// mix is tools/refdump/adamw8.py's: n numbers made of integers, exact in float32.
func mix(n, t int) []float32 {
	x := make([]float32, n)
	for i := range x {
		h := uint32(i)*2654435761 + uint32(t)*2246822519
		h ^= h >> 15
		h *= 2654435761
		h ^= h >> 13
		x[i] = float32(math.Ldexp(float64(h>>8)/(1<<24)-0.5, -(i % 13)))
	}
	return x
}

// Twenty steps of bitsandbytes' own AdamW8bit: codes and scales to the bit in every tier, parameters within 1e-7, which are
// numbers below 0.5 whose last bit (3e-8) hangs on the square root of torch's CPU library.
func TestAdamW8IsBitsandbytes(t *testing.T) {
	set, err := safetensors.Open(filepath.Join("..", "..", "testdata", "ref", "adamw8", "adamw8.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	const n, blocks, steps = 6000, 24, 20
	for _, tier := range Tiers() {
		t.Run(tier, func(t *testing.T) {
			d, f := open(t, tier, 0), dump{t, set}
			alloc := func(dtype compute.DType, n int) compute.Buffer {
				b, err := d.Alloc(dtype, n)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			signed, unsigned := compute.DynamicMap(), compute.DynamicMapUnsigned()
			p := compute.AdamW8Tensor{
				Param: upload(t, d, mix(n, 0)), Grad: alloc(compute.F32, n), M: alloc(compute.U8, n), V: alloc(compute.U8, n),
				MAbsmax: alloc(compute.F32, blocks), VAbsmax: alloc(compute.F32, blocks), WeightDecay: 0.1,
			}
			for step := 1; step <= steps; step++ {
				g := mix(n, step)
				clear(g[512:768])
				for i, want := range f.floats("gradient") {
					if step == 1 && g[i] != want {
						t.Fatalf("gradient %d is made as %g here, %g in the dump", i, g[i], want)
					}
				}
				compute.Upload(d, p.Grad, g)
				d.AdamW8(compute.AdamW8{
					Tensors: []compute.AdamW8Tensor{p}, Signed: upload(t, d, signed[:]), Unsigned: upload(t, d, unsigned[:]),
					LR: 1e-3 * float64(1+step%3), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: step, GradScale: 1,
				})
				if _, kept := set.Tensor(fmt.Sprint(step, ".param")); !kept {
					continue
				}
				f.equalBytes(fmt.Sprint(step, ".state1"), d, p.M)
				f.equalBytes(fmt.Sprint(step, ".state2"), d, p.V)
				f.equalBytes(fmt.Sprint(step, ".absmax1"), d, p.MAbsmax)
				f.equalBytes(fmt.Sprint(step, ".absmax2"), d, p.VAbsmax)
				got := compute.Download[float32](d, p.Param)
				for i, want := range f.floats(fmt.Sprint(step, ".param")) {
					if diff := math.Abs(float64(got[i] - want)); !(diff <= 1e-7) {
						t.Fatalf("step %d: parameter %d is %g, want %g", step, i, got[i], want)
					}
				}
			}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
