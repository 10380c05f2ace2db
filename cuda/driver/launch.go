package driver

import (
	"math"
	"unsafe"
)

// Launch is the shape of a launch. A size of 0 is 1, so that {n} is n blocks or threads in a row.
type Launch struct {
	Grid, Block [3]int
	Shared      int // bytes of dynamic shared memory a block
	Stream      Stream
}

// Arg is one scalar argument of a kernel, of at most 8 bytes.
type Arg struct{ bits uint64 }

// P is a pointer argument.
func P(p Ptr) Arg { return Arg{uint64(p)} }

// I32 is an int argument.
func I32(v int32) Arg { return Arg{uint64(uint32(v))} }

// I64 is a long long argument.
func I64(v int64) Arg { return Arg{uint64(v)} }

// U64 is an unsigned long long argument.
func U64(v uint64) Arg { return Arg{v} }

// F32 is a float argument.
func F32(v float32) Arg { return Arg{uint64(math.Float32bits(v))} }

// F64 is a double argument.
func F64(v float64) Arg { return Arg{math.Float64bits(v)} }

// argBlock holds a launch's arguments as cuLaunchKernel wants them: params[i] points to values[i]. libcuda reads as many
// bytes as the kernel's parameter has, and all of them before it returns, so one block serves every launch. It belongs to
// a Context, which is on the heap, where Go moves nothing.
type argBlock struct {
	values []uint64
	params []unsafe.Pointer
	n      int         // arguments of this launch
	frame  [11]uintptr // cuLaunchKernel's own arguments: a variadic call would put them on the heap each time
}

func (b *argBlock) pack(args []Arg) *argBlock {
	if len(args) > len(b.values) {
		b.values = make([]uint64, max(64, len(args)))
		b.params = make([]unsafe.Pointer, len(b.values))
		for i := range b.values {
			b.params[i] = unsafe.Pointer(&b.values[i])
		}
	}
	for i, a := range args {
		b.values[i] = a.bits
	}
	b.n = len(args)
	return b
}

// Launch runs a kernel in the stream's order and returns at once; what fails on the device is the error of a later call,
// at the latest Sync. The arguments have to be the kernel's, in number and size: the driver API cannot check it.
func (c *Context) Launch(f Function, l Launch, args ...Arg) error {
	if f.handle == 0 {
		return detail(c.fail("cuLaunchKernel", InvalidHandle), "%s", f.name)
	}
	for i := range 3 {
		l.Grid[i] = max(l.Grid[i], 1)
		l.Block[i] = max(l.Block[i], 1)
	}
	c.launching.Lock()
	name, r := "cuCtxSetCurrent", c.enter()
	if r == Success {
		name, r = "cuLaunchKernel", c.api.launch(f.handle, l, c.args.pack(args))
	}
	c.leave()
	c.launching.Unlock()
	if r != Success {
		return detail(c.fail(name, r), "%s with %v", f.name, l)
	}
	return nil
}
