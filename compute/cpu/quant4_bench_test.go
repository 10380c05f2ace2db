//go:build unix

package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"lathe/compute"
)

// Run with: LATHE_THREADS=1 go test -run '^$' -bench Quantize4 ./compute/cpu
//
// GB/s are bytes of the source, by the best run; with one thread they are counted in CPU time, as in BenchmarkOperations. The
// matrix exceeds the caches, as a checkpoint's does.
func BenchmarkQuantize4(b *testing.B) {
	const out, in = 2048, 4096
	values := uniform(rand.New(rand.NewPCG(1, 2)), out*in)
	for _, tier := range Tiers() {
		for _, dtype := range []compute.DType{compute.BF16, compute.F16, compute.F32} {
			for _, code := range []compute.QuantType{compute.NF4, compute.FP4} {
				b.Run(fmt.Sprintf("%s/%s/%s", tier, dtype, code), func(b *testing.B) {
					d := open(b, tier, 0)
					full := upload(b, d, values)
					src, err := d.Alloc(dtype, out*in)
					if err != nil {
						b.Fatal(err)
					}
					d.Cast(src, full)
					w, err := compute.NewQuant4(d, out, in, code, true)
					if err != nil {
						b.Fatal(err)
					}
					best := 0.0
					for b.Loop() {
						start := now(b, d)
						d.Quantize4(w, src)
						best = max(best, float64(compute.ByteLen(src))/(now(b, d)-start).Seconds())
					}
					b.ReportMetric(best/1e9, "GB/s")
					if err := d.Sync(); err != nil {
						b.Fatal(err)
					}
				})
			}
		}
	}
}

// Run with: LATHE_THREADS=1 go test -run '^$' -bench FirstNonFinite ./compute/cpu
func BenchmarkFirstNonFinite(b *testing.B) {
	for _, tier := range Tiers() {
		b.Run(tier, func(b *testing.B) {
			d := open(b, tier, 0)
			x, err := d.Alloc(compute.F32, 16<<20)
			if err != nil {
				b.Fatal(err)
			}
			best := 0.0
			for b.Loop() {
				start := now(b, d)
				if at, _ := d.FirstNonFinite([]compute.Buffer{x}); at >= 0 {
					b.Fatal("found something in zeros")
				}
				best = max(best, float64(compute.ByteLen(x))/(now(b, d)-start).Seconds())
			}
			b.ReportMetric(best/1e9, "GB/s")
		})
	}
}
