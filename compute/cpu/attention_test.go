package cpu

import (
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
