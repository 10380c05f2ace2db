package cuda

import (
	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// Activation is compute.Operations' Activation.
func (d *Device) Activation(a compute.Activation) {
	c, n := d.begin("Activation"), check.Len(a.Y)
	y, x := c.F32("Y", a.Y, n), c.F32("X", a.X, n)
	c.activation("activation", n, a.Act, y, x)
}

// ActivationBackward is compute.Operations' ActivationBackward.
func (d *Device) ActivationBackward(a compute.ActivationBackward) {
	c, n := d.begin("ActivationBackward"), check.Len(a.DY)
	dx, dy, x := c.F32("DX", a.DX, n), c.F32("DY", a.DY, n), c.F32("X", a.X, n)
	c.activation("activation_backward", n, a.Act, dx, dy, x)
}

// GatedActivation is compute.Operations' GatedActivation.
func (d *Device) GatedActivation(a compute.GatedActivation) {
	c, n := d.begin("GatedActivation"), check.Len(a.Y)
	y, gate, up := c.F32("Y", a.Y, n), c.F32("Gate", a.Gate, n), c.F32("Up", a.Up, n)
	c.activation("gated", n, a.Act, y, gate, up)
}

// GatedActivationBackward is compute.Operations' GatedActivationBackward.
func (d *Device) GatedActivationBackward(a compute.GatedActivationBackward) {
	c, n := d.begin("GatedActivationBackward"), check.Len(a.DY)
	dgate, dup, dy := c.F32("DGate", a.DGate, n), c.F32("DUp", a.DUp, n), c.F32("DY", a.DY, n)
	gate, up := c.F32("Gate", a.Gate, n), c.F32("Up", a.Up, n)
	c.activation("gated_backward", n, a.Act, dgate, dup, dy, gate, up)
}

// activation runs a kernel of activation.cu on buffers of n elements.
func (c *checked) activation(kernel string, n int, act compute.Act, buffers ...driver.Ptr) {
	c.Act(act)
	args := make([]driver.Arg, 0, len(buffers)+2)
	for _, b := range buffers {
		args = append(args, driver.P(b))
	}
	c.launch("activation."+kernel, quads(n), append(args, driver.I64(int64(n)), driver.I32(int32(act)))...)
}
