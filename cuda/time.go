package cuda

import (
	"errors"
	"fmt"
	"time"
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
