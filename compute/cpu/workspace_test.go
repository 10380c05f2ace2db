package cpu_test

import (
	"fmt"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
)

// What the rule says an operation needs is what it takes, to the byte, on a fresh device with any number of threads.
func TestWorkspaceRule(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		for name, run := range workspaceCases {
			t.Run(fmt.Sprintf("%s/%d", name, threads), func(t *testing.T) {
				d := open(t, threads, "")
				defer d.Close()
				zeros := func(n int) compute.Buffer {
					b, err := d.Alloc(compute.F32, n)
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
				before := int64(0)
				operation := run(d, zeros, func() { before = d.Memory().Used })
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
				took, want := d.Memory().Used-before, d.Info().Workspace.Workspace(operation).Bytes()
				if took != want || took <= 0 {
					t.Errorf("the rule says %d bytes, the operation took %d", want, took)
				}
			})
		}
	}
}

// workspaceCases allocate, call start, run one operation and return it.
var workspaceCases = map[string]func(d *cpu.Device, zeros func(n int) compute.Buffer, start func()) any{
	"linear": func(d *cpu.Device, zeros func(n int) compute.Buffer, start func()) any {
		a := compute.Linear{Y: zeros(30 * 40), X: zeros(30 * 50), N: 30, W: compute.Weight{Out: 40, In: 50, Data: zeros(40 * 50)}}
		start()
		d.Linear(a)
		return a
	},
	"attention": func(d *cpu.Device, zeros func(n int) compute.Buffer, start func()) any {
		a := compute.Attention{AttentionShape: threeSpans, Out: zeros(90 * 8 * 16), Q: zeros(90 * 8 * 16), K: zeros(90 * 2 * 16), V: zeros(90 * 2 * 16)}
		start()
		d.Attention(a)
		return a
	},
	"attention backward": func(d *cpu.Device, zeros func(n int) compute.Buffer, start func()) any {
		q, kv := 90*8*16, 90*2*16
		a := compute.AttentionBackward{
			AttentionShape: threeSpans, DQ: zeros(q), DK: zeros(kv), DV: zeros(kv), DOut: zeros(q), Out: zeros(q),
			LSE: zeros(90 * 8), Q: zeros(q), K: zeros(kv), V: zeros(kv),
		}
		start()
		d.AttentionBackward(a)
		return a
	},
	// 300 rows of 70000 logits exceed a chunk
	"cross entropy": func(d *cpu.Device, zeros func(n int) compute.Buffer, start func()) any {
		return loss(d, zeros, start, 300, 70000, 8)
	},
	"cross entropy in one chunk": func(d *cpu.Device, zeros func(n int) compute.Buffer, start func()) any {
		return loss(d, zeros, start, 30, 500, 24)
	},
	"quantise": func(d *cpu.Device, zeros func(n int) compute.Buffer, start func()) any {
		w, err := compute.NewQuant4(d, 96, 160, compute.NF4, true)
		if err != nil {
			panic(err)
		}
		src := zeros(96 * 160)
		start()
		d.Quantize4(w, src)
		return w
	},
}

var threeSpans = compute.AttentionShape{
	Spans: []compute.Span{{QLen: 40, KLen: 40}, {QStart: 40, QLen: 40, KStart: 40, KLen: 40}, {QStart: 80, QLen: 10, KStart: 80, KLen: 10}},
	NQ:    90, NK: 90, H: 8, KV: 2, D: 16, Scale: 0.25,
}

func loss(d *cpu.Device, zeros func(n int) compute.Buffer, start func(), n, v, in int) any {
	a := compute.LinearCrossEntropy{
		X: zeros(n * in), W: compute.Weight{Out: v, In: in, Data: zeros(v * in)}, Labels: zeros(n).As(compute.I32), N: n,
		LogProbs: zeros(n), DX: zeros(n * in), GradScale: 1,
	}
	start()
	d.LinearCrossEntropy(a)
	return a
}
