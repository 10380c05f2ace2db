package cpu_test

import (
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
)

// The shape of the model that speed is judged on: a llama of 60 M parameters on a batch of four sequences.
const (
	benchSpans, benchLength = 4, 512
	benchRows               = benchSpans * benchLength
	benchHidden, benchInner = 640, 1728
	benchHeads, benchSize   = 10, 64
	benchWords              = 32000
)

// BenchmarkOperations times every operation that a training step consists of, at the size it has there. "peak" is the share
// of the float32 product's rate, measured just before, that an operation's own floating-point operations reach; "ms" its
// time. Run it with -benchtime 20x -cpu 1.
func BenchmarkOperations(b *testing.B) {
	d, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	peak, err := d.MeasurePeak()
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%s, %s, %d threads: %.0f GFLOP/s in products, %.0f in registers", d.Info().Name, d.Info().Tier, d.Info().Threads, peak.SGEMM, peak.FMA)
	for _, op := range benchOperations(b, d) {
		b.Run(op.name, func(b *testing.B) {
			op.run()
			b.ResetTimer()
			for range b.N {
				op.run()
			}
			if err := d.Sync(); err != nil {
				b.Fatal(err)
			}
			seconds := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(seconds*1e3, "ms")
			if op.flop > 0 {
				b.ReportMetric(op.flop/seconds/1e9, "GFLOP/s")
				b.ReportMetric(100*op.flop/seconds/1e9/peak.SGEMM, "%peak")
			}
		})
	}
}

type benchOperation struct {
	name string
	flop float64
	run  func()
}

func benchOperations(b *testing.B, d *cpu.Device) []benchOperation {
	alloc := func(n int) compute.Buffer {
		x, err := d.Alloc(compute.F32, n)
		if err != nil {
			b.Fatal(err)
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i*7919%2001)/1000 - 1
		}
		compute.Upload(d, x, values)
		return x
	}
	const n, c, inner = benchRows, benchHidden, benchInner
	x, y, dy, dx := alloc(n*c), alloc(n*c), alloc(n*c), alloc(n*c)
	q, k, v, dq, dk, dv := alloc(n*c), alloc(n*c), alloc(n*c), alloc(n*c), alloc(n*c), alloc(n*c)
	gate, up, mid := alloc(n*inner), alloc(n*inner), alloc(n*inner)
	w, rstd, lse := alloc(c), alloc(n), alloc(n*benchHeads)
	shape := compute.AttentionShape{NQ: n, NK: n, H: benchHeads, KV: benchHeads, D: benchSize, Scale: 0.125}
	for i := range benchSpans {
		shape.Spans = append(shape.Spans, compute.Span{QStart: i * benchLength, QLen: benchLength, KStart: i * benchLength, KLen: benchLength})
	}
	cos, sin := alloc(benchLength*benchSize/2), alloc(benchLength*benchSize/2)
	positions, labels := make([]int32, n), make([]int32, n)
	for i := range positions {
		positions[i], labels[i] = int32(i%benchLength), int32(i*31%benchWords)
	}
	at, _ := compute.From(d, positions)
	targets, _ := compute.From(d, labels)
	head, square := alloc(benchWords*c), alloc(c*c)
	logprobs := alloc(n)
	low := &compute.LowRank{R: 16, U: alloc(n * 16), V: alloc(c * 16), Scale: 2}
	pairs := float64(benchSpans*benchLength*(benchLength+1)/2) * c // multiply-adds of one causal product
	return []benchOperation{
		{"Linear", 2 * n * c * (c + 16), func() {
			d.Linear(compute.Linear{Y: y, X: x, N: n, W: compute.Weight{Out: c, In: c, Data: square}, LowRank: low})
		}},
		{"Attention", 4 * pairs, func() {
			d.Attention(compute.Attention{AttentionShape: shape, Out: y, LSE: lse, Q: q, K: k, V: v})
		}},
		{"AttentionBackward", 10 * pairs, func() {
			d.AttentionBackward(compute.AttentionBackward{
				AttentionShape: shape, DQ: dq, DK: dk, DV: dv, DOut: dy, Out: y, LSE: lse, Q: q, K: k, V: v,
			})
		}},
		{"RMSNorm", 0, func() {
			d.RMSNorm(compute.RMSNorm{Y: y, X: x, RStd: rstd, W: w, N: n, C: c, Eps: 1e-5})
		}},
		{"RMSNormBackward", 0, func() {
			d.RMSNormBackward(compute.RMSNormBackward{DX: dx, DY: dy, X: x, RStd: rstd, W: w, N: n, C: c})
		}},
		{"RoPE", 0, func() {
			d.RoPE(compute.RoPE{X: x, Cos: cos, Sin: sin, Positions: at, N: n, H: benchHeads, D: benchSize, Rotary: benchSize})
		}},
		{"GatedActivation", 0, func() { d.GatedActivation(compute.GatedActivation{Y: mid, Gate: gate, Up: up}) }},
		{"GatedActivationBackward", 0, func() {
			d.GatedActivationBackward(compute.GatedActivationBackward{DGate: mid, DUp: gate, DY: mid, Gate: gate, Up: up})
		}},
		{"Dropout", 0, func() { d.Dropout(compute.Dropout{Y: y, X: x, P: 0.05, Scale: 1}) }},
		{"Add", 0, func() { d.Add(compute.Add{Y: y, A: x, B: dy, Scale: 1}) }},
		{"Embedding", 0, func() { d.Embedding(compute.Embedding{Y: y, Table: head, IDs: targets, N: n, C: c, Scale: 1}) }},
		{"LinearCrossEntropy", 4 * n * c * benchWords, func() {
			d.LinearCrossEntropy(compute.LinearCrossEntropy{
				X: x, W: compute.Weight{Out: benchWords, In: c, Data: head}, Labels: targets, N: n, LogProbs: logprobs, DX: dx, GradScale: 1,
			})
		}},
		{"AdamW", 0, func() {
			d.AdamW(compute.AdamW{
				Tensors: []compute.AdamWTensor{{Param: mid, Grad: gate, M: up, V: up}}, LR: 1e-4, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, GradScale: 1,
			})
		}},
		{"GlobalNorm", 0, func() { d.GlobalNorm([]compute.Buffer{gate}) }},
		{"FirstNonFinite", 0, func() { d.FirstNonFinite([]compute.Buffer{gate}) }},
		{"Zero", 0, func() { d.Zero(gate) }},
	}
}
