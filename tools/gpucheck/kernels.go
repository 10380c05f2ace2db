package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"lathe/compute"
	"lathe/cuda"
	"lathe/cuda/nvml"
)

// peaks are what this GPU reaches at best, in TFLOP/s and GB/s; 0 where it is not known.
type peaks struct{ bf16, f32, copy float64 }

// sizes are those of one micro-batch of an 8B llama.
type sizes struct{ tokens, hidden, kv, inter, heads, kvHeads, headDim, vocab, adapter int }

var (
	sizes8B   = sizes{4096, 4096, 1024, 14336, 32, 8, 128, 128256, 41_943_040}
	sizesTiny = sizes{40, 128, 64, 192, 4, 2, 32, 320, 8192}
)

// lab is the device with what one case took of it.
type lab struct {
	compute.Device
	sizes
	products compute.DType  // bfloat16; on a CPU device that has none, float32
	pool     compute.Buffer // random numbers on the device
	buffers  []compute.Buffer
	err      error
}

// kernelCase is an operation at a shape: what it computes and the fewest bytes it has to move.
type kernelCase struct {
	name, shape string
	flops       float64
	bytes       float64
	f32         bool // held against the peak of float32 arithmetic, not of bfloat16's
	run         func()
}

// kernels times each operation at the shapes of an 8B model with 4096 tokens.
func kernels(c *check) error {
	dev, err := c.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	l := &lab{Device: dev, sizes: sizes8B}
	if c.Quick {
		l.sizes = sizesTiny
	}
	if slices.Contains(dev.Info().MatMul, compute.BF16) {
		l.products = compute.BF16
	}
	if err := l.fillPool(); err != nil {
		return err
	}
	var p peaks
	if c.Known.Rehearsal == "" {
		if p, err = c.measurePeaks(l); err != nil {
			return err
		}
	}
	t := c.table("Operations", "operation", "shape", "ms", "TFLOP/s", "GB/s", "% of the roofline")
	t.Note = "Median of 3 to 30 runs by CUDA events, after one that is not counted. GB/s counts each input read once and each output written once. The roofline is the larger of operations over the peak of their type and bytes over the copy's speed."
	for _, make := range allCases() {
		if !c.left(2 * time.Second) {
			c.fail("no time was left for all operations")
			break
		}
		k := make(l)
		if err := c.timeCase(t, l, k, p); err != nil {
			c.row(t, k.name, k.shape, "failed", "", "", "")
			c.fail("%s %s: %v", k.name, k.shape, err)
		}
		l.free()
	}
	return nil
}

// fillPool puts random numbers on the device, of which all inputs are copies: zeros are faster than any real data.
func (l *lab) fillPool() error {
	n := 1 << 22
	if l.sizes == sizesTiny {
		n = 1 << 12
	}
	x, rng := make([]float32, n), rand.New(rand.NewPCG(11, 12))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	var err error
	l.pool, err = compute.From(l.Device, x)
	return err
}

func (l *lab) alloc(t compute.DType, n int) compute.Buffer {
	b, err := l.Alloc(t, max(n, 1))
	if err != nil {
		l.err = errors.Join(l.err, err)
		b = l.pool.Slice(0, 1).As(t).Slice(0, 1) // never used: the case does not run
		return b
	}
	l.buffers = append(l.buffers, b)
	return b
}

// out is a float32 buffer that an operation writes.
func (l *lab) out(n int) compute.Buffer { return l.alloc(compute.F32, n) }

// random is a float32 buffer of random numbers.
func (l *lab) random(n int) compute.Buffer {
	b := l.out(n)
	if l.err != nil {
		return b
	}
	for at := 0; at < n; at += l.pool.Len() {
		m := min(l.pool.Len(), n-at)
		l.Copy(b.Slice(at, m), l.pool.Slice(0, m))
	}
	return b
}

// narrow is the same in bfloat16.
func (l *lab) narrow(n int) compute.Buffer {
	b := l.alloc(compute.BF16, n)
	if l.err != nil {
		return b
	}
	for at := 0; at < n; at += l.pool.Len() {
		m := min(l.pool.Len(), n-at)
		l.Cast(b.Slice(at, m), l.pool.Slice(0, m))
	}
	return b
}

// ints are n numbers below limit.
func (l *lab) ints(n, limit int) compute.Buffer {
	b := l.alloc(compute.I32, n)
	if l.err != nil {
		return b
	}
	x, rng := make([]int32, n), rand.New(rand.NewPCG(13, 14))
	for i := range x {
		x[i] = int32(rng.IntN(limit))
	}
	compute.Upload(l.Device, b, x)
	return b
}

// weight is a matrix: float32, bfloat16, or nf4 with scales quantised twice.
func (l *lab) weight(kind string, out, in int) compute.Weight {
	w := compute.Weight{Out: out, In: in}
	switch kind {
	case "float32":
		w.Data = l.random(out * in)
	case "bfloat16":
		w.Data = l.narrow(out * in)
	default:
		q, err := compute.NewQuant4(l.Device, out, in, compute.NF4, true)
		if err != nil {
			l.err = errors.Join(l.err, err)
			return w
		}
		l.buffers = append(l.buffers, q.Buffers()...)
		src := l.random(out * in)
		if l.err == nil {
			l.Quantize4(q, src)
		}
		w = q
	}
	return w
}

