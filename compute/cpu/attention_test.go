package cpu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"lathe/compute"
)

func TestAttentionRefusesOtherTypes(t *testing.T) {
	d := open(t, "", 0)
	x := upload(t, d, make([]float32, 4))
	a := compute.Attention{
		AttentionShape: compute.AttentionShape{Spans: []compute.Span{{QLen: 1, KLen: 1}}, NQ: 1, NK: 1, H: 1, KV: 1, D: 4, Compute: compute.F16},
		Out:            upload(t, d, make([]float32, 4)), Q: x, K: x, V: x,
	}
	d.Attention(a)
	if err := d.Sync(); err == nil {
		t.Error("attention in float16 ran on a device that does not multiply it")
	}
	a.Compute = compute.F32
	d.Attention(a)
	if err := d.Sync(); err != nil {
		t.Errorf("after the error was taken: %v", err)
	}
}

// Tiers that multiply bfloat16 faster round to it, the others do not; and the same bits come from one thread and from three. That what is
// rounded is right, is the suite's to say.
func TestAttentionInBFloat16(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, _ *rand.Rand) {
		tier := d.Info().Tier
		exact, narrow := attendOnce(t, d, compute.F32), attendOnce(t, d, compute.BF16)
		if rounds := tier == "avx512bf16" || tier == "amx"; slices.Equal(exact, narrow) == rounds {
			t.Errorf("bfloat16 gave the bits of float32: %v", !rounds)
		}
		if !slices.Equal(narrow, attendOnce(t, open(t, tier, 3), compute.BF16)) {
			t.Error("other bits with three threads")
		}
	})
}

// attendOnce returns what both passes write of two rows, one longer than a tile, of heads wider than half of what is packed at a time.
func attendOnce(t *testing.T, d *Device, as compute.DType) []float32 {
	t.Helper()
	const n, h, kv, size = 90, 4, 2, 130
	r := rand.New(rand.NewPCG(5, 5))
	numbers := func(heads int) compute.Buffer { return upload(t, d, uniform(r, n*heads*size)) }
	zeros := func(count int) compute.Buffer { return upload(t, d, make([]float32, count)) }
	s := compute.AttentionShape{Spans: []compute.Span{{QLen: 70, KLen: 70}, {QStart: 70, QLen: 20, KStart: 70, KLen: 20}}, NQ: n, NK: n, H: h, KV: kv, D: size, Scale: .1, Compute: as}
	a := compute.Attention{AttentionShape: s, Out: zeros(n * h * size), LSE: zeros(n * h), Q: numbers(h), K: numbers(kv), V: numbers(kv)}
	b := compute.AttentionBackward{AttentionShape: s, DQ: zeros(n * h * size), DK: zeros(n * kv * size), DV: zeros(n * kv * size), DOut: numbers(h), Out: a.Out, LSE: a.LSE, Q: a.Q, K: a.K, V: a.V}
	d.Attention(a)
	d.AttentionBackward(b)
	var all []float32
	for _, x := range []compute.Buffer{a.Out, a.LSE, b.DQ, b.DK, b.DV} {
		all = append(all, compute.Download[float32](d, x)...)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", as, err))
	}
	return all
}

