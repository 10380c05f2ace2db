package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
)

// A product's error is bounded by the rounding of its sums. Relative to Σ|a||b| it grows like √k·2⁻²⁴ ≈ 1.7e-6 for the
// deepest product here (k = 770); a term left out or counted twice weighs about 1/k ≥ 1e-3. In bfloat16 the reference rounds the
// operands as well; their products are exact in float32, and the bound is the same: an operand that is not rounded, or cut off, is
// 2⁻⁹ or more away.
const productTolerance = 2e-6

// narrow is an operand of a product in that type: rounded to bfloat16, nearest even, or as it is.
func narrow(t compute.DType, f func(i, j int) float64) func(i, j int) float64 {
	if t == compute.F32 {
		return f
	}
	return func(i, j int) float64 {
		bits := math.Float32bits(float32(f(i, j)))
		return float64(math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff))
	}
}

// fewRows is the most rows of a forward product in which nothing is rounded, whatever the type.
const fewRows = 16

// operands draws the type of a product's operands.
func operands(r *rand.Rand) compute.DType {
	return []compute.DType{compute.F32, compute.BF16}[r.IntN(2)]
}

func open(t testing.TB, tier string, threads int) *Device {
	t.Helper()
	d, err := New(Options{Tier: tier, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func upload(t testing.TB, d *Device, x []float32) compute.Buffer {
	t.Helper()
	b, err := compute.From(d, x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func uniform(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32() - 0.5
	}
	return x
}

// matrix is a weight on a device and its values.
type matrix struct {
	compute.Weight
	values []float32
}

// weightKinds are the types that a weight comes in.
var weightKinds = []string{"float32", "bfloat16", "float16", "nf4", "nf4 double quantised", "fp4", "fp4 double quantised"}

// newWeight makes a weight of that kind from float32 values.
func newWeight(t testing.TB, d *Device, kind string, out, in int, values []float32) matrix {
	t.Helper()
	full := upload(t, d, values)
	m := matrix{Weight: compute.Weight{Out: out, In: in, Data: full}, values: values}
	switch kind {
	case "float32":
		return m
	case "bfloat16", "float16":
		half := compute.BF16
		if kind == "float16" {
			half = compute.F16
		}
		var err error
		if m.Data, err = d.Alloc(half, len(values)); err != nil {
			t.Fatal(err)
		}
		d.Cast(m.Data, full)
		d.Cast(full, m.Data)
	default:
		name, double := strings.CutSuffix(kind, " double quantised")
		code := map[string]compute.QuantType{"nf4": compute.NF4, "fp4": compute.FP4}[name]
		w, err := compute.NewQuant4(d, out, in, code, double)
		if err != nil {
			t.Fatal(err)
		}
		m.Weight = w
		d.Quantize4(w, full)
		d.Dequantize4(full, w)
	}
	m.values = compute.Download[float32](d, full)
	return m
}

// reference is a product in float64: y[m,n] = Σ_k a·b + Σ_r u·v + Σ start, with a(i,k), b(k,j), u(i,r), v(r,j), and the sum of
// the absolute terms of each element.
type reference struct {
	m, n, k, r int
	a, b, u, v func(i, j int) float64
	start      []func(i, j int) float64
}

func (p reference) compare(t *testing.T, got []float32) {
	t.Helper()
	for i := range p.m {
		for j := range p.n {
			var want, scale float64
			for _, f := range p.start {
				want, scale = want+f(i, j), scale+math.Abs(f(i, j))
			}
			for k := range p.k {
				x := p.a(i, k) * p.b(k, j)
				want, scale = want+x, scale+math.Abs(x)
			}
			for r := range p.r {
				x := p.u(i, r) * p.v(r, j)
				want, scale = want+x, scale+math.Abs(x)
			}
			if diff := math.Abs(float64(got[i*p.n+j]) - want); !(diff <= productTolerance*scale) {
				t.Fatalf("[%d,%d] is %g, want %g: off by %.2g of the terms' sum", i, j, got[i*p.n+j], want, diff/scale)
			}
		}
	}
}

// rows reads a row-major matrix, columns its transpose.
func rows(x []float32, cols int) func(i, j int) float64 {
	return func(i, j int) float64 { return float64(x[i*cols+j]) }
}

func columns(x []float32, cols int) func(i, j int) float64 {
	return func(i, j int) float64 { return float64(x[j*cols+i]) }
}

func scaled(f func(i, j int) float64, by float32) func(i, j int) float64 {
	return func(i, j int) float64 { return float64(by) * f(i, j) }
}

// Sizes around the borders of vectors, tiles, panels and blocks of scale; 141 and 290 rows take the path of many rows, rows of 1,024 floats
// are a page apart.
var (
	oddRows  = []int{1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 29, 63, 65, 141, 290}
	oddSizes = []int{1, 7, 13, 16, 17, 33, 63, 64, 65, 128, 129, 192, 385, 770, 1024}
	oddRanks = []int{1, 3, 8, 16, 33}
)

// everyTier runs a test for each tier that this processor has; random shapes differ from tier to tier.
func everyTier(t *testing.T, test func(t *testing.T, d *Device, r *rand.Rand)) {
	for i, tier := range Tiers() {
		t.Run(tier, func(t *testing.T) { test(t, open(t, tier, 0), rand.New(rand.NewPCG(7, uint64(i)))) })
	}
}

func TestLinear(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, r *rand.Rand) {
		for range 200 {
			n, out, in := oddRows[r.IntN(len(oddRows))], oddSizes[r.IntN(len(oddSizes))], oddSizes[r.IntN(len(oddSizes))]
			kind, rank := weightKinds[r.IntN(len(weightKinds))], oddRanks[r.IntN(len(oddRanks))]
			extended, biased, accumulate := r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
			x, u, v := uniform(r, n*in), uniform(r, n*rank), uniform(r, out*rank)
			bias, y := uniform(r, out), uniform(r, n*out)
			w := newWeight(t, d, kind, out, in, uniform(r, out*in))
			a := compute.Linear{X: upload(t, d, x), Y: upload(t, d, y), N: n, W: w.Weight, Accumulate: accumulate, Compute: operands(r)}
			as := a.Compute
			if n <= fewRows {
				as = compute.F32
			}
			want := reference{m: n, n: out, k: in, a: narrow(as, rows(x, in)), b: narrow(as, columns(w.values, in))}
			if biased {
				want.start = append(want.start, func(_, j int) float64 { return float64(bias[j]) })
			}
			if accumulate {
				want.start = append(want.start, rows(y, out))
			}
			if biased {
				a.Bias = upload(t, d, bias)
			}
			if extended {
				a.LowRank = &compute.LowRank{R: rank, U: upload(t, d, u), V: upload(t, d, v), Scale: 1.5}
				want.r, want.u, want.v = rank, narrow(as, scaled(rows(u, rank), 1.5)), narrow(as, columns(v, rank))
			}
			name := fmt.Sprintf("[%d,%d]x[%d,%d] %s rank %d (%v) bias %v accumulate %v in %s", n, in, in, out, kind, rank, extended, biased, accumulate, a.Compute)
			t.Run(name, func(t *testing.T) {
				d.Linear(a)
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				want.compare(t, compute.Download[float32](d, a.Y))
			})
			freeAll(d)
		}
	})
}

func TestLinearBackwardInput(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, r *rand.Rand) {
		for range 150 {
			n, out, in := oddRows[r.IntN(len(oddRows))], oddSizes[r.IntN(len(oddSizes))], oddSizes[r.IntN(len(oddSizes))]
			kind, rank := weightKinds[r.IntN(len(weightKinds))], oddRanks[r.IntN(len(oddRanks))]
			extended, accumulate := r.IntN(2) == 0, r.IntN(2) == 0
			dy, u, v, dx := uniform(r, n*out), uniform(r, n*rank), uniform(r, rank*in), uniform(r, n*in)
			w := newWeight(t, d, kind, out, in, uniform(r, out*in))
			a := compute.LinearBackwardInput{DX: upload(t, d, dx), DY: upload(t, d, dy), N: n, W: w.Weight, Accumulate: accumulate, Compute: operands(r)}
			as := a.Compute
			if n <= fewRows && in == 1 { // a dot product for each row
				as = compute.F32
			}
			want := reference{m: n, n: in, k: out, a: narrow(as, rows(dy, out)), b: narrow(as, rows(w.values, in))}
			if accumulate {
				want.start = append(want.start, rows(dx, in))
			}
			if extended {
				a.LowRank = &compute.LowRank{R: rank, U: upload(t, d, u), V: upload(t, d, v), Scale: 0.25}
				want.r, want.u, want.v = rank, narrow(as, scaled(rows(u, rank), 0.25)), narrow(as, rows(v, in))
			}
			name := fmt.Sprintf("[%d,%d]x[%d,%d] %s rank %d (%v) accumulate %v in %s", n, out, out, in, kind, rank, extended, accumulate, a.Compute)
			t.Run(name, func(t *testing.T) {
				d.LinearBackwardInput(a)
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				want.compare(t, compute.Download[float32](d, a.DX))
			})
			freeAll(d)
		}
	})
}

func TestLinearBackwardWeight(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, r *rand.Rand) {
		for range 100 {
			n, out, in := oddSizes[r.IntN(len(oddSizes))], oddRows[r.IntN(len(oddRows))], oddSizes[r.IntN(len(oddSizes))]
			dy, x, dw, bias := uniform(r, n*out), uniform(r, n*in), uniform(r, out*in), uniform(r, out)
			a := compute.LinearBackwardWeight{
				DW: upload(t, d, dw), DBias: upload(t, d, bias), DY: upload(t, d, dy), X: upload(t, d, x), N: n, Out: out, In: in, Scale: 0.5,
				Compute: operands(r),
			}
			as := a.Compute
			if out <= fewRows && in == 1 { // a dot product for each row
				as = compute.F32
			}
			t.Run(fmt.Sprintf("[%d,%d]x[%d,%d] in %s", out, n, n, in, a.Compute), func(t *testing.T) {
				d.LinearBackwardWeight(a)
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				reference{m: out, n: in, k: n, a: narrow(as, scaled(columns(dy, out), 0.5)), b: narrow(as, rows(x, in)), start: []func(int, int) float64{rows(dw, in)}}.
					compare(t, compute.Download[float32](d, a.DW))
				ones := func(int, int) float64 { return 1 }
				reference{m: 1, n: out, k: n, a: ones, b: rows(dy, out), start: []func(int, int) float64{rows(bias, out)}}.
					compare(t, compute.Download[float32](d, a.DBias))
			})
			freeAll(d)
		}
	})
}

