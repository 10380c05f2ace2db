package cpu

// #include "queue.h"
import "C"

import (
	"fmt"
	"unsafe"

	"lathe/compute"
)

// allocation is one piece of C memory; p is nil once it is freed.
type allocation struct {
	p     unsafe.Pointer
	bytes int64
}

// Size is the allocation's, in bytes.
func (a *allocation) Size() int64 { return a.bytes }

// buffer is an allocation seen as elements, or a view of a part.
type buffer struct {
	compute.View
	dev  *Device
	mem  *allocation
	root bool
}

func (b *buffer) Slice(off, n int) compute.Buffer {
	return &buffer{View: b.Part(off, n), dev: b.dev, mem: b.mem}
}

func (b *buffer) As(t compute.DType) compute.Buffer {
	return &buffer{View: b.Retyped(t), dev: b.dev, mem: b.mem}
}

func (b *buffer) Free() {
	if b.root && b.mem.p != nil {
		b.dev.release(b.mem)
	}
}

func (b *buffer) address() unsafe.Pointer { return unsafe.Add(b.mem.p, b.Offset()) }

// Alloc returns n zeroed elements, aligned to 64 bytes.
func (d *Device) Alloc(t compute.DType, n int) (compute.Buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("allocate %d elements of %s: a size is not negative", n, t)
	}
	a, err := d.allocate(int64(n) * int64(t.Size()))
	if err != nil {
		return nil, err
	}
	return &buffer{View: compute.NewView(t, n, 0), dev: d, mem: a, root: true}, nil
}

func (d *Device) allocate(bytes int64) (*allocation, error) {
	short := func() error {
		return fmt.Errorf("out of memory: %s wanted, %s in use by lathe, %s free on this machine: "+
			"a smaller batch, shorter sequences or a quantised model need less", compute.Gib(bytes), compute.Gib(d.memory.Used), compute.Gib(d.free()))
	}
	// The system promises more than it has and kills later: better to say no now.
	if bytes >= 1<<20 && d.atOpen > 0 && bytes > d.free() {
		return nil, short()
	}
	p := C.lathe_alloc(C.int64_t(bytes))
	if p == nil {
		return nil, short()
	}
	a := &allocation{p: p, bytes: bytes}
	d.roots[a] = struct{}{}
	d.memory.Used += bytes
	d.memory.Peak = max(d.memory.Peak, d.memory.Used)
	return a, nil
}

func (d *Device) release(a *allocation) {
	d.Finish() // what waits may use it
	C.lathe_free(a.p, C.int64_t(a.bytes))
	a.p = nil
	delete(d.roots, a)
	d.memory.Used -= a.bytes
}

// free estimates what can still be allocated.
func (d *Device) free() int64 {
	available, _ := systemMemory()
	return d.left(available)
}

// left is free of what the system calls available. Memory that was reserved and not yet touched still counts as that, so that our own
// account is held against what was available at the start.
func (d *Device) left(available int64) int64 { return max(0, min(available, d.atOpen-d.memory.Used)) }

// Upload copies host bytes to dst.
func (d *Device) Upload(dst compute.Buffer, src []byte) {
	c := d.begin("Upload")
	p := c.Bytes("dst", dst, len(src))
	d.Finish()
	if c.OK && len(src) > 0 {
		copy(unsafe.Slice((*byte)(p), len(src)), src)
	}
}

// Download copies src to host bytes.
func (d *Device) Download(dst []byte, src compute.Buffer) {
	c := d.begin("Download")
	p := c.Bytes("src", src, len(dst))
	d.Finish()
	if c.OK && len(dst) > 0 {
		copy(dst, unsafe.Slice((*byte)(p), len(dst)))
	}
}

// Copy copies elements between buffers of one type and length, which may overlap only if they are the same.
func (d *Device) Copy(dst, src compute.Buffer) {
	c := d.begin("Copy")
	to, from := c.Same("dst", dst, "src", src)
	if c.OK && dst.DType() != src.DType() {
		c.Fail("dst is %s, src is %s: Cast converts", dst.DType(), src.DType())
	}
	if c.OK {
		d.move(to, from, dst)
	}
}

// move copies to a buffer, or clears it where from is nil.
func (d *Device) move(to, from unsafe.Pointer, dst compute.Buffer) {
	push(d, C.LATHE_QUEUED_copy, &C.lathe_copy_args{dst: (*C.char)(to), src: (*C.char)(from), bytes: C.int64_t(compute.ByteLen(dst))})
	if dst.DType() == compute.I32 {
		d.Finish() // indices are checked on the host
	}
}

// Cast converts between F32, BF16 and F16, rounding to nearest even.
func (d *Device) Cast(dst, src compute.Buffer) {
	c := d.begin("Cast")
	to, from := c.Same("dst", dst, "src", src)
	if !c.OK {
		return
	}
	if dst.DType() == src.DType() {
		d.move(to, from, dst)
		return
	}
	if dst.DType() > compute.F16 || src.DType() > compute.F16 {
		c.Fail("cannot convert %s to %s", src.DType(), dst.DType())
		return
	}
	push(d, C.LATHE_QUEUED_cast, &C.lathe_cast_args{
		dst: to, src: from, dst_type: C.int(dst.DType()), src_type: C.int(src.DType()), n: C.int64_t(dst.Len()),
	})
}

// Touch is compute.HostMemory's.
func (d *Device) Touch(b compute.Buffer) {
	c := d.begin("Touch")
	d.Finish()
	d.enter()
	if p := c.Any("buffer", b); c.OK {
		C.lathe_touch(p, C.int64_t(compute.ByteLen(b)))
	}
}

// Zero clears a buffer of any type.
func (d *Device) Zero(b compute.Buffer) {
	c := d.begin("Zero")
	if p := c.Any("buffer", b); c.OK {
		d.move(p, nil, b)
	}
}
