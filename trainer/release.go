package trainer

import (
	"fmt"

	"lathe/compute"
)

// A paused run can give the device's memory back, for somebody else's job: the step's workspace goes, and on a device with
// memory of its own ([compute.Offloader]) weights, adapter and moments wait on the host. What needs the device again takes
// the memory first: a step, a save, a prompt. Where another process holds it, the run stays paused and says so.

// giveBack releases what it can, on all ranks.
func (r *Run) giveBack() error {
	if r.group.Size() == 1 {
		return r.giveBackHere()
	}
	if _, err := r.agree(wish{Order: release}); err != nil {
		return err
	}
	return r.carryOut(release)
}

// takeBackFor makes the device usable for what is wanted: a step needs the devices of all ranks, a save this one.
func (r *Run) takeBackFor(w wishes) error {
	if w.pause || w.stop || !r.othersReleased {
		return r.takeBack()
	}
	if _, err := r.agree(wish{Order: retake}); err != nil {
		return err
	}
	return r.carryOut(retake)
}

// giveBackHere releases what it can of this rank's device.
func (r *Run) giveBackHere() error {
	before := r.dev.Memory().Used
	r.live().Model.Release()
	if err := r.group.Release(); err != nil {
		return fmt.Errorf("give the device's memory back: %w", err)
	}
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
