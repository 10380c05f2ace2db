package cuda_test

import (
	"slices"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/cuda"
)

// Memory that is given back and taken again holds what it held, views and integers included; meanwhile the GPU is empty and
// nothing runs.
func TestOffload(t *testing.T) {
	d := open(t).(*cuda.Device)
	want := make([]float32, 5000)
	for i := range want {
		want[i] = float32(i) * 0.37
	}
	x, err := compute.From(d, want)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := d.Alloc(compute.F32, 100)
	if err != nil {
		t.Fatal(err)
	}
	view, empty := x.Slice(1000, 500), d.Info().MemoryFree
	used := d.Memory().Used
	freed, err := d.Offload()
	if err != nil || freed != used || d.Memory().Used != 0 {
		t.Fatalf("gave %d of %d bytes back, %d still in use: %v", freed, used, d.Memory().Used, err)
	}
	if free := d.Info().MemoryFree; free < empty+4*5000 {
		t.Errorf("the GPU has %d bytes free, had %d before it got some back", free, empty)
	}
	if again, err := d.Offload(); again != 0 || err != nil {
		t.Errorf("the second time gave %d bytes: %v", again, err)
	}
	d.Zero(x)
	if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "given back") {
		t.Errorf("an operation without memory: %v", err)
	}
	if _, err := d.Alloc(compute.F32, 1); err == nil {
		t.Error("an allocation without memory succeeded")
	}
	gone.Free()
	if err := d.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := compute.Download[float32](d, x); !slices.Equal(got, want) {
		t.Error("other content came back")
	}
	if got := compute.Download[float32](d, view); !slices.Equal(got, want[1000:1500]) {
		t.Error("a view sees other content")
	}
	if now := d.Memory().Used; now != used-400 {
		t.Errorf("%d bytes in use, want %d", now, used-400)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A GPU that somebody else has filled meanwhile leaves the content on the host, and a second try works.
func TestReloadWhenFull(t *testing.T) {
	a, b := open(t).(*cuda.Device), open(t).(*cuda.Device)
	setting(t, "LATHE_EMU_MEMORY", "67108864")
	x, err := a.Alloc(compute.U8, 40<<20)
	if err != nil {
		t.Fatal(err)
	}
	small, err := compute.From(a, []float32{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Offload(); err != nil {
		t.Fatal(err)
	}
	other, err := b.Alloc(compute.U8, 40<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Fatalf("a full GPU took it all the same: %v", err)
	}
	if used := a.Memory().Used; used != 0 {
		t.Errorf("%d bytes are held after a reload that failed", used)
	}
	other.Free()
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := compute.Download[float32](a, small); !slices.Equal(got, []float32{1, 2, 3}) {
		t.Errorf("%v came back", got)
	}
	x.Free()
	for _, d := range []*cuda.Device{a, b} {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
