package computetest

import (
	"fmt"
	"math"

	"lathe/compute"
)

// casts: widening is exact for all 65536 bit patterns, narrowing rounds to nearest with ties to even.
func casts(b *bench) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	for _, t := range []struct {
		dtype compute.DType
		widen func(uint16) float32
	}{{compute.BF16, widenBF16}, {compute.F16, widenF16}} {
		b.sub(t.dtype.String(), func(b *bench) {
			half, wide := b.alloc(t.dtype, len(all)), b.zeros(len(all))
			compute.Upload(b.Device, half, all)
			b.Cast(wide, half)
			got := compute.Download[float32](b.Device, wide)
			for i, g := range got {
				w := t.widen(all[i])
				if math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
					b.Fatalf("%#04x widens to %v, want %v", i, g, w)
				}
			}
			x := narrowInputs(b, t.widen)
			src, dst := b.zeros(len(x)), b.alloc(t.dtype, len(x))
			compute.Upload(b.Device, src, x)
			b.Cast(dst, src)
			for i, g := range compute.Download[uint16](b.Device, dst) {
				if w := nearest(x[i], t.widen); g != w && (x[i] == x[i] || t.widen(g) == t.widen(g)) {
					b.Fatalf("%v (%#08x) narrows to %#04x, want %#04x", x[i], math.Float32bits(x[i]), g, w)
				}
			}
		})
	}
}

// narrowInputs are numbers of every magnitude, the midpoints between representable ones, and their neighbours.
func narrowInputs(b *bench, widen func(uint16) float32) []float32 {
	inf := float32(math.Inf(1))
	x := []float32{0, float32(math.Copysign(0, -1)), inf, -inf, float32(math.NaN()), math.MaxFloat32, math.SmallestNonzeroFloat32}
	for range 4000 {
		h := uint16(b.rng.Uint32())
		u, v := widen(h), widen(h+1)
		if mid := float32((float64(u) + float64(v)) / 2); mid-mid == 0 && h&0x7fff != 0x7fff {
			x = append(x, mid, math.Nextafter32(mid, inf), math.Nextafter32(mid, -inf))
		}
		if f := math.Float32frombits(b.rng.Uint32()); f == f {
			x = append(x, f)
		}
	}
	return x
}

// nearest searches the 16-bit patterns, which are ordered as the magnitudes are.
func nearest(x float32, widen func(uint16) float32) uint16 {
	sign := uint16(0)
	if math.Signbit(float64(x)) {
		sign = 0x8000
	}
	if x != x {
		return 0x7fff
	}
	a := math.Abs(float64(x))
	top := uint16(0x7c00) // infinity of float16
	if widen(0x7f80) > 0 && math.IsInf(float64(widen(0x7f80)), 1) {
		top = 0x7f80
	}
	lo, hi := uint16(0), top
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; float64(widen(mid)) <= a {
			lo = mid
		} else {
			hi = mid
		}
	}
	down, up := float64(widen(lo)), float64(widen(hi))
	if hi == top { // rounding treats infinity as the next power of two
		up = 2*down - float64(widen(lo-1))
	}
	switch {
	case math.IsInf(a, 1) || a-down > up-a || a-down == up-a && lo%2 == 1:
		return sign | hi
	}
	return sign | lo
}

func widenBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func widenF16(h uint16) float32 {
	sign, e, f := 1.0, int(h>>10&31), float64(h&0x3ff)
	if h&0x8000 != 0 {
		sign = -1
	}
	switch {
	case e == 0:
		return float32(math.Copysign(f*0x1p-24, sign))
	case e == 31 && f == 0:
		return float32(math.Inf(int(sign)))
	case e == 31:
		return float32(math.NaN())
	}
	return float32(sign * math.Ldexp(1+f/1024, e-15))
}

// halves uploads numbers as a 16-bit type (or float32) and returns them as they were rounded.
func (b *bench) halves(t compute.DType, x []float64) (compute.Buffer, []float64) {
	src := b.put(x)
	if t == compute.F32 {
		return src, x
	}
	dst := b.alloc(t, len(x))
	b.Cast(dst, src)
	b.Cast(src, dst)
	return dst, b.get(src)
}

// embeddings: a gather of rows of any float type, and the scatter of gradients in order.
func embeddings(b *bench) {
	for _, t := range []compute.DType{compute.F32, compute.BF16, compute.F16} {
		for _, c := range []int{1, 63, 65, 640} {
			b.sub(fmt.Sprintf("%s/%d", t, c), func(b *bench) {
				const rows, n, scale = 9, 70, 2.5
				table, exact := b.halves(t, b.normal(rows*c))
				ids := make([]int32, n)
				for i := range ids {
					ids[i] = int32(b.rng.IntN(rows))
				}
				y, dy := b.garbage(n*c), b.normal(n*c)
				b.Embedding(compute.Embedding{Y: y, Table: table, IDs: b.ints(ids), N: n, C: c, Scale: scale})
				want, old := make([]float64, n*c), b.normal(rows*c)
				grad := append([]float64(nil), old...)
				for i, id := range ids {
					for j := range c {
						want[i*c+j] = scale * exact[int(id)*c+j]
						grad[int(id)*c+j] += scale * dy[i*c+j]
					}
				}
				b.close("Y", y, want, b.tol.Elementwise)
				dtable := b.put(old)
				b.EmbeddingBackward(compute.EmbeddingBackward{DTable: dtable, DY: b.put(dy), IDs: b.ints(ids), N: n, C: c, Scale: scale})
				b.close("DTable", dtable, grad, b.tol.Reduction)
			})
		}
	}
}
