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
	peakSide  = 2048     // of the square product, where there is time for it
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

// productRate is the best of the square products y = x·wᵀ that fit into that time, in GFLOP/s. Each is twice as wide as the one before
// as long as that took less than a sixteenth of the time.
func (d *Device) productRate(y, x, w compute.Buffer, t compute.DType, over time.Duration) (best float64) {
	n := 128
	for start := time.Now(); best == 0 || time.Since(start) < over; {
		begin := time.Now()
		d.Linear(compute.Linear{
			Y: y.Slice(0, n*n), X: x.Slice(0, n*n), N: n, W: compute.Weight{Out: n, In: n, Data: w.Slice(0, n*n)}, Compute: t,
		})
		d.Finish()
		took := time.Since(begin)
		best = max(best, 2*float64(n*n*n)/took.Seconds()/1e9)
		if took < over/16 {
			n = min(2*n, peakSide)
		}
	}
	return best
}

// MeasurePeak measures for about that time; a second is enough. Each figure is the best of several, because other work on the machine
// only ever makes them smaller; the FMA rate is measured before and after the product.
func (d *Device) MeasurePeak(over time.Duration) (Peak, error) {
	var p Peak
	if err := d.Sync(); err != nil {
		return p, fmt.Errorf("measure peak: an earlier operation failed: %w", err)
	}
	p.FMA = d.fmaRate(over/10) / 1e9
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
	weights := a.Slice(peakSide*peakSide, peakSide*peakSide)
	p.SGEMM = d.productRate(b, a, weights, compute.F32, over/2)
	if slices.Contains(d.Info().MatMul, compute.BF16) {
		p.BF16Dot = d.bf16Rate(over/10) / 1e9
		p.BF16 = d.productRate(b, a, weights, compute.BF16, over/2)
	}
	p.FMA = max(p.FMA, d.fmaRate(over/10)/1e9)
	to, from, each := b.(*buffer).address(), a.(*buffer).address(), C.double((over / 6).Seconds())
	p.CopyBandwidth = float64(C.lathe_copy_rate(to, from, peakBytes, each)) / 1e9
	p.ReadBandwidth = float64(C.lathe_read_rate(from, peakBytes, each)) / 1e9
	if err := d.Sync(); err != nil {
		return p, fmt.Errorf("measure peak: %w", err)
	}
	return p, nil
}
