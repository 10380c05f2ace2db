package driver

import (
	"bytes"
	"fmt"
)

// Module is loaded code: PTX that the driver has compiled for the device, or a cubin.
type Module struct {
	c      *Context
	handle uintptr
}

// Function is a kernel of a module.
type Function struct {
	handle uintptr
	name   string
}

// Name is the kernel's name in its module.
func (f Function) Name() string { return f.name }

// FunctionInfo is what a kernel takes, a thread or a block.
type FunctionInfo struct {
	Registers     int // 32-bit registers a thread
	LocalBytes    int // local memory a thread: spilled registers and arrays
	StaticShared  int // bytes of shared memory a block, without the launch's own
	MaxThreads    int // a block
	BinaryVersion int // the compute capability that it was compiled for, as 90 for 9.0
}

// Load loads PTX or a cubin. PTX is compiled for the device; the driver keeps the result in ~/.nv/ComputeCache. Code that
// the device or its driver cannot take is [ErrJIT], and the error's Log is the compiler's.
func (c *Context) Load(image []byte) (*Module, error) {
	m := &Module{c: c}
	var log string
	terminated := append(bytes.Clone(image), 0) // PTX is a C string; a cubin has its size in its header
	err := c.do("cuModuleLoadDataEx", func() (r Result) {
		m.handle, log, r = c.api.load(terminated)
		return r
	})
	if err != nil {
		err = detail(err, "for compute capability %d.%d (%s)", c.info.Major, c.info.Minor, c.info.Name)
		if e, ok := err.(*Error); ok { //nolint:errorlint // as in detail
			e.Log = log
		}
		return nil, err
	}
	return m, nil
}

// Unload gives the module back; its functions end with it.
func (m *Module) Unload() error {
	return m.c.do("cuModuleUnload", func() Result { return m.c.api.unload(m.handle) })
}

// Function finds a kernel by name.
func (m *Module) Function(name string) (Function, error) {
	f := Function{name: name}
	err := m.c.do("cuModuleGetFunction", func() (r Result) {
		f.handle, r = m.c.api.function(m.handle, name)
		return r
	})
	if err != nil {
		return Function{}, detail(err, "%s", name)
	}
	return f, nil
}

// SetMaxShared lets a kernel be launched with up to so many bytes of dynamic shared memory; without it 48 KiB is the most.
func (c *Context) SetMaxShared(f Function, size int) error {
	return detail(c.do("cuFuncSetAttribute", func() Result {
		return c.api.setFunctionAttribute(f.handle, funcMaxDynamicShared, size)
	}), "%s: %d bytes of shared memory, of %d that the device has", f.name, size, c.info.SharedPerBlock)
}

// Attributes is what a kernel takes on this device.
func (c *Context) Attributes(f Function) (FunctionInfo, error) {
	var i FunctionInfo
	err := c.do("cuFuncGetAttribute", func() Result {
		for _, a := range []struct {
			attr int
			to   *int
		}{
			{funcRegisters, &i.Registers},
			{funcLocalBytes, &i.LocalBytes},
			{funcStaticShared, &i.StaticShared},
			{funcMaxThreads, &i.MaxThreads},
			{funcBinaryVersion, &i.BinaryVersion},
		} {
			var r Result
			if *a.to, r = c.api.functionAttribute(a.attr, f.handle); r != Success {
				return r
			}
		}
		return Success
	})
	return i, detail(err, "%s", f.name)
}

// Occupancy is how many blocks of so many threads and bytes of dynamic shared memory an SM runs at once.
func (c *Context) Occupancy(f Function, block, shared int) (int, error) {
	var n int
	err := c.do("cuOccupancyMaxActiveBlocksPerMultiprocessor", func() (r Result) {
		n, r = c.api.occupancy(f.handle, block, shared)
		return r
	})
	return n, detail(err, "%s with %d threads and %d bytes", f.name, block, shared)
}

func (l Launch) String() string {
	return fmt.Sprintf("grid %v, block %v, %d bytes shared", l.Grid, l.Block, l.Shared)
}
