package cuda

import "lathe/compute"

func (d *Device) missing(op string) { d.begin(op).Fail("the CUDA device cannot do this yet") }

// Linear is compute.Operations' Linear.
func (d *Device) Linear(compute.Linear) { d.missing("Linear") }

// LinearBackwardInput is compute.Operations' LinearBackwardInput.
func (d *Device) LinearBackwardInput(compute.LinearBackwardInput) { d.missing("LinearBackwardInput") }

// LinearBackwardWeight is compute.Operations' LinearBackwardWeight.
func (d *Device) LinearBackwardWeight(compute.LinearBackwardWeight) {
	d.missing("LinearBackwardWeight")
}

// RowNorm is compute.Operations' RowNorm.
func (d *Device) RowNorm(compute.RowNorm) { d.missing("RowNorm") }
