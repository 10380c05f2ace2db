package computetest

import (
	"hash/fnv"
	"math"
	"testing"

	"lathe/compute"
)

// repeats: the same operations give the same bits twice.
func repeats(b *bench) {
	first, second := Digest(b.T, b.Device), Digest(b.T, b.Device)
	for name, sum := range first {
		if second[name] != sum {
			b.Errorf("%s: other bits the second time", name)
		}
	}
}

// Digest runs operations at sizes that every thread gets a share of and returns a hash of each result, for comparing
// numbers of threads, runs and builds.
func Digest(t *testing.T, d compute.Device) map[string]uint64 {
	const n, c, h, kv, v, rank = 300, 192, 6, 2, 1000, 8
	b := newBench(t, d, Float32())
	defer b.free()
	sums := map[string]uint64{}
	note := func(name string, x ...compute.Buffer) {
		hash := fnv.New64a()
		for _, x := range x {
			hash.Write(compute.Bytes(compute.Download[float32](d, x)))
		}
		sums[name] = hash.Sum64()
	}
	X, W, DY, R := b.put(b.normal(n*c)), b.put(b.normal(c)), b.put(b.normal(n*c)), b.zeros(n)
	y, dx, dw := b.zeros(n*c), b.zeros(n*c), b.zeros(c)
	d.RMSNorm(compute.RMSNorm{Y: y, X: X, RStd: R, W: W, N: n, C: c, Eps: 1e-5})
	d.RMSNormBackward(compute.RMSNormBackward{DX: dx, DY: DY, X: X, RStd: R, W: W, DW: dw, N: n, C: c})
	note("RMSNorm", y, R, dx, dw)

	shape := compute.AttentionShape{
		Spans: []compute.Span{{QLen: 100, KLen: 100}, {QStart: 100, QLen: 200, KStart: 100, KLen: 200}},
		NQ:    n, NK: n, H: h, KV: kv, D: c / h, Scale: float32(1 / math.Sqrt(c/h)),
	}
	lse, dk, dv := b.zeros(n*h), b.zeros(n*c/h*kv), b.zeros(n*c/h*kv)
	K, V := X.Slice(0, n*c/h*kv), X.Slice(n*c/h*kv, n*c/h*kv)
	d.Attention(compute.Attention{AttentionShape: shape, Out: y, LSE: lse, Q: DY, K: K, V: V})
	note("Attention", y, lse)
	d.AttentionBackward(compute.AttentionBackward{AttentionShape: shape, DQ: dx, DK: dk, DV: dv, DOut: X, Out: y, LSE: lse, Q: DY, K: K, V: V})
	note("AttentionBackward", dx, dk, dv)

	for _, kind := range []string{"float32", "nf4 double", "fp4"} {
		w, _ := b.weight(kind, c, c)
		low := &compute.LowRank{R: rank, U: b.put(b.normal(n * rank)), V: b.put(b.normal(c * rank)), Scale: 2}
		d.Linear(compute.Linear{Y: y, X: X, N: n, W: w, Bias: W, LowRank: low})
		d.LinearBackwardInput(compute.LinearBackwardInput{DX: dx, DY: DY, N: n, W: w, LowRank: low})
		note("Linear "+kind, y, dx)
	}
	scaled := b.zeros(n * c)
	d.CopyBlocks(compute.CopyBlocks{Dst: scaled, Src: X, N: n, Groups: h, Width: c/h - 3, DstWidth: c / h, DstAt: 3, SrcWidth: c / h})
	d.ScaleColumns(compute.ScaleColumns{Y: scaled, X: X, S: W, N: n, C: c, Accumulate: true})
	d.ScaleColumnsBackward(compute.ScaleColumnsBackward{DX: dx, DY: scaled, X: X, S: W, DS: dw, N: n, C: c})
	note("CopyBlocks, ScaleColumns", scaled, dx, dw)
	for _, kind := range []string{"float32", "nf4 double"} {
		w, _ := b.weight(kind, c, c)
		lengths := b.zeros(c)
		d.RowNorm(compute.RowNorm{Y: lengths, W: w, LowRank: &compute.LowRank{R: rank, U: b.put(b.normal(rank * c)), V: b.put(b.normal(c * rank)), Scale: 2}})
		note("RowNorm "+kind, lengths)
	}

	grad := b.zeros(c * c)
	d.LinearBackwardWeight(compute.LinearBackwardWeight{DW: grad, DBias: dw, DY: DY, X: X, N: n, Out: c, In: c, Scale: 1})
	note("LinearBackwardWeight", grad, dw)

	labels := make([]int32, n)
	for i := range labels {
		labels[i] = int32(b.rng.IntN(v))
	}
	head, _ := b.weight("float32", v, c)
	logprobs, dHead := b.zeros(n), b.zeros(v*c)
	d.LinearCrossEntropy(compute.LinearCrossEntropy{X: X, W: head, Labels: b.ints(labels), N: n, LogProbs: logprobs, DX: dx, DW: dHead, GradScale: 1})
	note("LinearCrossEntropy", logprobs, dx, dHead)

	d.GatedActivation(compute.GatedActivation{Y: y, Gate: X, Up: DY, Act: compute.SiLU})
	d.Dropout(compute.Dropout{Y: y, X: y, P: 0.1, Scale: 1, Seed: 1, Stream: 2})
	note("GatedActivation, Dropout", y)
	m, s := b.zeros(n*c), b.zeros(n*c)
	d.AdamW(compute.AdamW{
		Tensors: []compute.AdamWTensor{{Param: y, Grad: X, M: m, V: s, WeightDecay: 0.1}}, LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1, GradScale: 1,
	})
	note("AdamW", y, m, s)
	sums["GlobalNorm"] = math.Float64bits(d.GlobalNorm([]compute.Buffer{y, m, s}))
	b.synced()
	return sums
}
