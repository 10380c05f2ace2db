package cuda

import (
	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// Add is compute.Operations' Add.
func (d *Device) Add(a compute.Add) {
	c, n := d.begin("Add"), check.Len(a.Y)
	y, x, b := c.F32("Y", a.Y, n), c.F32("A", a.A, n), c.F32("B", a.B, n)
	c.launch("elementwise.add_f32", elements(n), driver.P(y), driver.P(x), driver.P(b), driver.F32(a.Scale), driver.I64(int64(n)))
}

// cast converts n elements.
func (c *checked) cast(to driver.Ptr, toType compute.DType, from driver.Ptr, fromType compute.DType, n int) {
	c.Fail("the CUDA device cannot do this yet")
}
