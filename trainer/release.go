package trainer

import (
	"fmt"

	"lathe/compute"
)

// A paused run can give the device's memory back, for somebody else's job: the step's workspace goes, and on a device with
// memory of its own ([compute.Offloader]) weights, adapter and moments wait on the host. What needs the device again takes
// the memory first: a step, a save, a prompt. Where another process holds it, the run stays paused and says so.

// giveBack releases what it can.
func (r *Run) giveBack() error {
	before := r.dev.Memory().Used
	r.live().Model.Release()
	if o, ok := r.dev.(compute.Offloader); ok {
		if _, err := o.Offload(); err != nil {
			return fmt.Errorf("give the device's memory back: %w", err)
		}
	}
	r.released, r.releasedBytes = true, before-r.dev.Memory().Used
	return nil
}

// takeBack makes the device usable again.
func (r *Run) takeBack() error {
	if !r.released {
		return nil
	}
	if o, ok := r.dev.(compute.Offloader); ok {
		if err := o.Reload(); err != nil {
			return fmt.Errorf("the device's memory was given back and cannot be taken again (resume when it is free): %w", err)
		}
	}
	r.released = false
	return nil
}
