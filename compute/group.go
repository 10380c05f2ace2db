package compute

import "errors"

// Group is the processes that train one run together, each on a device of its own that holds the whole model (data parallel),
// as one of them sees it: a rank, in the words of MPI and torch.distributed. All ranks make the same calls in the same order. A
// rank that ends, or that says that it cannot go on, ends the calls of the others with an error that matches [ErrGroup].
type Group interface {
	// Rank is this process's number, from 0 to Size-1.
	Rank() int
	Size() int
	// SumAll replaces the elements of F32 buffers by their sums over all ranks: the same bits on every rank. As an operation of
	// the device it may still be under way when it returns; Err tells afterwards, when the device has waited, whether it ran.
	SumAll(buffers []Buffer) error
	// Broadcast replaces buffers of any type by those of rank 0.
	Broadcast(buffers []Buffer) error
	// Gather hands every rank the messages of all, in the order of ranks. It waits for all.
	Gather(message []byte) ([][]byte, error)
	// Err is why the group has ended, nil while it holds.
	Err() error
	// Release gives back what the group holds of the device's memory, until it is needed again.
	Release() error
	// Abandon ends the group for all ranks, with this rank's reason.
	Abandon(reason error)
	// Close leaves the group; nobody may need this rank any more.
	Close() error
}

// ErrGroup marks an error whose cause is another rank's.
var ErrGroup = errors.New("another rank of the group failed")
