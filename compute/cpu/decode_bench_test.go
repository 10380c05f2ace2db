package cpu

import (
	"fmt"
	"testing"

	"lathe/compute"
)

// BenchmarkDecode is attention of one query a sequence over a cache that no cache of the processor holds: ten layers of it in turn.
func BenchmarkDecode(b *testing.B) {
	dev, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	alloc := func(n int) compute.Buffer {
		x, err := dev.Alloc(compute.F32, n)
		if err != nil {
			b.Fatal(err)
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i%97)/97 - 0.5
		}
		compute.Upload(dev, x, values)
		return x
	}
	const layers, heads, d = 10, 10, 64
	for _, c := range []struct{ sequences, keys, rows int }{{1, 200, 512}, {1, 1000, 1024}, {16, 128, 320}, {16, 300, 320}} {
		b.Run(fmt.Sprintf("%d×%d", c.sequences, c.keys), func(b *testing.B) {
			var k, v [layers]compute.Buffer
			for l := range layers {
				k[l], v[l] = alloc(c.sequences*c.rows*heads*d), alloc(c.sequences*c.rows*heads*d)
				b.Cleanup(k[l].Free)
				b.Cleanup(v[l].Free)
			}
			s := compute.AttentionShape{NQ: c.sequences, NK: c.sequences * c.rows, H: heads, KV: heads, D: d, Scale: 0.125}
			for i := range c.sequences {
				s.Spans = append(s.Spans, compute.Span{QStart: i, QLen: 1, KStart: i * c.rows, KLen: c.keys})
			}
			q, out := alloc(c.sequences*heads*d), alloc(c.sequences*heads*d)
			b.SetBytes(int64(layers * c.sequences * c.keys * heads * d * 8))
			for b.Loop() {
				for l := range layers {
					dev.Attention(compute.Attention{AttentionShape: s, Out: out, Q: q, K: k[l], V: v[l]})
				}
			}
			if err := dev.Sync(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
