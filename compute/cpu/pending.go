package cpu

import "lathe/compute"

// AdamW8 is compute.Operations' AdamW8, which is not written yet: it fails with its name.
func (d *Device) AdamW8(compute.AdamW8) { d.begin("AdamW8").fail("not written yet") }
