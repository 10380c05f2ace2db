package cpu

// #include "lathe.h"
import "C"

import (
	"unsafe"

	"lathe/compute"
)

// Logits that LinearCrossEntropy holds at once: enough rows for products at full speed, bounded for large vocabularies.
const (
	logitsBytes   = 64 << 20
	logitsMinRows = 64
	logitsMaxRows = 1024
)

// LinearCrossEntropy is compute.Operations' LinearCrossEntropy. Trained rows are gathered, so that ignored ones cost
// nothing, and go through the head in chunks; a chunk's logits become their gradients in place.
func (d *Device) LinearCrossEntropy(a compute.LinearCrossEntropy) {
	c := d.begin("LinearCrossEntropy")
	v, in := a.W.Out, a.W.In
	x, logprobs := c.f32("X", a.X, a.N, in), c.f32("LogProbs", a.LogProbs, a.N)
	labels := c.indices("Labels", a.Labels, a.N, v, -100)
	c.optional("DX", a.DX, a.N, in)
	c.optional("DW", a.DW, v, in)
	c.optional("DBias", a.DBias, v)
	c.optional("Bias", a.Bias, v)
	c.want(v > 0 && in > 0, "W is [%d,%d]", v, in)
	if !c.ok {
		return
	}
	var rows []int32
	targets := unsafe.Slice((*int32)(unsafe.Pointer(labels)), a.N)
	for n, label := range targets {
		if label >= 0 {
			rows = append(rows, int32(n))
		}
	}
	d.Zero(a.LogProbs)
	if a.DX != nil {
		d.Zero(a.DX)
	}
	chunk := min(len(rows), max(logitsMinRows, min(logitsMaxRows, logitsBytes/(4*v))))
	backward := a.DX != nil || a.DW != nil || a.DBias != nil
	s := d.lossSpace(c, chunk, v, in)
	for ; c.ok && len(rows) > 0 && d.err == nil; rows = rows[min(chunk, len(rows)):] {
		n := min(chunk, len(rows))
		ids, logits, gathered := s.rows.Slice(0, n), s.logits.Slice(0, n*v), s.x.Slice(0, n*in)
		copy(cSlice[int32](address(ids), n), rows)
		for i, row := range rows[:n] {
			cSlice[int32](address(s.labels), n)[i] = targets[row]
		}
		d.Embedding(compute.Embedding{Y: gathered, Table: a.X, IDs: ids, N: n, C: in, Scale: 1})
		d.Linear(compute.Linear{Y: logits, X: gathered, N: n, W: a.W, Bias: a.Bias, Compute: a.Compute})
		d.enter()
		C.lathe_cross_entropy(&C.lathe_cross_entropy_args{
			logits: (*C.float)(address(logits)), labels: (*C.int32_t)(address(s.labels)),
			logprobs: (*C.float)(address(s.logprobs)), n: C.int64_t(n), v: C.int64_t(v),
			softcap: C.float(a.Softcap), grad_scale: C.float(a.GradScale), grad: flag(backward),
		})
		for i, row := range rows[:n] {
			cSlice[float32](unsafe.Pointer(logprobs), a.N)[row] = cSlice[float32](address(s.logprobs), n)[i]
		}
		if a.DW != nil || a.DBias != nil {
			d.LinearBackwardWeight(compute.LinearBackwardWeight{
				DW: a.DW, DBias: a.DBias, DY: logits, X: gathered, N: n, Out: v, In: in, Scale: 1, Compute: a.Compute,
			})
		}
		if a.DX != nil { // the gathered rows are done with: their place takes the gradient
			d.LinearBackwardInput(compute.LinearBackwardInput{DX: gathered, DY: logits, N: n, W: a.W, Compute: a.Compute})
			d.EmbeddingBackward(compute.EmbeddingBackward{DTable: a.DX, DY: gathered, IDs: ids, N: n, C: in, Scale: 1})
		}
	}
	_ = x
}

// lossSpace is the workspace of one chunk of rows.
type lossSpace struct {
	logits, x, logprobs, rows, labels compute.Buffer
}

func (d *Device) lossSpace(c *check, chunk, v, in int) (s lossSpace) {
	var total int64
	sizes := []int{chunk * v, chunk * in, chunk, chunk, chunk}
	for _, n := range sizes {
		total += (4*int64(n) + 63) / 64 * 64
	}
	mem := d.workspace(c.op, slotLoss, max(total, 1))
	if mem == nil {
		c.ok = false
		return s
	}
	var at int64
	for i, b := range []*compute.Buffer{&s.logits, &s.x, &s.logprobs, &s.rows, &s.labels} {
		t := compute.F32
		if i >= 3 {
			t = compute.I32
		}
		*b = &buffer{dev: d, mem: mem, off: at, t: t, n: sizes[i]}
		at += (4*int64(sizes[i]) + 63) / 64 * 64
	}
	return s
}

func address(b compute.Buffer) unsafe.Pointer { return b.(*buffer).address() }
