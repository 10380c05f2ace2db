package tape

import "lathe/compute"

// PrefixEncoder makes the keys and values of virtual tokens (Li & Liang 2021): a table of them, or (Down and Up set) a table
// of smaller rows that a linear layer, tanh and another linear layer turn into them.
type PrefixEncoder struct {
	Embedding Embedding // [Rows,Columns], or [Rows,In] with a projection
	Down, Up  *Linear   // [Hidden,In], [Columns,Hidden], each with a bias; or nil
	Rows      int       // virtual tokens
	Columns   int       // keys and values of all blocks, side by side
}

// Prefix is what e makes, [Rows,Columns].
func (t *Tape) Prefix(e *PrefixEncoder) *Tensor {
	if e.Down == nil {
		return &Tensor{Value: e.Embedding.Table, Grad: e.Embedding.Grad, needs: t.Record && e.Embedding.Grad != nil, saved: true}
	}
	ids, count := t.Saved.Alloc(compute.I32, e.Rows), make([]int32, e.Rows)
	for i := range count {
		count[i] = int32(i)
	}
	compute.Upload(t.Device, ids, count)
	x := t.Embedding(&e.Embedding, ids, e.Rows, e.Down.W.In)
	y := t.Linear(t.Activation(t.Linear(x, e.Down, e.Rows), compute.Tanh, true), e.Up, e.Rows)
	if y.needs { // each block adds to the gradient, within a scope of its own
		y.Grad = t.Saved.Alloc(compute.F32, y.Value.Len())
		t.Zero(y.Grad)
	}
	return y
}

// PrefixRows copies a prefix' columns at … at+width, those of one block's keys or values, to dst [Rows,width].
func (t *Tape) PrefixRows(dst, prefix compute.Buffer, e *PrefixEncoder, at, width int) {
	t.CopyBlocks(compute.CopyBlocks{
		Dst: dst, Src: prefix, N: e.Rows, Groups: 1, Width: width, DstWidth: width, SrcWidth: e.Columns, SrcAt: at,
	})
}

// Prefixed puts a prefix' columns at … at+width before each sequence of k [n,width]: [n + sequences·Rows, width]. The spans' queries are the
// rows of k, their keys the rows of the result, the prefix first.
func (t *Tape) Prefixed(k, prefix *Tensor, e *PrefixEncoder, at, width int, spans []compute.Span) *Tensor {
	n := k.Value.Len() / width
	y := t.New((n+len(spans)*e.Rows)*width, true)
	mark := t.Scratch.Mark()
	rows := t.Scratch.Alloc(compute.F32, e.Rows*width)
	t.PrefixRows(rows, prefix.Value, e, at, width)
	for _, s := range spans {
		t.Copy(y.Value.Slice(s.KStart*width, e.Rows*width), rows)
		t.Copy(y.Value.Slice((s.KStart+e.Rows)*width, s.QLen*width), k.Value.Slice(s.QStart*width, s.QLen*width))
	}
	t.Scratch.Release(mark)
	y.needs = t.Record && (k.needs || prefix.needs)
	if y.needs {
		t.push(func() { t.prefixedBackward(y, k, prefix, e, at, width, spans) })
	}
	return y
}

func (t *Tape) prefixedBackward(y, k, prefix *Tensor, e *PrefixEncoder, at, width int, spans []compute.Span) {
	if k.needs {
		dk, accumulate := t.grad(k)
		for _, s := range spans {
			part, from := dk.Slice(s.QStart*width, s.QLen*width), y.Grad.Slice((s.KStart+e.Rows)*width, s.QLen*width)
			if accumulate {
				t.Device.Add(compute.Add{Y: part, A: part, B: from, Scale: 1})
			} else {
				t.Copy(part, from)
			}
		}
	}
	if !prefix.needs {
		return
	}
	mark := t.Scratch.Mark()
	sum := t.Scratch.Alloc(compute.F32, e.Rows*width)
	t.PrefixRows(sum, prefix.Grad, e, at, width)
	for _, s := range spans {
		t.Device.Add(compute.Add{Y: sum, A: sum, B: y.Grad.Slice(s.KStart*width, e.Rows*width), Scale: 1})
	}
	t.CopyBlocks(compute.CopyBlocks{
		Dst: prefix.Grad, Src: sum, N: e.Rows, Groups: 1, Width: width, DstWidth: e.Columns, DstAt: at, SrcWidth: width,
	})
	t.Scratch.Release(mark)
}
