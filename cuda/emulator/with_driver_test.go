//go:build linux

package emulator

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"lathe/cuda/driver"
)

// The project's own driver package takes the emulated library for libcuda.
func TestDriverRunsOnIt(t *testing.T) {
	open(t) // skips without a compiler
	path, err := Build("testdata/kernels")
	if err != nil {
		t.Fatal(err)
	}
	drv, err := driver.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := drv.NewContext(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if info := c.Info(); info.Capability() != 80 {
		t.Errorf("capability %d of %+v, not 80", info.Capability(), info)
	}
	ptx, err := os.ReadFile("../kernels/ptx/elementwise.ptx")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	module, err := c.Load(ptx)
	must(err)
	add, err := module.Function("add_f32")
	must(err)
	const n = 1000
	y, err := c.Alloc(4 * n)
	must(err)
	stream, err := c.NewStream()
	must(err)
	must(c.Set(y, 0, 4*n, stream))
	ones := make([]byte, 0, 4*n)
	for range n {
		ones = binary.LittleEndian.AppendUint32(ones, math.Float32bits(1))
	}
	x, err := c.Alloc(4 * n)
	must(err)
	must(c.CopyIn(x, ones, stream))
	must(c.BeginCapture(stream))
	must(c.Launch(add, driver.Launch{Grid: [3]int{2}, Block: [3]int{128}, Stream: stream}, driver.P(y), driver.P(y), driver.P(x), driver.F32(2), driver.I64(n)))
	graph, err := c.EndCapture(stream)
	must(err)
	for range 3 {
		must(graph.Launch(stream))
	}
	out := make([]byte, 4*n)
	must(c.CopyOut(out, y, stream))
	must(c.Sync(stream))
	for i := range n {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:])); got != 6 {
			t.Fatalf("y[%d] = %v after three replays of +2", i, got)
		}
	}
	must(graph.Close())
	must(c.Free(x))
	must(c.Free(y))
	must(module.Unload())
	must(c.DestroyStream(stream))
}
