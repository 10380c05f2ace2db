package cuda_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
)

// memory hands out buffers of one device, each a view from off elements on.
type memory struct {
	*testing.T
	compute.Device
	off int
	rng *rand.Rand
}

func newMemory(t *testing.T, d compute.Device, off int) *memory {
	return &memory{t, d, off, rand.New(rand.NewPCG(3, 4))}
}

func (m *memory) empty(dtype compute.DType, n int) compute.Buffer {
	b, err := m.Alloc(dtype, n+m.off)
	if err != nil {
		m.Fatal(err)
	}
	return b.Slice(m.off, n)
}

func (m *memory) zeros(n int) compute.Buffer { return m.empty(compute.F32, n) }

func (m *memory) normal(n int) compute.Buffer {
	b, x := m.zeros(n), make([]float32, n)
	for i := range x {
		x[i] = float32(m.rng.NormFloat64())
	}
	compute.Upload(m.Device, b, x)
	return b
}

func (m *memory) ints(limit, n int) compute.Buffer {
	b, x := m.empty(compute.I32, n), make([]int32, n)
	for i := range x {
		x[i] = int32(m.rng.IntN(limit))
	}
	compute.Upload(m.Device, b, x)
	return b
}

// rowOperations runs every operation on rows of c and returns the bytes of each result.
func rowOperations(m *memory, n, c int) map[string][]float32 {
	results := map[string][]float32{}
	keep := func(name string, buffers ...compute.Buffer) {
		for _, b := range buffers {
			results[name] = append(results[name], compute.Download[float32](m.Device, b)...)
		}
	}
	x, dy, w, bias := m.normal(n*c), m.normal(n*c), m.normal(c), m.normal(c)
	y, mean, rstd := m.zeros(n*c), m.zeros(n), m.zeros(n)
	dx, dw, db := m.normal(n*c), m.normal(c), m.normal(c)
	m.RMSNorm(compute.RMSNorm{Y: y, X: x, RStd: rstd, W: w, N: n, C: c, Eps: 1e-5, Offset: 1})
	m.RMSNormBackward(compute.RMSNormBackward{DX: dx, DY: dy, X: x, RStd: rstd, W: w, DW: dw, N: n, C: c, Offset: 1, Accumulate: true})
	keep("RMSNorm", y, rstd, dx, dw)
	m.LayerNorm(compute.LayerNorm{Y: y, X: x, Mean: mean, RStd: rstd, W: w, Bias: bias, N: n, C: c, Eps: 1e-5})
	m.LayerNormBackward(compute.LayerNormBackward{DX: dx, DY: dy, X: x, Mean: mean, RStd: rstd, W: w, DW: dw, DBias: db, N: n, C: c, Accumulate: true})
	keep("LayerNorm", y, mean, rstd, dx, dw, db)
	m.ScaleColumns(compute.ScaleColumns{Y: y, X: x, S: w, N: n, C: c, Accumulate: true})
	m.ScaleColumnsBackward(compute.ScaleColumnsBackward{DX: dx, DY: dy, X: x, S: w, DS: dw, N: n, C: c})
	keep("ScaleColumns", y, dx, dw)
	m.CopyBlocks(compute.CopyBlocks{Dst: y, Src: x, N: n, Groups: 2, Width: c/2 - 4, DstWidth: c / 2, DstAt: 4, SrcWidth: c / 2})
	keep("CopyBlocks", y)
	ids := m.ints(n, n)
	m.Embedding(compute.Embedding{Y: y, Table: x, IDs: ids, N: n, C: c, Scale: 3})
	m.EmbeddingBackward(compute.EmbeddingBackward{DTable: dx, DY: dy, IDs: ids, N: n, C: c, Scale: 3})
	half := m.empty(compute.BF16, n*c)
	m.Cast(half, x)
	m.Cast(y, half)
	keep("Embedding, Cast", y, dx)
	cos, sin := m.normal(n*c/4), m.normal(n*c/4)
	for _, interleaved := range []bool{false, true} {
		m.RoPE(compute.RoPE{X: x, Cos: cos, Sin: sin, Positions: m.ints(n, n), N: n, H: 2, D: c / 2, Rotary: c / 2, Interleaved: interleaved, Inverse: true})
	}
	keep("RoPE", x)
	for act := compute.SiLU; act <= compute.LeakyReLU; act++ {
		m.GatedActivation(compute.GatedActivation{Y: y, Gate: x, Up: dy, Act: act})
		m.GatedActivationBackward(compute.GatedActivationBackward{DGate: dx, DUp: dy, DY: y, Gate: x, Up: dy, Act: act})
		keep("GatedActivation", y, dx, dy)
		m.Activation(compute.Activation{Y: y, X: x, Act: act})
		m.ActivationBackward(compute.ActivationBackward{DX: dx, DY: y, X: x, Act: act})
		keep("Activation", y, dx)
	}
	m.Dropout(compute.Dropout{Y: y, X: x, P: 0.3, Scale: 2, Seed: 5, Stream: 6, Accumulate: true})
	m.Add(compute.Add{Y: dx, A: x, B: y, Scale: 0.1})
	keep("Dropout, Add", y, dx)
	if err := m.Sync(); err != nil {
		m.Fatal(err)
	}
	return results
}

