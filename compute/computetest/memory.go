package computetest

import (
	"strings"

	"lathe/compute"
)

// memory: buffers are zeroed, views share, the account is right, and too much is refused in words.
func memory(b *bench) {
	before := b.Memory().Used
	x := b.zeros(1000)
	b.equal("fresh buffer", compute.Download[float32](b.Device, x), make([]float32, 1000))
	if got := b.Memory().Used - before; got < 4000 {
		b.Errorf("4000 bytes allocated, %d accounted", got)
	}
	view := x.Slice(10, 20)
	compute.Upload(b.Device, view, []float32{19: 7})
	if got := compute.Download[float32](b.Device, x); got[29] != 7 {
		b.Errorf("a view's write is not seen in the buffer: %v", got[29])
	}
	if n := view.As(compute.U8).Len(); n != 80 {
		b.Errorf("20 floats are %d bytes", n)
	}
	view.Free() // does nothing
	if got := compute.Download[float32](b.Device, x); got[29] != 7 {
		b.Error("freeing a view freed its buffer")
	}
	b.panics("slice beyond the end", func() { x.Slice(990, 11) })
	b.panics("view of part of an element", func() { x.As(compute.U8).Slice(0, 3).As(compute.F32) })
	b.synced()

	b.ResetPeak()
	y, err := b.Alloc(compute.U8, 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	y.Free()
	if m := b.Memory(); m.Peak < m.Used+1<<20 {
		b.Errorf("peak is %d after %d and another MiB were in use", m.Peak, m.Used)
	}
	b.ResetPeak()
	if m := b.Memory(); m.Peak != m.Used {
		b.Errorf("ResetPeak left peak %d, used %d", m.Peak, m.Used)
	}
	if _, err := b.Alloc(compute.F32, 1<<48); err == nil {
		b.Error("a petabyte was granted")
	} else if !strings.Contains(err.Error(), "out of memory") || !strings.Contains(err.Error(), "free") {
		b.Errorf("the error says neither what is wrong nor what is free: %v", err)
	}
	b.reserves()
	b.zeroAndCopy()
}

// reserves: a workspace is taken once, and too much of it is refused in words.
func (b *bench) reserves() {
	rule := b.Info().Workspace
	if rule == nil {
		return
	}
	const n, c = 40, 24
	x, y, w := b.zeros(n*c), b.zeros(n*c), b.zeros(c*c)
	product := compute.Linear{Y: y, X: x, N: n, W: compute.Weight{Out: c, In: c, Data: w}}
	for range 2 {
		if err := b.Reserve(rule.Workspace(product)); err != nil {
			b.Fatal(err)
		}
		b.ResetPeak()
		used := b.Memory().Used
		b.Linear(product)
		b.synced()
		if m := b.Memory(); m.Used != used || m.Peak != used {
			b.Errorf("a product within the reserved workspace took %d bytes", m.Peak-used)
		}
	}
	for _, w := range []compute.Workspace{{Simple: 1 << 50}, {Composite: 1 << 50}} {
		if err := b.Reserve(w); err == nil {
			b.Error("a petabyte of workspace was granted")
		} else if !strings.Contains(err.Error(), "out of memory") || !strings.Contains(err.Error(), "workspace") {
			b.Errorf("the error does not say what is wrong: %v", err)
		}
	}
	b.synced() // it was returned, and is no operation's
}

func (b *bench) zeroAndCopy() {
	want := b.normal(3<<18 + 5) // several tasks of a parallel copy
	x, y := b.put(want), b.zeros(len(want))
	b.Copy(y, x)
	b.equal("copy", compute.Download[float32](b.Device, y), singles(want))
	b.Zero(y.Slice(1, len(want)-2))
	got := compute.Download[float32](b.Device, y)
	if got[0] != float32(want[0]) || got[len(got)-1] != float32(want[len(want)-1]) || rms(doubles(got[1:len(got)-1])) != 0 {
		b.Error("Zero cleared less or more than its view")
	}
}

func (b *bench) panics(what string, f func()) {
	b.Helper()
	defer func() {
		if recover() == nil {
			b.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// stickyErrors: the first error stays, names operation, argument and sizes, stops what follows, and Sync clears it.
func stickyErrors(b *bench) {
	x, y := b.put([]float64{1, 2, 3, 4}), b.put([]float64{5, 6, 7, 8})
	one, ids := b.zeros(1), b.ints([]int32{0, 1, 2, 1 << 20})
	for _, c := range []struct {
		run  func()
		want []string
	}{
		{func() { b.Add(compute.Add{Y: x, A: y, B: one, Scale: 1}) }, []string{"Add", "B", "1", "4"}},
		{func() { b.RMSNorm(compute.RMSNorm{Y: x, X: y, W: one, N: 2, C: 2}) }, []string{"RMSNorm", "W", "1", "2"}},
		{func() { b.LayerNorm(compute.LayerNorm{Y: x, X: y, W: one, N: 2, C: 3}) }, []string{"LayerNorm", "[2,3]", "4"}},
		{func() { b.Linear(compute.Linear{Y: x, X: y, N: 2, W: compute.Weight{Out: 3, In: 2, Data: y}}) }, []string{"Linear", "[2,3]", "4"}},
		{func() { b.Embedding(compute.Embedding{Y: x, Table: y, IDs: ids, N: 4, C: 1, Scale: 1}) }, []string{"Embedding", "1048576"}},
		{func() { b.Embedding(compute.Embedding{Y: x, Table: y, N: 4, C: 1}) }, []string{"Embedding", "IDs", "missing"}},
		{func() { b.Activation(compute.Activation{Y: x, X: ids}) }, []string{"Activation", "X", "int32", "float32"}},
		{func() { b.Dropout(compute.Dropout{Y: x, X: y, P: 1.5, Scale: 1}) }, []string{"Dropout", "P", "1.5"}},
		{func() { b.Upload(x, make([]byte, 3)) }, []string{"Upload", "16", "3"}},
		{func() { b.Copy(x, ids) }, []string{"Copy", "float32", "int32"}},
		{func() {
			b.Attention(compute.Attention{
				AttentionShape: compute.AttentionShape{NQ: 4, NK: 4, H: 3, KV: 2, D: 1}, Out: x, Q: y, K: x, V: x,
			})
		}, []string{"Attention", "3", "2"}},
		{func() {
			b.Attention(compute.Attention{AttentionShape: compute.AttentionShape{
				Spans: []compute.Span{{QStart: 2, QLen: 3, KLen: 3}}, NQ: 4, NK: 4, H: 1, KV: 1, D: 1,
			}, Out: x, Q: y, K: y, V: y})
		}, []string{"Attention", "span 0", "4"}},
		{func() {
			b.LinearCrossEntropy(compute.LinearCrossEntropy{
				X: x, W: compute.Weight{Out: 1, In: 1, Data: one}, Labels: ids, N: 4, LogProbs: y,
			})
		}, []string{"LinearCrossEntropy", "Labels[1]", "1"}},
		{func() { b.AdamW(compute.AdamW{Step: 0}) }, []string{"AdamW", "Step", "0"}},
	} {
		c.run()
		b.Add(compute.Add{Y: x, A: x, B: x, Scale: 1e6}) // must not run
		err := b.Sync()
		if err == nil {
			b.Errorf("no error, want one with %q", c.want)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				b.Errorf("error %q does not mention %q", err, w)
			}
		}
		if err := b.Sync(); err != nil {
			b.Errorf("Sync did not clear the error: %v", err)
		}
		b.equal("buffer after an error", compute.Download[float32](b.Device, x), []float32{1, 2, 3, 4})
	}
}
