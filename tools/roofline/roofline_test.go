package main

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"lathe/compute"
	"lathe/cuda"
	"lathe/cuda/driver"
	"lathe/cuda/emulator"
	"lathe/model"
)

// docs/GPU.md is what the command writes, from the sources as they are.
func TestDocumentIsUpToDate(t *testing.T) {
	all, err := tablesOf("../..")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../docs/GPU.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := fill(string(data), all)
	if err != nil {
		t.Fatal(err)
	}
	if text == string(data) {
		return
	}
	want, got := strings.Split(text, "\n"), strings.Split(string(data), "\n")
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Fatalf("docs/GPU.md line %d is\n%s\nbut the sources give\n%s\nrun go run ./tools/roofline -update and look whether the text around still holds", i+1, got[i], want[i])
		}
	}
	t.Fatal("docs/GPU.md is shorter or longer than the sources give: run go run ./tools/roofline -update")
}

// The products of a step are those of the shape: 2·tokens·weights forward and once again for the input's gradient, the pairs of causal
// attention, the three products of each LoRA matrix.
func TestNeededOperations(t *testing.T) {
	s := shape{"small", 256, 3, 4, 2, 512, 1024}
	for _, m := range methods {
		all, err := record(s, m)
		if err != nil {
			t.Fatal(err)
		}
		d := float64(s.hidden / s.heads)
		h, kv, f := float64(s.hidden), float64(s.kv)*d, float64(s.intermediate)
		block := 2*h*h + 2*h*kv + 3*h*f
		weights := float64(s.layers)*block + h*float64(s.vocab)
		pairs := tokens * (tokens + 1) / 2.
		attention := float64(s.layers) * 6 * 2 * pairs * h
		want := attention
		if m.rank == 0 {
			want += 3 * 2 * tokens * weights
		} else {
			adapters := float64(s.layers) * float64(m.rank) * (2*(h+h) + 2*(h+kv) + 3*(h+f))
			want += 2*2*tokens*weights + 3*2*tokens*adapters
			// the first block's q, k and v have nothing below them that is trained: their inputs' gradients are not computed
			want -= 2 * tokens * (h*h + 2*h*kv + float64(m.rank)*3*h)
		}
		for _, w := range all {
			if w.checkpoint {
				continue
			}
			if got := w.sum(func(c cost) float64 { return c.model }); math.Abs(got-want) > 1e-9*want {
				t.Errorf("%s: %.6g operations, the shape needs %.6g", m.name, got, want)
			}
		}
	}
}

