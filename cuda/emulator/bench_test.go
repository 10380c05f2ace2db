//go:build linux

package emulator

import "testing"

func BenchmarkThreads(b *testing.B) {
	d := open(b)
	f := d.function("probe", "nothing")
	for b.Loop() {
		d.launch(f, shape{4096, 256, 0}, int32(0))
	}
	b.ReportMetric(float64(b.N)*4096*256/b.Elapsed().Seconds()/1e6, "Mthreads/s")
}

func BenchmarkBarriers(b *testing.B) {
	d := open(b)
	f, out := d.function("probe", "barriers"), d.alloc(4*16*256)
	for b.Loop() {
		d.launch(f, shape{16, 256, 0}, int32(100), out)
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e9/(float64(b.N)*16*256*100), "ns/thread-barrier")
	d.free(out)
}

func BenchmarkMma(b *testing.B) {
	d := open(b)
	f, out := d.function("probe", "products"), d.alloc(4*8*128)
	for b.Loop() {
		d.launch(f, shape{8, 128, 0}, int32(500), out)
	}
	b.ReportMetric(float64(b.N)*8*4*500*4096/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	d.free(out)
}

func BenchmarkLaunch(b *testing.B) {
	d := open(b)
	f := d.function("probe", "nothing")
	for b.Loop() {
		d.launch(f, shape{1, 32, 0}, int32(0))
	}
}
