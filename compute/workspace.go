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

// PartLoader is a WorkspaceRule of a HostMemory: so many goroutines fill its weights.
type PartLoader interface{ Loaders() int }

// Loaders is what a device's rule says if it is a PartLoader, else 0.
func Loaders(rule WorkspaceRule) int {
	if d, ok := rule.(PartLoader); ok {
		return d.Loaders()
	}
	return 0
}

// Thrifty is a WorkspaceRule of a device on which memory can be spared at little cost. Batches of more than PieceTokens tokens are no
// faster, so a model takes them in pieces, whose activations are never in memory together; and a pass over memory is cheap beside
// products, so that the backward pass computes norms and activation functions again.
type Thrifty interface{ PieceTokens() int }

// PieceTokens is what a device's rule says if it is Thrifty, else 0.
func PieceTokens(rule WorkspaceRule) int {
	if d, ok := rule.(Thrifty); ok {
		return d.PieceTokens()
	}
	return 0
}
