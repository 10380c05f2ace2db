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

// AdamW is compute.Operations' AdamW.
func (d *Device) AdamW(compute.AdamW) { d.missing("AdamW") }

// AdamW8 is compute.Operations' AdamW8.
func (d *Device) AdamW8(compute.AdamW8) { d.missing("AdamW8") }

// GlobalNorm is compute.Operations' GlobalNorm.
func (d *Device) GlobalNorm([]compute.Buffer) float64 { d.missing("GlobalNorm"); return 0 }

// FirstNonFinite is compute.Operations' FirstNonFinite.
func (d *Device) FirstNonFinite([]compute.Buffer) (buffer, index int) {
	d.missing("FirstNonFinite")
	return -1, -1
}
