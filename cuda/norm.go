package cuda

import (
	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// normGrid is the grid of norm.cu's kernels: a power of two of warps for each row, as many as keep it in registers (16 elements a
// thread), up to 512 threads.
func normGrid(n, c int) driver.Launch {
	const warp, elements = 32, 16
	return tiles(n, min(512, warp*powerOfTwo(blocks(c, warp*elements))))
}

// RMSNorm is compute.Operations' RMSNorm.
func (d *Device) RMSNorm(a compute.RMSNorm) {
	c := d.begin("RMSNorm")
	y, x := c.F32("Y", a.Y, a.N, a.C), c.F32("X", a.X, a.N, a.C)
	rstd, w := c.Optional("RStd", a.RStd, a.N), c.F32("W", a.W, a.C)
	c.launch("norm.rms_norm", normGrid(a.N, a.C), driver.P(y), driver.P(x), driver.P(rstd), driver.P(w),
		driver.I64(int64(a.N)), driver.I32(int32(a.C)), driver.F32(a.Eps), driver.F32(a.Offset))
}

// RMSNormBackward is compute.Operations' RMSNormBackward.
func (d *Device) RMSNormBackward(a compute.RMSNormBackward) {
	c := d.begin("RMSNormBackward")
	dx, dy, x := c.F32("DX", a.DX, a.N, a.C), c.F32("DY", a.DY, a.N, a.C), c.F32("X", a.X, a.N, a.C)
	rstd, w, dw := c.F32("RStd", a.RStd, a.N), c.F32("W", a.W, a.C), c.Optional("DW", a.DW, a.C)
	c.columnSums(columnSums{weights: dw, dy: dy, x: x, rstd: rstd, n: a.N, c: a.C}) // first: dx may overwrite dy
	c.launch("norm.rms_norm_backward", normGrid(a.N, a.C), driver.P(dx), driver.P(dy), driver.P(x), driver.P(rstd), driver.P(w),
		driver.I64(int64(a.N)), driver.I32(int32(a.C)), driver.F32(a.Offset), flag(a.Accumulate))
}

// LayerNorm is compute.Operations' LayerNorm.
func (d *Device) LayerNorm(a compute.LayerNorm) {
	c := d.begin("LayerNorm")
	y, x := c.F32("Y", a.Y, a.N, a.C), c.F32("X", a.X, a.N, a.C)
	mean, rstd := c.Optional("Mean", a.Mean, a.N), c.Optional("RStd", a.RStd, a.N)
	w, bias := c.F32("W", a.W, a.C), c.Optional("Bias", a.Bias, a.C)
	c.launch("norm.layer_norm", normGrid(a.N, a.C), driver.P(y), driver.P(x), driver.P(mean), driver.P(rstd), driver.P(w), driver.P(bias),
		driver.I64(int64(a.N)), driver.I32(int32(a.C)), driver.F32(a.Eps))
}

// LayerNormBackward is compute.Operations' LayerNormBackward.
func (d *Device) LayerNormBackward(a compute.LayerNormBackward) {
	c := d.begin("LayerNormBackward")
	dx, dy, x := c.F32("DX", a.DX, a.N, a.C), c.F32("DY", a.DY, a.N, a.C), c.F32("X", a.X, a.N, a.C)
	mean, rstd, w := c.F32("Mean", a.Mean, a.N), c.F32("RStd", a.RStd, a.N), c.F32("W", a.W, a.C)
	dw, dbias := c.Optional("DW", a.DW, a.C), c.Optional("DBias", a.DBias, a.C)
	c.columnSums(columnSums{weights: dw, biases: dbias, dy: dy, x: x, mean: mean, rstd: rstd, n: a.N, c: a.C}) // as RMSNormBackward
	c.launch("norm.layer_norm_backward", normGrid(a.N, a.C), driver.P(dx), driver.P(dy), driver.P(x), driver.P(mean), driver.P(rstd),
		driver.P(w), driver.I64(int64(a.N)), driver.I32(int32(a.C)), flag(a.Accumulate))
}

// RoPE is compute.Operations' RoPE.
func (d *Device) RoPE(a compute.RoPE) {
	c := d.begin("RoPE")
	c.Rotary(a)
	if !c.OK {
		return
	}
	half, kernel, sign := a.Rotary/2, "rope.rope", float32(1)
	known := check.Len(a.Cos) / half
	x := c.F32("X", a.X, a.N, a.H, a.D)
	cos, sin := c.F32("Cos", a.Cos, known, half), c.F32("Sin", a.Sin, known, half)
	positions, _ := c.indices("Positions", a.Positions, a.N, known, 0)
	c.Want(a.N == 0 || known > 0, "Cos holds no position")
	if a.Interleaved {
		kernel = "rope.rope_interleaved"
	}
	if a.Inverse {
		sign = -1
	}
	c.launch(kernel, tiles(a.N*a.H, along(half)), driver.P(x), driver.P(cos), driver.P(sin), driver.P(positions),
		driver.I64(int64(a.N)*int64(a.H)), driver.I32(int32(a.H)), driver.I32(int32(a.D)), driver.I32(int32(half)), driver.F32(sign))
}
