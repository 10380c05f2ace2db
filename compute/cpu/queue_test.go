package cpu

import (
	"testing"

	"lathe/compute"
)

// More operations than the list of those that wait holds run by themselves, each once and in their order.
func TestQueueRunsFull(t *testing.T) {
	d := open(t, "", 2)
	x, y := upload(t, d, []float32{1}), upload(t, d, []float32{1})
	const n = 30_000
	for range n {
		d.Add(compute.Add{Y: x, A: x, B: y, Scale: 1})
	}
	if got := compute.Download[float32](d, x)[0]; got != n+1 {
		t.Errorf("after %d sums of 1: %g", n, got)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

// What an operation points to may be longer than the list of all that wait, among others that wait already.
func TestQueueGrows(t *testing.T) {
	d := open(t, "", 2)
	const rows, size = 40_000, 4
	values := make([]float32, rows*size)
	spans := make([]compute.Span, rows)
	for i := range values {
		values[i] = float32(i)
	}
	for i := range spans {
		spans[i] = compute.Span{QStart: i, QLen: 1, KStart: i, KLen: 1}
	}
	v, out := upload(t, d, values), upload(t, d, make([]float32, len(values)))
	d.Add(compute.Add{Y: v, A: v, B: v, Scale: 1})
	shape := compute.AttentionShape{Spans: spans, NQ: rows, NK: rows, H: 1, KV: 1, D: size, Scale: 1}
	d.Attention(compute.Attention{AttentionShape: shape, Out: out, Q: v, K: v, V: v})
	d.Add(compute.Add{Y: out, A: out, B: v, Scale: 1})
	for i, got := range compute.Download[float32](d, out) {
		if got != 4*values[i] { // a query that sees one key gives its value
			t.Fatalf("element %d: %g, not %g", i, got, 4*values[i])
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}
