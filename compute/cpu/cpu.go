// Package cpu is the device that every machine has: float32 kernels in C, chosen at run time for what the processor can do
// (AVX-512, AVX2 with FMA, or plain C), on a pool of threads. Products in bfloat16 have tiers of their own above AVX-512:
// avx512bf16 (vdpbf16ps) and amx (tdpbf16ps); below, operands are rounded and multiplied as floats.
//
// One source serves every tier: kernels.h is compiled once by each tier_*.c with that tier's instructions, over the small
// vector type of vec.h. A result depends on the tier (the width of a vector is the number of partial sums), never on the
// number of threads.
//
// # Checking the C side
//
// The race detector does not see C. Under the address sanitizer every buffer is a malloc of its own, so that a kernel that
// leaves its buffer is caught; one tier takes about two minutes:
//
//	go test -asan -run TestSuite/avx512 ./compute/cpu
package cpu

// #cgo CFLAGS: -O3 -g1 -std=c11 -Wall -Wextra
// #cgo LDFLAGS: -lm -lpthread
// #include "lathe.h"
// #include "pool.h"
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"lathe/compute"
)

// Options choose what New opens. What is left zero comes from the environment (LATHE_THREADS, LATHE_CPU_TIER), and else
// from the machine.
type Options struct {
	// Threads that operations use: by default one for each core that the process may run on.
	Threads int
	// Tier is "amx", "avx512bf16", "avx512", "avx2" or "plain": by default the best that the processor has.
	Tier string
}

var tiers = []string{
	C.LATHE_PLAIN: "plain", C.LATHE_AVX2: "avx2", C.LATHE_AVX512: "avx512", C.LATHE_AVX512BF16: "avx512bf16", C.LATHE_AMX: "amx",
}

// Tiers lists the tiers that this processor can run, the slowest first.
func Tiers() []string { return slices.Clone(tiers[:C.lathe_best_tier()+1]) }

// Device is the CPU as a compute.Device.
type Device struct {
	name    string
	tier    C.int
	threads C.int

	memory  compute.Memory
	atOpen  int64 // memory that was available when the device opened, 0 where the system does not say
	roots   map[*allocation]struct{}
	scratch compute.Scratch[*allocation]
	queue   queue
	err     error

	inner compute.Device // runs the operations that composite ones are made of: the device itself, or what Through named
}

var _ compute.Device = (*Device)(nil)

// Through lets composite operations run those that they are made of on another device of the same buffers: a profile of this one.
func (d *Device) Through(outer compute.Device) { d.inner = outer }

// New opens the CPU. It fails on a tier that this processor does not have, and on settings that mean nothing. The devices of
// a process share one pool: those that work at the same time must have the same options.
func New(o Options) (*Device, error) {
	if o.Threads == 0 {
		if s := os.Getenv("LATHE_THREADS"); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("open cpu: LATHE_THREADS is %q: want a number of threads from 1 on", s)
			}
			o.Threads = n
		}
	}
	if o.Threads < 0 || o.Threads > C.LATHE_MAX_THREADS {
		return nil, fmt.Errorf("open cpu: %d threads: want 1 to %d, or 0 for one per core", o.Threads, C.LATHE_MAX_THREADS)
	}
	if o.Tier == "" {
		o.Tier = os.Getenv("LATHE_CPU_TIER")
	}
	best := C.lathe_best_tier()
	d := &Device{name: processorName(), tier: best, roots: map[*allocation]struct{}{}}
	d.inner, d.scratch = d, compute.NewScratch(d.allocate, d.release)
	if o.Tier != "" {
		i := slices.Index(tiers, o.Tier)
		if i < 0 {
			return nil, fmt.Errorf("open cpu: unknown tier %q: want one of %q", o.Tier, tiers)
		}
		if C.int(i) > best {
			return nil, fmt.Errorf("open cpu: this processor (%s) cannot run tier %q: its best is %q", d.name, o.Tier, tiers[best])
		}
		d.tier = C.int(i)
	}
	if o.Threads == 0 { // GOMAXPROCS knows the quota of a container
		o.Threads = min(int(C.lathe_cores()), runtime.GOMAXPROCS(0))
	}
	C.lathe_set_threads(C.int(o.Threads))
	d.threads = C.lathe_threads()
	d.atOpen, _ = systemMemory()
	return d, nil
}

// Info names the processor, the tier and the number of threads.
func (d *Device) Info() compute.Info {
	available, total := systemMemory()
	return compute.Info{
		Name: d.name, Kind: "cpu", Tier: tiers[d.tier], Threads: int(d.threads),
		MemoryTotal: total, MemoryFree: d.left(available), MatMul: []compute.DType{compute.F32, compute.BF16}, Workspace: rule{d.threads},
		WorkspaceHeld: d.scratch.Held(),
	}
}

// Memory is what Alloc gave and the operations' workspace.
func (d *Device) Memory() compute.Memory { return d.memory }

// ResetPeak sets the peak to what is in use.
func (d *Device) ResetPeak() { d.memory.Peak = d.memory.Used }

// Sync runs the operations that wait, and returns the first error since the last Sync, which it forgets.
func (d *Device) Sync() error {
	d.Finish()
	err := d.err
	d.err = nil
	return err
}

// Close gives all memory back; buffers of the device must not be used any more.
func (d *Device) Close() error {
	d.scratch.Free()
	for a := range d.roots {
		d.release(a)
	}
	d.queue.free()
	return d.Sync()
}

// fail remembers the first error.
func (d *Device) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func processorName() string {
	if name := cpuinfoName(); name != "" {
		return name
	}
	return runtime.GOARCH + " processor"
}
