package tape

import "lathe/compute"

// Bottleneck is an adapter of two small layers behind a branch (Houlsby et al. 2019): Scale · dropout(Up(act(Down(x)))).
type Bottleneck struct {
	Down, Up Linear // [R,C], [C,R], each with a bias
	Act      compute.Act
	Scale    float32
	Dropout  float32
	Stream   uint64 // number of this adapter, for its dropout mask
}

// Bottleneck is h + b(x), both [n,C]; x may be h.
func (t *Tape) Bottleneck(h, x *Tensor, b *Bottleneck, n int) *Tensor {
	up := t.Linear(t.Activation(t.Linear(x, &b.Down, n), b.Act, true), &b.Up, n)
	p := b.Dropout
	if t.Dropout == nil {
		p = 0
	}
	add := func(y, x compute.Buffer, accumulate bool) {
		op := compute.Dropout{Y: y, X: x, P: p, Scale: b.Scale, Accumulate: accumulate}
		if p > 0 {
			op.Seed, op.Stream = t.Dropout.Seed, t.Dropout.Stream+b.Stream
		}
		t.Device.Dropout(op)
	}
	if !t.Record {
		add(h.Value, up.Value, true)
		return h
	}
	y := t.New(h.Value.Len(), true)
	t.Copy(y.Value, h.Value)
	add(y.Value, up.Value, true)
	y.needs = h.needs || up.needs
	if y.needs {
		t.push(func() {
			if up.needs {
				dup, accumulate := t.grad(up)
				add(dup, y.Grad, accumulate)
			}
			t.give(h, y.Grad)
		})
	}
	return y
}

// Sum is x + y as a tensor of its own; keep says that it is needed in the backward pass.
func (t *Tape) Sum(x, y *Tensor, keep bool) *Tensor {
	z := t.New(x.Value.Len(), keep)
	t.Device.Add(compute.Add{Y: z.Value, A: x.Value, B: y.Value, Scale: 1})
	z.needs = t.Record && (x.needs || y.needs)
	if z.needs {
		t.push(func() {
			for _, part := range []*Tensor{x, y} {
				if !part.needs {
					continue
				}
				if d, accumulate := t.grad(part); accumulate {
					t.Device.Add(compute.Add{Y: d, A: d, B: z.Grad, Scale: 1})
				} else {
					t.Copy(d, z.Grad)
				}
			}
		})
	}
	return z
}
