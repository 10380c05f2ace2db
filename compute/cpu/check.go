package cpu

// #include "lathe.h"
import "C"

import (
	"errors"
	"unsafe"

	"lathe/compute"
	"lathe/compute/check"
)

// checked is one operation's check, with addresses as C wants them.
type checked struct {
	check.Check[unsafe.Pointer]
	d *Device
}

// begin starts an operation; OK is false where an earlier one failed.
func (d *Device) begin(op string) *checked {
	return &checked{check.New(op, d.err == nil, d.find, d.fail), d}
}

// find is the address of a buffer of this device.
func (d *Device) find(b compute.Buffer) (unsafe.Pointer, error) {
	v, ok := b.(*buffer)
	if !ok || v.dev != d {
		return nil, errors.New("is a buffer of another device")
	}
	if v.mem.p == nil {
		return nil, errors.New("was freed before")
	}
	return v.address(), nil
}

// f32 is the address of a float32 buffer, optional of one that may be nil.
func (c *checked) f32(name string, b compute.Buffer, dims ...int) *C.float {
	return (*C.float)(c.F32(name, b, dims...))
}

func (c *checked) optional(name string, b compute.Buffer, dims ...int) *C.float {
	return (*C.float)(c.Optional(name, b, dims...))
}

// indices is the address of I32 elements, each in [0, limit) or equal to also.
func (c *checked) indices(name string, b compute.Buffer, n, limit int, also int32) *C.int32_t {
	p := (*C.int32_t)(c.Typed(name, b, compute.I32, n))
	if c.OK && n > 0 {
		c.Within(name, cSlice[int32](unsafe.Pointer(p), n), limit, also)
	}
	return p
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
