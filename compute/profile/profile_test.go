package profile

import (
	"reflect"
	"slices"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
)

// TestProfileSeesEveryOperation calls each of compute.Operations with nothing, which the device refuses: a Profile that does not
// know an operation would not have a row for it.
func TestProfileSeesEveryOperation(t *testing.T) {
	d, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := New(d)
	operations := reflect.TypeFor[compute.Operations]()
	for i := range operations.NumMethod() {
		name := operations.Method(i).Name
		m := reflect.ValueOf(p).MethodByName(name)
		args := make([]reflect.Value, m.Type().NumIn())
		for i := range args {
			args[i] = reflect.Zero(m.Type().In(i))
		}
		p.Reset()
		m.Call(args)
		rows, _ := p.Report(false)
		if !slices.ContainsFunc(rows, func(r Operation) bool { return r.Name == name }) {
			t.Errorf("%s runs unseen: it needs its method in operations.go", name)
		}
	}
	_ = d.Sync() // the refusals
}

func TestProfileCountsWorkOnce(t *testing.T) {
	d, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := New(d)
	alloc := func(n int) compute.Buffer {
		b, err := p.Alloc(compute.F32, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const n, in, out, r = 6, 32, 48, 4
	w := compute.Weight{Out: out, In: in, Data: alloc(out * in)}
	low := &compute.LowRank{R: r, U: alloc(n * r), V: alloc(out * r), Scale: 1}
	linear := compute.Linear{Y: alloc(n * out), X: alloc(n * in), N: n, W: w, LowRank: low}
	p.Reset()
	p.Linear(linear)
	p.Linear(linear)
	labels, err := p.Alloc(compute.I32, n)
	if err != nil {
		t.Fatal(err)
	}
	p.LinearCrossEntropy(compute.LinearCrossEntropy{
		X: linear.X, W: w, Labels: labels, N: n, LogProbs: alloc(n), DX: alloc(n * in), GradScale: 1,
	})
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	rows, seconds := p.Report(true)
	var sum float64
	shapes := map[string]Operation{}
	for _, row := range rows {
		sum += row.Seconds
		shapes[row.Name+row.Shape] = row
	}
	if sum > seconds {
		t.Errorf("operations took %g s of %g s: nested ones are counted twice", sum, seconds)
	}
	got := shapes["Linear[6,32]·float32[48,32]"]
	// The loss's product has the same shape, and no LoRA.
	if wantF, wantC := 3*2.0*n*out*in+2*2.0*n*r*out, int64(3); got.FLOPs != wantF || got.Calls != wantC {
		t.Errorf("Linear: %d calls, %g FLOPs, want %d, %g: %v", got.Calls, got.FLOPs, wantC, wantF, rows)
	}
	if _, ok := shapes["LinearBackwardInput[6,32]·float32[48,32]"]; !ok {
		t.Errorf("the loss's products have no rows of their own: %v", rows)
	}
}

func TestAttentionPairs(t *testing.T) {
	for _, c := range []struct {
		name string
		s    compute.AttentionShape
		want float64
	}{
		{"causal", compute.AttentionShape{Spans: []compute.Span{{QLen: 4, KLen: 4}, {QLen: 2, KLen: 2}}}, 13},
		{"cache", compute.AttentionShape{Spans: []compute.Span{{QLen: 1, KLen: 9}}}, 9},
		{"everything", compute.AttentionShape{Spans: []compute.Span{{QLen: 3, KLen: 5}}, NoCausal: true}, 15},
		{"window", compute.AttentionShape{Spans: []compute.Span{{QLen: 4, KLen: 4}}, Window: 2}, 7},
		{"window and prefix", compute.AttentionShape{Spans: []compute.Span{{QLen: 4, KLen: 4}}, Window: 2, Prefix: 1}, 9},
	} {
		if got := attentionPairs(c.s); got != c.want {
			t.Errorf("%s: %g pairs, want %g", c.name, got, c.want)
		}
	}
}