// What a step takes of a device is what the plan says.
func TestPeakIsThePlan(t *testing.T) {
	s := shape{"small", 256, 2, 4, 2, 512, 1024}
	cfg, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	d, err := cuda.Record(driver.Info{Major: 8}, func(driver.Call) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range methods {
		all, err := record(s, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range all {
			o := model.PlanOptions{
				Load: m.load, Stored: stored(m), Full: m.rank == 0, Checkpoint: w.checkpoint, MaxTokens: tokens, MaxSeqs: 1, MaxLen: tokens,
				Workspace: d.Info().Workspace,
				Optimizer: func(dev compute.Device, params []*model.Param) error {
					for _, p := range params {
						if _, err := dev.Alloc(compute.F32, 2*p.Value.Len()); err != nil {
							return err
						}
					}
					return nil
				},
			}
			if m.rank > 0 {
				o.Adapter = adapter(m)
			}
			plan, err := model.PlanMemory(cfg, o)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.peak - markBytes; math.Abs(float64(got-plan.Total())) > 4096 { // the device's report and lists of tensors
				t.Errorf("%s, checkpointing %v: %d bytes, the plan says %d", m.name, w.checkpoint, got, plan.Total())
			}
		}
	}
}

// emulated are the counters of the emulated device: see cuda/kernels/README.md.
type emulated struct{ launches, threads, barriers, mma, matrices, conflicts, copied uint64 }

// The operations that are counted are those that the kernels do: launches, mma.sync and bytes of cp.async of products on the emulated device,
// whose reads of shared memory meet no bank twice.
func TestCostsAreWhatKernelsDo(t *testing.T) {
	path := emulator.Need(t)
	gpu, err := cuda.Open(cuda.Options{Driver: path})
	if err != nil {
		t.Fatal(err)
	}
	defer gpu.Close()
	r := &recorder{into: items{}, trained: 1}
	if r.Device, err = cuda.Record(driver.Info{Major: 8}, r.tell); err != nil {
		t.Fatal(err)
	}
	before := counters(t, path)
	products(t, gpu, func() { before = counters(t, path) })
	after := counters(t, path)
	products(t, r, func() { r.into = items{} })
	var launches, mma, copied, loaded float64
	for i, n := range r.into {
		if i.kernel != "memset" && i.kernel != "memcpy" {
			launches += float64(n)
		}
		mma += float64(n) * i.padded / (2 * 16 * 8 * 16)
		if i.role == product || i.role == attention {
			copied += float64(n) * i.padded / 2 * tileOf(i.kernel).brought
			loaded += float64(n)*i.shared - float64(n)*i.padded/2*tileOf(i.kernel).brought
		}
	}
	if got := float64(after.launches - before.launches); got != launches {
		t.Errorf("%v launches, counted %v", got, launches)
	}
	if got := float64(after.mma - before.mma); got != mma || mma == 0 {
		t.Errorf("%v mma.sync, counted %v", got, mma)
	}
	if got := float64(after.copied - before.copied); got > copied || got < copied/2 { // what lies outside of a matrix is not copied
		t.Errorf("%v bytes by cp.async, tiles hold %v", got, copied)
	}
	const matrix = 8 * 8 * 2
	if got := matrix * float64(after.matrices-before.matrices); got != loaded {
		t.Errorf("%v bytes by ldmatrix, counted %v", got, loaded)
	}
	if n := after.conflicts - before.conflicts; n != 0 {
		t.Errorf("%d passes more than without bank conflicts", n)
	}
}

func counters(t *testing.T, path string) (c emulated) {
	t.Helper()
	lib, err := purego.Dlopen(path, purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	f, err := purego.Dlsym(lib, "lathe_emu_counters")
	if err != nil {
		t.Fatal(err)
	}
	purego.SyscallN(f, uintptr(unsafe.Pointer(&c)))
	return c
}

// products are a LoRA layer's forward and backward products of 4-bit weights, a full layer's gradient, and attention both ways, without
// a mask, so that tiles are whole.
func products(t *testing.T, d compute.Device, begin func()) {
	t.Helper()
	const n, in, out, low = 144, 128, 320, 16
	alloc := func(dtype compute.DType, n int) compute.Buffer {
		b, err := d.Alloc(dtype, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	w, err := compute.NewQuant4(d, out, in, compute.NF4, true)
	if err != nil {
		t.Fatal(err)
	}
	f32 := func(n int) compute.Buffer { return alloc(compute.F32, n) }
	x, y, u, a, b := f32(n*in), f32(n*out), f32(n*low), f32(low*in), f32(out*low)
	heads := compute.AttentionShape{
		Spans: []compute.Span{{QLen: 128, KLen: 128}}, NQ: 128, NK: 128, H: 2, KV: 1, D: 128, Scale: .1, NoCausal: true, Compute: compute.BF16,
	}
	q, k, v, o, lse := f32(128*256), f32(128*128), f32(128*128), f32(128*256), f32(256)
	ops := []any{
		compute.Linear{Y: u, X: x, N: n, W: compute.Weight{Out: low, In: in, Data: a}},
		compute.Linear{Y: y, X: x, N: n, W: w, LowRank: &compute.LowRank{R: low, U: u, V: b, Scale: 2}, Compute: compute.BF16},
		compute.LinearBackwardInput{DX: x, DY: y, N: n, W: w, LowRank: &compute.LowRank{R: low, U: u, V: a, Scale: 2}, Accumulate: true, Compute: compute.BF16},
		compute.LinearBackwardWeight{DW: f32(out * in), DY: y, X: x, N: n, Out: out, In: in, Scale: 1, Compute: compute.BF16},
		compute.Attention{AttentionShape: heads, Out: o, LSE: lse, Q: q, K: k, V: v},
		compute.AttentionBackward{
			AttentionShape: heads, DQ: f32(128 * 256), DK: f32(128 * 128), DV: f32(128 * 128), DOut: o, Out: o, LSE: lse, Q: q, K: k, V: v,
		},
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	rule := d.Info().Workspace
	for _, op := range ops { // what makes workspaces, so that no fill of a new one is counted
		if err := d.Reserve(rule.Workspace(op)); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	for _, op := range ops {
		switch op := op.(type) {
		case compute.Linear:
			d.Linear(op)
		case compute.LinearBackwardInput:
			d.LinearBackwardInput(op)
		case compute.LinearBackwardWeight:
			d.LinearBackwardWeight(op)
		case compute.Attention:
			d.Attention(op)
		case compute.AttentionBackward:
			d.AttentionBackward(op)
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestOccupancy(t *testing.T) {
	for _, c := range []struct {
		m                         int // of multiprocessors
		registers, threads, bytes int
		want                      int
	}{
		{0, 32, 256, 0, 8},         // threads: 64 warps of 8
		{0, 255, 256, 0, 1},        // registers: 8192 a warp
		{0, 168, 128, 77824, 2},    // shared memory: 163 KiB hold two of 77 and a KiB each
		{1, 32, 1024, 0, 1},        // 48 warps
		{1, 64, 128, 100 << 10, 0}, // a block has 99 KiB at most
		{2, 40, 32, 0, 32},         // blocks
	} {
		if got := multiprocessors[c.m].resident(sizes{Registers: c.registers}, c.threads, c.bytes); got != c.want {
			t.Errorf("%+v: %d blocks", c, got)
		}
	}
}

// A kernel without a cost, and a launch that a roofline takes apart.
func TestCosts(t *testing.T) {
	r := &recorder{}
	if _, err := r.costOf(driver.Call{Kernel: "unheard_of"}); !errors.Is(err, errNoCost) {
		t.Error("a kernel that nobody has described costs nothing:", err)
	}
	l := limits{tensor: 100, products: 100, heads: 100, float: 10, memory: 1000, shared: 500}
	for _, c := range []struct {
		cost cost
		want float64
	}{{cost{padded: 300, acts: 10}, 3}, {cost{float: 50}, 5}, {cost{acts: 1000, weights: 500, rest: 500, padded: 1}, 2}, {cost{padded: 100, shared: 2000}, 4}} {
		if got := l.seconds(c.cost); got != c.want {
			t.Errorf("%+v takes %v s, not %v", c.cost, got, c.want)
		}
	}
}
