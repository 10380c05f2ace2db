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