func (l *lab) free() {
	for _, b := range l.buffers {
		b.Free()
	}
	l.buffers, l.err = nil, nil
}

// timeCase runs a case and adds its row.
func (c *check) timeCase(t *table, l *lab, k kernelCase, p peaks) error {
	if err := errors.Join(l.err, l.Sync()); err != nil {
		return err
	}
	if c.Known.Rehearsal != "" {
		k.run()
		err := l.Sync()
		if err == nil {
			c.row(t, k.name, k.shape, "ran", "", "", "")
		}
		return err
	}
	d, err := median(l.Device, k.run)
	if err != nil {
		return err
	}
	s := d.Seconds()
	share := any("")
	peak := p.bf16
	if k.f32 {
		peak = p.f32
	}
	if floor := max(ratio(k.flops/1e12, peak), ratio(k.bytes/1e9, p.copy)); floor > 0 {
		share = 100 * floor / s
	}
	tflops := any("")
	if k.flops > 0 {
		tflops = k.flops / s / 1e12
	}
	c.row(t, k.name, k.shape, s*1e3, tflops, k.bytes/s/1e9, share)
	return nil
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// median is the median time of some runs, as many as take about 80 ms, after one that is not counted.
func median(dev compute.Device, run func()) (time.Duration, error) {
	d, ok := dev.(*cuda.Device)
	if !ok {
		return 0, errors.New("only a CUDA device has events")
	}
	if _, err := d.Time(run); err != nil {
		return 0, err
	}
	first, err := d.Time(run)
	if err != nil {
		return 0, err
	}
	n := 30
	if first > 0 {
		n = max(3, min(n, int(80*time.Millisecond/first)))
	}
	times := []time.Duration{first}
	for len(times) < n {
		t, err := d.Time(run)
		if err != nil {
			return 0, err
		}
		times = append(times, t)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// measurePeaks measures a copy, and torch's matrix product where Python has it; without it the peak is the datasheet's.
func (c *check) measurePeaks(l *lab) (p peaks, err error) {
	n := int(min(1<<28, c.Known.Memory/32))
	dst, src := l.out(n), l.random(n)
	if l.err != nil {
		return p, l.err
	}
	d, err := median(l.Device, func() { l.Copy(dst, src) })
	l.free()
	if err != nil {
		return p, err
	}
	p.copy = 8 * float64(n) / d.Seconds() / 1e9
	c.fact("peak of a copy", "%.0f GB/s, bytes read and written, %.2f GiB to %.2f GiB, measured", p.copy, gib(4*int64(n)), gib(4*int64(n)))
	lanes := 128.0
	if c.Known.Capability == 80 {
		lanes = 64
	}
	p.f32 = float64(c.Known.SMs) * c.clock() * 2 * lanes / 1e6
	c.fact("peak of float32", "%.0f TFLOP/s: %.0f FMAs a multiprocessor and cycle at %.0f MHz, not measured", p.f32, lanes, c.clock())
	var torch struct {
		BF16, Float32 float64
		What          string
	}
	if err := c.script("peak.py", &torch); err == nil {
		p.bf16 = torch.BF16
		c.fact("peak of bfloat16", "%.0f TFLOP/s, measured by %s (float32 without TF32: %.0f)", p.bf16, torch.What, torch.Float32)
	} else if perCycle := bf16PerCycle(c.Known.Capability); perCycle > 0 {
		p.bf16 = float64(c.Known.SMs) * c.clock() * perCycle / 1e6
		c.fact("peak of bfloat16", "%.0f TFLOP/s: %.0f operations a multiprocessor and cycle at %.0f MHz, not measured (%v)", p.bf16, perCycle, c.clock(), err)
	} else {
		c.fact("peak of bfloat16", "not known for sm_%d and not measured (%v)", c.Known.Capability, err)
	}
	return p, nil
}

// clock is the highest clock of the multiprocessors in MHz.
func (c *check) clock() float64 {
	if lib, err := nvml.Open(); err == nil {
		defer lib.Close()
		if r := lib.Read(); len(r) > 0 && r[0].ClockSMMax > 0 {
			return float64(r[0].ClockSMMax)
		}
	}
	return float64(c.Known.ClockMHz)
}

// bf16PerCycle is the dense bfloat16 operations with float32 sums of a multiprocessor's tensor cores in a cycle: datasheets' rates
// over multiprocessors and boost clock (A100 312 TFLOP/s, RTX 3090 71, RTX 4090 165, H100 SXM 989, B200 2250).
func bf16PerCycle(capability int) float64 {
	switch capability {
	case 80:
		return 2048
	case 86, 89:
		return 512
	case 90:
		return 4096
	case 100:
		return 8192
	}
	return 0
}

func shapeText(n ...int) string {
	s := ""
	for i, x := range n {
		if i > 0 {
			s += " x "
		}
		s += fmt.Sprint(x)
	}
	return s
}