// One row of few heads: tiles of queries are tasks that add to the same keys one after the other, on any number of threads with the bits of one.
func TestAttentionOfFewHeads(t *testing.T) {
	const n = 400
	row := []compute.Span{{QLen: n, KLen: n}}
	cases := map[string]compute.AttentionShape{
		"one head":              {Spans: row, NQ: n, NK: n, H: 1, KV: 1, D: 24},
		"a group of heads":      {Spans: row, NQ: n, NK: n, H: 3, KV: 1, D: 16},
		"window":                {Spans: row, NQ: n, NK: n, H: 1, KV: 1, D: 16, Window: 100},
		"every key":             {Spans: row, NQ: n, NK: n, H: 1, KV: 1, D: 16, NoCausal: true},
		"prefix and window":     {Spans: []compute.Span{{QLen: 200, KLen: n}}, NQ: 200, NK: n, H: 2, KV: 1, D: 20, Window: 60, Prefix: 150},
		"keys without a query":  {Spans: []compute.Span{{QLen: 100, KLen: 100}, {QStart: 100, KStart: 100, KLen: 300}}, NQ: 100, NK: n, H: 1, KV: 1, D: 16},
		"whole heads or tiles":  {Spans: row, NQ: n, NK: n, H: 4, KV: 4, D: 24},
		"the same, in bfloat16": {Spans: row, NQ: n, NK: n, H: 4, KV: 4, D: 24, Compute: compute.BF16},
	}
	if s := cases["whole heads or tiles"]; !sharesOut(s, 1) || sharesOut(s, 2) {
		t.Error("one thread was to go by heads and two by tiles")
	}
	everyTier(t, func(t *testing.T, d *Device, _ *rand.Rand) {
		tier := d.Info().Tier
		for name, s := range cases {
			s.Scale = .25
			want := attentionGradients(t, open(t, tier, 1), s)
			for _, threads := range []int{2, 3, 7} {
				if !slices.Equal(want, attentionGradients(t, open(t, tier, threads), s)) {
					t.Errorf("%s: other bits with %d threads than with one", name, threads)
				}
			}
		}
	})
}

// attentionGradients are DQ, DK and DV, whose memory held something else.
func attentionGradients(t *testing.T, d *Device, s compute.AttentionShape) []float32 {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	numbers := func(rows, heads int) compute.Buffer { return upload(t, d, uniform(r, rows*heads*s.D)) }
	a := compute.Attention{AttentionShape: s, Out: numbers(s.NQ, s.H), LSE: upload(t, d, make([]float32, s.NQ*s.H)), Q: numbers(s.NQ, s.H), K: numbers(s.NK, s.KV), V: numbers(s.NK, s.KV)}
	b := compute.AttentionBackward{
		AttentionShape: s, DQ: numbers(s.NQ, s.H), DK: numbers(s.NK, s.KV), DV: numbers(s.NK, s.KV),
		DOut: numbers(s.NQ, s.H), Out: a.Out, LSE: a.LSE, Q: a.Q, K: a.K, V: a.V,
	}
	d.Attention(a)
	d.AttentionBackward(b)
	dq, dk, dv := compute.Download[float32](d, b.DQ), compute.Download[float32](d, b.DK), compute.Download[float32](d, b.DV)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Spans {
		if rows := (p.KStart + p.KLen) * s.KV * s.D; p.QLen == 0 && slices.ContainsFunc(dk[p.KStart*s.KV*s.D:rows], func(x float32) bool { return x != 0 }) {
			t.Error("keys that no query sees have a gradient")
		}
	}
	return slices.Concat(dq, dk, dv)
}

func TestSharesOut(t *testing.T) {
	rows := func(kv int, lengths ...int) compute.AttentionShape {
		s := compute.AttentionShape{KV: kv}
		for _, n := range lengths {
			s.Spans = append(s.Spans, compute.Span{QLen: n, KLen: n})
		}
		return s
	}
	for _, c := range []struct {
		shape   compute.AttentionShape
		threads int
		want    bool
	}{
		{rows(8, 512), 2, true},
		{rows(5, 512), 2, false},
		{rows(8, 512), 64, false},
		{rows(32, 512, 512, 512, 512, 512, 512, 512, 512), 64, true},
		{rows(2, 100, 100, 100, 100), 2, true},
		{rows(2, 100, 100, 100, 1000), 2, false}, // most of the work is one row
		{rows(1), 1, true},
	} {
		if got := sharesOut(c.shape, c.threads); got != c.want {
			t.Errorf("%d heads of %v on %d threads: %v", c.shape.KV, c.shape.Spans, c.threads, got)
		}
	}
}
