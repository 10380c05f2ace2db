package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// logitsBytes of logits at once: each of a chunk's products reads the whole head, which takes an H100 as long as multiplying 250 rows by it.
const logitsBytes = 256 << 20

// LinearCrossEntropy is compute.Operations' LinearCrossEntropy. Labels were uploaded, so the host knows which rows are trained.
func (d *Device) LinearCrossEntropy(a compute.LinearCrossEntropy) {
	c := d.begin("LinearCrossEntropy")
	c.CrossEntropy(a)
	v, in := a.W.Out, a.W.In
	_, labels := c.indices("Labels", a.Labels, a.N, v, -100)
	trained := compute.TrainedRows(labels)
	rows := compute.LossRows(len(trained), v, logitsBytes)
	bytes := compute.LossBytes(rows, v, in)
	space := c.workspace(slotLoss, bytes)
	if !c.OK {
		return
	}
	mem := &buffer{View: compute.NewView(compute.U8, int(bytes), 0), dev: d, mem: space}
	compute.ChunkedLoss(d.inner, a, labels, trained, compute.NewLossSpace(mem, rows, v, in), func(s compute.LossSpace, n int) {
		d.softmax(a, s, n)
	})
}

// lossThreads is the block that takes a row of logits.
const lossThreads = 512

// softmax turns a chunk's logits into log-probabilities of the labels and their gradients.
func (d *Device) softmax(a compute.LinearCrossEntropy, s compute.LossSpace, n int) {
	c, v := d.begin("LinearCrossEntropy"), a.W.Out
	logits, logprobs := c.F32("logits", s.Logits, n, v), c.F32("log-probabilities", s.LogProbs, n)
	labels := c.Typed("labels", s.Labels, compute.I32, n)
	c.launch("cross_entropy.cross_entropy", rows(n, lossThreads), driver.P(logits), driver.P(logprobs), driver.P(labels),
		driver.I64(int64(v)), driver.F32(a.Softcap), driver.F32(a.GradScale), flag(a.DX != nil || a.DW != nil || a.DBias != nil))
}
