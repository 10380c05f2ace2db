package cuda

import (
	"errors"
	"fmt"
	"time"

	"lathe/compute"
)

// Time runs operations and is the device's own time from the first to the end of the last, by two events in the stream: what the
// host does meanwhile counts only where the device waits for it. The error is the first of the operations, as Sync's.
func (d *Device) Time(operations func()) (time.Duration, error) {
	if err := d.Sync(); err != nil {
		return 0, err
	}
	from, err := d.ctx.NewEvent()
	if err != nil {
		return 0, fmt.Errorf("time operations: %w", err)
	}
	defer func() { _ = d.ctx.DestroyEvent(from) }()
	to, err := d.ctx.NewEvent()
	if err != nil {
		return 0, fmt.Errorf("time operations: %w", err)
	}
	defer func() { _ = d.ctx.DestroyEvent(to) }()
	if err := d.ctx.Record(from, d.stream); err != nil {
		return 0, fmt.Errorf("time operations: %w", err)
	}
	operations()
	err = d.ctx.Record(to, d.stream)
	t, elapsedErr := d.ctx.Elapsed(from, to)
	if err := errors.Join(err, elapsedErr); err != nil {
		d.fail(fmt.Errorf("time operations: %w", err))
	}
	return t, d.Sync()
}

// Through lets composite operations run those that they are made of on another device of the same buffers: a profile of this one.
func (d *Device) Through(outer compute.Device) { d.inner = outer }

// Mark is the number of an event in the stream, behind all that was asked for so far.
func (d *Device) Mark() int {
	if d.marked == len(d.events) {
		e, err := d.ctx.NewEvent()
		if err != nil {
			d.fail(fmt.Errorf("time operations: %w", err))
		}
		d.events = append(d.events, e)
	}
	if e := d.events[d.marked]; e != 0 {
		if err := d.ctx.Record(e, d.stream); err != nil {
			d.fail(fmt.Errorf("time operations: %w", err))
		}
	}
	d.marked++
	return d.marked - 1
}

// Between waits for the work before two marks and is the GPU's time from one to the other.
func (d *Device) Between(from, to int) time.Duration {
	a, b := d.events[from], d.events[to]
	if a == 0 || b == 0 {
		return 0
	}
	t, err := d.ctx.Elapsed(a, b)
	if err != nil {
		d.fail(fmt.Errorf("time operations: %w", err))
	}
	return t
}

// Unmark forgets all marks; their events serve the next ones.
func (d *Device) Unmark() { d.marked = 0 }

func (d *Device) dropEvents() (err error) {
	for _, e := range d.events {
		err = errors.Join(err, d.ctx.DestroyEvent(e))
	}
	d.events, d.marked = nil, 0
	return err
}
