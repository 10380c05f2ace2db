package cuda

import (
	"errors"
	"fmt"

	"lathe/compute"
)

var _ compute.Offloader = (*Device)(nil)

var errOffloaded = errors.New("the GPU's memory was given back: resume the run first")

// Offload is compute.Offloader's Offload. Buffers stay valid: their content comes back with Reload, at other addresses.
func (d *Device) Offload() (int64, error) {
	if d.offloaded {
		return 0, nil
	}
	if err := d.Sync(); err != nil {
		return 0, err
	}
	before := d.memory.Used
	d.scratch.Free() // holds nothing between operations
	for a := range d.roots {
		a.saved = make([]byte, a.bytes)
		if a.bytes == 0 {
			continue
		}
		if err := d.ctx.CopyOut(a.saved, a.p, d.stream); err != nil {
			return 0, errors.Join(fmt.Errorf("give the GPU's memory back: %w", err), d.Reload())
		}
	}
	// Only now that all is safe on the host does anything go.
	for a := range d.roots {
		if err := d.ctx.Free(a.p); err != nil {
			return 0, fmt.Errorf("give the GPU's memory back: %w", err)
		}
		a.p = 0
	}
	d.memory.Used, d.offloaded = 0, true
	return before, nil
}

// Reload is compute.Offloader's Reload. Where memory is short everything stays on the host, and it may be tried again.
func (d *Device) Reload() error {
	for a := range d.roots {
		if a.saved == nil {
			continue
		}
		if err := d.reload(a); err != nil {
			return errors.Join(err, d.retreat())
		}
	}
	for a := range d.roots {
		a.saved = nil
	}
	d.offloaded = false
	return nil
}

// reload takes memory for one allocation and fills it.
func (d *Device) reload(a *allocation) error {
	if a.p == 0 {
		p, err := d.ctx.Alloc(max(a.bytes, 1))
		if err != nil {
			return d.short(a.bytes, err)
		}
		a.p = p
		d.memory.Used += a.bytes
	}
	if a.bytes == 0 {
		return nil
	}
	if err := d.ctx.CopyIn(a.p, a.saved, d.stream); err != nil {
		return fmt.Errorf("bring %s back to the GPU: %w", compute.Gib(a.bytes), err)
	}
	return nil
}

// retreat gives back what a Reload that failed had taken.
func (d *Device) retreat() error {
	var errs error
	for a := range d.roots {
		if a.p != 0 && d.offloaded {
			errs = errors.Join(errs, d.ctx.Free(a.p))
			a.p = 0
			d.memory.Used -= a.bytes
		}
	}
	return errs
}