// A view may begin at any element; kernels then take the path of single elements, whose sums have the same order.
func TestViewsGiveTheSameBits(t *testing.T) {
	d := open(t)
	defer d.Close()
	want := rowOperations(newMemory(t, d, 0), 70, 48)
	for name, got := range rowOperations(newMemory(t, d, 1), 70, 48) {
		sameBits(t, name, got, want[name])
	}
}

// Rows that do not fit in registers, and rows between powers of two, against the CPU.
func TestLongRows(t *testing.T) {
	host, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	d := open(t)
	defer d.Close()
	for _, c := range []int{2564, 8192 + 516} {
		want := rowOperations(newMemory(t, host, 0), 2, c)
		for name, got := range rowOperations(newMemory(t, d, 0), 2, c) {
			near(t, fmt.Sprint(name, " of ", c), got, want[name])
		}
	}
}

// near allows 3e-6 of a value and of the largest one, some roundings of sums in two orders.
func near(t *testing.T, name string, got, want []float32) {
	t.Helper()
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	for i, w := range want {
		if diff := math.Abs(float64(got[i]) - float64(w)); !(diff <= 3e-6*(math.Abs(float64(w))+largest)) {
			t.Errorf("%s: element %d is %g, want %g", name, i, got[i], w)
			return
		}
	}
}

func sameBits(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i, w := range want {
		if math.Float32bits(got[i]) != math.Float32bits(w) {
			t.Errorf("%s: element %d is %g (%#x), want exactly %g (%#x)", name, i, got[i], math.Float32bits(got[i]), w, math.Float32bits(w))
			return
		}
	}
}

// The 8-bit optimiser's codes, scales and parameters are the CPU's to the bit, which are bitsandbytes', wherever the views begin.
func TestAdamW8IsTheCPUs(t *testing.T) {
	host, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	d := open(t)
	defer d.Close()
	codes, numbers := adamW8Steps(newMemory(t, host, 0))
	for off := range 2 {
		gotCodes, gotNumbers := adamW8Steps(newMemory(t, d, off))
		sameBits(t, fmt.Sprint("parameters and scales at ", off), gotNumbers, numbers)
		if !slices.Equal(gotCodes, codes) {
			t.Errorf("codes differ from the CPU's where views begin at %d", off)
		}
	}
}

// adamW8Steps takes three steps over tensors of several sizes.
func adamW8Steps(m *memory) (codes []byte, numbers []float32) {
	signed, unsigned := compute.DynamicMap(), compute.DynamicMapUnsigned()
	args := compute.AdamW8{Signed: m.zeros(256), Unsigned: m.zeros(256), LR: 1e-2, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, GradScale: 0.5}
	compute.Upload(m.Device, args.Signed, signed[:])
	compute.Upload(m.Device, args.Unsigned, unsigned[:])
	for _, n := range []int{1, 0, 255, 257, 9001} {
		scales := (n + compute.AdamW8Block - 1) / compute.AdamW8Block
		args.Tensors = append(args.Tensors, compute.AdamW8Tensor{
			Param: m.normal(n), Grad: m.zeros(n), M: m.empty(compute.U8, n), V: m.empty(compute.U8, n),
			MAbsmax: m.zeros(scales), VAbsmax: m.zeros(scales), WeightDecay: 0.1,
		})
	}
	for args.Step = 1; args.Step <= 3; args.Step++ {
		for _, t := range args.Tensors {
			m.Copy(t.Grad, m.normal(t.Grad.Len()))
		}
		m.AdamW8(args)
	}
	for _, t := range args.Tensors {
		codes = append(append(codes, compute.Download[uint8](m.Device, t.M)...), compute.Download[uint8](m.Device, t.V)...)
		for _, b := range []compute.Buffer{t.Param, t.MAbsmax, t.VAbsmax} {
			numbers = append(numbers, compute.Download[float32](m.Device, b)...)
		}
	}
	if err := m.Sync(); err != nil {
		m.Fatal(err)
	}
	return codes, numbers
}

// A scatter of more rows than one block sorts, with ids that come hundreds of times, once and never, adds in the CPU's order.
func TestScatterIsTheCPUs(t *testing.T) {
	host, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	d := open(t)
	defer d.Close()
	scatter := func(m *memory) []float32 {
		const n, c, words = 1100, 12, 4000
		ids := make([]int32, n)
		for i := range ids {
			if ids[i] = 17; i%3 > 0 {
				ids[i] = int32(m.rng.IntN(words))
			}
		}
		at := m.empty(compute.I32, n)
		compute.Upload(m.Device, at, ids)
		table := m.normal(words * c)
		m.EmbeddingBackward(compute.EmbeddingBackward{DTable: table, DY: m.normal(n * c), IDs: at, N: n, C: c, Scale: 0.3})
		if err := m.Sync(); err != nil {
			m.Fatal(err)
		}
		return compute.Download[float32](m.Device, table)
	}
	sameBits(t, "DTable", scatter(newMemory(t, d, 0)), scatter(newMemory(t, host, 0)))
}
