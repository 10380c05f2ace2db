package cpu

// #include "lathe.h"
import "C"

import (
	"fmt"
	"unsafe"

	"lathe/compute"
)

// The slots of the workspace by their uses.
const (
	slotTask = compute.SlotSimple    // of one operation
	slotLoss = compute.SlotComposite // of LinearCrossEntropy, which calls products
)

// workspace returns scratch memory of at least so many bytes, whose content lasts until the slot's next use. It is nil, with
// an error remembered, where memory is short.
func (d *Device) workspace(op string, s compute.Slot, bytes int64) *allocation {
	a, err := d.scratch.Grow(s, bytes)
	if err != nil {
		d.fail(fmt.Errorf("%s: %w", op, err))
		return nil
	}
	return a
}

// Reserve is compute.Device's Reserve.
func (d *Device) Reserve(w compute.Workspace) error { return d.scratch.Reserve(w) }

// rule is the workspace of operations on a number of threads, by the functions that the operations themselves use.
type rule struct{ threads C.int }

// PieceTokens is compute.Thrifty's: products of so many rows are at full speed, and more rows no longer fit the cache between two
// operations.
func (rule) PieceTokens() int { return 1024 }

// Loaders is compute.PartLoader's: more would wait for disk and memory.
func (r rule) Loaders() int { return min(int(r.threads), 8) }

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
		return compute.Workspace{Simple: productBytes(r.threads), Composite: compute.LossBytes(compute.LossRows(a.N, v, logitsBytes), v, in)}
	case compute.Weight:
		return compute.Workspace{Simple: quantizeBytes(a)}
	}
	return compute.Workspace{}
}

func (r rule) attention(s compute.AttentionShape, backward bool) compute.Workspace {
	if s.KV < 1 { // which the operation refuses
		return compute.Workspace{}
	}
	size := attentionSize(s, r.threads)
	return compute.Workspace{Simple: attentionBytes(&size, backward, r.threads)}
}

func cSlice[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }
