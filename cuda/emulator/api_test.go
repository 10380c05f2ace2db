//go:build linux

package emulator

import (
	"runtime"
	"testing"
)

func TestContextBelongsToTheThread(t *testing.T) {
	d := open(t)
	var free, total uint64
	d.must("cuMemGetInfo_v2", address(&free), address(&total))
	if total != 8<<30 || free != total {
		t.Errorf("%d of %d bytes are free on a new device", free, total)
	}
	other := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var f, n uint64
		other <- d.call("cuMemGetInfo_v2", address(&f), address(&n))
	}()
	if r := <-other; r != 201 {
		t.Errorf("a call on another thread answers %d, not CUDA_ERROR_INVALID_CONTEXT", r)
	}
}

func TestSettings(t *testing.T) {
	d := open(t, "LATHE_EMU_DEVICES=2", "LATHE_EMU_MEMORY=1000000", "LATHE_EMU_VERSION=12020", "LATHE_EMU_CAPABILITY=9.0", "LATHE_EMU_FAIL=cuMemAlloc=2@2,cuStreamCreate=999")
	var n, version, shared int32
	d.must("cuDeviceGetCount", address(&n))
	d.must("cuDriverGetVersion", address(&version))
	d.must("cuDeviceGetAttribute", address(&shared), 97, 1)
	if n != 2 || version != 12020 || shared != 232448 {
		t.Errorf("%d devices, version %d, %d bytes of shared memory", n, version, shared)
	}
	p := d.alloc(900000)
	var q uint64
	if r := d.call("cuMemAlloc_v2", address(&q), 16); r != 2 {
		t.Errorf("the second allocation answers %d, not the ordered error", r)
	}
	d.free(d.alloc(16))
	if r := d.call("cuMemAlloc_v2", address(&q), 200000); r != 2 {
		t.Errorf("more than the device's memory: %d, not CUDA_ERROR_OUT_OF_MEMORY", r)
	}
	if r := d.call("cuStreamCreate", address(&q), 0); r != 999 {
		t.Errorf("cuStreamCreate answers %d, not the ordered error", r)
	}
	d.free(p)
	var m uintptr
	newer := ".version 8.4\n.target sm_80\n"
	if r := d.call("cuModuleLoadData", address(&m), address(cString(newer))); r != 222 {
		t.Errorf("PTX 8.4 on a driver of CUDA 12.2 answers %d, not CUDA_ERROR_UNSUPPORTED_PTX_VERSION", r)
	}
}

func TestLaunchLimits(t *testing.T) {
	d := open(t)
	f := d.function("probe", "nothing")
	launch := func(threads, shared int) int {
		n := [2]int32{1}
		arg := &n[0]
		var pin runtime.Pinner
		defer pin.Unpin()
		pin.Pin(arg)
		return d.call("cuLaunchKernel", f, 1, 1, 1, uintptr(threads), 1, 1, uintptr(shared), 0, address(&arg), 0)
	}
	if r := launch(1025, 0); r != 1 {
		t.Errorf("1025 threads: %d", r)
	}
	if r := launch(32, 60000); r != 1 {
		t.Errorf("more than 48 KiB of shared memory without asking for it: %d", r)
	}
	d.must("cuFuncSetAttribute", f, 8, 60000)
	if r := launch(32, 60000); r != 0 {
		t.Errorf("60000 bytes of shared memory that were asked for: %d", r)
	}
	if r := d.call("cuFuncSetAttribute", f, 8, 110000); r != 1 {
		t.Errorf("more shared memory than a block can have: %d", r)
	}
}

func TestGraphReplays(t *testing.T) {
	d := open(t)
	n := 100
	y := upload(d, make([]float32, n))
	one := make([]float32, n)
	for i := range one {
		one[i] = 1
	}
	x := upload(d, one)
	add := d.function("elementwise", "add_f32")
	var stream, side, fork, join, graph, exec uintptr
	d.must("cuStreamCreate", address(&stream), 1)
	d.must("cuStreamCreate", address(&side), 1)
	d.must("cuEventCreate", address(&fork), 2)
	d.must("cuEventCreate", address(&join), 2)
	d.must("cuStreamBeginCapture_v2", stream, 0)
	var q uint64
	d.launchOn(stream, add, shape{1, 32, 0}, y, y, x, float32(2), n)
	d.must("cuEventRecord", fork, stream)
	d.must("cuStreamWaitEvent", side, fork, 0)
	d.launchOn(side, add, shape{1, 32, 0}, y, y, x, float32(3), n)
	d.must("cuEventRecord", join, side)
	d.must("cuStreamWaitEvent", stream, join, 0)
	d.must("cuStreamEndCapture", stream, address(&graph))
	d.must("cuGraphInstantiateWithFlags", address(&exec), graph, 0)
	if got := download[float32](d, y, n)[0]; got != 0 {
		t.Fatalf("capturing ran the kernels: %v", got)
	}
	for range 3 {
		d.must("cuGraphLaunch", exec, stream)
	}
	d.must("cuStreamSynchronize", stream)
	for i, got := range download[float32](d, y, n) {
		if got != 15 {
			t.Fatalf("y[%d] = %v after three replays of +2 +3", i, got)
		}
	}
	d.must("cuStreamBeginCapture_v2", stream, 0)
	if r := d.call("cuMemAlloc_v2", address(&q), 16); r != 900 {
		t.Errorf("an allocation during a capture answers %d, not CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", r)
	}
	if r := d.call("cuStreamEndCapture", stream, address(&graph)); r != 901 {
		t.Errorf("the capture then ends with %d, not CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", r)
	}
	d.must("cuGraphExecDestroy", exec)
	d.must("cuEventDestroy_v2", fork)
	d.must("cuEventDestroy_v2", join)
	d.must("cuStreamDestroy_v2", side)
	d.must("cuStreamDestroy_v2", stream)
	d.free(x)
	d.free(y)
}

// With lazy streams a program that forgets to synchronise reads what was there before.
func TestLazyStreams(t *testing.T) {
	d := open(t, "LATHE_EMU_LAZY=1")
	fill := d.function("elementwise", "fill_f32")
	y := upload(d, make([]float32, 8))
	var a, b, event uintptr
	d.must("cuStreamCreate", address(&a), 1)
	d.must("cuStreamCreate", address(&b), 1)
	d.must("cuEventCreate", address(&event), 2)
	var host uintptr
	d.must("cuMemHostAlloc", address(&host), 32, 0)
	copyOut := func() float32 {
		d.must("cuMemcpyDtoHAsync_v2", host, uintptr(y), 32, b)
		d.must("cuStreamSynchronize", b)
		return readFloat(host)
	}
	d.launchOn(a, fill, shape{1, 32, 0}, y, float32(1), 8)
	if got := copyOut(); got != 0 {
		t.Errorf("another stream sees %v without having waited", got)
	}
	d.must("cuEventRecord", event, a)
	d.must("cuStreamWaitEvent", b, event, 0)
	if got := copyOut(); got != 1 {
		t.Errorf("a stream that waited for the event sees %v", got)
	}
	d.must("cuMemFreeHost", host)
	d.must("cuEventDestroy_v2", event)
	d.must("cuStreamDestroy_v2", a)
	d.must("cuStreamDestroy_v2", b)
	d.free(y)
}
