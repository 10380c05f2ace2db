// Package alloctest measures what reading a file costs in memory, so that a fuzz target can say of any bytes that they cannot
// make a reader take memory out of proportion.
package alloctest

import (
	"runtime"
	"testing"
)

// PerByte is how many bytes a reader may allocate for each byte of its file. All that it allocates is counted, what the
// collector takes back in between too, so no single allocation can be larger either.
const PerByte = 4

// Within runs read and fails the test where it allocates more than PerByte for each of a file's size bytes and, on top, what
// every file costs whatever its size (tables, buffers, the text of an error). Other goroutines' allocations are counted with it:
// a measurement that is too large is made twice more, and the least one holds. The bound is that of the program as it is built for
// users; under the race detector it is half as much again.
func Within(t testing.TB, size, everyFile int, read func()) {
	t.Helper()
	bound := uint64(PerByte*size + everyFile)
	if Instrumented {
		bound += bound / 2
	}
	least := allocated(read)
	for range 2 {
		if least <= bound {
			return
		}
		least = min(least, allocated(read))
	}
	if least > bound {
		t.Errorf("a file of %d bytes had %d bytes allocated; %d for each of its bytes and %d would be %d", size, least, PerByte, everyFile, bound)
	}
}

// allocated is how many bytes all goroutines allocate while f runs.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
