package computetest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"lathe/compute"
)

// matmul is A[m,k]·B[k,n] with element strides, in float64.
func matmul(a []float64, ars, acs int, b []float64, brs, bcs, m, n, k int) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for l := range k {
			x := a[i*ars+l*acs]
			for j := range n {
				c[i*n+j] += x * b[l*brs+j*bcs]
			}
		}
	}
	return c
}

// weightTypes are what bench.weight makes.
var weightTypes = []string{"float32", "bfloat16", "float16", "nf4", "nf4 double", "fp4", "fp4 double"}

type linearCase struct{ n, in, out, rank int }

// linears: the three products for weights of every type, one row (a product with a vector), odd sizes, several tiles, with
// and without bias, low-rank extension and accumulation.
func linears(b *bench) {
	types := b.Info().MatMul
	for _, c := range []linearCase{{1, 1, 1, 0}, {1, 64, 65, 3}, {2, 63, 64, 1}, {5, 65, 63, 8}, {63, 130, 129, 5}, {130, 300, 257, 16}, {1, 1000, 515, 0}} {
		for _, w := range weightTypes {
			for _, operands := range types {
				b.sub(fmt.Sprintf("%dx%dx%d+%d/%s/%s", c.n, c.in, c.out, c.rank, w, operands), func(b *bench) { b.linear(c, w, operands) })
			}
		}
	}
}

// weight uploads a matrix as the named type and returns it as it was rounded.
func (b *bench) weight(kind string, out, in int) (compute.Weight, []float64) {
	x := b.normal(out * in)
	w := compute.Weight{Out: out, In: in}
	switch kind {
	case "float32":
		w.Data = b.put(x)
	case "bfloat16":
		w.Data, x = b.halves(compute.BF16, x)
	case "float16":
		w.Data, x = b.halves(compute.F16, x)
	default:
		name, double := strings.CutSuffix(kind, " double")
		code := compute.NF4
		if name == compute.FP4.String() {
			code = compute.FP4
		}
		var err error
		if w, err = compute.NewQuant4(b.Device, out, in, code, double); err != nil {
			b.Fatal(err)
		}
		b.buffers = append(b.buffers, w.Buffers()...)
		src := b.put(x)
		b.Quantize4(w, src)
		b.Dequantize4(src, w)
		x = b.get(src)
	}
	return w, x
}

func (b *bench) linear(c linearCase, kind string, t compute.DType) {
	tol := b.tol.Product
	if t != compute.F32 {
		tol = b.tol.Narrow
	}
	w, exact := b.weight(kind, c.out, c.in)
	x, bias, old, dy := b.normal(c.n*c.in), b.normal(c.out), b.normal(c.n*c.out), b.normal(c.n*c.out)
	want := matmul(x, c.in, 1, exact, 1, c.in, c.n, c.out, c.in)
	X := b.put(x)
	forward := compute.Linear{Y: b.garbage(c.n * c.out), X: X, N: c.n, W: w, Compute: t}
	b.Linear(forward)
	b.close("Y", forward.Y, want, tol)
	for i := range want {
		want[i] += bias[i%c.out]
	}
	if c.rank > 0 {
		u, v := b.normal(c.n*c.rank), b.normal(c.out*c.rank)
		forward.LowRank = &compute.LowRank{R: c.rank, U: b.put(u), V: b.put(v), Scale: 0.5}
		want = plus(want, 0.5, matmul(u, c.rank, 1, v, 1, c.rank, c.n, c.out, c.rank))
	}
	forward.Y, forward.Bias = b.garbage(c.n*c.out), b.put(bias)
	b.Linear(forward)
	b.close("Y with bias and extension", forward.Y, want, tol)
	forward.Y, forward.Accumulate = b.put(old), true
	b.Linear(forward)
	b.close("accumulated Y", forward.Y, plus(want, 1, old), tol)

	dx, oldX := matmul(dy, c.out, 1, exact, c.in, 1, c.n, c.in, c.out), b.normal(c.n*c.in)
	DY := b.put(dy)
	back := compute.LinearBackwardInput{DX: b.garbage(c.n * c.in), DY: DY, N: c.n, W: w, Compute: t}
	b.LinearBackwardInput(back)
	b.close("DX", back.DX, dx, tol)
	if c.rank > 0 {
		u, v := b.normal(c.n*c.rank), b.normal(c.rank*c.in)
		back.LowRank = &compute.LowRank{R: c.rank, U: b.put(u), V: b.put(v), Scale: -2}
		dx = plus(dx, -2, matmul(u, c.rank, 1, v, c.in, 1, c.n, c.in, c.rank))
	}
	back.DX, back.Accumulate = b.put(oldX), true
	b.LinearBackwardInput(back)
	b.close("accumulated DX with extension", back.DX, plus(dx, 1, oldX), tol)
	b.linearWeight(c, t, DY, X, dy, x, tol)
}

func (b *bench) linearWeight(c linearCase, t compute.DType, DY, X compute.Buffer, dy, x []float64, tol float64) {
	oldW, oldB := b.normal(c.out*c.in), b.normal(c.out)
	dw := plus(oldW, 0.25, matmul(dy, 1, c.out, x, c.in, 1, c.out, c.in, c.n))
	db := append([]float64(nil), oldB...)
	for i, g := range dy {
		db[i%c.out] += g
	}
	grad := compute.LinearBackwardWeight{
		DW: b.put(oldW), DBias: b.put(oldB), DY: DY, X: X, N: c.n, Out: c.out, In: c.in, Scale: 0.25, Compute: t,
	}
	b.LinearBackwardWeight(grad)
	b.close("DW", grad.DW, dw, tol)
	b.close("DBias", grad.DBias, db, tol)
	grad.DW, grad.X, grad.DBias = nil, nil, b.put(oldB)
	b.LinearBackwardWeight(grad)
	b.close("DBias alone", grad.DBias, db, tol)
	grad.DW, grad.X, grad.DBias = b.put(oldW), X, nil
	b.LinearBackwardWeight(grad)
	b.close("DW alone", grad.DW, dw, tol)
}

// codes4 are what bitsandbytes makes of a scaled number: for NF4 the number of middles between neighbours of the code book that
// lie strictly below. Four middles are no float32: the CPU's kernels round them to even, dQuantizeNF4 on CUDA has digits that
// round the other way, so that a number between the two has two right codes. For FP4 the CPU's kernels count the same way among
// the sorted values, dQuantizeFP4 looks at magnitude and sign: what rounds to zero has the other zero's code there.
func codes4(t compute.QuantType, x float32) (cpu, cuda uint8) {
	if t == compute.FP4 {
		return fp4Codes(x)
	}
	tree := [15]float32{
		-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984,
		-0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668,
		0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784181118011,
	}
	for i, m := range tree {
		if x > m {
			cuda++
		}
		if x > (compute.NF4Code[i]+compute.NF4Code[i+1])/2 {
			cpu++
		}
	}
	return cpu, cuda
}

func fp4Codes(x float32) (cpu, cuda uint8) {
	order, below := [16]uint8{11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3}, 0
	for i := range 15 {
		if x > (compute.FP4Code[order[i]]+compute.FP4Code[order[i+1]])/2 {
			below++
		}
	}
	tree, magnitude := [7]float32{0.00260417, 0.0859375, 0.20833333, 0.29166667, 0.4166667, 0.583333, 0.8333333}, 0
	for _, m := range tree {
		if float32(math.Abs(float64(x))) > m {
			magnitude++
		}
	}
	cuda = [8]uint8{0, 1, 6, 7, 4, 5, 2, 3}[magnitude]
	if x < 0 {
		cuda += 8
	}
	return order[below], cuda
}

// quantised: codes and scales are the bits that bitsandbytes makes, dequantising is one float32 product.
func quantised(b *bench) {
	for _, s := range []struct{ out, in int }{{1, 1}, {1, 63}, {3, 65}, {64, 64}, {130, 300}, {515, 129}} {
		for _, code := range []compute.QuantType{compute.NF4, compute.FP4} {
			for _, double := range []bool{false, true} {
				b.sub(fmt.Sprintf("%s %dx%d/double %v", code, s.out, s.in, double), func(b *bench) { b.quant4(code, s.out, s.in, double) })
			}
		}
	}
}

