package driver

import (
	"encoding/binary"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ebitengine/purego"
)

// TestManyGoroutines calls from goroutines that the scheduler moves between OS threads while the collector runs all the
// time and their stacks grow and shrink: a context that is not current, or an argument that has moved, gives a wrong sum.
func TestManyGoroutines(t *testing.T) {
	c := fakeContext(t)
	add := fakeFunction(t, c, "add")
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			if err := addInPieces(c, add, int32(worker)+1, 400); err != nil {
				t.Errorf("worker %d: %v", worker, err)
			}
		})
	}
	wg.Wait()
	close(stop)
	collector.Wait()
}

// addInPieces adds v n times on the device, from a fresh deep stack each time, and checks the sum.
func addInPieces(c *Context, add Function, v int32, n int) error {
	s, err := c.NewStream()
	if err != nil {
		return err
	}
	p, err := c.Alloc(8)
	if err != nil {
		return err
	}
	if err := c.CopyIn(p, make([]byte, 8), s); err != nil {
		return err
	}
	for i := range n {
		if err := deep(i%200, func() error { return c.Launch(add, Launch{Stream: s}, P(p), I32(v)) }); err != nil {
			return err
		}
		if i%16 == 0 {
			time.Sleep(time.Microsecond) // lets the goroutine wake on another thread
		}
	}
	got := make([]byte, 8)
	if err := c.CopyOut(got, p, s); err != nil {
		return err
	}
	if sum := int64(binary.LittleEndian.Uint64(got)); sum != int64(v)*int64(n) {
		return &Error{Call: "sum", Detail: "is wrong", Result: Result(sum)}
	}
	if err := c.Free(p); err != nil {
		return err
	}
	return c.DestroyStream(s)
}

// deep calls f below so many frames of 256 bytes, so that the stack grows in the middle of a call's preparation.
func deep(frames int, f func() error) error {
	if frames == 0 {
		return f()
	}
	var pad [256]byte
	pad[frames%256] = 1
	err := deep(frames-1, f)
	runtime.KeepAlive(&pad)
	return err
}

// TestResultsInGrowingStacks reads answers that libcuda writes through pointers while stacks grow.
func TestResultsInGrowingStacks(t *testing.T) {
	c := fakeContext(t)
	for i := range 300 {
		var wg sync.WaitGroup
		wg.Go(func() { // a fresh goroutine has a small stack
			err := deep(i, func() error {
				p, err := c.Alloc(int64(64 + i))
				if err != nil {
					return err
				}
				return c.Free(p)
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
}

// TestTwoContexts calls on two devices in turn from more goroutines than there are processors: one that was moved to
// another OS thread between making its context current and its call would be told the other device's memory.
func TestTwoContexts(t *testing.T) {
	d := openFake(t)
	fake(t, "fake_devices", 2)
	var contexts [2]*Context
	for i := range contexts {
		c, err := d.NewContext(i)
		check(t, err)
		defer c.Close()
		contexts[i] = c
	}
	fake(t, "fake_slow", 50) // long enough for the scheduler to give the processor away
	var wg sync.WaitGroup
	for worker := range 4 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range 50 {
				device := (worker + i) % 2
				if _, total, err := contexts[device].MemInfo(); err != nil || total != 1<<30+int64(device) {
					t.Errorf("device %d: %d bytes, %v", device, total, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestLaunchDoesNotAllocate(t *testing.T) {
	c := fakeContext(t)
	f := fakeFunction(t, c, "nine")
	l := Launch{Grid: [3]int{100, 2, 1}, Block: [3]int{256}}
	n := testing.AllocsPerRun(100, func() {
		if err := c.Launch(f, l, P(1), P(2), P(3), I32(4), I32(5), I32(6), F32(7), I64(8), F64(9)); err != nil {
			t.Error(err)
		}
	})
	if n > 0 {
		t.Errorf("a launch allocates %v times", n)
	}
}

// processorTime reports the process's own time an operation, which other load on the machine does not change much.
func processorTime(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		check(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkLaunch(b *testing.B) {
	c := fakeContext(b)
	f := fakeFunction(b, c, "nine")
	l := Launch{Grid: [3]int{100, 2, 1}, Block: [3]int{256}}
	defer processorTime(b)()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Launch(f, l, P(1), P(2), P(3), I32(4), I32(5), I32(6), F32(7), I64(8), F64(9)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	c := fakeContext(b)
	p, err := c.Alloc(64)
	check(b, err)
	defer c.Free(p)
	defer processorTime(b)()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Set(p, 0, 64, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSyscallN is one bare call through purego, what a launch is measured against: it makes two.
func BenchmarkSyscallN(b *testing.B) {
	c := fakeContext(b)
	p, err := openPure(fakePath)
	check(b, err)
	defer processorTime(b)()
	b.ReportAllocs()
	for b.Loop() {
		purego.SyscallN(p.cuCtxSetCurrent, c.handle...)
	}
}
