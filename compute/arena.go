package compute

import "fmt"

// Arena hands out buffers from one reservation and takes them back in stack order, so that a run's memory is known before
// its first step and no allocation happens within one. Offsets are aligned to 256 bytes.
type Arena struct {
	dev  Device
	mem  Buffer
	size int64
	used int64
	peak int64
	err  error

	touched int64 // bytes from the start that have their memory
}

const arenaAlign = 256

// NewArena reserves size bytes on the device.
func NewArena(d Device, size int64) (*Arena, error) {
	mem, err := d.Alloc(U8, int(size))
	if err != nil {
		return nil, fmt.Errorf("reserve arena: %w", err)
	}
	return &Arena{dev: d, mem: mem, size: size}, nil
}

// Alloc returns n elements with undefined content. Beyond the reservation it returns a buffer outside of the arena (or
// panics when the device has none left) and remembers an error, which Err returns: the plan was wrong, and says so.
func (a *Arena) Alloc(t DType, n int) Buffer {
	bytes := int64(n) * int64(t.Size())
	end := a.used + (bytes+arenaAlign-1)/arenaAlign*arenaAlign
	if end > a.size {
		if a.err == nil {
			a.err = fmt.Errorf("arena: %d bytes wanted after %d of %d are in use: the memory plan was too small", bytes, a.used, a.size)
		}
		b, err := a.dev.Alloc(t, n)
		if err != nil {
			panic(fmt.Errorf("%w: %w", a.err, err))
		}
		return b
	}
	b := a.mem.Slice(int(a.used), int(bytes)).As(t)
	a.used = end
	a.peak = max(a.peak, end)
	return b
}

// Touch has the system give so many bytes from the start their memory, before a step that fills the arena so far.
func (a *Arena) Touch(bytes int64) {
	bytes = min(bytes, a.size)
	if bytes <= a.touched {
		return
	}
	Touch(a.dev, a.mem.Slice(int(a.touched), int(bytes-a.touched)))
	a.touched = bytes
}

// Mark is the arena's fill now, for Release.
func (a *Arena) Mark() int64 { return a.used }

// Release gives back everything allocated since the mark.
func (a *Arena) Release(mark int64) { a.used = mark }

// Peak is the highest fill so far, in bytes.
func (a *Arena) Peak() int64 { return a.peak }

// Size is the reservation in bytes.
func (a *Arena) Size() int64 { return a.size }

// Err says whether an allocation ever exceeded the reservation.
func (a *Arena) Err() error { return a.err }

// Free gives the reservation back to the device.
func (a *Arena) Free() { a.mem.Free() }
