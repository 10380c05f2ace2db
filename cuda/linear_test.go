package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ebitengine/purego"

	"lathe/compute"
	"lathe/cuda/emulator"
)

// openEmulated opens the emulated device, and tells where its library is.
func openEmulated(t *testing.T) (*Device, string) {
	t.Helper()
	library := emulator.Need(t)
	d, err := Open(Options{Driver: library})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, library
}

// products is a device with the numbers of one test.
type products struct {
	*testing.T
	compute.Device
	rng *rand.Rand
}

// view is a buffer of numbers that begins off elements behind an allocation's start, and what it holds as its type rounds it.
func (p products) view(t compute.DType, n, off int) (compute.Buffer, []float64) {
	p.Helper()
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(p.rng.NormFloat64())
	}
	whole, err := p.Alloc(t, n+off)
	if err != nil {
		p.Fatal(err)
	}
	b := whole.Slice(off, n)
	switch t {
	case compute.F32:
		compute.Upload(p.Device, b, x)
	case compute.BF16, compute.F16:
		half := make([]uint16, n)
		for i, v := range x {
			half[i], x[i] = truncate(t, v)
		}
		compute.Upload(p.Device, b, half)
	}
	values := make([]float64, n)
	for i, v := range x {
		values[i] = float64(v)
	}
	return b, values
}

// truncate rounds towards zero to 8 bits of mantissa, which both 16-bit floats hold.
func truncate(t compute.DType, x float32) (uint16, float32) {
	u := math.Float32bits(x) &^ 0xffff
	if x = math.Float32frombits(u); t == compute.BF16 {
		return uint16(u >> 16), x
	}
	if e := int(u>>23&0xff) - 127; e < -14 || e > 15 {
		return 0, 0
	}
	return uint16(u>>16&0x8000 | (u>>23&0xff-112)<<10 | u>>13&0x3ff), x
}

// quantised is a 4-bit weight of codes by lot, and its values as bitsandbytes dequantises them.
func (p products) quantised(out, in int, code compute.QuantType, double bool) (compute.Weight, []float64) {
	p.Helper()
	w, err := compute.NewQuant4(p.Device, out, in, code, double)
	if err != nil {
		p.Fatal(err)
	}
	codes, blocks := make([]byte, (out*in+1)/2), compute.QuantBlocks(out, in)
	for i := range codes {
		codes[i] = byte(p.rng.UintN(256))
	}
	compute.Upload(p.Device, w.Data, codes)
	absmax := make([]float32, blocks)
	if double {
		indices, nested, offset, table := make([]byte, blocks), make([]float32, compute.NestedBlocks(blocks)), []float32{0.75}, compute.DynamicMap()
		for i := range nested {
			nested[i] = p.rng.Float32()
		}
		for i := range indices {
			indices[i] = byte(p.rng.UintN(256))
			product := table[indices[i]] * nested[i/compute.NestedBlock]
			absmax[i] = product + offset[0]
		}
		compute.Upload(p.Device, w.Quant.Codes, indices)
		compute.Upload(p.Device, w.Quant.Nested, nested)
		compute.Upload(p.Device, w.Quant.Offset, offset)
	} else {
		for i := range absmax {
			absmax[i] = p.rng.Float32() + 0.5
		}
		compute.Upload(p.Device, w.Quant.Absmax, absmax)
	}
	values, book := make([]float64, out*in), code.Code()
	for i := range values {
		values[i] = float64(book[codes[i/2]>>(4*(1-i%2))&15] * absmax[i/compute.QuantBlock])
	}
	return w, values
}

// weight is a weight of the named kind; plain ones begin off elements behind an allocation's start.
func (p products) weight(kind string, out, in, off int) (compute.Weight, []float64) {
	p.Helper()
	w := compute.Weight{Out: out, In: in}
	var values []float64
	switch kind {
	case "nf4":
		return p.quantised(out, in, compute.NF4, false)
	case "fp4 double":
		return p.quantised(out, in, compute.FP4, true)
	case "bfloat16":
		w.Data, values = p.view(compute.BF16, out*in, off)
	case "float16":
		w.Data, values = p.view(compute.F16, out*in, off)
	default:
		w.Data, values = p.view(compute.F32, out*in, off)
	}
	return w, values
}

// terms are Σ_k a(i,k)·b(k,j) for each (i,j), and Σ of the terms' magnitudes, which a rounding error is measured by.
func terms(m, n, k int, a, b func(i, k int) float64) (values, sizes []float64) {
	values, sizes = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				x := a(i, l) * b(j, l)
				values[i*n+j] += x
				sizes[i*n+j] += math.Abs(x)
			}
		}
	}
	return values, sizes
}

