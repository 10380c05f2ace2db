package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// RowNorm is compute.Operations' RowNorm: products in float32, squares summed in float64.
func (d *Device) RowNorm(a compute.RowNorm) {
	c, out, in := d.begin("RowNorm"), a.W.Out, a.W.In
	y, w := c.F32("Y", a.Y, out), c.weight(a.W)
	low := compute.LowRank{}
	var u, v driver.Ptr
	if a.LowRank != nil {
		low = *a.LowRank
		c.Rank(&low)
		u, v = c.F32("LowRank.U", low.U, low.R, in), c.F32("LowRank.V", low.V, out, low.R)
	}
	if out == 0 {
		return
	}
	const blockRows = 8 // row_norm.cu's NORM_ROWS
	args := append([]driver.Arg{driver.P(y), driver.P(w.p), driver.I32(int32(w.kind))}, w.quant.args()...)
	args = append(args, driver.I32(int32(out)), driver.I32(int32(in)), driver.P(u), driver.P(v), driver.I32(int32(low.R)), driver.F32(low.Scale))
	c.launch("row_norm.row_norm", rows(blocks(out, blockRows), blockThreads), args...)
}
