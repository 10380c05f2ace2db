package cpu

import "unsafe"

// slot names a workspace: an operation that calls others must not lose its own to them.
type slot int

const (
	slotTask slot = iota // of one C call
	slotLoss             // of LinearCrossEntropy, which calls products
	slots
)

// workspace returns scratch memory of at least so many bytes, whose content lasts until the slot's next use. It is nil, with
// an error remembered, where memory is short.
func (d *Device) workspace(op string, s slot, bytes int64) *allocation {
	if a := d.scratch[s]; a != nil {
		if a.bytes >= bytes {
			return a
		}
		d.release(a)
		d.scratch[s] = nil
	}
	a, err := d.allocate(bytes)
	if err != nil {
		d.fail(op, "reserve workspace: %w", err)
		return nil
	}
	d.scratch[s] = a
	return a
}

// hostToC copies a slice to the workspace: C may keep addresses of C memory only.
func hostToC[T any](c *check, s []T) unsafe.Pointer {
	if !c.ok {
		return nil
	}
	bytes := int64(len(s)) * int64(unsafe.Sizeof(*new(T)))
	space := c.d.workspace(c.op, slotTask, max(bytes, 1))
	if space == nil {
		c.ok = false
		return nil
	}
	copy(cSlice[T](space.p, len(s)), s)
	return space.p
}

func cSlice[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }
