package cuda

import (
	"encoding/binary"
	"fmt"
	"math"

	"lathe/compute"
	"lathe/cuda/driver"
)

// Token ids, positions and labels come from the host. Their device keeps what was uploaded last, so that an id out of
// range is refused before a kernel reads with it, in the words of every device, and so that a loss knows which rows are
// trained, both without waiting for the GPU.

// hostKey is where integers lie.
type hostKey struct {
	mem *allocation
	off int64
}

type hostInts []int32

// remember keeps the integers that were uploaded to a buffer, and forgets what lay there before.
func (d *Device) remember(b *buffer, src []byte) {
	d.forgetBuffer(b)
	if b.DType() != compute.I32 {
		return
	}
	x := make(hostInts, b.Len())
	for i := range x {
		x[i] = int32(binary.LittleEndian.Uint32(src[4*i:]))
	}
	d.ints[hostKey{b.mem, b.Offset()}] = x
}

// forgetBuffer drops integers that a write to b has overwritten.
func (d *Device) forgetBuffer(b compute.Buffer) {
	v := b.(*buffer)
	d.forget(v.mem, v.Offset(), compute.ByteLen(v))
}

func (d *Device) forget(a *allocation, off, bytes int64) {
	for k, x := range d.ints {
		if k.mem == a && k.off < off+bytes && off < k.off+4*int64(len(x)) {
			delete(d.ints, k)
		}
	}
}

// hostInts are the integers of a buffer: what was uploaded to it, or, after another operation wrote them, a download.
func (c *checked) hostInts(b compute.Buffer) []int32 {
	v := b.(*buffer)
	if x, ok := c.d.ints[hostKey{v.mem, v.Offset()}]; ok && len(x) >= v.Len() {
		return x[:v.Len()]
	}
	x := make([]int32, v.Len())
	if len(x) > 0 {
		if err := c.d.ctx.CopyOut(compute.Bytes(x), v.address(), c.d.stream); err != nil {
			c.Fail("%w", err)
		}
	}
	return x
}

// indices is the address of I32 elements, each in [0, limit) or equal to also, and the elements.
func (c *checked) indices(name string, b compute.Buffer, n, limit int, also int32) (driver.Ptr, []int32) {
	p := c.Typed(name, b, compute.I32, n)
	if !c.OK {
		return 0, nil
	}
	x := c.hostInts(b)
	c.Within(name, x, limit, also)
	return p, x
}

// reportBytes is the size of device.h's DeviceError; all bits set is no error.
const reportBytes = 16

// clearReport tells kernels that nothing has been reported.
func (d *Device) clearReport() error { return d.ctx.Set(d.report.p, 0xff, reportBytes, d.stream) }

// ask reads what kernels have reported since the last time. They report what the host's checks cannot see: a bug of lathe.
func (d *Device) ask() {
	if d.report == nil || d.err != nil {
		return
	}
	var r [reportBytes]byte
	if err := d.ctx.CopyOut(r[:], d.report.p, d.stream); err != nil {
		d.fail(fmt.Errorf("wait for the GPU: %w", err))
		return
	}
	place, value := binary.LittleEndian.Uint64(r[:]), binary.LittleEndian.Uint64(r[8:])
	if place == math.MaxUint64 {
		return
	}
	d.fail(fmt.Errorf("a kernel reports fault %d of operand %d at element %d, value %d: this is a bug of lathe",
		place>>16&0xffff, place&0xffff, place>>32, int32(value)))
	if err := d.clearReport(); err != nil {
		d.fail(err)
	}
}
