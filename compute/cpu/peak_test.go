package cpu

import (
	"testing"
	"time"
)

// The figures cannot be checked against a number, but they hang together: a product is made of multiply-adds.
func TestMeasurePeak(t *testing.T) {
	d := open(t, "", 0)
	p, err := d.MeasurePeak(100 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", p)
	for name, x := range map[string]float64{"FMA": p.FMA, "SGEMM": p.SGEMM, "copy": p.CopyBandwidth, "read": p.ReadBandwidth} {
		if !(x > 0.01 && x < 1e6) {
			t.Errorf("%s peak is %g", name, x)
		}
	}
	bf16 := d.Info().Tier == "avx512bf16" || d.Info().Tier == "amx"
	if (p.BF16Dot > 0) != bf16 {
		t.Errorf("BF16Dot peak is %g on tier %s", p.BF16Dot, d.Info().Tier)
	}
}
