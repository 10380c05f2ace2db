package cpu

// #include "pool.h"
// #include "queue.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// queueBytes hold a thousand operations and more: those of a step through a model of ten blocks.
const queueBytes = 512 << 10

// queue is what was asked for and not yet run: entries one after the other in C's memory, as queue.h has them. Operations wait for the next
// look at memory and then run in one call. A call into C of more than 10 ms costs more than its own time: Go's monitor (sysmon) takes the
// goroutine's place in the scheduler, and then looks around every 20 µs for a while. With a call for each product these were 740 wakes a
// second, and 2,200 beside a workbench, each of which took a thread of a product off its processor for 8 µs and more.
type queue struct {
	p           unsafe.Pointer
	used, bytes int
}

// room makes an entry of so many bytes behind those that wait, with `more` bytes left behind it, and returns the place of its content.
func (d *Device) room(kind, bytes, more int) (unsafe.Pointer, error) {
	q := &d.queue
	bytes = (bytes + int(unsafe.Sizeof(C.lathe_entry{})) + 7) &^ 7
	if q.used+bytes+more > q.bytes {
		d.Finish()
	}
	if bytes+more > q.bytes {
		q.free()
		size := max(queueBytes, 2*(bytes+more))
		if q.p = C.lathe_alloc(C.int64_t(size)); q.p == nil {
			return nil, fmt.Errorf("out of memory: %d bytes wanted for a list of operations", size)
		}
		q.bytes = size
	}
	entry := (*C.lathe_entry)(unsafe.Add(q.p, q.used))
	entry.kind, entry.bytes = C.int32_t(kind), C.int32_t(bytes)
	q.used += bytes
	return unsafe.Add(unsafe.Pointer(entry), unsafe.Sizeof(*entry)), nil
}

// push adds an operation, whose arguments are copied.
func push[T any](d *Device, kind int, args *T) {
	p, err := d.room(kind, int(unsafe.Sizeof(*args)), 0)
	if err != nil {
		d.fail(err)
		return
	}
	*(*T)(p) = *args
}

// behind is what hold leaves for the operation that it holds something for, and for clearing what that does not write.
const behind = 2 << 10

// hold copies what the arguments of the next operation point to. It lasts until that has run, and what the operation wrote there until another
// is added.
func hold[T any](c *checked, s []T) unsafe.Pointer {
	if !c.OK {
		return nil
	}
	p, err := c.d.room(C.LATHE_QUEUED_DATA, len(s)*int(unsafe.Sizeof(*new(T))), behind)
	if err != nil {
		c.Fail("%v", err)
		return nil
	}
	copy(cSlice[T](p, len(s)), s)
	return p
}

// Finish runs the operations that wait. Download and Sync do that, too.
func (d *Device) Finish() {
	if d.queue.used == 0 {
		return
	}
	d.enter()
	bytes := d.queue.used
	d.queue.used = 0
	C.lathe_run(d.queue.p, C.int64_t(bytes))
}

// enter makes the pool work as this device wants it; devices of one process share the pool.
func (d *Device) enter() {
	if C.lathe_tier() != d.tier {
		C.lathe_set_tier(d.tier)
	}
	if C.lathe_threads() != d.threads {
		C.lathe_set_threads(d.threads)
	}
}

func (q *queue) free() {
	if q.p != nil {
		C.lathe_free(q.p, C.int64_t(q.bytes))
	}
	q.p, q.used, q.bytes = nil, 0, 0
}
