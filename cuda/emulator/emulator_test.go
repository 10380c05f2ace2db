//go:build linux

package emulator

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestAddRunsForAnySize(t *testing.T) {
	d := open(t)
	add := d.function("elementwise", "add_f32")
	for _, n := range []int{1, 31, 1000} {
		a, b := make([]float32, n), make([]float32, n)
		for i := range a {
			a[i], b[i] = float32(i), float32(2*i)
		}
		da, db, dy := upload(d, a), upload(d, b), d.alloc(4*n)
		d.launch(add, shape{blocks: 3, threads: 64}, dy, da, db, float32(0.5), n)
		for i, y := range download[float32](d, dy, n) {
			if y != float32(2*i) {
				t.Fatalf("n=%d: y[%d] = %v, not %v", n, i, y, 2*i)
			}
		}
		d.free(da)
		d.free(db)
		d.free(dy)
	}
}

func TestMemoryIsPoisoned(t *testing.T) {
	for _, guard := range []string{"0", "1"} {
		d := open(t, "LATHE_EMU_GUARD="+guard)
		p := d.alloc(1001)
		for i, b := range download[byte](d, p, 1001) {
			if b != 0xff {
				t.Fatalf("guard %s: byte %d of new memory is %#x, not 0xff", guard, i, b)
			}
		}
		d.free(p)
		large := d.alloc(48<<20 + 5) // poisoned without being touched
		for _, at := range []uint64{0, 4095, 16 << 20, 48<<20 - 1, 48<<20 + 4} {
			var b byte
			d.must("cuMemcpyDtoH_v2", address(&b), uintptr(large+at), 1)
			if b != 0xff {
				t.Fatalf("guard %s: byte %d of a large block is %#x, not 0xff", guard, at, b)
			}
		}
		d.must("cuMemsetD8_v2", uintptr(large), 3, 48<<20+5)
		d.free(large)
		out := d.alloc(4 * 128)
		d.launch(d.function("probe", "shared_poison"), shape{blocks: 2, threads: 32, shared: 128}, out)
		for i, v := range download[uint32](d, out, 128) {
			if v != 0xffffffff {
				t.Fatalf("shared memory at %d of block %d starts with %#x, not poison", i%64, i/64, v)
			}
		}
		d.free(out)
	}
}

// Without a seed threads run in their order; a seed gives another order, the same each time, for both threads and blocks.
func TestShuffledOrder(t *testing.T) {
	orders := map[string][]uint32{}
	for _, run := range []string{"", "1", "2"} {
		d := open(t, "LATHE_EMU_SHUFFLE="+run)
		counter, out := upload(d, []uint32{0}), d.alloc(4*3*64)
		d.launch(d.function("probe", "order"), shape{blocks: 3, threads: 64}, counter, out)
		orders[run] = download[uint32](d, out, 3*64)
		d.free(counter)
		d.free(out)
	}
	if slices.Equal(orders["1"], orders["2"]) || slices.Equal(orders[""], orders["1"]) {
		t.Error("another seed gives the same order")
	}
	for run, o := range orders {
		sorted := slices.Sorted(slices.Values(o))
		for i, v := range sorted {
			if v != uint32(i) {
				t.Fatalf("seed %q: not every thread ran once", run)
			}
		}
	}
	if first := orders[""]; first[63] >= 64 || first[64] < 64 {
		t.Error("without a seed the blocks do not run one after the other")
	}
}

// round16 is the definition: to the nearest multiple of the unit at x's exponent, ties to even, beyond the largest to infinity.
func round16(x float64, precision, minExponent int, largest float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return x
	}
	_, e := math.Frexp(x)
	unit := math.Ldexp(1, max(e-1, minExponent)-precision+1)
	r := math.RoundToEven(x/unit) * unit
	if math.Abs(r) > largest {
		return math.Inf(int(math.Copysign(1, x)))
	}
	return r
}

func bf16Value(bits uint16) float64 { return float64(math.Float32frombits(uint32(bits) << 16)) }

func f16Value(bits uint16) float64 {
	e, m, sign := int(bits>>10&31), float64(bits&1023), 1-2*float64(bits>>15)
	switch e {
	case 0:
		return math.Copysign(math.Ldexp(m, -24), sign)
	case 31:
		if m != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+m, e-25)
}

func same(got, want float64) bool {
	return got == want && math.Signbit(got) == math.Signbit(want) || math.IsNaN(got) && math.IsNaN(want)
}

func TestConversionsRoundToNearestEven(t *testing.T) {
	d := open(t)
	var in []uint32
	for h := range 1 << 16 { // every 16-bit float, the middles beside it, and their neighbours
		for _, v := range []float32{float32(bf16Value(uint16(h))), float32(f16Value(uint16(h)))} {
			b := math.Float32bits(v)
			in = append(in, b, b+1, b-1, b+0x8000, b+0x7fff, b+0x8001, b+0x1000, b+0xfff, b+0x1001)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		in = append(in, rng.Uint32())
	}
	n := len(in)
	din, db, df, dp := upload(d, in), d.alloc(2*n), d.alloc(2*n), d.alloc(8*n)
	d.launch(d.function("probe", "narrow"), shape{blocks: (n + 255) / 256, threads: 256}, din, db, df, dp, int32(n))
	bf, f, pairs := download[uint16](d, db, n), download[uint16](d, df, n), download[uint32](d, dp, 2*n)
	for i, b := range in {
		x := float64(math.Float32frombits(b))
		if want := round16(x, 8, -126, 0x1.fep127); !same(bf16Value(bf[i]), want) {
			t.Fatalf("%x to bf16: %#x = %v, not %v", x, bf[i], bf16Value(bf[i]), want)
		}
		if want := round16(x, 11, -14, 65504); !same(f16Value(f[i]), want) {
			t.Fatalf("%x to f16: %#x = %v, not %v", x, f[i], f16Value(f[i]), want)
		}
		if math.IsNaN(x) && (bf[i] != 0x7fff || f[i] != 0x7fff) {
			t.Fatalf("NaN %#x becomes %#x and %#x, not 0x7fff", b, bf[i], f[i])
		}
		if pairs[2*i] != 0x3f80<<16|uint32(bf[i]) || pairs[2*i+1] != uint32(f[i])<<16|0x3c00 {
			t.Fatalf("pairs of %x: %#x %#x", x, pairs[2*i], pairs[2*i+1])
		}
	}
	for _, p := range []uint64{din, db, df, dp} {
		d.free(p)
	}
}

func TestWideningIsExact(t *testing.T) {
	d := open(t)
	in := make([]uint16, 1<<16)
	for i := range in {
		in[i] = uint16(i)
	}
	n := len(in)
	din, db, df := upload(d, in), d.alloc(4*n), d.alloc(4*n)
	d.launch(d.function("probe", "widen"), shape{blocks: n / 256, threads: 256}, din, db, df, int32(n))
	bf, f := download[uint32](d, db, n), download[uint32](d, df, n)
	for i := range in {
		if bf[i] != uint32(i)<<16 {
			t.Fatalf("bf16 %#x becomes %#x", i, bf[i])
		}
		want := f16Value(uint16(i))
		if !same(float64(math.Float32frombits(f[i])), want) || math.IsNaN(want) && f[i] != 0x7fffffff {
			t.Fatalf("f16 %#x becomes %#x, not %v", i, f[i], want)
		}
	}
	d.free(din)
	d.free(db)
	d.free(df)
}
