package cpu

// #include "queue.h"
import "C"

import (
	"unsafe"

	"lathe/compute"
)

// logitsBytes of logits at once leave the caches, and are little memory. Fewer rows, whose logits would stay there, are slower: what each
// chunk repeats costs more (docs/performance/attempts.md).
const logitsBytes = 64 << 20

// LinearCrossEntropy is compute.Operations' LinearCrossEntropy.
func (d *Device) LinearCrossEntropy(a compute.LinearCrossEntropy) {
	c := d.begin("LinearCrossEntropy")
	c.CrossEntropy(a)
	v, in := a.W.Out, a.W.In
	labels := cSlice[int32](unsafe.Pointer(c.indices("Labels", a.Labels, a.N, v, -100)), a.N)
	if !c.OK {
		return
	}
	trained := compute.TrainedRows(labels)
	rows := compute.LossRows(len(trained), v, logitsBytes)
	mem := d.workspace(c.Operation(), slotLoss, compute.LossBytes(rows, v, in))
	if mem == nil {
		return
	}
	space := &buffer{View: compute.NewView(compute.U8, int(mem.bytes), 0), dev: d, mem: mem}
	compute.ChunkedLoss(d.inner, a, labels, trained, compute.NewLossSpace(space, rows, v, in), func(s compute.LossSpace, n int) {
		if d.err != nil {
			return
		}
		push(d, C.LATHE_QUEUED_cross_entropy, &C.lathe_cross_entropy_args{
			logits: (*C.float)(address(s.Logits)), labels: (*C.int32_t)(address(s.Labels)),
			logprobs: (*C.float)(address(s.LogProbs)), n: C.int64_t(n), v: C.int64_t(v),
			softcap: C.float(a.Softcap), grad_scale: C.float(a.GradScale), grad: flag(a.DX != nil || a.DW != nil || a.DBias != nil),
		})
	})
}

func address(b compute.Buffer) unsafe.Pointer { return b.(*buffer).address() }
