package cuda

import (
	"fmt"

	"lathe/compute"
	"lathe/cuda/driver"
)

// allocation is one piece of device memory; p is 0 once it is freed.
type allocation struct {
	p     driver.Ptr
	bytes int64
	saved []byte // its content, while the device's memory is given back
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
	if b.root && (b.mem.p != 0 || b.mem.saved != nil) {
		b.dev.release(b.mem)
	}
}

func (b *buffer) address() driver.Ptr { return b.mem.p + driver.Ptr(b.Offset()) }

// Alloc returns n zeroed elements, aligned to 256 bytes.
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

// allocate returns zeroed memory. The driver gives none of zero bytes: the least is one byte, accounted as none.
func (d *Device) allocate(bytes int64) (*allocation, error) {
	if d.offloaded {
		return nil, errOffloaded
	}
	p, err := d.ctx.Alloc(max(bytes, 1))
	if err != nil {
		return nil, d.short(bytes, err)
	}
	a := &allocation{p: p, bytes: bytes}
	d.roots[a] = struct{}{}
	d.memory.Used += bytes
	d.memory.Peak = max(d.memory.Peak, d.memory.Used)
	if err := d.ctx.Set(p, 0, max(bytes, 1), d.stream); err != nil {
		d.release(a)
		return nil, fmt.Errorf("clear %s of GPU memory: %w", compute.Gib(bytes), err)
	}
	return a, nil
}

// short says that memory is, and what needs less.
func (d *Device) short(bytes int64, err error) error {
	free, total, _ := d.ctx.MemInfo()
	return fmt.Errorf("out of memory: %s wanted, %s in use by lathe, %s of %s free on %s: "+
		"a smaller batch, shorter sequences, gradient_checkpointing or a quantised model need less: %w",
		compute.Gib(bytes), compute.Gib(d.memory.Used), compute.Gib(free), compute.Gib(total), d.info.Name, err)
}

func (d *Device) release(a *allocation) {
	if a.p != 0 {
		if err := d.ctx.Free(a.p); err != nil {
			d.fail(fmt.Errorf("free %s of GPU memory: %w", compute.Gib(a.bytes), err))
		}
		d.memory.Used -= a.bytes
	}
	d.forget(a, 0, a.bytes)
	a.p, a.saved = 0, nil
	delete(d.roots, a)
}

// Upload copies host bytes to dst.
func (d *Device) Upload(dst compute.Buffer, src []byte) {
	c := d.begin("Upload")
	p := c.Bytes("dst", dst, len(src))
	if !c.OK || len(src) == 0 {
		return
	}
	if err := d.ctx.CopyIn(p, src, d.stream); err != nil {
		c.Fail("%w", err)
		return
	}
	d.remember(dst.(*buffer), src)
}

// Download waits for all operations and copies src to host bytes.
func (d *Device) Download(dst []byte, src compute.Buffer) {
	c := d.begin("Download")
	p := c.Bytes("src", src, len(dst))
	if !c.OK || len(dst) == 0 {
		return
	}
	if err := d.ctx.CopyOut(dst, p, d.stream); err != nil {
		c.Fail("%w", err)
	}
}

// Copy copies elements between buffers of one type and length, which may overlap only if they are the same.
func (d *Device) Copy(dst, src compute.Buffer) {
	c := d.begin("Copy")
	to, from := c.Same("dst", dst, "src", src)
	if c.OK && dst.DType() != src.DType() {
		c.Fail("dst is %s, src is %s: Cast converts", dst.DType(), src.DType())
	}
	c.copy(to, from, dst)
}

// Cast converts between F32, BF16 and F16, rounding to nearest even.
func (d *Device) Cast(dst, src compute.Buffer) {
	c := d.begin("Cast")
	to, from := c.Same("dst", dst, "src", src)
	if !c.OK {
		return
	}
	if dst.DType() == src.DType() {
		c.copy(to, from, dst)
		return
	}
	if dst.DType() > compute.F16 || src.DType() > compute.F16 {
		c.Fail("cannot convert %s to %s", src.DType(), dst.DType())
		return
	}
	c.cast(to, dst.DType(), from, src.DType(), dst.Len())
}

// copy copies all of dst's bytes within the device.
func (c *checked) copy(to, from driver.Ptr, dst compute.Buffer) {
	if !c.OK || dst.Len() == 0 {
		return
	}
	if err := c.d.ctx.Copy(to, from, compute.ByteLen(dst), c.d.stream); err != nil {
		c.Fail("%w", err)
		return
	}
	c.d.forgetBuffer(dst)
}

// Zero clears a buffer of any type.
func (d *Device) Zero(b compute.Buffer) {
	c := d.begin("Zero")
	p := c.Any("buffer", b)
	if !c.OK || b.Len() == 0 {
		return
	}
	if err := d.ctx.Set(p, 0, compute.ByteLen(b), d.stream); err != nil {
		c.Fail("%w", err)
		return
	}
	d.forgetBuffer(b)
}
