// Package check is what a device looks at before it runs an operation: that the buffers are its own, are there, have the
// type and the size that the operation's documentation gives, and that the numbers make sense. All devices refuse the same
// calls in the same words.
package check

import (
	"fmt"
	"strings"

	"lathe/compute"
)

// Check turns the buffers of one operation into addresses of type P, whose zero value stands for no buffer. After the first
// thing that does not fit OK is false, the device has heard of it, and the operation must not run.
type Check[P any] struct {
	// OK is false where the operation must not run.
	OK bool

	op      string
	address func(compute.Buffer) (P, error)
	failed  func(error)
}

// New begins the check of an operation. address finds a buffer in the device's memory, or says why it is none of its own;
// failed takes the first error. ok is false where an earlier operation has failed.
func New[P any](op string, ok bool, address func(compute.Buffer) (P, error), failed func(error)) Check[P] {
	return Check[P]{OK: ok, op: op, address: address, failed: failed}
}

// Operation is the name of the operation.
func (c *Check[P]) Operation() string { return c.op }

// Fail says what does not fit.
func (c *Check[P]) Fail(format string, args ...any) {
	c.OK = false
	c.failed(fmt.Errorf("%s: %w", c.op, fmt.Errorf(format, args...)))
}

// Want fails unless the condition holds.
func (c *Check[P]) Want(condition bool, format string, args ...any) {
	if c.OK && !condition {
		c.Fail(format, args...)
	}
}

// Any is the address of a buffer of whatever type and length.
func (c *Check[P]) Any(name string, b compute.Buffer) (p P) {
	if !c.OK {
		return p
	}
	if b == nil {
		c.Fail("%s is missing", name)
		return p
	}
	p, err := c.address(b)
	if err != nil {
		c.Fail("%s %w", name, err)
	}
	return p
}

// Typed is the address of a buffer of type t whose shape is dims.
func (c *Check[P]) Typed(name string, b compute.Buffer, t compute.DType, dims ...int) (p P) {
	p = c.Any(name, b)
	if c.OK && b.DType() != t {
		c.Fail("%s is %s, want %s", name, b.DType(), t)
	}
	if c.OK {
		c.length(name, b, dims)
	}
	return p
}

// F32 is the address of a float32 buffer.
func (c *Check[P]) F32(name string, b compute.Buffer, dims ...int) P {
	return c.Typed(name, b, compute.F32, dims...)
}

// Optional is F32 of a buffer that may be nil.
func (c *Check[P]) Optional(name string, b compute.Buffer, dims ...int) (p P) {
	if b == nil {
		return p
	}
	return c.F32(name, b, dims...)
}

// Float is the address of a buffer of any float type.
func (c *Check[P]) Float(name string, b compute.Buffer, dims ...int) P {
	p := c.Any(name, b)
	if c.OK && b.DType() > compute.F16 {
		c.Fail("%s is %s, want float32, bfloat16 or float16", name, b.DType())
	}
	if c.OK {
		c.length(name, b, dims)
	}
	return p
}

// Bytes is the address of a buffer of so many bytes.
func (c *Check[P]) Bytes(name string, b compute.Buffer, n int) P {
	p := c.Any(name, b)
	if c.OK && compute.ByteLen(b) != int64(n) {
		c.Fail("%s holds %d bytes, the host's slice %d", name, compute.ByteLen(b), n)
	}
	return p
}

// Same are the addresses of two buffers of one length.
func (c *Check[P]) Same(name string, b compute.Buffer, other string, o compute.Buffer) (p, q P) {
	p, q = c.Any(name, b), c.Any(other, o)
	if c.OK && b.Len() != o.Len() {
		c.Fail("%s holds %d elements, %s %d", name, b.Len(), other, o.Len())
	}
	return p, q
}

// Within fails where an index is neither in [0, limit) nor equal to also.
func (c *Check[P]) Within(name string, indices []int32, limit int, also int32) {
	if !c.OK {
		return
	}
	for i, id := range indices {
		if (id < 0 || int(id) >= limit) && id != also {
			c.Fail("%s[%d] is %d, want 0 to %d", name, i, id, limit-1)
			return
		}
	}
}

func (c *Check[P]) length(name string, b compute.Buffer, dims []int) {
	n := 1
	for _, d := range dims {
		if d < 0 {
			c.Fail("%s has a negative dimension: %s", name, shape(dims))
			return
		}
		n *= d
	}
	if b.Len() != n {
		c.Fail("%s holds %d elements, want %s", name, b.Len(), shape(dims))
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

// Len is the length of a buffer that may be missing, which F32 will say.
func Len(b compute.Buffer) int {
	if b == nil {
		return 0
	}
	return b.Len()
}
