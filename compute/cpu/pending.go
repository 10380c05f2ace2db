package cpu

import "lathe/compute"

// The operations of this file are not written yet: each fails with its name.

// CopyBlocks is compute.Operations' CopyBlocks.
func (d *Device) CopyBlocks(compute.CopyBlocks) { d.begin("CopyBlocks").fail("not written yet") }

// RowNorm is compute.Operations' RowNorm.
func (d *Device) RowNorm(compute.RowNorm) { d.begin("RowNorm").fail("not written yet") }

// ScaleColumns is compute.Operations' ScaleColumns.
func (d *Device) ScaleColumns(compute.ScaleColumns) { d.begin("ScaleColumns").fail("not written yet") }

// ScaleColumnsBackward is compute.Operations' ScaleColumnsBackward.
func (d *Device) ScaleColumnsBackward(compute.ScaleColumnsBackward) {
	d.begin("ScaleColumnsBackward").fail("not written yet")
}

// AdamW8 is compute.Operations' AdamW8.
func (d *Device) AdamW8(compute.AdamW8) { d.begin("AdamW8").fail("not written yet") }
