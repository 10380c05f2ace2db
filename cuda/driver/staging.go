package driver

import (
	"sync"
	"unsafe"
)

// The host's pageable memory may be read by libcuda until a copy has run, so that a copy from it has to be waited for. Small
// copies (token ids, lists of sequences, lists of tensors) go through pinned memory instead: they are there when CopyIn
// returns, and the GPU fetches them in its own time.
const (
	stagingSlots = 16
	stagingBytes = 256 << 10 // of a slot
)

// staging is a ring of slots, each with the event behind the last copy from it.
type staging struct {
	mu     sync.Mutex
	memory unsafe.Pointer // nil before the first copy
	ready  [stagingSlots]Event
	next   int
}

// copyStaged copies at most stagingBytes through the ring; it waits only where the ring is full of copies that have not run.
// The context is current.
func (c *Context) copyStaged(dst Ptr, src []byte, s Stream) Result {
	r := &c.staging
	r.mu.Lock()
	defer r.mu.Unlock()
	if res := r.open(c.api); res != Success {
		return res
	}
	slot := r.next
	if res := c.api.eventSync(r.ready[slot]); res != Success {
		return res
	}
	pinned := unsafe.Add(r.memory, slot*stagingBytes)
	copy(unsafe.Slice((*byte)(pinned), len(src)), src)
	if res := c.api.copyIn(dst, pinned, int64(len(src)), s); res != Success {
		return res
	}
	r.next = (slot + 1) % stagingSlots
	return c.api.eventRecord(r.ready[slot], s)
}

// open takes the ring's memory, once.
func (r *staging) open(a api) Result {
	if r.memory != nil {
		return Success
	}
	for i := range r.ready {
		if r.ready[i] != 0 {
			continue
		}
		e, res := a.eventCreate()
		if res != Success {
			return res
		}
		r.ready[i] = e
	}
	memory, res := a.hostAlloc(stagingSlots * stagingBytes)
	if res == Success {
		r.memory = memory
	}
	return res
}

// close gives the ring back.
func (r *staging) close(a api) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := Success
	for i, e := range r.ready {
		if e != 0 {
			if res := a.eventSync(e); res != Success {
				result = res
			}
			if res := a.eventDestroy(e); res != Success {
				result = res
			}
			r.ready[i] = 0
		}
	}
	if r.memory != nil {
		if res := a.hostFree(r.memory); res != Success {
			result = res
		}
		r.memory = nil
	}
	return result
}
