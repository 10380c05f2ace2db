package compute

// Workspace is the memory, in bytes, that operations need beside their buffers. A device keeps it from one operation to the
// next, where it only grows: the workspace of a step is the most that any of its operations needs, not their sum.
type Workspace struct {
	// Simple is that of operations that call no other.
	Simple int64
	// Composite is that of operations made of others (LinearCrossEntropy), which hold theirs while those run.
	Composite int64
}

// Bytes is all of it.
func (w Workspace) Bytes() int64 { return w.Simple + w.Composite }

// Max is the workspace that serves both.
func (w Workspace) Max(o Workspace) Workspace {
	return Workspace{Simple: max(w.Simple, o.Simple), Composite: max(w.Composite, o.Composite)}
}

// WorkspaceRule tells what a device's operations need. It is a value that outlives the device, for plans to be made without
// one, and may be used by several goroutines.
type WorkspaceRule interface {
	// Workspace is the most that an operation needs, given its argument: one of the structs of this package, or the Weight
	// that Quantize4 writes. It looks at sizes only, so the buffers may be a dry device's. Operations whose bookkeeping
	// is always smaller than a product's workspace (AdamW, GlobalNorm, FirstNonFinite) need none of their own.
	Workspace(operation any) Workspace
}

// Divider is a WorkspaceRule of a device that gains nothing from batches of more tokens than so many: a model takes larger ones in
// pieces, whose activations are never in memory together.
type Divider interface{ PieceTokens() int }

// PieceTokens is what a device's rule says as a Divider, 0 where batches stay whole.
func PieceTokens(rule WorkspaceRule) int {
	if d, ok := rule.(Divider); ok {
		return d.PieceTokens()
	}
	return 0
}
