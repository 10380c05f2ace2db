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
	c.Want(v > 0 && in > 0, "W is [%d,%d]", v, in)
	c.f32("X", a.X, a.N, in)
	logprobs := c.f32("LogProbs", a.LogProbs, a.N)
	labels := c.indices("Labels", a.Labels, a.N, v, -100)
	c.optional("Bias", a.Bias, v)
	c.optional("DX", a.DX, a.N, in)
	c.optional("DW", a.DW, v, in)
	c.optional("DBias", a.DBias, v)
	if !c.OK {
		return
	}
	targets := cSlice[int32](unsafe.Pointer(labels), a.N)
	var rows []int32 // that are trained
	for n, label := range targets {
		if label >= 0 {
			rows = append(rows, int32(n))
		}
	}
	d.Zero(a.LogProbs)
	if a.DX != nil {
		d.Zero(a.DX)
	}
	chunk := lossRows(len(rows), v)
	space := d.lossSpace(c, chunk, v, in)
	for ; c.OK && len(rows) > 0 && d.err == nil; rows = rows[min(chunk, len(rows)):] {
		d.lossChunk(a, rows[:min(chunk, len(rows))], targets, cSlice[float32](unsafe.Pointer(logprobs), a.N), space)
	}
}

// lossChunk does the rows that fit the workspace.
func (d *Device) lossChunk(a compute.LinearCrossEntropy, rows, targets []int32, logprobs []float32, s lossSpace) {
	n, v, in := len(rows), a.W.Out, a.W.In
	ids, logits, x := s.rows.Slice(0, n), s.logits.Slice(0, n*v), s.x.Slice(0, n*in)
	copy(cSlice[int32](address(ids), n), rows)
	labels := cSlice[int32](address(s.labels), n)
	for i, row := range rows {
		labels[i] = targets[row]
	}
	d.Embedding(compute.Embedding{Y: x, Table: a.X, IDs: ids, N: n, C: in, Scale: 1})
	d.Linear(compute.Linear{Y: logits, X: x, N: n, W: a.W, Bias: a.Bias, Compute: a.Compute})
	if d.err != nil {
		return
	}
	C.lathe_cross_entropy(&C.lathe_cross_entropy_args{
		logits: (*C.float)(address(logits)), labels: (*C.int32_t)(address(s.labels)),
		logprobs: (*C.float)(address(s.logprobs)), n: C.int64_t(n), v: C.int64_t(v),
		softcap: C.float(a.Softcap), grad_scale: C.float(a.GradScale), grad: flag(a.DX != nil || a.DW != nil || a.DBias != nil),
	})
	for i, p := range cSlice[float32](address(s.logprobs), n) {
		logprobs[rows[i]] = p
	}
	if a.DW != nil || a.DBias != nil {
		d.LinearBackwardWeight(compute.LinearBackwardWeight{
			DW: a.DW, DBias: a.DBias, DY: logits, X: x, N: n, Out: v, In: in, Scale: 1, Compute: a.Compute,
		})
	}
	if a.DX != nil { // the gathered rows are done with: their place takes the gradient
		d.LinearBackwardInput(compute.LinearBackwardInput{DX: x, DY: logits, N: n, W: a.W, Compute: a.Compute})
		d.EmbeddingBackward(compute.EmbeddingBackward{DTable: a.DX, DY: x, IDs: ids, N: n, C: in, Scale: 1})
	}
}

// lossRows is the number of rows in a chunk, where so many are trained.
func lossRows(trained, v int) int {
	return min(trained, max(logitsMinRows, min(logitsMaxRows, logitsBytes/(4*v))))
}

// lossSpace is the workspace of one chunk of rows.
type lossSpace struct {
	logits, x, logprobs compute.Buffer // [chunk,V], [chunk,C], [chunk]
	rows, labels        compute.Buffer // I32 [chunk]
}

// lossPart is the place of n elements in it, lossBytes that of all of it.
func lossPart(n int) int64 { return (4*int64(n) + 63) / 64 * 64 }

func lossBytes(chunk, v, in int) int64 {
	return max(1, lossPart(chunk*v)+lossPart(chunk*in)+3*lossPart(chunk))
}

func (d *Device) lossSpace(c *checked, chunk, v, in int) (s lossSpace) {
	mem := d.workspace(c.Operation(), slotLoss, lossBytes(chunk, v, in))
	if mem == nil {
		c.OK = false
		return s
	}
	var at int64
	take := func(t compute.DType, n int) compute.Buffer {
		b := &buffer{View: compute.NewView(t, n, at), dev: d, mem: mem}
		at += lossPart(n)
		return b
	}
	s.logits, s.x, s.logprobs = take(compute.F32, chunk*v), take(compute.F32, chunk*in), take(compute.F32, chunk)
	s.rows, s.labels = take(compute.I32, chunk), take(compute.I32, chunk)
	return s
}

func address(b compute.Buffer) unsafe.Pointer { return b.(*buffer).address() }
