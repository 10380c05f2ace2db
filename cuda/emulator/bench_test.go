//go:build linux

package emulator

import (
	"syscall"
	"testing"
	"time"
)

// processorTime is what this process has used: the emulator has one core, and benchmarks run on machines with other work.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bench launches a kernel and returns the seconds of processor time of one launch.
func bench(b *testing.B, d *device, f uintptr, s shape, args ...any) float64 {
	b.Helper()
	d.launch(f, s, args...)
	start := processorTime()
	for b.Loop() {
		d.launch(f, s, args...)
	}
	return (processorTime() - start).Seconds() / float64(b.N)
}

func BenchmarkThreads(b *testing.B) {
	d := open(b)
	seconds := bench(b, d, d.function("probe", "nothing"), shape{4096, 256, 0}, int32(0))
	b.ReportMetric(4096*256/seconds/1e6, "Mthreads/cpu-s")
}

func BenchmarkBarriers(b *testing.B) {
	d := open(b)
	out := d.alloc(4 * 16 * 256)
	seconds := bench(b, d, d.function("probe", "barriers"), shape{16, 256, 0}, int32(100), out)
	b.ReportMetric(seconds*1e9/(16*256*100), "cpu-ns/thread-barrier")
	d.free(out)
}

func BenchmarkMma(b *testing.B) {
	d := open(b)
	out := d.alloc(4 * 8 * 128)
	seconds := bench(b, d, d.function("probe", "products"), shape{8, 128, 0}, int32(500), out)
	b.ReportMetric(8*4*500*4096/seconds/1e9, "GFLOP/cpu-s")
	d.free(out)
}

func BenchmarkMmaTile(b *testing.B) {
	d := open(b)
	out := d.alloc(4 * 8 * 128)
	seconds := bench(b, d, d.function("probe", "tile_products"), shape{8, 128, 0}, int32(100), out)
	b.ReportMetric(8*4*100*8*4096/seconds/1e9, "GFLOP/cpu-s")
	d.free(out)
}

func BenchmarkLaunch(b *testing.B) {
	d := open(b)
	seconds := bench(b, d, d.function("probe", "nothing"), shape{1, 32, 0}, int32(0))
	b.ReportMetric(seconds*1e6, "cpu-us/launch")
}
