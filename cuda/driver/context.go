package driver

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Context is a device's primary context: the same one that other libraries of this process (NCCL, cuBLAS) use. Its methods
// may be called from any goroutine: each locks the OS thread, makes the context current on it, calls, and unlocks.
type Context struct {
	d      *Driver
	api    api
	info   Info
	dev    int32
	handle []uintptr // one; see api.setCurrent
	closed atomic.Bool
	lost   atomic.Pointer[Error]

	launching sync.Mutex // guards args
	args      argBlock
	staging   staging
}

// NewContext retains the primary context of a device. A device that another process holds exclusively is [ErrBusy].
func (d *Driver) NewContext(ordinal int) (*Context, error) {
	info, dev, err := d.device(ordinal)
	if err != nil {
		return nil, err
	}
	handle, r := d.api.retain(dev)
	if r != Success {
		e := d.fail("cuDevicePrimaryCtxRetain", r)
		e.Detail = fmt.Sprintf("device %d (%s)", ordinal, info.Name)
		if info.Prohibited {
			e.Kind, e.Hint = ErrBusy, "the device is in compute mode PROHIBITED: nvidia-smi -c DEFAULT opens it"
		}
		return nil, d.host.explain(e)
	}
	return &Context{d: d, api: d.api, info: info, dev: dev, handle: []uintptr{handle}}, nil
}

// Info describes the context's device.
func (c *Context) Info() Info { return c.info }

// Close releases the primary context. Memory, modules and streams that are still there go with it unless another library
// of this process holds it too.
func (c *Context) Close() error {
	if c.closed.Load() {
		return nil
	}
	// A lost context takes its memory with it: what it says of the ring is of no interest then.
	if err := c.do("cuMemFreeHost", func() Result { return c.staging.close(c.api) }); err != nil && !isLost(err) {
		return err
	}
	if c.closed.Swap(true) {
		return nil
	}
	if r := c.api.release(c.dev); r != Success {
		return c.fail("cuDevicePrimaryCtxRelease", r)
	}
	return nil
}

// enter locks the goroutine to its OS thread and makes the context current there; leave has to follow.
func (c *Context) enter() Result {
	runtime.LockOSThread()
	if c.closed.Load() {
		return ContextIsDestroyed
	}
	return c.api.setCurrent(c.handle)
}

func (c *Context) leave() { runtime.UnlockOSThread() }

// With runs f on a locked OS thread on which the context is current, for libraries that work on the current context.
func (c *Context) With(f func() error) error {
	r := c.enter()
	defer c.leave()
	if r != Success {
		return c.fail("cuCtxSetCurrent", r)
	}
	return f()
}

// do makes one call in the context.
func (c *Context) do(name string, f func() Result) error {
	r := c.enter()
	if r != Success {
		name = "cuCtxSetCurrent"
	} else {
		r = f()
	}
	c.leave()
	if r != Success {
		return c.fail(name, r)
	}
	return nil
}

// Lend makes the context current on this goroutine's OS thread for as long as f calls another library of this process that works
// on it: NCCL, say.
func (c *Context) Lend(f func() error) error {
	defer c.leave()
	if r := c.enter(); r != Success {
		return c.fail("cuCtxSetCurrent", r)
	}
	return f()
}

// fail is the error of a call, and keeps the first one after which the context answers nothing but it.
func (c *Context) fail(name string, r Result) *Error {
	e := c.d.fail(name, r)
	if isLost(e.Kind) && !c.lost.CompareAndSwap(nil, e) {
		if first := c.lost.Load(); first.Call != name {
			e.Detail = "(after " + first.Call + ")"
		}
	}
	return e
}

// detail adds to a call's error what it was called with.
func detail(err error, format string, args ...any) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // do and fail return it unwrapped
		e.Detail = oneLine(fmt.Sprintf(format, args...) + " " + e.Detail)
	}
	return err
}

// MemInfo is the device's memory in bytes: what is free of it now, for every process, and all.
func (c *Context) MemInfo() (free, total int64, err error) {
	err = c.do("cuMemGetInfo", func() (r Result) {
		free, total, r = c.api.memInfo()
		return r
	})
	return free, total, err
}

// Alloc allocates device memory, aligned to at least 256 bytes. Not enough of it is [ErrOutOfMemory].
func (c *Context) Alloc(bytes int64) (Ptr, error) {
	if bytes <= 0 {
		return 0, detail(c.fail("cuMemAlloc", InvalidValue), "of %d bytes", bytes)
	}
	var p Ptr
	err := c.do("cuMemAlloc", func() (r Result) {
		p, r = c.api.alloc(bytes)
		return r
	})
	if err != nil {
		p = 0
		if free, total, infoErr := c.MemInfo(); infoErr == nil {
			return 0, detail(err, "of %s with %s of %s free", sizeString(bytes), sizeString(free), sizeString(total))
		}
		return 0, detail(err, "of %s", sizeString(bytes))
	}
	return p, nil
}

// Free frees what Alloc gave; 0 is nothing to free. It waits for what the device still runs.
func (c *Context) Free(p Ptr) error {
	if p == 0 {
		return nil
	}
	return detail(c.do("cuMemFree", func() Result { return c.api.free(p) }), "of %#x", uint64(p))
}

// CopyIn copies src to the device, in the stream's order. src may be changed when it returns. Large copies wait until they have
// run, small ones do not.
func (c *Context) CopyIn(dst Ptr, src []byte, s Stream) error {
	if len(src) == 0 {
		return nil
	}
	return detail(c.do("cuMemcpyHtoDAsync", func() Result {
		if len(src) <= stagingBytes {
			return c.copyStaged(dst, src, s)
		}
		if r := c.api.copyIn(dst, unsafe.Pointer(&src[0]), int64(len(src)), s); r != Success {
			return r
		}
		return c.api.streamSync(s)
	}), "of %d bytes to %#x", len(src), uint64(dst))
}

// CopyOut copies device memory to dst, in the stream's order, and waits until it is there.
func (c *Context) CopyOut(dst []byte, src Ptr, s Stream) error {
	if len(dst) == 0 {
		return c.Sync(s)
	}
	return detail(c.do("cuMemcpyDtoHAsync", func() Result {
		if r := c.api.copyOut(unsafe.Pointer(&dst[0]), src, int64(len(dst)), s); r != Success {
			return r
		}
		return c.api.streamSync(s)
	}), "of %d bytes from %#x", len(dst), uint64(src))
}

// Copy copies within the device, in the stream's order. The ranges must not overlap.
func (c *Context) Copy(dst, src Ptr, bytes int64, s Stream) error {
	if bytes == 0 {
		return nil
	}
	return detail(c.do("cuMemcpyDtoDAsync", func() Result { return c.api.copy(dst, src, bytes, s) }),
		"of %d bytes from %#x to %#x", bytes, uint64(src), uint64(dst))
}

// Set fills device memory with a byte, in the stream's order.
func (c *Context) Set(dst Ptr, value byte, bytes int64, s Stream) error {
	if bytes == 0 {
		return nil
	}
	return detail(c.do("cuMemsetD8Async", func() Result { return c.api.set(dst, value, bytes, s) }),
		"of %d bytes at %#x", bytes, uint64(dst))
}

// sizeString writes bytes as nvidia-smi does, in MiB, or GiB from ten of them.
func sizeString(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
