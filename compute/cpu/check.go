package cpu

// #include "lathe.h"
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"lathe/compute"
)

// check turns the buffers of one operation into addresses. After the first thing that does not fit, ok is false, the
// device holds the error, and the operation must not run.
type check struct {
	d  *Device
	op string
	ok bool
}

// begin starts an operation; ok is false where an earlier one failed.
func (d *Device) begin(op string) *check {
	if d.err == nil {
		d.enter()
	}
	return &check{d: d, op: op, ok: d.err == nil}
}

func (c *check) fail(format string, args ...any) {
	c.ok = false
	c.d.fail(c.op, format, args...)
}

// want fails unless the condition holds.
func (c *check) want(condition bool, format string, args ...any) {
	if c.ok && !condition {
		c.fail(format, args...)
	}
}

// any is the address of a buffer of whatever type and length.
func (c *check) any(name string, b compute.Buffer) unsafe.Pointer {
	if !c.ok {
		return nil
	}
	if b == nil {
		c.fail("%s is missing", name)
		return nil
	}
	v, ok := b.(*buffer)
	if !ok || v.dev != c.d {
		c.fail("%s is a buffer of another device", name)
		return nil
	}
	if v.mem.p == nil {
		c.fail("%s was freed before", name)
		return nil
	}
	return v.address()
}

// typed is the address of a buffer of type t whose shape is dims.
func (c *check) typed(name string, b compute.Buffer, t compute.DType, dims ...int) unsafe.Pointer {
	p := c.any(name, b)
	if !c.ok {
		return nil
	}
	if b.DType() != t {
		c.fail("%s is %s, want %s", name, b.DType(), t)
		return nil
	}
	c.length(name, b, dims)
	return p
}

func (c *check) length(name string, b compute.Buffer, dims []int) {
	n := 1
	for _, d := range dims {
		if d < 0 {
			c.fail("%s has a negative dimension: %s", name, shape(dims))
			return
		}
		n *= d
	}
	if b.Len() != n {
		c.fail("%s holds %d elements, want %s", name, b.Len(), shape(dims))
	}
}

func shape(dims []int) string {
	n, s := 1, make([]string, len(dims))
	for i, d := range dims {
		n *= d
		s[i] = fmt.Sprint(d)
	}
	if len(dims) == 1 {
		return s[0]
	}
	return fmt.Sprintf("[%s] = %d", strings.Join(s, ","), n)
}

// f32 is the address of a float32 buffer, optional of one that may be nil.
func (c *check) f32(name string, b compute.Buffer, dims ...int) *C.float {
	return (*C.float)(c.typed(name, b, compute.F32, dims...))
}

func (c *check) optional(name string, b compute.Buffer, dims ...int) *C.float {
	if b == nil {
		return nil
	}
	return c.f32(name, b, dims...)
}

// float is the address of a buffer of any float type.
func (c *check) float(name string, b compute.Buffer, dims ...int) unsafe.Pointer {
	p := c.any(name, b)
	if c.ok && b.DType() > compute.F16 {
		c.fail("%s is %s, want float32, bfloat16 or float16", name, b.DType())
	}
	if c.ok {
		c.length(name, b, dims)
	}
	return p
}

// indices is the address of I32 elements, each in [0, limit) or equal to also.
func (c *check) indices(name string, b compute.Buffer, n, limit int, also int32) *C.int32_t {
	p := c.typed(name, b, compute.I32, n)
	if !c.ok || n == 0 {
		return (*C.int32_t)(p)
	}
	for i, id := range unsafe.Slice((*int32)(p), n) {
		if (id < 0 || int(id) >= limit) && id != also {
			c.fail("%s[%d] is %d, want 0 to %d", name, i, id, limit-1)
			break
		}
	}
	return (*C.int32_t)(p)
}

// bytes is the address of a buffer of so many bytes.
func (c *check) bytes(name string, b compute.Buffer, n int) unsafe.Pointer {
	p := c.any(name, b)
	if c.ok && compute.ByteLen(b) != int64(n) {
		c.fail("%s holds %d bytes, the host's slice %d", name, compute.ByteLen(b), n)
	}
	return p
}

// same are the addresses of two buffers of one length.
func (c *check) same(name string, b compute.Buffer, other string, o compute.Buffer) (p, q unsafe.Pointer) {
	p, q = c.any(name, b), c.any(other, o)
	if c.ok && b.Len() != o.Len() {
		c.fail("%s holds %d elements, %s %d", name, b.Len(), other, o.Len())
	}
	return p, q
}

// size is the length of a buffer that may be missing, which f32 will say.
func size(b compute.Buffer) int {
	if b == nil {
		return 0
	}
	return b.Len()
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
