package cpu

// #include "lathe.h"
import "C"

import (
	"fmt"
	"unsafe"

	"lathe/compute"
)

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
	if err := d.grow(s, bytes); err != nil {
		d.fail(fmt.Errorf("%s: %w", op, err))
		return nil
	}
	return d.scratch[s]
}

// grow makes a slot hold at least so many bytes.
func (d *Device) grow(s slot, bytes int64) error {
	if a := d.scratch[s]; a != nil {
		if a.bytes >= bytes {
			return nil
		}
		d.release(a)
		d.scratch[s] = nil
	}
	a, err := d.allocate(bytes)
	if err != nil {
		return fmt.Errorf("reserve workspace: %w", err)
	}
	d.scratch[s] = a
	return nil
}

// held is what the slots hold now.
func (d *Device) held() int64 {
	var n int64
	for _, a := range d.scratch {
		if a != nil {
			n += a.bytes
		}
	}
	return n
}

// Reserve is compute.Device's Reserve.
func (d *Device) Reserve(w compute.Workspace) error {
	for s, bytes := range [slots]int64{slotTask: w.Simple, slotLoss: w.Composite} {
		if bytes == 0 {
			continue
		}
		if err := d.grow(slot(s), bytes); err != nil {
			return err
		}
	}
	return nil
}

// rule is the workspace of operations on a number of threads, by the functions that the operations themselves use.
type rule struct{ threads C.int }

// Workspace is compute.WorkspaceRule's Workspace.
func (r rule) Workspace(operation any) compute.Workspace {
	switch a := operation.(type) {
	case compute.Linear, compute.LinearBackwardInput, compute.LinearBackwardWeight:
		return compute.Workspace{Simple: productBytes(r.threads)}
	case compute.Attention:
		return r.attention(a.AttentionShape, false)
	case compute.AttentionBackward:
		return r.attention(a.AttentionShape, true)
	case compute.LinearCrossEntropy:
		v, in := a.W.Out, a.W.In
		return compute.Workspace{Simple: productBytes(r.threads), Composite: compute.LossBytes(compute.LossRows(a.N, v), v, in)}
	case compute.Weight:
		return compute.Workspace{Simple: quantizeBytes(a)}
	}
	return compute.Workspace{}
}

func (r rule) attention(s compute.AttentionShape, backward bool) compute.Workspace {
	if s.KV < 1 { // which the operation refuses
		return compute.Workspace{}
	}
	size := attentionSize(s)
	return compute.Workspace{Simple: attentionBytes(&size, backward, r.threads)}
}

// hostToC copies a slice to the workspace: C may keep addresses of C memory only.
func hostToC[T any](c *checked, s []T) unsafe.Pointer {
	if !c.OK {
		return nil
	}
	bytes := int64(len(s)) * int64(unsafe.Sizeof(*new(T)))
	space := c.d.workspace(c.Operation(), slotTask, max(bytes, 1))
	if space == nil {
		c.OK = false
		return nil
	}
	copy(cSlice[T](space.p, len(s)), s)
	return space.p
}

func cSlice[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }
