// Package cuda is the device of NVIDIA GPUs: kernels of its own (kernels/*.cu, shipped as PTX, which the driver compiles for
// the GPU at hand), launched through libcuda.so.1 alone. The host needs a driver and no toolkit; without a driver the
// binary runs all the same and Open says what is missing.
//
// Activations, gradients and optimiser states are float32, as on every device. Products take float32, bfloat16 or float16
// operands (Info.MatMul) and sum in float32. All work goes to one stream in the order of the calls, so that results do not
// depend on timing; sums have a fixed order, so that the same calls give the same bits on the same kind of GPU.
//
// Large products in 16 bits go to cuBLASLt where it is installed (package cublaslt, product_lt.go) and its results are those of the own
// kernels; LATHE_CUBLASLT=off does without it.
//
// The same kernels run without a GPU on the emulated device (package emulator), which is how the tests see them.
package cuda

import (
	"errors"
	"fmt"

	"lathe/compute"
	"lathe/cuda/driver"
)

// Options choose what Open opens.
type Options struct {
	// Ordinal is the GPU's number as CUDA counts them, after CUDA_VISIBLE_DEVICES.
	Ordinal int
	// Driver is the path of the driver's library; empty is what driver.Open takes.
	Driver string
	// CublasLt is the path of cuBLASLt or of a folder that holds it, "off" for none; empty looks for it as cublaslt.Candidates does,
	// unless Driver is set.
	CublasLt string
}

// Device is one GPU as a compute.Device. It is used by one goroutine at a time, which need not keep its OS thread.
type Device struct {
	ctx    *driver.Context
	stream driver.Stream
	info   driver.Info
	code   *code
	lt     lt

	options Options

	memory  compute.Memory
	roots   map[*allocation]struct{}
	scratch compute.Scratch[*allocation]
	report  *allocation // where kernels report what the host could not know, an error record
	ints    map[hostKey]hostInts

	inner  compute.Device // runs the operations that composite ones are made of: the device itself, or what Through named
	events []driver.Event // of marks, the first marked of them in use
	marked int

	offloaded bool // all content is on the host
	err       error
}

var _ compute.Device = (*Device)(nil)

// Open opens a GPU. The error is one line that says what is missing: a driver, a GPU, memory, permission.
func Open(o Options) (*Device, error) {
	lib, err := driver.Open(o.Driver)
	if err != nil {
		return nil, fmt.Errorf("open cuda:%d: %w", o.Ordinal, err)
	}
	ctx, err := lib.NewContext(o.Ordinal)
	if err != nil {
		return nil, fmt.Errorf("open cuda:%d: %w", o.Ordinal, err)
	}
	d, err := openContext(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open cuda:%d: %w", o.Ordinal, err)
	}
	return d, nil
}

// Record opens a device without a GPU that tells each launch, fill and copy instead of doing it: what a step asks of a GPU like the
// one that info describes, to the argument. Its buffers have no content, and products go to lathe's own kernels.
func Record(info driver.Info, tell func(driver.Call)) (*Device, error) {
	return openContext(driver.NewRecorder(info, tell), Options{CublasLt: "off"})
}

func openContext(ctx *driver.Context, o Options) (*Device, error) {
	d := &Device{ctx: ctx, info: ctx.Info(), options: o, roots: map[*allocation]struct{}{}, ints: map[hostKey]hostInts{}}
	d.inner, d.scratch = d, compute.NewScratch(d.allocate, d.release)
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Count is the number of GPUs that this process may use, 0 where there is none or no driver.
func Count() int {
	lib, err := driver.Open("")
	if err != nil {
		return 0
	}
	devices, err := lib.Devices()
	if err != nil {
		return 0
	}
	return len(devices)
}

// start makes what every operation needs.
func (d *Device) start() (err error) {
	if d.code, err = newCode(d.ctx, d.info.Capability()); err != nil {
		return err
	}
	if d.stream, err = d.ctx.NewStream(); err != nil {
		return err
	}
	if d.report, err = d.allocate(reportBytes); err != nil {
		return err
	}
	return d.clearReport()
}

// Info names the GPU.
func (d *Device) Info() compute.Info {
	free, total, err := d.ctx.MemInfo()
	if err != nil { // of a lost device, which the next operation will say
		free, total = 0, d.info.Memory
	}
	return compute.Info{
		Name: d.info.Name, Kind: "cuda", Tier: fmt.Sprintf("sm_%d", d.info.Capability()), GPUs: []string{d.info.UUID, d.info.PCI}, MemoryTotal: total, MemoryFree: free,
		MatMul: []compute.DType{compute.F32, compute.BF16, compute.F16}, Workspace: rule{}, WorkspaceHeld: d.scratch.Held(), GroupMemory: groupMemory,
	}
}

// groupMemory is an allowance for NCCL's own buffers on each GPU: it takes a few MiB for each channel to each neighbour, which
// depends on how the GPUs are wired and is known only when they have met.
const groupMemory = 512 << 20

// Memory is what Alloc gave and the operations' workspace.
func (d *Device) Memory() compute.Memory { return d.memory }

// ResetPeak sets the peak to what is in use.
func (d *Device) ResetPeak() { d.memory.Peak = d.memory.Used }

// Sync waits for all operations, and returns the first error since the last Sync, which it forgets. After an error of the
// GPU itself (driver.ErrLost) nothing runs any more in this process.
func (d *Device) Sync() error {
	if !d.offloaded {
		d.ask()
	}
	if err := d.ctx.Sync(d.stream); err != nil {
		d.fail(fmt.Errorf("wait for the GPU: %w", err))
	}
	err := d.err
	d.err = nil
	return err
}

// Close gives all memory back and lets go of the GPU; buffers of the device must not be used any more.
func (d *Device) Close() error {
	err := d.Sync()
	d.closeLt()
	d.scratch.Free()
	for a := range d.roots {
		d.release(a)
	}
	d.report = nil
	err = errors.Join(err, d.dropEvents())
	if d.stream != 0 {
		err = errors.Join(err, d.ctx.DestroyStream(d.stream))
		d.stream = 0
	}
	return errors.Join(err, d.err, d.ctx.Close())
}

// fail remembers the first error.
func (d *Device) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}
