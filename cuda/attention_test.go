package cuda_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"lathe/compute"
)

// attentionBench holds an attention's operands on the host.
type attentionBench struct {
	t             *testing.T
	d             compute.Device
	shape         compute.AttentionShape
	q, k, v, dout []float32
}

func newAttentionBench(t *testing.T, d compute.Device, s compute.AttentionShape) *attentionBench {
	rng := rand.New(rand.NewPCG(3, 4))
	normal := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return x
	}
	s.Scale = float32(1 / math.Sqrt(float64(s.D)))
	queries, keys := s.NQ*s.H*s.D, s.NK*s.KV*s.D
	return &attentionBench{t, d, s, normal(queries), normal(keys), normal(keys), normal(queries)}
}

// upload puts x on the device, off elements behind the start of a buffer: an address that is no multiple of 16.
func upload(t *testing.T, d compute.Device, x []float32, off int) compute.Buffer {
	t.Helper()
	b, err := d.Alloc(compute.F32, off+len(x))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Free)
	part := b.Slice(off, len(x))
	compute.Upload(d, part, x)
	return part
}

// run is forward and, unless spans share keys, backward over spans: out, lse, dq, dk, dv.
func (b *attentionBench) run(spans []compute.Span, off int, backward bool) [][]float32 {
	b.t.Helper()
	s := b.shape
	s.Spans = spans
	put := func(x []float32) compute.Buffer { return upload(b.t, b.d, x, off) }
	like := func(x []float32) compute.Buffer { return put(make([]float32, len(x))) }
	a := compute.Attention{
		AttentionShape: s, Out: like(b.q), LSE: put(make([]float32, s.NQ*s.H)), Q: put(b.q), K: put(b.k), V: put(b.v),
	}
	b.d.Attention(a)
	results := []compute.Buffer{a.Out, a.LSE}
	if backward {
		g := compute.AttentionBackward{
			AttentionShape: s, DQ: like(b.q), DK: like(b.k), DV: like(b.v), DOut: put(b.dout), Out: a.Out, LSE: a.LSE, Q: a.Q, K: a.K, V: a.V,
		}
		b.d.AttentionBackward(g)
		results = append(results, g.DQ, g.DK, g.DV)
	}
	var out [][]float32
	for _, r := range results {
		out = append(out, compute.Download[float32](b.d, r))
	}
	if err := b.d.Sync(); err != nil {
		b.t.Fatal(err)
	}
	return out
}

var attentionResults = []string{"Out", "LSE", "DQ", "DK", "DV"}

// A sequence gets the same bits alone, among others, and in a second run: rows that are not its own are zeros in one call and
// another sequence's in the other, so that the sum of the calls is the call of all.
func TestAttentionOfPackedRowsIsThatOfEachRow(t *testing.T) {
	d := open(t)
	spans := []compute.Span{{QLen: 70, KLen: 70}, {QStart: 70, QLen: 1, KStart: 70, KLen: 200}, {QStart: 71, QLen: 33, KStart: 270, KLen: 40}}
	for _, c := range []struct {
		dim int
		t   compute.DType
	}{{20, compute.F32}, {64, compute.F32}, {64, compute.BF16}, {80, compute.F16}} {
		b := newAttentionBench(t, d, compute.AttentionShape{NQ: 104, NK: 310, H: 4, KV: 2, D: c.dim, Compute: c.t})
		all, again := b.run(spans, 0, true), b.run(spans, 0, true)
		sum := make([][]float32, len(all))
		for i := range sum {
			sum[i] = make([]float32, len(all[i]))
		}
		for _, s := range spans {
			for i, x := range b.run([]compute.Span{s}, 0, true) {
				for j, v := range x {
					sum[i][j] += v
				}
			}
		}
		for i, name := range attentionResults {
			if !slices.Equal(all[i], sum[i]) {
				t.Errorf("head of %d in %s: %s of packed rows is not that of each row alone", c.dim, c.t, name)
			}
			if !slices.Equal(all[i], again[i]) {
				t.Errorf("head of %d in %s: %s has other bits the second time", c.dim, c.t, name)
			}
		}
	}
}

// Whether rows begin at 16 bytes changes how they are copied, and nothing else.
func TestAttentionOfUnalignedViews(t *testing.T) {
	d := open(t)
	for _, c := range []struct {
		dim int
		t   compute.DType
	}{{24, compute.F32}, {64, compute.F32}, {64, compute.BF16}} {
		b := newAttentionBench(t, d, compute.AttentionShape{NQ: 70, NK: 140, H: 2, KV: 1, D: c.dim, Compute: c.t})
		spans := []compute.Span{{QLen: 69, KLen: 69}, {QStart: 69, QLen: 1, KStart: 69, KLen: 71}}
		aligned, shifted := b.run(spans, 0, true), b.run(spans, 1, true)
		for i, name := range attentionResults {
			if !slices.Equal(aligned[i], shifted[i]) {
				t.Errorf("head of %d in %s: %s differs between aligned and unaligned buffers", c.dim, c.t, name)
			}
		}
	}
}

// With a cache, queries come one by one or a few at a time, and their keys are split over blocks: the result is the full pass'. In
// bfloat16 the full pass rounds its operands and probabilities, and the one with few queries does not: each score is off by 2⁻⁸ of
// products that add up to a few.
func TestAttentionWithCacheIsTheFullPass(t *testing.T) {
	d := open(t)
	const n = 300
	for _, s := range []compute.AttentionShape{
		{H: 4, KV: 2, D: 64},
		{H: 2, KV: 2, D: 20, Window: 90},
		{H: 40, KV: 1, D: 16, Prefix: 30, Window: 200},
		{H: 4, KV: 1, D: 64, Compute: compute.BF16},
	} {
		s.NQ, s.NK = n, n
		tol := 2e-6
		if s.Compute == compute.BF16 {
			tol = 2e-2
		}
		b := newAttentionBench(t, d, s)
		full := b.run([]compute.Span{{QLen: n, KLen: n}}, 0, false)
		for _, step := range []compute.Span{{QStart: n - 1, QLen: 1, KLen: n}, {QStart: 130, QLen: 3, KLen: 133}, {QStart: 40, QLen: 1, KLen: 41}} {
			t.Run(fmt.Sprintf("heads %d of %d, %d queries, %d keys", s.H, s.D, step.QLen, step.KLen), func(t *testing.T) {
				some := b.run([]compute.Span{step}, 0, false)
				for i, width := range []int{s.H * s.D, s.H} {
					from, to := step.QStart*width, (step.QStart+step.QLen)*width
					for j := from; j < to; j++ {
						if diff := math.Abs(float64(some[i][j] - full[i][j])); diff > tol*(1+math.Abs(float64(full[i][j]))) {
							t.Fatalf("%s[%d] is %v with a cache, %v without", attentionResults[i], j, some[i][j], full[i][j])
						}
					}
				}
			})
		}
	}
}
