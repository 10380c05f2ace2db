//go:build unix

package cpu

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"lathe/compute"
)

// Run with: go test -run '^$' -bench Products ./compute/cpu
//
// Machines differ and are noisy, so the figure to look at is %fma: the best run's share of the rate of multiply-adds in
// registers, measured in the same second. On a busy machine run it with LATHE_THREADS=1: then the process's CPU time is taken,
// which does not count what other processes do.
func BenchmarkProducts(b *testing.B) {
	for _, tier := range Tiers() {
		b.Run(tier, func(b *testing.B) {
			d := open(b, tier, 0)
			for _, c := range benchmarkCases(b, d) {
				b.Run(c.name, func(b *testing.B) {
					peak, best := d.fmaRate(20*time.Millisecond), 0.0
					for b.Loop() {
						start := now(b, d)
						c.run()
						best = max(best, c.flops/(now(b, d)-start).Seconds())
					}
					peak = max(peak, d.fmaRate(20*time.Millisecond))
					b.ReportMetric(best/1e9, "GFLOP/s")
					b.ReportMetric(100*best/peak, "%fma")
					if err := d.Sync(); err != nil {
						b.Fatal(err)
					}
				})
			}
		})
	}
}

// now is the time since some start: CPU time with one thread, else wall time.
func now(b *testing.B, d *Device) time.Duration {
	if d.threads > 1 {
		return time.Since(benchmarkStart)
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

var benchmarkStart = time.Now()

type benchmarkCase struct {
	name  string
	flops float64
	run   func()
}

// benchmarkCases are the products of one layer of a 60 M llama (hidden 640, MLP 1728, LoRA r 16) over 2048 tokens, and of its
// generation.
func benchmarkCases(b *testing.B, d *Device) []benchmarkCase {
	const tokens, in, out, rank = 2048, 640, 1728, 16
	r := rand.New(rand.NewPCG(1, 2))
	buffer := func(n int) compute.Buffer { return upload(b, d, uniform(r, n)) }
	x, dy, y, dx := buffer(tokens*in), buffer(tokens*out), buffer(tokens*out), buffer(tokens*in)
	u, loraA, loraB := buffer(tokens*rank), buffer(rank*in), buffer(out*rank)
	values := uniform(r, out*in)
	full := newWeight(b, d, "float32", out, in, values).Weight
	half := newWeight(b, d, "bfloat16", out, in, values).Weight
	nf4 := newWeight(b, d, "nf4 double quantised", out, in, values).Weight
	a, bt := compute.Weight{Out: rank, In: in, Data: loraA}, compute.Weight{Out: out, In: rank, Data: loraB}
	adapter := &compute.LowRank{R: rank, U: u, V: loraB, Scale: 2}
	back := &compute.LowRank{R: rank, U: u, V: loraA, Scale: 2}
	forward := func(w compute.Weight, n int, l *compute.LowRank) func() {
		to := y
		if w.Out < out {
			to = u
		}
		return func() {
			d.Linear(compute.Linear{Y: to.Slice(0, n*w.Out), X: x.Slice(0, n*w.In), N: n, W: w, LowRank: clip(l, n)})
		}
	}
	backward := func(w compute.Weight, l *compute.LowRank) func() {
		to := dx
		if w.In < in {
			to = u
		}
		return func() {
			d.LinearBackwardInput(compute.LinearBackwardInput{DX: to, DY: dy, N: tokens, W: w, LowRank: l})
		}
	}
	gradient := func(dw, dy, x compute.Buffer, out, in int) func() {
		return func() {
			d.LinearBackwardWeight(compute.LinearBackwardWeight{DW: dw, DY: dy, X: x, N: tokens, Out: out, In: in, Scale: 1e-3})
		}
	}
	flops := func(m, n, k int) float64 { return 2 * float64(m) * float64(n) * float64(k) }
	big := flops(tokens, out, in)
	extended := big + flops(tokens, out, rank)
	return []benchmarkCase{
		{"forward/float32", big, forward(full, tokens, nil)},
		{"forward/bfloat16", big, forward(half, tokens, nil)},
		{"forward/nf4+lora", extended, forward(nf4, tokens, adapter)},
		{"input gradient/float32", big, backward(full, nil)},
		{"input gradient/nf4+lora", big + flops(tokens, in, rank), backward(nf4, back)},
		{"weight gradient", big, gradient(buffer(out*in), dy, x, out, in)},
		{"lora x·Aᵀ", flops(tokens, rank, in), forward(a, tokens, nil)},
		{"lora dy·B", flops(tokens, rank, out), backward(bt, nil)},
		{"lora dA", flops(rank, in, tokens), gradient(buffer(rank*in), u, x, rank, in)},
		{"lora dB", flops(out, rank, tokens), gradient(buffer(out*rank), dy, u, out, rank)},
		{"64 rows/nf4+lora", extended * 64 / tokens, forward(nf4, 64, adapter)},
		{"8 rows/nf4+lora", extended * 8 / tokens, forward(nf4, 8, adapter)},
		{"1 row/nf4+lora", extended / tokens, forward(nf4, 1, adapter)},
		{"1 row/float32", big / tokens, forward(full, 1, nil)},
	}
}

// clip is an extension of the first n rows.
func clip(l *compute.LowRank, n int) *compute.LowRank {
	if l == nil {
		return nil
	}
	c := *l
	c.U = l.U.Slice(0, n*l.R)
	return &c
}
