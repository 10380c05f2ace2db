package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// The slots of the workspace by their uses.
const (
	slotTask = compute.SlotSimple    // of one operation
	slotLoss = compute.SlotComposite // of LinearCrossEntropy, which calls products
)

// workspace returns scratch memory of at least so many bytes, whose content lasts until the slot's next use. It is nil where
// memory is short, or something before did not fit.
func (c *checked) workspace(s compute.Slot, bytes int64) *allocation {
	if !c.OK {
		return nil
	}
	a, err := c.d.scratch.Grow(s, bytes)
	if err != nil {
		c.Fail("%w", err)
	}
	return a
}

// space is the address of a workspace of one operation.
func (c *checked) space(bytes int64) driver.Ptr {
	if a := c.workspace(slotTask, bytes); a != nil {
		return a.p
	}
	return 0
}

// Reserve is compute.Device's Reserve.
func (d *Device) Reserve(w compute.Workspace) error { return d.scratch.Reserve(w) }

// rule is the workspace of operations, by the functions that the operations themselves use.
type rule struct{}

// Workspace is compute.WorkspaceRule's Workspace.
func (rule) Workspace(operation any) compute.Workspace {
	switch a := operation.(type) {
	case compute.Weight:
		return compute.Workspace{Simple: quantizeBytes(a)}
	case compute.LinearCrossEntropy:
		return lossWorkspace(a)
	case compute.AdamW: // and of GlobalNorm and FirstNonFinite over the same tensors
		return compute.Workspace{Simple: max(adamWSize*int64(len(a.Tensors)), normBytes(len(a.Tensors)))}
	case compute.AdamW8:
		return compute.Workspace{Simple: max(adamW8Bytes(len(a.Tensors)), normBytes(len(a.Tensors)))}
	case compute.EmbeddingBackward:
		return compute.Workspace{Simple: scatterBytes(a.N)}
	case compute.RMSNormBackward:
		return columnWorkspace(a.N, a.C, a.DW != nil)
	case compute.LayerNormBackward:
		return columnWorkspace(a.N, a.C, a.DW != nil || a.DBias != nil)
	case compute.ScaleColumnsBackward:
		return columnWorkspace(a.N, a.C, a.DS != nil)
	case compute.Attention:
		return attentionWorkspace(a.AttentionShape, false)
	case compute.AttentionBackward:
		return attentionWorkspace(a.AttentionShape, true)
	case compute.Linear:
		if a.N > gemvRows {
			return compute.Workspace{Simple: linear(a).workspace()}
		}
	case compute.LinearBackwardInput:
		return compute.Workspace{Simple: linearBackwardInput(a).workspace()}
	case compute.LinearBackwardWeight:
		w := columnWorkspace(a.N, a.Out, a.DBias != nil)
		if a.DW != nil {
			w = w.Max(compute.Workspace{Simple: linearBackwardWeight(a).workspace()})
		}
		return w
	}
	return compute.Workspace{}
}

// lossWorkspace is that of LinearCrossEntropy's chunks and of the operations that a chunk is made of.
func lossWorkspace(a compute.LinearCrossEntropy) compute.Workspace {
	n, v, c := compute.LossRows(a.N, a.W.Out, logitsBytes), a.W.Out, a.W.In
	w := compute.Workspace{Composite: compute.LossBytes(n, v, c)}
	parts := []any{compute.Linear{N: n, W: a.W, Compute: a.Compute}, compute.EmbeddingBackward{N: n}}
	if a.DX != nil {
		parts = append(parts, compute.LinearBackwardInput{N: n, W: a.W, Compute: a.Compute})
	}
	if a.DW != nil || a.DBias != nil {
		parts = append(parts, compute.LinearBackwardWeight{DW: a.DW, DBias: a.DBias, N: n, Out: v, In: c, Compute: a.Compute})
	}
	for _, p := range parts {
		w = w.Max(rule{}.Workspace(p))
	}
	return w
}

// layout hands out parts of a workspace, each aligned to 256 bytes: first with no memory, for the size; then with it.
type layout struct {
	at   driver.Ptr
	size int64
}

// take is the address of the next part.
func (l *layout) take(bytes int64) driver.Ptr {
	p := l.at + driver.Ptr(l.size)
	l.size += (bytes + 255) / 256 * 256
	return p
}