// Deeper than one pass over C (4096) and wider than the packed operand holds at once.
func TestLinearBackwardWeightOfManyTokens(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, r *rand.Rand) {
		const n, out, in = 9001, 150, 650
		as := operands(r)
		dy, x := uniform(r, n*out), uniform(r, n*in)
		dw, err := d.Alloc(compute.F32, out*in)
		if err != nil {
			t.Fatal(err)
		}
		d.LinearBackwardWeight(compute.LinearBackwardWeight{
			DW: dw, DY: upload(t, d, dy), X: upload(t, d, x), N: n, Out: out, In: in, Scale: 1, Compute: as,
		})
		a, b := narrow(as, rows(dy, out)), narrow(as, rows(x, in))
		got := compute.Download[float32](d, dw)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			i, j := r.IntN(out), r.IntN(in)
			var want, scale float64
			for k := range n {
				term := a(k, i) * b(k, j)
				want, scale = want+term, scale+math.Abs(term)
			}
			if diff := math.Abs(float64(got[i*in+j]) - want); !(diff <= productTolerance*scale) {
				t.Fatalf("[%d,%d] is %g, want %g", i, j, got[i*in+j], want)
			}
		}
	})
}

// freeAll empties a device between cases.
func freeAll(d *Device) {
	d.scratch.Free()
	for a := range d.roots {
		d.release(a)
	}
}

// A row's result has the same bits whether it is multiplied beside 16 others or 359: which operand is packed, copied or read where it lies
// must not matter, nor whether the product is transposed.
func TestBitsDoNotDependOnOtherRows(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, r *rand.Rand) {
		const all, rank = 360, 8
		for _, in := range []int{770, 1024} {
			for _, kind := range []string{"float32", "bfloat16", "nf4"} {
				for _, out := range []int{17, 70, 200, 512} {
					w := newWeight(t, d, kind, out, in, uniform(r, out*in))
					x, u, v := uniform(r, all*in), uniform(r, all*rank), uniform(r, out*rank)
					product := func(n int, as compute.DType) []float32 {
						y := upload(t, d, make([]float32, n*out))
						low := &compute.LowRank{R: rank, U: upload(t, d, u[:n*rank]), V: upload(t, d, v), Scale: 1.1}
						d.Linear(compute.Linear{X: upload(t, d, x[:n*in]), Y: y, N: n, W: w.Weight, LowRank: low, Compute: as})
						return compute.Download[float32](d, y)
					}
					for _, as := range []compute.DType{compute.F32, compute.BF16} {
						want := product(all, as)
						for _, n := range []int{17, 64, 140, 141, 350, 351} {
							for i, got := range product(n, as) {
								if math.Float32bits(got) != math.Float32bits(want[i]) {
									t.Fatalf("[%d,%d]x[%d,%d] %s in %s: element %d is %x, of %d rows %x", n, in, in, out, kind, as, i, got, all, want[i])
								}
							}
						}
					}
					freeAll(d)
				}
			}
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
	})
}