func (b *bench) quant4(code compute.QuantType, out, in int, double bool) {
	n, book := out*in, code.Code()
	x := quant4Inputs(code, singles(b.normal(n)))
	w, err := compute.NewQuant4(b.Device, out, in, code, double)
	if err != nil {
		b.Fatal(err)
	}
	b.buffers = append(b.buffers, w.Buffers()...)
	src := b.zeros(n)
	compute.Upload(b.Device, src, x)
	b.Quantize4(w, src)
	scales := make([]float32, compute.QuantBlocks(out, in))
	for i := range scales {
		block := x[i*64 : min(i*64+64, n)]
		for _, v := range block {
			scales[i] = max(scales[i], float32(math.Abs(float64(v))))
		}
	}
	got := compute.Download[uint8](b.Device, w.Data)
	for i, v := range x {
		absmax, code4 := scales[i/64], got[i/2]>>(4*(1-i%2))&15
		if absmax == 0 {
			if book[code4] != 0 && (code != compute.NF4 || code4 != 0) { // NF4 of CUDA writes code 0: zero times -1
				b.Fatalf("code of element %d of an all-zero block is %d, want one for 0", i, code4)
			}
			continue
		}
		if cpu, cuda := codes4(code, v*(1/absmax)); code4 != cpu && code4 != cuda {
			b.Fatalf("code of element %d (%v of %v) is %d, want %d", i, v, absmax, code4, cpu)
		}
	}
	if double {
		scales = b.nested(w, scales)
	} else {
		b.equal("Absmax", compute.Download[float32](b.Device, w.Quant.Absmax), scales)
	}
	want := make([]float32, n)
	for i := range want {
		want[i] = book[got[i/2]>>(4*(1-i%2))&15] * scales[i/64]
	}
	b.Dequantize4(src, w)
	b.equal("dequantised", compute.Download[float32](b.Device, src), want)
}

// nested checks the second level (where all scales are equal, any code stands for the offset) and returns the scales that it stands for: code·nested, rounded, plus offset.
func (b *bench) nested(w compute.Weight, scales []float32) []float32 {
	codes, offset := compute.Download[uint8](b.Device, w.Quant.Codes), compute.Download[float32](b.Device, w.Quant.Offset)[0]
	nested, values := compute.Download[float32](b.Device, w.Quant.Nested), compute.Download[float32](b.Device, w.Quant.Map)
	mean := 0.0
	for _, s := range scales {
		mean += float64(s) / float64(len(scales))
	}
	b.closeTo("Offset", []float64{float64(offset)}, []float64{mean}, b.tol.Reduction)
	out := make([]float32, len(scales))
	for i, s := range scales {
		top := float32(0)
		for _, v := range scales[i/256*256 : min(i/256*256+256, len(scales))] {
			top = max(top, float32(math.Abs(float64(v-offset))))
		}
		if nested[i/256] != top {
			b.Fatalf("Nested[%d] is %v, want %v", i/256, nested[i/256], top)
		}
		best, scaled := math.Inf(1), 0.0
		if top > 0 {
			scaled = float64((s - offset) / top)
		}
		for _, v := range values {
			best = min(best, math.Abs(float64(v)-scaled))
		}
		// Nearest, where bitsandbytes' CPU library rounds to one of 65536 equidistant points before it looks (half a step is
		// 1.5e-5, which counts for both neighbours).
		if d := math.Abs(float64(values[codes[i]]) - scaled); d > best+3.1e-5 && top > 0 {
			b.Fatalf("Codes[%d] stands for %v, %v away from %v; the nearest is %v away", i, values[codes[i]], d, scaled, best)
		}
		out[i] = values[codes[i]] * nested[i/256]
		out[i] += offset
	}
	return out
}

// quant4Inputs puts what is easily wrong into some blocks: zeros, one value, exact ties with the tree's middles and their
// neighbours, denormals.
func quant4Inputs(code compute.QuantType, x []float32) []float32 {
	book := code.Code()
	slices.Sort(book[:])
	for at := 0; at+64 <= len(x); at += 64 {
		block := x[at : at+64]
		switch at / 64 % 7 {
		case 1:
			clear(block)
		case 2:
			for i := range block {
				block[i] = -3
			}
		case 3, 4: // absmax is a power of two, so that the quotient is exact
			for i := range block {
				mid := float32((float64(book[i%15]) + float64(book[i%15+1])) / 2)
				block[i] = []float32{mid, math.Nextafter32(mid, 1), math.Nextafter32(mid, -1), -mid}[i/15%4]
			}
			block[63] = 1
			if at/64%7 == 4 {
				for i := range block {
					block[i] *= 4
				}
			}
		case 5:
			for i := range block {
				block[i] *= 1e-30
			}
		}
	}
	return x
}
