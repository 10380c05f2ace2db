package driver

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestDevices(t *testing.T) {
	d := openFake(t)
	fake(t, "fake_devices", 2)
	all, err := d.Devices()
	if err != nil {
		t.Fatal(err)
	}
	want := Info{
		Ordinal: 0, Name: "Fake GPU", UUID: "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f", PCI: "0000:3B:00.0", Major: 9, Memory: 1 << 30,
		SMs: 132, SharedPerBlock: 232448, SharedPerSM: 233472, L2: 50 << 20, ClockMHz: 1980, MemoryClockMHz: 2619, BusWidth: 5120,
		MaxThreadsPerBlock: 1024, MaxThreadsPerSM: 2048, RegistersPerSM: 65536, ECC: true,
	}
	if all[0] != want {
		t.Errorf("device 0 is\n%+v, want\n%+v", all[0], want)
	}
	if !all[1].MIG || !strings.HasPrefix(all[1].UUID, "MIG-10111213-") {
		t.Errorf("device 1 is %+v, want a MIG instance", all[1])
	}
	if d.Version() != 12040 || all[0].Capability() != 90 {
		t.Errorf("version %d, capability %d", d.Version(), all[0].Capability())
	}
}

func TestMemory(t *testing.T) {
	c := fakeContext(t)
	free, total, err := c.MemInfo()
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Alloc(1024)
	if err != nil {
		t.Fatal(err)
	}
	q, err := c.Alloc(1024)
	if err != nil {
		t.Fatal(err)
	}
	if now, _, err := c.MemInfo(); err != nil || now != free-2048 || total != 1<<30 {
		t.Errorf("%d of %d bytes free after two allocations, %d before (%v)", now, total, free, err)
	}
	s, err := c.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	src := bytes.Repeat([]byte{1, 2, 3, 4}, 256)
	want := slices.Clone(src)
	copy(want[100:], bytes.Repeat([]byte{7}, 50))
	check(t, c.CopyIn(p, src, s))
	clear(src) // the fake reads at the next wait for the stream: CopyIn must have kept a copy
	check(t, c.Copy(q, p, 1024, s))
	check(t, c.Set(q+100, 7, 50, s))
	got := make([]byte, 1024)
	check(t, c.CopyOut(got, q, s))
	if !bytes.Equal(got, want) {
		t.Error("what came back is not what went in")
	}
	for _, err := range []error{c.CopyIn(p, nil, s), c.CopyOut(nil, p, s), c.Copy(p, q, 0, s), c.Set(p, 0, 0, s), c.Free(0), c.SyncAll()} {
		check(t, err)
	}
	check(t, c.Free(p))
	check(t, c.Free(q))
	check(t, c.DestroyStream(s))
	if now, _, err := c.MemInfo(); err != nil || now != free {
		t.Errorf("%d bytes free at the end, %d at the start (%v)", now, free, err)
	}
}

func TestLaunchPassesEveryType(t *testing.T) {
	c := fakeContext(t)
	p, err := c.Alloc(8)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Free(p)
	f := fakeFunction(t, c, "sum")
	check(t, c.Launch(f, Launch{Grid: [3]int{1}, Block: [3]int{32}},
		P(p), I32(-3), I64(-1<<40), U64(1<<50), F32(0.5), F64(0.25)))
	got := make([]byte, 8)
	check(t, c.CopyOut(got, p, 0))
	if want := -3 - float64(1<<40) + float64(1<<50) + 0.75; math.Float64frombits(binary.LittleEndian.Uint64(got)) != want {
		t.Errorf("the kernel got a sum of %v, want %v", math.Float64frombits(binary.LittleEndian.Uint64(got)), want)
	}
}

func TestFunctionAttributes(t *testing.T) {
	c := fakeContext(t)
	f := fakeFunction(t, c, "sum")
	i, err := c.Attributes(f)
	if err != nil || i != (FunctionInfo{Registers: 40, MaxThreads: 1024, BinaryVersion: 90}) {
		t.Errorf("attributes %+v, %v", i, err)
	}
	if n, err := c.Occupancy(f, 256, 0); err != nil || n != 8 {
		t.Errorf("occupancy %d, %v", n, err)
	}
	check(t, c.SetMaxShared(f, 100<<10))
	if err := c.SetMaxShared(f, 300<<10); err == nil || !strings.Contains(err.Error(), "sum: 307200 bytes of shared memory, of 232448") {
		t.Errorf("too much shared memory: %v", err)
	}
}

func TestEvents(t *testing.T) {
	c := fakeContext(t)
	a, err := c.NewEvent()
	check(t, err)
	b, err := c.NewEvent()
	check(t, err)
	s, err := c.NewStream()
	check(t, err)
	check(t, c.Record(a, 0))
	check(t, c.WaitEvent(s, a))
	check(t, c.Sync(0))
	check(t, c.Record(b, s))
	if d, err := c.Elapsed(a, b); err != nil || d <= 0 {
		t.Errorf("elapsed %v, %v", d, err)
	}
	check(t, c.DestroyEvent(a))
	check(t, c.DestroyEvent(b))
}

func TestGraph(t *testing.T) {
	c := fakeContext(t)
	p, err := c.Alloc(8)
	check(t, err)
	defer c.Free(p)
	s, err := c.NewStream()
	check(t, err)
	add := fakeFunction(t, c, "add")
	check(t, c.Set(p, 0, 8, s))
	check(t, c.BeginCapture(s))
	for i := range 3 {
		check(t, c.Launch(add, Launch{Stream: s}, P(p), I32(int32(i)+1)))
	}
	if err := c.Sync(s); err == nil {
		t.Error("a capturing stream could be waited for")
	}
	g, err := c.EndCapture(s)
	check(t, err)
	for range 5 {
		check(t, g.Launch(s))
	}
	got := make([]byte, 8)
	check(t, c.CopyOut(got, p, s))
	if n := binary.LittleEndian.Uint64(got); n != 30 {
		t.Errorf("five runs of 1+2+3 added %d", n)
	}
	check(t, g.Close())
	check(t, g.Close())
	check(t, c.DestroyStream(s))
}

func TestClosedContext(t *testing.T) {
	c, err := openFake(t).NewContext(0)
	check(t, err)
	check(t, c.Close())
	check(t, c.Close())
	if _, err := c.Alloc(1); err == nil || !strings.Contains(err.Error(), "the device was closed") {
		t.Errorf("alloc after close: %v", err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
