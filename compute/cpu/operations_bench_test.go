//go:build unix

package cpu

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"lathe/compute"
)

// Run with: go test -run '^$' -bench Operations -benchtime 60ms ./compute/cpu
//
// Machines differ and are noisy, so the figures to look at are shares: %fma is the best run's share of the rate of multiply-adds in
// registers (for products in bfloat16 of the tier's instruction for those, where it has one), measured in the same second, %copy that of
// a copy's bytes a second, where every buffer counts once. On a busy machine run one thread: then the process's CPU time is taken, which
// does not count what other processes do.
func BenchmarkOperations(b *testing.B) {
	for i, tier := range Tiers() {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d threads", tier, threads), func(b *testing.B) {
				d := open(b, tier, threads)
				s := newBenchStep(b, d)
				cases := append(s.few(), append(s.products(compute.F32), s.others()...)...)
				switch {
				case i >= len(tiers)-2: // the same kernels as the tier below, but for products in bfloat16
					cases = s.products(compute.BF16)
				case i == 2:
					cases = append(cases, s.products(compute.BF16)...)
				}
				copied := s.copyRate()
				for _, c := range cases {
					b.Run(c.name, func(b *testing.B) { c.bench(b, d, copied) })
				}
			})
		}
	}
}

// benchmarkCase is an operation, the arithmetic it does and the bytes it moves.
type benchmarkCase struct {
	name         string
	flops, bytes float64
	run          func()
	bf16         bool
}

func (c benchmarkCase) bench(b *testing.B, d *Device, copied float64) {
	rate := d.fmaRate
	if c.bf16 && d.bf16Rate(time.Millisecond) > 0 {
		rate = d.bf16Rate
	}
	c.run()
	peak, best := rate(20*time.Millisecond), time.Hour
	for b.Loop() {
		start := now(b, d)
		c.run()
		best = min(best, now(b, d)-start)
	}
	peak = max(peak, rate(20*time.Millisecond))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(best.Seconds()*1e3, "ms")
	if c.flops > 0 {
		b.ReportMetric(c.flops/best.Seconds()/1e9, "GFLOP/s")
		b.ReportMetric(100*c.flops/best.Seconds()/peak, "%fma")
	}
	if c.bytes > 0 {
		b.ReportMetric(c.bytes/best.Seconds()/1e9, "GB/s")
		b.ReportMetric(100*c.bytes/best.Seconds()/copied, "%copy")
	}
	if err := d.Sync(); err != nil {
		b.Fatal(err)
	}
}

