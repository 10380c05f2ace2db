// Package computetest is the suite of checks that every compute.Device passes: each operation forward against float64,
// backward against the exact float64 gradient, at sizes that fit no vector; what the documentation of compute promises about
// aliasing, accumulation, errors and determinism; and, bit by bit, what has one right answer (NF4 codes, Philox, rounding).
//
// A device's test calls Run:
//
//	computetest.Run(t, func(t *testing.T) compute.Device { return open(t) }, computetest.Float32())
package computetest

import (
	"math"
	"math/rand/v2"
	"testing"

	"lathe/compute"
)

// Tolerances bound |got - want| by a multiple of |want| + rms(want), rms over the whole result: a relative error where
// values are large, an absolute one where terms cancel.
type Tolerances struct {
	// Elementwise: a few roundings and a polynomial of at most 3 ulp.
	Elementwise float64
	// Reduction: statistics of rows and sums over rows, in float32 with blocked or vector partial sums.
	Reduction float64
	// Product: sums of up to a few hundred float32 products.
	Product float64
	// Attention: two products with an exponential in between; backward four.
	Attention float64
	// LogProb is absolute: torch's own kernels differ by 7e-6 in log-probabilities, a device stays within that.
	LogProb float64
	// Narrow is for products whose operands are rounded to bfloat16 (by up to 2⁻⁸ each), where the device offers them.
	Narrow float64
	// NarrowAttention is for attention in 16 bits from operands that these hold exactly: probabilities and the gradients of scores
	// are rounded before a product, by up to 2⁻⁸ in bfloat16, of which results whose terms cancel keep all. In float16 it is an eighth.
	NarrowAttention float64
}

// Float32 are the tolerances of float32 arithmetic: 1 ulp is 1.2e-7 relative. A wrong formula shows up from 1e-3 on (a GELU
// variant differs by 5e-4), so that each bound lies far from both sides.
func Float32() Tolerances {
	return Tolerances{
		Elementwise: 1e-6, // 8 ulp: up to three roundings around a 3 ulp function
		Reduction:   3e-6, // 1.2e-7·√n for n up to 640, plus the element's own roundings
		Product:     4e-6, // the same for k up to 1000 in one chain
		Attention:   1e-5, // two chained products; the exponential turns a score's absolute into a relative error
		LogProb:     7e-6,
		Narrow:      1.5e-2, // of one product about 2.3e-3 (root mean square), of the largest of 40000 elements 4.5 times that

		NarrowAttention: 3e-2, // the emulated device's largest error in bfloat16 is 1.8e-2
	}
}

// GPU are the tolerances of a real GPU's float32 arithmetic, where Float32 holds for IEEE's with a C library's functions. Products,
// sums, quotients and square roots are IEEE's there too; the functions err by the bounds of the CUDA C++ Programming Guide's appendix
// on mathematical functions, in ulp of 1.2e-7: expf 1, logf 1, tanhf 2, erff 2, rsqrtf 2, ex2.approx 2.
func GPU() Tolerances {
	t := Float32()
	t.Elementwise = 1.2e-6 // Float32's bound is for functions of 3 ulp; a SiLU's or GELU's backward has two of them, of 2 ulp each
	t.Reduction = 3.5e-6   // rsqrtf's 2 ulp more
	t.Attention = 1.3e-5   // exp2 of a score times log2(e), rounded: half an ulp of up to 20, 1.2e-6, beside its own 2 ulp, forward and backward
	t.LogProb = 9e-6       // expf and logf an ulp each, of a sum and of a log near 8
	// Product stays: fused products are rounded once. Narrow stays: a tensor core cuts the 16 products of a step off at 2⁻²³ of the
	// largest, where the emulation rounds, and both lie three digits below the operands' own rounding.
	return t
}

// Run runs the whole suite; open returns a fresh device, which the suite closes.
func Run(t *testing.T, open func(t *testing.T) compute.Device, tol Tolerances) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*bench)
	}{
		{"Memory", memory},
		{"Errors", stickyErrors},
		{"Cast", casts},
		{"Embedding", embeddings},
		{"RMSNorm", rmsNorms},
		{"LayerNorm", layerNorms},
		{"RoPE", ropes},
		{"Activation", activations},
		{"Dropout", dropouts},
		{"Add", additions},
		{"CopyBlocks", blockCopies},
		{"ScaleColumns", columnScales},
		{"RowNorm", rowNorms},
		{"Linear", linears},
		{"Quantize4", quantised},
		{"Attention", attentions},
		{"CrossEntropy", crossEntropies},
		{"AdamW", adamWs},
		{"AdamW8", adamW8s},
		{"Norms", norms},
		{"Determinism", repeats},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t)
			b := newBench(t, d, tol)
			c.run(b)
			b.synced()
			b.free()
			if used := d.Memory().Used; used < 0 {
				t.Errorf("memory account is negative: %d", used)
			}
			if err := d.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// bench is one check's device, with what it allocated and its source of numbers.
