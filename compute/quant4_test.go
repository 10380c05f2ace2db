package compute_test

import (
	"math"
	"path/filepath"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// The code books and the dynamic maps must be bitsandbytes' own bits.
func TestMapsAreBitsandbytes(t *testing.T) {
	signed, unsigned := compute.DynamicMap(), compute.DynamicMapUnsigned()
	for _, c := range []struct {
		folder, name string
		got          []float32
	}{
		{"nf4", "code_book", compute.NF4Code[:]},
		{"nf4", "nested_code", signed[:]},
		{"fp4", "code_book", compute.FP4Code[:]},
		{"adamw8", "dynamic", signed[:]},
		{"adamw8", "udynamic", unsigned[:]},
	} {
		set, err := safetensors.Open(filepath.Join("..", "testdata", "ref", c.folder, c.folder+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		tensor, ok := set.Tensor(c.name)
		if !ok {
			t.Fatalf("the dump %s has no %s", c.folder, c.name)
		}
		want, err := safetensors.Float32s(tensor)
		if err != nil {
			t.Fatal(err)
		}
		if len(want) != len(c.got) {
			t.Fatalf("%s of %s has %d entries, want %d", c.name, c.folder, len(c.got), len(want))
		}
		for i := range want {
			if math.Float32bits(want[i]) != math.Float32bits(c.got[i]) {
				t.Errorf("%s of %s: [%d] = %x, want %x", c.name, c.folder, i, c.got[i], want[i])
			}
		}
	}
}

func TestNewQuant4(t *testing.T) {
	for _, double := range []bool{false, true} {
		d := compute.NewDry()
		w, err := compute.NewQuant4(d, 300, 65, compute.NF4, double) // 19500 elements, 305 blocks, the last one short
		if err != nil {
			t.Fatal(err)
		}
		want := int64(9750 + 305*4)
		if double {
			want = 9750 + 305 + 2*4 + 256*4 + 4
		}
		if got := w.Bytes(); got != want || d.Memory().Used != want {
			t.Errorf("double quantised %v: %d bytes in buffers, %d allocated, want %d", double, got, d.Memory().Used, want)
		}
		w.Free()
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes are still allocated after Free", used)
		}
	}
}