// One thread or seven: the same bits, on every path.
func TestBitsDoNotDependOnThreads(t *testing.T) {
	for _, tier := range Tiers() {
		for _, n := range []int{1, 5, 30, 300} {
			for _, kind := range []string{"float32", "nf4", "fp4"} {
				t.Run(fmt.Sprintf("%s/%s/%d rows", tier, kind, n), func(t *testing.T) {
					var first []float32
					for _, threads := range []int{1, 2, 3, 7} {
						d := open(t, tier, threads)
						got := append(trainOnce(t, d, kind, n, compute.F32), trainOnce(t, d, kind, n, compute.BF16)...)
						if first == nil {
							first = got
						}
						for i := range first {
							if math.Float32bits(got[i]) != math.Float32bits(first[i]) {
								t.Fatalf("%d threads: element %d is %x, with one thread %x", threads, i, got[i], first[i])
							}
						}
					}
				})
			}
		}
	}
}

// trainOnce returns the results of a forward and both backward products of one small layer.
func trainOnce(t *testing.T, d *Device, kind string, n int, as compute.DType) []float32 {
	t.Helper()
	const out, in, rank = 449, 385, 8
	r := rand.New(rand.NewPCG(3, uint64(n)))
	x, dy := upload(t, d, uniform(r, n*in)), upload(t, d, uniform(r, n*out))
	u, v, a := upload(t, d, uniform(r, n*rank)), upload(t, d, uniform(r, out*rank)), upload(t, d, uniform(r, rank*in))
	y, dx := upload(t, d, make([]float32, n*out)), upload(t, d, make([]float32, n*in))
	dw, bias := upload(t, d, make([]float32, out*in)), upload(t, d, make([]float32, out))
	w := newWeight(t, d, kind, out, in, uniform(r, out*in))
	d.Linear(compute.Linear{Y: y, X: x, N: n, W: w.Weight, LowRank: &compute.LowRank{R: rank, U: u, V: v, Scale: 2}, Compute: as})
	d.LinearBackwardInput(compute.LinearBackwardInput{
		DX: dx, DY: dy, N: n, W: w.Weight, LowRank: &compute.LowRank{R: rank, U: u, V: a, Scale: 2}, Compute: as,
	})
	d.LinearBackwardWeight(compute.LinearBackwardWeight{DW: dw, DBias: bias, DY: dy, X: x, N: n, Out: out, In: in, Scale: 1, Compute: as})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	var all []float32
	for _, b := range []compute.Buffer{y, dx, dw, bias} {
		all = append(all, compute.Download[float32](d, b)...)
	}
	return all
}

// Tiers round differently (fused or not, other partial sums), by no more than two tolerances of the reference.
func TestTiersAgree(t *testing.T) {
	for _, n := range []int{3, 200} {
		for _, as := range []compute.DType{compute.F32, compute.BF16} {
			base := trainOnce(t, open(t, "plain", 0), "nf4", n, as)
			for _, tier := range Tiers()[1:] {
				for i, x := range trainOnce(t, open(t, tier, 0), "nf4", n, as) {
					// Sums of at most 457 products of numbers below 1 in magnitude, scaled by at most 2: terms sum to at most 200.
					if diff := math.Abs(float64(x - base[i])); diff > 2*productTolerance*200 {
						t.Fatalf("%s, %d rows in %s: element %d is %g, plain has %g", tier, n, as, i, x, base[i])
					}
				}
			}
		}
	}
}

