package tape

import "lathe/compute"

// Rows gathers m rows of x[n,c], each at most once.
func (t *Tape) Rows(x *Tensor, ids compute.Buffer, m, c int) *Tensor {
	y := t.New(m*c, true)
	t.Device.Embedding(compute.Embedding{Y: y.Value, Table: x.Value, IDs: ids, N: m, C: c, Scale: 1})
	y.needs = x.needs
	if y.needs {
		t.push(func() {
			dx, accumulate := t.grad(x)
			if !accumulate {
				t.Zero(dx)
			}
			t.EmbeddingBackward(compute.EmbeddingBackward{DTable: dx, DY: y.Grad, IDs: ids, N: m, C: c, Scale: 1})
		})
	}
	return y
}

// Spread puts y[m,c], which came of m rows of x[n,c], back to their places; other rows are zeros, and their gradients are lost.
func (t *Tape) Spread(y, x *Tensor, ids compute.Buffer, m, c int) *Tensor {
	z := x
	if t.Record {
		z = t.New(x.Value.Len(), true)
	}
	t.Zero(z.Value)
	t.EmbeddingBackward(compute.EmbeddingBackward{DTable: z.Value, DY: y.Value, IDs: ids, N: m, C: c, Scale: 1})
	if !t.Record {
		return z
	}
	z.needs = y.needs
	if z.needs {
		t.push(func() {
			y.Grad = t.Scratch.Alloc(compute.F32, m*c)
			t.Device.Embedding(compute.Embedding{Y: y.Grad, Table: z.Grad, IDs: ids, N: m, C: c, Scale: 1})
			if x.needs { // whose gradient has to outlive the scopes between here and its rows
				t.Zero(z.Grad)
				x.Grad = z.Grad
			}
		})
	}
	return z
}
