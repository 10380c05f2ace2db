package cuda

import (
	"fmt"

	"lathe/compute"
	"lathe/cuda/driver"
)

// slot names a workspace: an operation that calls others must not lose its own to them.
type slot int

const (
	slotTask slot = iota // of one operation
	slotLoss             // of LinearCrossEntropy, which calls products
	slots
)

// workspace returns scratch memory of at least so many bytes, whose content lasts until the slot's next use.
func (c *checked) workspace(s slot, bytes int64) driver.Ptr {
	if !c.OK {
		return 0
	}
	if err := c.d.grow(s, bytes); err != nil {
		c.Fail("%w", err)
		return 0
	}
	return c.d.scratch[s].p
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
			return compute.Workspace{Simple: linear(a).bytes()}
		}
	case compute.LinearBackwardInput:
		return compute.Workspace{Simple: linearBackwardInput(a).bytes()}
	case compute.LinearBackwardWeight:
		w := columnWorkspace(a.N, a.Out, a.DBias != nil)
		if a.DW != nil {
			w = w.Max(compute.Workspace{Simple: linearBackwardWeight(a).bytes()})
		}
		return w
	}
	return compute.Workspace{}
}

// lossWorkspace is that of LinearCrossEntropy's chunks and of the operations that a chunk is made of.
func lossWorkspace(a compute.LinearCrossEntropy) compute.Workspace {
	n, v, c := compute.LossRows(a.N, a.W.Out), a.W.Out, a.W.In
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
