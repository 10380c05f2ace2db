package tape

import (
	"math"
	"slices"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
)

// net is a block under an embedding, in one of the forms.
type net struct {
	t        *testing.T
	dev      compute.Device
	embed    Embedding
	norm     Norm
	layer    Norm // a LayerNorm
	up, down *Linear
	side     *Linear
	fused    *Linear
	form     string

	recompute bool
}

// forms are two residual branches one after the other or beside each other, and one that ends in a norm of its own, over a
// fused projection.
var forms = []string{"sequential", "parallel", "fused"}

const (
	rows, width, inner = 3, 8, 12
)

func newNet(t *testing.T, form string) *net {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &net{t: t, dev: dev, form: form}
	n.embed = Embedding{Table: n.values(5*width, 1), Grad: n.zeros(5 * width), Scale: 1}
	n.norm = Norm{W: n.values(width, 2), Grad: n.zeros(width), Eps: 1e-5}
	n.layer = Norm{
		W: n.values(width, 9), Grad: n.zeros(width), Bias: n.values(width, 10), BiasGrad: n.zeros(width), Eps: 1e-5, Layer: true,
	}
	linear := func(out, in int, seed float64) *Linear {
		return &Linear{
			W: compute.Weight{Out: out, In: in, Data: n.values(out*in, seed)}, Grad: n.zeros(out * in),
			Bias: n.values(out, seed+.5), BiasGrad: n.zeros(out),
		}
	}
	n.up, n.down, n.side = linear(inner, width, 3), linear(width, inner, 4), linear(width, width, 5)
	n.fused = linear(2*inner, width, 11)
	n.side.LoRA = &LoRA{
		R: 2, A: n.values(2*width, 6), B: n.values(2*width, 7), GradA: n.zeros(2 * width), GradB: n.zeros(2 * width),
		Scale: 1.5, Dropout: 0.25, Stream: 9,
	}
	return n
}

