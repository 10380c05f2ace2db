package cuda

import (
	"errors"

	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// checked is one operation's check, with addresses in device memory.
type checked struct {
	check.Check[driver.Ptr]
	d *Device
}

// begin starts an operation; OK is false where an earlier one failed.
func (d *Device) begin(op string) *checked {
	return &checked{check.New(op, d.err == nil, d.find, d.fail), d}
}

// find is the address of a buffer of this device.
func (d *Device) find(b compute.Buffer) (driver.Ptr, error) {
	v, ok := b.(*buffer)
	if !ok || v.dev != d {
		return 0, errors.New("is a buffer of another device")
	}
	if v.mem.saved != nil {
		return 0, errOffloaded
	}
	if v.mem.p == 0 {
		return 0, errors.New("was freed before")
	}
	return v.address(), nil
}

// launch runs a kernel, unless something before it did not fit or the grid has no blocks. The name is MODULE.KERNEL:
// kernels/MODULE.cu has KERNEL.
func (c *checked) launch(name string, l driver.Launch, args ...driver.Arg) {
	if !c.OK || l.Grid[0] == 0 {
		return
	}
	f, err := c.d.code.function(name)
	if err != nil {
		c.Fail("%w", err)
		return
	}
	if err := c.d.code.allow(f, l.Shared); err != nil {
		c.Fail("%w", err)
		return
	}
	l.Stream = c.d.stream
	if err := c.d.ctx.Launch(f, l, args...); err != nil {
		c.Fail("%w", err)
	}
}

// attempt asks the driver for something, unless something before it failed.
func (c *checked) attempt(ask func() error) {
	if !c.OK {
		return
	}
	if err := ask(); err != nil {
		c.Fail("%w", err)
	}
}

// copyIn copies what an operation tells its kernels to its workspace.
func (c *checked) copyIn(to driver.Ptr, src []byte) {
	if len(src) > 0 {
		c.attempt(func() error { return c.d.ctx.CopyIn(to, src, c.d.stream) })
	}
}

// copyOut reads numbers back, after all that was asked for before.
func (c *checked) copyOut(dst []float32, from driver.Ptr) {
	c.attempt(func() error { return c.d.ctx.CopyOut(compute.Bytes(dst), from, c.d.stream) })
}

// copyWithin copies bytes of the workspace.
func (c *checked) copyWithin(to, from driver.Ptr, bytes int64) {
	c.attempt(func() error { return c.d.ctx.Copy(to, from, bytes, c.d.stream) })
}

// blockThreads is the block of kernels that work element by element.
const blockThreads = 256

// elements is the grid of a kernel whose threads stride over n elements: enough blocks to fill any GPU, the same on each, so
// that sums do not depend on how many it has. No elements are no blocks, which launch leaves out.
func elements(n int) driver.Launch {
	const most = 4096
	return driver.Launch{Grid: [3]int{min(most, blocks(n, blockThreads)), 1, 1}, Block: [3]int{blockThreads, 1, 1}}
}

// quads is elements of a kernel whose threads take four neighbours at a time.
func quads(n int) driver.Launch { return elements(blocks(n, 4)) }

// rows is the grid of a kernel with one block for each of n rows.
func rows(n, threads int) driver.Launch {
	return driver.Launch{Grid: [3]int{n, 1, 1}, Block: [3]int{threads, 1, 1}}
}

// tiles is the grid of a kernel whose blocks take several of n rows: so many threads, a power of two, along each.
func tiles(n, threads int) driver.Launch {
	high := max(1, blockThreads/threads)
	return driver.Launch{Grid: [3]int{blocks(n, high), 1, 1}, Block: [3]int{threads, high, 1}}
}

// along is the threads that tiles puts along a row of c elements, four to each.
func along(c int) int { return min(powerOfTwo(blocks(c, 4)), blockThreads) }

// blocks is how many runs of size make n.
func blocks(n, size int) int { return (n + size - 1) / size }

// powerOfTwo is the least power of two that is not below n.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// flag is a bool as kernels take it.
func flag(b bool) driver.Arg {
	if b {
		return driver.I32(1)
	}
	return driver.I32(0)
}
