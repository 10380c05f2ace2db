package cpu

// #include "peak.h"
import "C"

import (
	"fmt"
	"slices"
	"time"
	"unsafe"

	"lathe/compute"
)

// Peak is what this machine reached with the device's threads and tier, for results to be held against.
type Peak struct {
	// FMA is the rate of fused multiply-adds that stay in registers, in GFLOP/s (an FMA is two operations).
	FMA float64 `json:"fma_gflops"`
	// SGEMM is the rate of this device's own float32 product of square matrices, in GFLOP/s.
	SGEMM float64 `json:"sgemm_gflops"`
	// BF16 is the same with operands of bfloat16, 0 where the device does not multiply those.
	BF16 float64 `json:"bf16_gflops,omitempty"`
	// BF16Dot is FMA's counterpart for bfloat16, 0 where the tier has no instruction for it (its products are float32's then).
	BF16Dot float64 `json:"bf16_dot_gflops,omitempty"`
	// CopyBandwidth is bytes read and written, ReadBandwidth bytes read, in GB/s, over more memory than caches hold.
	CopyBandwidth float64 `json:"copy_gb_s"`
	ReadBandwidth float64 `json:"read_gb_s"`
}

const (
	peakSide  = 2048     // of the square product
	peakBytes = 64 << 20 // of each side of the copy
)

// fmaRate is the best rate of multiply-adds in registers over that time, in operations a second.
func (d *Device) fmaRate(over time.Duration) float64 {
	d.enter()
	return float64(C.lathe_fma_peak(C.double(over.Seconds())))
}

// bf16Rate is the same in bfloat16, or 0.
func (d *Device) bf16Rate(over time.Duration) float64 {
	d.enter()
	return float64(C.lathe_bf16_peak(C.double(over.Seconds())))
}

// productRate is the best of some runs of a product, in GFLOP/s.
func (d *Device) productRate(a compute.Linear) (best float64) {
	flops := 2 * float64(a.N) * float64(a.W.Out) * float64(a.W.In)
	for start, runs := time.Now(), 0; runs < 3 || time.Since(start) < 400*time.Millisecond; runs++ {
		begin := time.Now()
		d.Linear(a)
		best = max(best, flops/time.Since(begin).Seconds()/1e9)
	}
	return best
}

// MeasurePeak measures for about a second. Each figure is the best of several, because other work on the machine only ever
// makes them smaller; the FMA rate is measured before and after the product.
func (d *Device) MeasurePeak() (Peak, error) {
	var p Peak
	if err := d.Sync(); err != nil {
		return p, fmt.Errorf("measure peak: an earlier operation failed: %w", err)
	}
	p.FMA = d.fmaRate(100*time.Millisecond) / 1e9
	a, err := d.Alloc(compute.F32, peakBytes/4)
	if err != nil {
		return p, fmt.Errorf("measure peak: %w", err)
	}
	defer a.Free()
	b, err := d.Alloc(compute.F32, peakBytes/4)
	if err != nil {
		return p, fmt.Errorf("measure peak: %w", err)
	}
	defer b.Free()
	for _, x := range []compute.Buffer{a, b} { // pages that nobody wrote are all one page of zeros
		x := unsafe.Slice((*float32)(x.(*buffer).address()), x.Len())
		for i := range x {
			x[i] = float32(i%64) / 64
		}
	}
	const n = peakSide
	product := compute.Linear{
		Y: b.Slice(0, n*n), X: a.Slice(0, n*n), N: n, W: compute.Weight{Out: n, In: n, Data: a.Slice(n*n, n*n)},
	}
	p.SGEMM = d.productRate(product)
	if slices.Contains(d.Info().MatMul, compute.BF16) {
		p.BF16Dot = d.bf16Rate(100*time.Millisecond) / 1e9
		product.Compute = compute.BF16
		p.BF16 = d.productRate(product)
	}
	p.FMA = max(p.FMA, d.fmaRate(100*time.Millisecond)/1e9)
	to, from := b.(*buffer).address(), a.(*buffer).address()
	p.CopyBandwidth = float64(C.lathe_copy_rate(to, from, peakBytes, 0.15)) / 1e9
	p.ReadBandwidth = float64(C.lathe_read_rate(from, peakBytes, 0.15)) / 1e9
	if err := d.Sync(); err != nil {
		return p, fmt.Errorf("measure peak: %w", err)
	}
	return p, nil
}