func (n *net) zeros(size int) compute.Buffer {
	b, err := n.dev.Alloc(compute.F32, size)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

// values are of size 0.3, without a pattern that a mistake could hide in.
func (n *net) values(size int, seed float64) compute.Buffer {
	v := make([]float32, size)
	for i := range v {
		v[i] = float32(0.5 * math.Sin(seed+float64(i)*(1.3+seed/7)))
	}
	b := n.zeros(size)
	compute.Upload(n.dev, b, v)
	return b
}

func (n *net) tape(record bool) *Tape {
	saved, err := compute.NewArena(n.dev, 1<<16)
	if err != nil {
		n.t.Fatal(err)
	}
	scratch, err := compute.NewArena(n.dev, 1<<16)
	if err != nil {
		n.t.Fatal(err)
	}
	return &Tape{Device: n.dev, Saved: saved, Scratch: scratch, Record: record, Recompute: n.recompute, Dropout: &Dropout{Seed: 3, Stream: 1 << 40}}
}

func (n *net) block(t *Tape, x *Tensor) *Tensor {
	mlp := func(x, h *Tensor) *Tensor {
		u := t.Linear(h, n.up, rows)
		g := t.Linear(h, n.up, rows) // one weight used twice: its gradient adds up
		return t.AddLinear(x, t.Gated(g, u, compute.SiLU, true), n.down, rows)
	}
	switch n.form {
	case "fused":
		h := t.Norm(x, &n.layer, rows, width, true)
		gate, up := t.New(rows*inner, true), t.New(rows*inner, true)
		t.Split(t.LinearInto(t.New(rows*2*inner, false), h, n.fused, rows), rows, 3, gate, up)
		y := t.Gated(t.Activation(gate, compute.GELU, true), up, compute.Tanh, true)
		head := Norm{W: n.norm.W.Slice(0, width/2), Grad: n.norm.Grad.Slice(0, width/2), Eps: n.norm.Eps, Offset: 1}
		return t.Add(x, t.Norm(t.Linear(y, n.down, rows), &head, rows*2, width/2, false)) // of each of two heads
	case "parallel":
		h := t.Norm(x, &n.norm, rows, width, true)
		x = t.AddLinear(x, h, n.side, rows)
		return mlp(x, h)
	}
	t.Scope(func() { x = t.AddLinear(x, t.Norm(x, &n.norm, rows, width, true), n.side, rows) })
	t.Scope(func() { x = mlp(x, t.Norm(x, &n.norm, rows, width, true)) })
	return x
}

// loss is Σ weights·output, and with record its gradient is added to the parameters'.
func (n *net) loss(record, checkpoint bool) float64 {
	t := n.tape(record)
	defer t.Saved.Free()
	defer t.Scratch.Free()
	ids, err := compute.From(n.dev, []int32{4, 1, 4})
	if err != nil {
		n.t.Fatal(err)
	}
	defer ids.Free()
	x := t.Embedding(&n.embed, ids, rows, width)
	for range 2 {
		if checkpoint {
			x = t.Checkpoint(x, true, func(x *Tensor) *Tensor { return n.block(t, x) })
		} else {
			x = n.block(t, x)
		}
	}
	weights := n.values(rows*width, 8)
	defer weights.Free()
	y, w := compute.Download[float32](n.dev, x.Value), compute.Download[float32](n.dev, weights)
	sum := 0.0
	for i := range y {
		sum += float64(y[i]) * float64(w[i])
	}
	if record {
		x.Grad = t.Scratch.Alloc(compute.F32, rows*width)
		n.dev.Copy(x.Grad, weights)
		t.Backward()
	}
	if err := n.dev.Sync(); err != nil {
		n.t.Fatal(err)
	}
	if t.Saved.Err() != nil || t.Scratch.Err() != nil {
		n.t.Error(t.Saved.Err(), t.Scratch.Err())
	}
	return sum
}

type param struct {
	name        string
	value, grad compute.Buffer
}

func (n *net) params() []param {
	return []param{
		{"embedding", n.embed.Table, n.embed.Grad},
		{"norm", n.norm.W, n.norm.Grad},
		{"layer norm", n.layer.W, n.layer.Grad},
		{"layer norm bias", n.layer.Bias, n.layer.BiasGrad},
		{"fused", n.fused.W.Data, n.fused.Grad},
		{"fused bias", n.fused.Bias, n.fused.BiasGrad},
		{"up", n.up.W.Data, n.up.Grad},
		{"up bias", n.up.Bias, n.up.BiasGrad},
		{"down", n.down.W.Data, n.down.Grad},
		{"down bias", n.down.Bias, n.down.BiasGrad},
		{"side", n.side.W.Data, n.side.Grad},
		{"side bias", n.side.Bias, n.side.BiasGrad},
		{"lora_A", n.side.LoRA.A, n.side.LoRA.GradA},
		{"lora_B", n.side.LoRA.B, n.side.LoRA.GradB},
	}
}

func (n *net) gradients(checkpoint bool) [][]float32 {
	for _, p := range n.params() {
		n.dev.Zero(p.grad)
	}
	n.loss(true, checkpoint)
	var out [][]float32
	for _, p := range n.params() {
		out = append(out, compute.Download[float32](n.dev, p.grad))
	}
	return out
}

// Every gradient against the central difference of the loss, element by element. Float32 sums of size 10 and steps of
// 1e-2 leave an error of about 1e-3.
func TestGradientsAgainstDifferences(t *testing.T) {
	for _, form := range forms {
		n := newNet(t, form)
		grads := n.gradients(false)
		for i, p := range n.params() {
			value := compute.Download[float32](n.dev, p.value)
			for j := range value {
				const eps = 1e-2
				at := func(x float32) float64 {
					moved := slices.Clone(value)
					moved[j] = x
					compute.Upload(n.dev, p.value, moved)
					return n.loss(false, false)
				}
				want := (at(value[j]+eps) - at(value[j]-eps)) / (2 * eps)
				if d := math.Abs(want - float64(grads[i][j])); d > 2e-3*max(1, math.Abs(want)) {
					t.Errorf("%s: %s[%d]: gradient %g, difference quotient %g", form, p.name, j, grads[i][j], want)
				}
			}
			compute.Upload(n.dev, p.value, value)
		}
	}
}

// A checkpointed block runs the same operations on the same numbers, and so does what is computed again.
func TestRecomputingIsBitExact(t *testing.T) {
	for _, form := range forms {
		n := newNet(t, form)
		plain := n.gradients(false)
		for _, n.recompute = range []bool{false, true} {
			again, checkpointed := n.gradients(false), n.gradients(true)
			for i, p := range n.params() {
				if !slices.Equal(plain[i], again[i]) || !slices.Equal(plain[i], checkpointed[i]) {
					t.Errorf("%s: %s differs (recompute %v)", form, p.name, n.recompute)
				}
			}
		}
	}
}

// What is computed again is not kept.
func TestRecomputingSavesMemory(t *testing.T) {
	n := newNet(t, "sequential")
	var saved [2]int64
	for i, recompute := range []bool{false, true} {
		n.recompute = recompute
		tape := n.tape(true)
		n.block(tape, tape.New(rows*width, true))
		saved[i] = tape.Saved.Mark()
	}
	const norms, act = 2 * 256, 256 // buffers of so few elements take the arena's 256 bytes each
	if saved[0]-saved[1] != norms+act {
		t.Errorf("a block keeps %d bytes, with recomputation %d: want %d less", saved[0], saved[1], norms+act)
	}
}

// Scratch of a scope is free again after it, forward and backward, and forward alone saves nothing.
func TestScopesGiveScratchBack(t *testing.T) {
	n := newNet(t, "sequential")
	x := func(t *Tape) *Tensor { return t.New(rows*width, true) }
	tape := n.tape(false)
	in := x(tape)
	mark := tape.Scratch.Mark()
	if out := n.block(tape, in); out != in {
		t.Error("without recording the residual stream is updated in place")
	}
	if tape.Saved.Mark() != 0 || tape.Scratch.Mark() != mark {
		t.Errorf("a forward pass keeps %d saved bytes and %d of scratch", tape.Saved.Mark(), tape.Scratch.Mark()-mark)
	}
	tape = n.tape(true)
	out := n.block(tape, x(tape))
	if tape.Scratch.Mark() != 0 {
		t.Errorf("a recorded block keeps %d bytes of scratch", tape.Scratch.Mark())
	}
	out.Grad = tape.Scratch.Alloc(compute.F32, rows*width)
	mark = tape.Scratch.Mark()
	tape.Backward()
	if tape.Scratch.Mark() != mark {
		t.Errorf("a backward pass keeps %d bytes of scratch", tape.Scratch.Mark()-mark)
	}
}
