package cpu

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"lathe/compute"
)

// resident counts the pages of a piece of memory that the system has given.
func resident(t *testing.T, from unsafe.Pointer, bytes int) (given, pages int) {
	t.Helper()
	size := os.Getpagesize()
	before := uintptr(from) % uintptr(size)
	seen := make([]byte, (bytes+int(before)+size-1)/size)
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(from)-before, uintptr(bytes)+before, uintptr(unsafe.Pointer(&seen[0])))
	if errno != 0 {
		t.Fatalf("mincore: %v", errno)
	}
	for _, s := range seen {
		given += int(s & 1)
	}
	return given, len(seen)
}

// Touched memory is there before the first write, as far as was asked for, and keeps its content.
func TestTouch(t *testing.T) {
	d, err := New(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const size, half = 24 << 20, 12<<20 + 12345
	arena, err := compute.NewArena(d, size)
	if err != nil {
		t.Fatal(err)
	}
	defer arena.Free()
	b := arena.Alloc(compute.U8, size)
	start := b.(*buffer).address()
	if given, _ := resident(t, start, size); given != 0 {
		t.Skipf("%d pages are there at once: nothing to see (the address sanitizer's memory)", given)
	}
	compute.Upload(d, b.Slice(5, 3), []byte{1, 2, 3})

	arena.Touch(half)
	given, pages := resident(t, start, half)
	if given < pages/2 && !populates() {
		t.Skip("this kernel gives memory at the first write only (before Linux 5.14)")
	}
	if given != pages {
		t.Errorf("%d of %d pages are there", given, pages)
	}
	if given, pages := resident(t, start, size); given > pages*3/4 {
		t.Errorf("%d of %d pages are there: more than was asked for", given, pages)
	}
	arena.Touch(half / 2) // there already
	arena.Touch(2 * size) // all there is
	if given, pages := resident(t, start, size); given != pages {
		t.Errorf("%d of all %d pages are there", given, pages)
	}
	if got := compute.Download[byte](d, b.Slice(4, 5)); string(got) != "\x00\x01\x02\x03\x00" {
		t.Errorf("the content is %v now", got)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// populates says whether the kernel knows MADV_POPULATE_WRITE.
func populates() bool {
	const populateWrite = 23
	m, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return false
	}
	defer syscall.Munmap(m)
	return syscall.Madvise(m, populateWrite) == nil
}