func across(x []float64, ld int) func(i, k int) float64 {
	return func(i, k int) float64 { return x[k*ld+i] }
}

// check compares a result with base + scale·sum, and with the second sum of a low-rank extension where there is one.
func (p products) check(name string, got compute.Buffer, base, values, sizes []float64, scale, tolerance float64) {
	p.Helper()
	for i, y := range compute.Download[float32](p.Device, got) {
		want := base[i] + scale*values[i]
		if diff, size := math.Abs(float64(y)-want), math.Abs(base[i])+math.Abs(scale)*sizes[i]; !(diff <= tolerance*size) {
			p.Fatalf("%s[%d] is %g, want %g: off by %.2g of the terms' sizes, tolerance %.2g", name, i, y, want, diff/size, tolerance)
		}
	}
}

// Products whose sum is cut into parts, for every type of weight, of operands that lie as kernels like them and one element beside it,
// with rows that no access of several elements divides.
func TestProducts(t *testing.T) {
	dev, _ := openEmulated(t)
	for _, s := range []struct{ n, in, out, rank, off int }{
		{33, 1024, 16, 0, 0}, // LoRA's A, and its gradient
		{140, 32, 272, 16, 0},
		{70, 520, 40, 24, 0},
		{300, 17, 65, 3, 0},
		{17, 700, 9, 3, 1},
		{65, 96, 130, 8, 1},
		{8, 2080, 40, 8, 0}, // a product with vectors, in two chunks
		{3, 1030, 13, 5, 1},
	} {
		for i, c := range []struct {
			kind     string
			operands compute.DType
		}{
			{"float32", compute.F32},
			{"float32", compute.BF16},
			{"bfloat16", compute.F32},
			{"bfloat16", compute.BF16},
			{"float16", compute.BF16},
			{"float16", compute.F16},
			{"nf4", compute.F32},
			{"nf4", compute.BF16},
			{"fp4 double", compute.F32},
			{"fp4 double", compute.F16},
		} {
			t.Run(fmt.Sprintf("%dx%dx%d+%d at %d/%s/%s", s.n, s.in, s.out, s.rank, s.off, c.kind, c.operands), func(t *testing.T) {
				p := products{t, dev, rand.New(rand.NewPCG(uint64(s.n), uint64(i)))}
				p.linear(s.n, s.in, s.out, s.rank, s.off, c.kind, c.operands)
				if c.kind == "float32" {
					p.weightGradient(s.n, s.in, s.out, s.off, c.operands)
				}
				if err := dev.Sync(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// Every tile in every layout and type, at sizes that fill no tile; and no tile has the lanes of an ldmatrix wait for each other's banks.
func TestTiles(t *testing.T) {
	dev, library := openEmulated(t)
	all16, all32 := tensor16.tiles, simt32.tiles
	defer func() { tensor16.tiles, simt32.tiles = all16, all32 }()
	for _, operands := range []compute.DType{compute.BF16, compute.F16, compute.F32} {
		tiles, only := all16, &tensor16.tiles
		if operands == compute.F32 {
			tiles, only = all32, &simt32.tiles
		}
		for i, tile := range tiles {
			*only = tiles[i : i+1]
			t.Run(fmt.Sprintf("%s/%s", operands, tile.name()), func(t *testing.T) {
				p := products{t, dev, rand.New(rand.NewPCG(5, uint64(i)))}
				const n, in, out, rank = 200, 300, 272, 20
				if tile.m >= min(tile.n, 64) { // the others are for one layout only
					p.linear(n, in, out, rank, 0, "float32", operands)
				}
				p.weightGradient(n, in, out, 0, operands)
			})
		}
	}
	if extra := conflicts(t, library); extra > 0 {
		t.Errorf("ldmatrix took %d passes more than there are matrices", extra)
	}
}

// conflicts is how many passes of ldmatrix waited for a bank, of the emulated driver's counters.
func conflicts(t *testing.T, library string) uint64 {
	t.Helper()
	h, err := purego.Dlopen(library, purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	var counters func(*[7]uint64)
	purego.RegisterLibFunc(&counters, h, "lathe_emu_counters")
	var c [7]uint64 // driver.h's Counters
	counters(&c)
	if c[3] == 0 || c[4] == 0 {
		t.Errorf("%d mma.sync and %d ldmatrix were counted, want some", c[3], c[4])
	}
	return c[5]
}

// rounding is what one product may be off by, relative to the sum of its terms' magnitudes: float32 sums by some 1e-7, terms of operands
// rounded to bfloat16 by at most 2·2⁻⁸.
var rounding = map[compute.DType]float64{compute.F32: 1e-6, compute.BF16: 8e-3, compute.F16: 1e-3}

// linear checks the products of one layer with its weight against float64.
func (p products) linear(n, in, out, rank, off int, kind string, operands compute.DType) {
	tolerance := rounding[operands]
	w, weights := p.weight(kind, out, in, off)
	X, x := p.view(compute.F32, n*in, off)
	DY, dy := p.view(compute.F32, n*out, off)
	U, u := p.view(compute.F32, n*rank, off)
	V, v := p.view(compute.F32, out*rank, off)
	A, a := p.view(compute.F32, rank*in, off)
	bias, b := p.view(compute.F32, out, off)
	concat := func(x []float64, kx int, y []float64, scale float64) func(i, k int) float64 {
		return func(i, k int) float64 {
			if k < kx {
				return x[i*kx+k]
			}
			return scale * y[i*rank+k-kx]
		}
	}
	Y, y := p.view(compute.F32, n*out, off)
	p.Linear(compute.Linear{Y: Y, X: X, N: n, W: w, Bias: bias, LowRank: &compute.LowRank{R: rank, U: U, V: V, Scale: 0.5}, Accumulate: true, Compute: operands})
	for i := range y {
		y[i] += b[i%out]
	}
	values, sizes := terms(n, out, in+rank, concat(x, in, u, 0.5), concat(weights, in, v, 1))
	p.check("Y", Y, y, values, sizes, 1, tolerance)

	DX, _ := p.view(compute.F32, n*in, off)
	p.LinearBackwardInput(compute.LinearBackwardInput{DX: DX, DY: DY, N: n, W: w, LowRank: &compute.LowRank{R: rank, U: U, V: A, Scale: 2}, Compute: operands})
	down := func(j, k int) float64 {
		if k < out {
			return weights[k*in+j]
		}
		return a[(k-out)*in+j]
	}
	values, sizes = terms(n, in, out+rank, concat(dy, out, u, 2), down)
	p.check("DX", DX, make([]float64, n*in), values, sizes, 1, tolerance)
}

// weightGradient checks the third product, and the sums of columns.
func (p products) weightGradient(n, in, out, off int, operands compute.DType) {
	X, x := p.view(compute.F32, n*in, off)
	DY, dy := p.view(compute.F32, n*out, off)
	DW, dw := p.view(compute.F32, out*in, off)
	DB, db := p.view(compute.F32, out, off)
	p.LinearBackwardWeight(compute.LinearBackwardWeight{DW: DW, DBias: DB, DY: DY, X: X, N: n, Out: out, In: in, Scale: -1.5, Compute: operands})
	values, sizes := terms(out, in, n, across(dy, out), across(x, in))
	p.check("DW", DW, dw, values, sizes, -1.5, rounding[operands])
	values, sizes = terms(out, 1, n, across(dy, out), func(int, int) float64 { return 1 })
	p.check("DBias", DB, db, values, sizes, 1, 1e-6)
}

// A product without terms is its bias; one without rows or columns touches nothing.
func TestProductsOfNothing(t *testing.T) {
	dev, _ := openEmulated(t)
	p := products{t, dev, rand.New(rand.NewPCG(1, 1))}
	empty, _ := p.view(compute.F32, 0, 0)
	bias, b := p.view(compute.F32, 2, 0)
	for _, n := range []int{2, 40} {
		for _, operands := range []compute.DType{compute.F32, compute.BF16} {
			y, _ := p.view(compute.F32, n*2, 0)
			dev.Linear(compute.Linear{Y: y, X: empty, N: n, W: compute.Weight{Out: 2, In: 0, Data: empty}, Bias: bias, Compute: operands})
			for i, v := range compute.Download[float32](dev, y) {
				if float64(v) != b[i%2] {
					t.Errorf("element %d of a product of depth 0 is %g, want the bias %g", i, v, b[i%2])
				}
			}
		}
	}
	dev.Linear(compute.Linear{Y: empty, X: empty, N: 0, W: compute.Weight{Out: 2, In: 1, Data: bias}})
	dev.LinearBackwardInput(compute.LinearBackwardInput{DX: empty, DY: empty, N: 0, W: compute.Weight{Out: 2, In: 1, Data: bias}})
	dev.LinearBackwardWeight(compute.LinearBackwardWeight{DW: bias, DBias: bias, DY: empty, X: empty, N: 0, Out: 2, In: 1, Scale: 1})
	if got := compute.Download[float32](dev, bias); float64(got[0]) != b[0] || float64(got[1]) != b[1] {
		t.Errorf("no rows left the gradient at %v, want %v", got, b)
	}
	if err := dev.Sync(); err != nil {
		t.Error(err)
	}
}
