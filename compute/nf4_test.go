package compute_test

import (
	"math"
	"path/filepath"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// The code book and the dynamic map must be bitsandbytes' own bits.
func TestMapsAreBitsandbytes(t *testing.T) {
	set, err := safetensors.Open(filepath.Join("..", "testdata", "ref", "nf4", "nf4.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	dynamic := compute.DynamicMap()
	for name, got := range map[string][]float32{"code_book": compute.NF4Code[:], "nested_code": dynamic[:]} {
		tensor, ok := set.Tensor(name)
		if !ok {
			t.Fatalf("the dump has no %s", name)
		}
		want, err := safetensors.Float32s(tensor)
		if err != nil {
			t.Fatal(err)
		}
		if len(want) != len(got) {
			t.Fatalf("%s has %d entries, want %d", name, len(got), len(want))
		}
		for i := range want {
			if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
				t.Errorf("%s[%d] = %x, want %x", name, i, got[i], want[i])
			}
		}
	}
}

func TestNewNF4(t *testing.T) {
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