type bench struct {
	*testing.T
	compute.Device
	tol     Tolerances
	rng     *rand.Rand
	buffers []compute.Buffer
}

func newBench(t *testing.T, d compute.Device, tol Tolerances) *bench {
	return &bench{T: t, Device: d, tol: tol, rng: rand.New(rand.NewPCG(1, 2))}
}

// sub runs one named case with the bench's device.
func (b *bench) sub(name string, f func(*bench)) {
	b.Helper()
	b.T.Run(name, func(t *testing.T) {
		s := *b
		s.T, s.buffers = t, nil
		f(&s)
		s.synced()
		s.free()
	})
}

func (b *bench) free() {
	for _, x := range b.buffers {
		x.Free()
	}
	b.buffers = nil
}

// synced fails if an operation did.
func (b *bench) synced() {
	b.Helper()
	if err := b.Sync(); err != nil {
		b.Fatalf("device: %v", err)
	}
}

func (b *bench) alloc(t compute.DType, n int) compute.Buffer {
	b.Helper()
	x, err := b.Alloc(t, n)
	if err != nil {
		b.Fatal(err)
	}
	b.buffers = append(b.buffers, x)
	return x
}

// zeros is a float32 buffer of n zeros.
func (b *bench) zeros(n int) compute.Buffer { return b.alloc(compute.F32, n) }

// garbage is a float32 buffer that an operation has to overwrite.
func (b *bench) garbage(n int) compute.Buffer {
	x := make([]float64, n)
	for i := range x {
		x[i] = math.NaN()
	}
	return b.put(x)
}

func (b *bench) put(x []float64) compute.Buffer {
	y := b.zeros(len(x))
	compute.Upload(b.Device, y, singles(x))
	return y
}

func (b *bench) ints(x []int32) compute.Buffer {
	y := b.alloc(compute.I32, len(x))
	compute.Upload(b.Device, y, x)
	return y
}

func (b *bench) get(x compute.Buffer) []float64 {
	return doubles(compute.Download[float32](b.Device, x))
}

// normal are n normally distributed numbers that float32 holds exactly.
func (b *bench) normal(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(float32(b.rng.NormFloat64()))
	}
	return x
}

// uniform are n numbers in [lo, hi) that float32 holds exactly.
func (b *bench) uniform(n int, lo, hi float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(float32(lo + (hi-lo)*b.rng.Float64()))
	}
	return x
}

// close compares a buffer with what it should hold.
func (b *bench) close(name string, got compute.Buffer, want []float64, tol float64) {
	b.Helper()
	b.closeTo(name, b.get(got), want, tol)
}

func (b *bench) closeTo(name string, got, want []float64, tol float64) {
	b.Helper()
	b.closeScaled(name, got, want, tol, rms(want))
}

// closeScaled is closeTo for results that are differences of larger terms: scale is their size.
func (b *bench) closeScaled(name string, got, want []float64, tol, scale float64) {
	b.Helper()
	if len(got) != len(want) {
		b.Fatalf("%s holds %d elements, want %d", name, len(got), len(want))
	}
	worst, at := 0.0, -1
	for i := range want {
		e := math.Abs(got[i]-want[i]) / (math.Abs(want[i]) + scale + 1e-30)
		if math.IsNaN(got[i]) || e > worst {
			worst, at = e, i
			if math.IsNaN(got[i]) {
				worst = math.Inf(1)
				break
			}
		}
	}
	if worst > tol {
		b.Errorf("%s[%d] is %v, want %v: off by %.2g relative to size and value, tolerance %.2g", name, at, got[at], want[at], worst, tol)
	}
}

// equal compares bits.
func (b *bench) equal(name string, got, want []float32) {
	b.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			b.Errorf("%s[%d] is %v (%#08x), want exactly %v (%#08x)", name, i, got[i], math.Float32bits(got[i]),
				want[i], math.Float32bits(want[i]))
			return
		}
	}
}

func rms(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := 0.0
	for _, v := range x {
		s += v * v
	}
	return math.Sqrt(s / float64(len(x)))
}

func singles(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

func doubles(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// plus is x + s·y.
func plus(x []float64, s float64, y []float64) []float64 {
	z := make([]float64, len(x))
	for i := range x {
		z[i] = x[i] + s*y[i]
	}
	return z
}

func dot(x, y []float64) float64 {
	s := 0.0
	for i := range x {
		s += x[i] * y[i]
	}
	return s
}

// slope is the gradient of f at x by central differences of fourth order: with h = 1e-3 its error is near 1e-11 for the
// smooth functions here, far below float32.
func slope(f func([]float64) float64, x []float64) []float64 {
	const h = 1e-3
	g := make([]float64, len(x))
	y := append([]float64(nil), x...)
	for i, v := range x {
		at := func(d float64) float64 { y[i] = v + d*h; return f(y) }
		g[i] = (8*(at(1)-at(-1)) - (at(2) - at(-2))) / (12 * h)
		y[i] = v
	}
	return g
}
