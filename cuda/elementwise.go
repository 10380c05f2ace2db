package cuda

import (
	"math"

	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// Add is compute.Operations' Add.
func (d *Device) Add(a compute.Add) {
	c, n := d.begin("Add"), check.Len(a.Y)
	y, x, b := c.F32("Y", a.Y, n), c.F32("A", a.A, n), c.F32("B", a.B, n)
	c.launch("elementwise.add_f32", quads(n), driver.P(y), driver.P(x), driver.P(b), driver.F32(a.Scale), driver.I64(int64(n)))
}

// Dropout is compute.Operations' Dropout.
func (d *Device) Dropout(a compute.Dropout) {
	c, n := d.begin("Dropout"), check.Len(a.Y)
	c.Probability("P", a.P)
	y, x := c.F32("Y", a.Y, n), c.F32("X", a.X, n)
	// a draw u is kept when u ≥ P·2³²; a whole u reaches that where it reaches the next whole number
	threshold, scale := uint64(math.Ceil(float64(a.P)*(1<<32))), float32(float64(a.Scale)/(1-float64(a.P)))
	c.launch("elementwise.dropout", quads(n), driver.P(y), driver.P(x), driver.I64(int64(n)), driver.U64(threshold),
		driver.F32(scale), driver.U64(a.Seed), driver.U64(a.Stream), flag(a.Accumulate))
}