// now is the time since some start, once all operations are done: CPU time with one thread, else wall time.
func now(b *testing.B, d *Device) time.Duration {
	d.Finish()
	if d.threads > 1 {
		return time.Since(benchmarkStart)
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

var benchmarkStart = time.Now()

// The shape of the model that speed is judged on, a llama of 60 M parameters with LoRA r 16, on a piece of a batch (rule.PieceTokens).
const (
	benchTokens             = 1024
	benchHidden, benchInner = 640, 1728
	benchWords, benchRank   = 8192, 16
	benchHeads, benchSize   = 10, 64
)

// benchStep has room for the operands of each operation.
type benchStep struct {
	b    *testing.B
	d    *Device
	rand *rand.Rand

	narrow, narrow2, wide, wide2, wide3 compute.Buffer // [tokens,hidden] and [tokens,inner]
	logits                              compute.Buffer // [tokens,words]
	low, a, bt, gradient                compute.Buffer // [tokens,rank], [rank,inner], [inner,rank], [inner,hidden]
}

func newBenchStep(b *testing.B, d *Device) *benchStep {
	s := &benchStep{b: b, d: d, rand: rand.New(rand.NewPCG(1, 2))}
	const thin, thick = benchTokens * benchHidden, benchTokens * benchInner
	s.narrow, s.narrow2 = s.buffer(thin), s.buffer(thin)
	s.wide, s.wide2, s.wide3, s.logits = s.buffer(thick), s.buffer(thick), s.buffer(thick), s.buffer(benchTokens*benchWords)
	s.low, s.a, s.bt = s.buffer(benchTokens*benchRank), s.buffer(benchRank*benchInner), s.buffer(benchInner*benchRank)
	s.gradient = s.buffer(benchInner * benchHidden)
	return s
}

func (s *benchStep) buffer(n int) compute.Buffer { return upload(s.b, s.d, uniform(s.rand, n)) }

// activation is a buffer for rows of that width.
func (s *benchStep) activation(width int) compute.Buffer {
	switch width {
	case benchHidden:
		return s.narrow
	case benchInner:
		return s.wide
	case benchRank:
		return s.low
	}
	return s.logits
}

// result is another one.
func (s *benchStep) result(width int) compute.Buffer {
	switch width {
	case benchHidden:
		return s.narrow2
	case benchInner:
		return s.wide2
	}
	return s.activation(width)
}

// copyRate is a copy's bytes a second, read and written.
func (s *benchStep) copyRate() float64 {
	best := time.Hour
	for range 10 {
		start := now(s.b, s.d)
		s.d.Copy(s.wide, s.wide2)
		best = min(best, now(s.b, s.d)-start)
	}
	return 8 * float64(s.wide.Len()) / best.Seconds()
}

// products are those of one block, of the head and of LoRA.
func (s *benchStep) products(t compute.DType) (cases []benchmarkCase) {
	add := func(name string, out, in int, bytes float64, run func()) {
		name = fmt.Sprintf("%s/%s %d×%d", map[compute.DType]string{compute.F32: "float32", compute.BF16: "bfloat16"}[t], name, out, in)
		cases = append(cases, benchmarkCase{name, 2 * benchTokens * float64(out) * float64(in), bytes, run, t == compute.BF16})
	}
	for _, shape := range [][2]int{{benchHidden, benchHidden}, {benchInner, benchHidden}, {benchHidden, benchInner}, {benchWords, benchHidden}} {
		out, in := shape[0], shape[1]
		values := uniform(s.rand, out*in)
		for _, kind := range []string{"float32", "nf4 double quantised"} {
			if kind != "float32" && out != benchInner {
				continue
			}
			w := newWeight(s.b, s.d, kind, out, in, values).Weight
			bytes := 4*benchTokens*float64(out+in) + float64(w.Bytes())
			add("forward, "+kind, out, in, bytes, func() {
				s.d.Linear(compute.Linear{Y: s.result(out), X: s.activation(in), N: benchTokens, W: w, Compute: t})
			})
			add("input gradient, "+kind, out, in, bytes, func() {
				s.d.LinearBackwardInput(compute.LinearBackwardInput{DX: s.result(in), DY: s.activation(out), N: benchTokens, W: w, Compute: t})
			})
		}
		if out == benchInner {
			add("weight gradient", out, in, 4*benchTokens*float64(out+in)+8*float64(out*in), func() {
				s.d.LinearBackwardWeight(compute.LinearBackwardWeight{
					DW: s.gradient, DY: s.activation(out), X: s.activation(in), N: benchTokens, Out: out, In: in, Scale: 1e-3, Compute: t,
				})
			})
		}
	}
	if t == compute.F32 {
		return append(cases, s.thin()...)
	}
	return cases
}

// few are the products of short rows alone, whose weights come from memory: each call takes the next of many.
func (s *benchStep) few() (cases []benchmarkCase) {
	const out, in, many = benchInner, benchHidden, 24
	var lies, packed [many]compute.Weight
	values := uniform(s.rand, out*in)
	for i := range many {
		lies[i] = newWeight(s.b, s.d, "float32", out, in, values).Weight
		packed[i] = newWeight(s.b, s.d, "nf4 double quantised", out, in, values).Weight
	}
	for _, n := range []int{32, 64, 128} {
		add := func(name string, run func(w compute.Weight), weights [many]compute.Weight) {
			next := 0
			cases = append(cases, benchmarkCase{fmt.Sprintf("few/%s, %d rows", name, n), 2 * float64(n*out*in), 0, func() {
				run(weights[next%many])
				next++
			}, false})
		}
		forward := func(w compute.Weight) {
			s.d.Linear(compute.Linear{Y: s.wide2.Slice(0, n*out), X: s.narrow.Slice(0, n*in), N: n, W: w})
		}
		backward := func(w compute.Weight) {
			s.d.LinearBackwardInput(compute.LinearBackwardInput{DX: s.narrow2.Slice(0, n*in), DY: s.wide.Slice(0, n*out), N: n, W: w})
		}
		add("forward, float32", forward, lies)
		add("forward, 4 bits", forward, packed)
		add("input gradient, float32", backward, lies)
		add("input gradient, 4 bits", backward, packed)
	}
	return cases
}

// thin are LoRA's own products, which are float32's in any step.
func (s *benchStep) thin() (cases []benchmarkCase) {
	const n, r = benchTokens, benchRank
	for _, width := range []int{benchHidden, benchInner} {
		x := s.activation(width)
		down, up := compute.Weight{Out: r, In: width, Data: s.a.Slice(0, r*width)}, compute.Weight{Out: width, In: r, Data: s.bt.Slice(0, r*width)}
		add := func(name string, run func()) {
			cases = append(cases, benchmarkCase{
				name: fmt.Sprintf("lora/%s %d", name, width), flops: 2 * n * r * float64(width), bytes: 4 * n * float64(r+width), run: run,
			})
		}
		add("x·Aᵀ", func() { s.d.Linear(compute.Linear{Y: s.low, X: x, N: n, W: down}) })
		add("dy·B", func() { s.d.LinearBackwardInput(compute.LinearBackwardInput{DX: s.low, DY: x, N: n, W: up}) })
		add("dA", func() {
			s.d.LinearBackwardWeight(compute.LinearBackwardWeight{DW: down.Data, DY: s.low, X: x, N: n, Out: r, In: width, Scale: 1e-6})
		})
		add("dB", func() {
			s.d.LinearBackwardWeight(compute.LinearBackwardWeight{DW: up.Data, DY: x, X: s.low, N: n, Out: width, In: r, Scale: 1e-6})
		})
	}
	return cases
}

// others are attention and what waits for memory.
func (s *benchStep) others() []benchmarkCase {
	const n, c, inner = benchTokens, benchHidden, benchInner
	w, rstd := s.buffer(c), s.buffer(n)
	rows, thick := 4.0*n*c, 4.0*n*inner
	labels := make([]int32, n)
	for i := range labels {
		labels[i] = int32(i * 31 % benchWords)
	}
	targets, err := compute.From(s.d, labels)
	if err != nil {
		s.b.Fatal(err)
	}
	cos, sin := s.buffer(benchWords*benchSize/2), s.buffer(benchWords*benchSize/2)
	m, v := s.buffer(n*inner), upload(s.b, s.d, make([]float32, n*inner))
	tensors := []compute.AdamWTensor{{Param: s.wide3, Grad: s.wide2, M: m, V: v}}
	cases := append(s.attention("512", 512, 512), s.attention("146 and others", 146, 61, 210, 98, 187, 120, 202)...)
	each := func(name string, bytes float64, run func()) {
		cases = append(cases, benchmarkCase{name: name, bytes: bytes, run: run})
	}
	each("RMSNorm", 2*rows, func() {
		s.d.RMSNorm(compute.RMSNorm{Y: s.narrow2, X: s.narrow, RStd: rstd, W: w, N: n, C: c, Eps: 1e-5})
	})
	each("RMSNormBackward", 4*rows, func() {
		s.d.RMSNormBackward(compute.RMSNormBackward{
			DX: s.narrow2, DY: s.wide.Slice(0, n*c), X: s.narrow, RStd: rstd, W: w, N: n, C: c, Accumulate: true,
		})
	})
	each("RoPE", 2*rows, func() {
		s.d.RoPE(compute.RoPE{X: s.narrow, Cos: cos, Sin: sin, Positions: targets, N: n, H: benchHeads, D: benchSize, Rotary: benchSize})
	})
	each("GatedActivation", 3*thick, func() { s.d.GatedActivation(compute.GatedActivation{Y: s.wide3, Gate: s.wide, Up: s.wide2}) })
	each("GatedActivationBackward", 5*thick, func() {
		s.d.GatedActivationBackward(compute.GatedActivationBackward{DGate: s.wide3, DUp: m, DY: s.wide3, Gate: s.wide, Up: s.wide2})
	})
	each("Add", 3*rows, func() { s.d.Add(compute.Add{Y: s.narrow2, A: s.narrow, B: s.narrow2, Scale: 1e-6}) })
	each("Copy", 2*thick, func() { s.d.Copy(s.wide3, s.wide) })
	each("AdamW", 7*thick, func() {
		s.d.AdamW(compute.AdamW{Tensors: tensors, LR: 1e-4, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, GradScale: 1})
	})
	each("GlobalNorm", thick, func() { s.d.GlobalNorm([]compute.Buffer{s.wide}) })
	return cases
}

// attention is that of sequences of some lengths.
func (s *benchStep) attention(name string, lengths ...int) []benchmarkCase {
	const c = benchHeads * benchSize
	n, pairs := 0, 0.0
	shape := compute.AttentionShape{H: benchHeads, KV: benchHeads, D: benchSize, Scale: 0.125}
	for _, length := range lengths {
		shape.Spans = append(shape.Spans, compute.Span{QStart: n, QLen: length, KStart: n, KLen: length})
		n, pairs = n+length, pairs+float64(length*(length+1)/2)
	}
	shape.NQ, shape.NK = n, n
	var x [8]compute.Buffer
	for i := range x {
		x[i] = s.buffer(n * c)
	}
	lse := s.buffer(n * benchHeads)
	return []benchmarkCase{
		{name: "Attention " + name, flops: 4 * pairs * c, run: func() {
			s.d.Attention(compute.Attention{AttentionShape: shape, Out: x[0], LSE: lse, Q: x[1], K: x[2], V: x[3]})
		}},
		{name: "AttentionBackward " + name, flops: 10 * pairs * c, run: func() {
			s.d.AttentionBackward(compute.AttentionBackward{
				AttentionShape: shape, DQ: x[4], DK: x[5], DV: x[6], DOut: x[7], Out: x[0], LSE: lse, Q: x[1], K: x[2], V: x[3],
			})
		}},
	}
}