func TestLinearRefusesWhatDoesNotFit(t *testing.T) {
	d := open(t, "", 0)
	x, y, w := upload(t, d, make([]float32, 6)), upload(t, d, make([]float32, 8)), upload(t, d, make([]float32, 12))
	good := compute.Linear{Y: y, X: x, N: 2, W: compute.Weight{Out: 4, In: 3, Data: w}}
	for name, spoil := range map[string]func(*compute.Linear){
		"rows":            func(a *compute.Linear) { a.N = 3 },
		"negative rows":   func(a *compute.Linear) { a.N = -1 },
		"width":           func(a *compute.Linear) { a.W.In = 4 },
		"no weight":       func(a *compute.Linear) { a.W.Data = nil },
		"no scales":       func(a *compute.Linear) { a.W.Quant = &compute.Quant4{Block: 64} },
		"odd block":       func(a *compute.Linear) { a.W.Quant = &compute.Quant4{Block: 48} },
		"bias":            func(a *compute.Linear) { a.Bias = x },
		"rank":            func(a *compute.Linear) { a.LowRank = &compute.LowRank{R: 2, U: x, V: y} },
		"negative rank":   func(a *compute.Linear) { a.LowRank = &compute.LowRank{R: -2, U: x, V: y} },
		"float16":         func(a *compute.Linear) { a.Compute = compute.F16 },
		"integer weights": func(a *compute.Linear) { a.W.Data = w.As(compute.I32) },
	} {
		a := good
		spoil(&a)
		d.Linear(a)
		if err := d.Sync(); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	d.Linear(good)
	if err := d.Sync(); err != nil {
		t.Errorf("after the errors were taken: %v", err)
	}
}

// What is no number stays none, infinities stay infinite, ties go to even numbers and denormals of bfloat16 are at most lost: what
// rounding by hand gets wrong. Seventeen rows are not few.
func TestRoundingToBFloat16(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, _ *rand.Rand) {
		const n = 2 * fewRows
		bits := [n]uint32{
			0x7fffffff, 0xffffffff, 0x7f800001, 0x7f800000, 0xff800000, 0x7f7fffff, 0xff7f7fff, 0x3f808000, 0x3f818000, 0x3f808001,
			0xbf807fff, 0x00000000, 0x80000000, 0x00400000, 0x3f800000, 0x7f7f8000, 0xff7f8000, 0x00808000,
		}
		x, want := make([]float32, n), make([]float64, n)
		for i, b := range bits {
			x[i] = math.Float32frombits(b)
			want[i] = narrow(compute.BF16, rows(x, 1))(i, 0)
		}
		y, one := upload(t, d, make([]float32, n*n)), make([]float32, n)
		for i := range one {
			one[i] = 1
		}
		d.Linear(compute.Linear{
			Y: y, X: upload(t, d, x), N: n, W: compute.Weight{Out: n, In: 1, Data: upload(t, d, one)}, Compute: compute.BF16,
		})
		for i, got := range compute.Download[float32](d, y) {
			b, w := bits[i/n], want[i/n]
			nan, denormal := b&0x7fffffff > 0x7f800000, b>>23&255 == 0
			if nan != math.IsNaN(float64(got)) || !nan && float64(got) != w && !(denormal && got == 0) {
				t.Errorf("%#08x in bfloat16 is %g, want %g (NaN: %v)", b, got, w, nan)
			}
		}
		if err := d.Sync(); err != nil {
			t.Error(err)
		}
	})
}

// Nothing to sum over leaves the bias; nothing to compute is no error.
func TestLinearOfNothing(t *testing.T) {
	d := open(t, "", 0)
	empty, bias, y := upload(t, d, []float32{}), upload(t, d, []float32{1, 2}), upload(t, d, []float32{5, 5, 5, 5})
	d.Linear(compute.Linear{Y: y, X: empty, N: 2, W: compute.Weight{Out: 2, In: 0, Data: empty}, Bias: bias})
	if got := compute.Download[float32](d, y); !slices.Equal(got, []float32{1, 2, 1, 2}) {
		t.Errorf("a product of depth 0 is %v, want the bias", got)
	}
	d.Linear(compute.Linear{Y: empty, X: empty, N: 0, W: compute.Weight{Out: 2, In: 2, Data: y}})
	d.LinearBackwardWeight(compute.LinearBackwardWeight{DW: y, DBias: bias, DY: empty, X: empty, N: 0, Out: 2, In: 2, Scale: 1})
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}
