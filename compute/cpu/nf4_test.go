package cpu

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

var nf4Dump = filepath.Join("..", "..", "testdata", "ref", "nf4")

// dump gives the tensors that bitsandbytes wrote; testdata/ref/MANIFEST.json says with which versions.
type dump struct {
	t   *testing.T
	set *safetensors.Set
}

func (f dump) tensor(name string) safetensors.Tensor {
	f.t.Helper()
	x, ok := f.set.Tensor(name)
	if !ok {
		f.t.Fatalf("the dump has no %s", name)
	}
	return x
}

func (f dump) floats(name string) []float32 {
	f.t.Helper()
	x, err := safetensors.Float32s(f.tensor(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

func (f dump) equalBytes(name string, d *Device, b compute.Buffer) {
	f.t.Helper()
	got := make([]byte, compute.ByteLen(b))
	d.Download(got, b)
	want := f.tensor(name).Data
	if len(got) != len(want) {
		f.t.Fatalf("%s: %d bytes, want %d", name, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			f.t.Errorf("%s: byte %d is %#x, want %#x", name, i, got[i], want[i])
			return
		}
	}
}

// Every byte that bitsandbytes writes: codes, absmax, 8-bit absmax, nested scales, offset, and what they decode to.
func TestNF4IsBitsandbytes(t *testing.T) {
	set, err := safetensors.Open(filepath.Join(nf4Dump, "nf4.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var index struct {
		Cases map[string]struct{ Shape []int }
	}
	raw, err := os.ReadFile(filepath.Join(nf4Dump, "nf4.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	for name, c := range index.Cases {
		for _, tier := range Tiers() {
			t.Run(name+"/"+tier, func(t *testing.T) {
				f, d := dump{t, set}, open(t, tier, 0)
				out, in := c.Shape[0], c.Shape[1]
				weight := f.tensor(name + ".weight")
				dtype := compute.F32
				if name == "bf16" {
					dtype = compute.BF16
				}
				src, err := d.Alloc(dtype, out*in)
				if err != nil {
					t.Fatal(err)
				}
				d.Upload(src, weight.Data)
				for _, double := range []bool{false, true} {
					w, err := compute.NewQuant4(d, out, in, compute.NF4, double)
					if err != nil {
						t.Fatal(err)
					}
					d.Quantize4(w, src)
					f.equalBytes(name+".packed", d, w.Data)
					if double {
						f.equalBytes(name+".double.absmax", d, w.Quant.Codes)
						f.equalBytes(name+".double.nested_absmax", d, w.Quant.Nested)
						f.equalBytes(name+".double.nested_offset", d, w.Quant.Offset)
						f.equalScales(name+".double.absmax_dequantized", d, w)
						continue
					}
					f.equalBytes(name+".absmax", d, w.Quant.Absmax)
					full, err := d.Alloc(compute.F32, out*in)
					if err != nil {
						t.Fatal(err)
					}
					d.Dequantize4(full, w)
					f.equalByHand(name, d, full)
					// Where blocks cross rows, bitsandbytes' CPU kernel (not its CUDA kernel, nor its default one) scales the
					// whole piece of a row by the block that the piece starts in, against its own quantiser: not followed.
					if in%compute.QuantBlock == 0 || out*in <= 2*compute.QuantBlock {
						f.equalValues(name+".dequantized", d, full)
					}
				}
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// equalValues compares numbers, so that the two zeros are one.
func (f dump) equalValues(name string, d *Device, b compute.Buffer) {
	f.t.Helper()
	got := compute.Download[float32](d, b)
	for i, want := range f.floats(name) {
		if got[i] != want {
			f.t.Fatalf("%s[%d] is %g, want %g", name, i, got[i], want)
		}
	}
}

// equalByHand decodes the dump's codes and scales by the definition: code book times the scale of the element's block.
func (f dump) equalByHand(name string, d *Device, b compute.Buffer) {
	f.t.Helper()
	codes, absmax := f.tensor(name+".packed").Data, f.floats(name+".absmax")
	for i, x := range compute.Download[float32](d, b) {
		code := codes[i/2] >> 4
		if i%2 == 1 {
			code = codes[i/2] & 15
		}
		if want := compute.NF4Code[code] * absmax[i/compute.QuantBlock]; x != want {
			f.t.Fatalf("%s[%d] decodes to %g, want %g", name, i, x, want)
		}
	}
}

// equalScales reads the double quantised scales back by decoding the code 15, which stands for 1, in every block.
func (f dump) equalScales(name string, d *Device, w compute.Weight) {
	f.t.Helper()
	ones := make([]byte, w.Data.Len())
	for i := range ones {
		ones[i] = 0xff
	}
	d.Upload(w.Data, ones)
	full, err := d.Alloc(compute.F32, w.Out*w.In)
	if err != nil {
		f.t.Fatal(err)
	}
	d.Dequantize4(full, w)
	got := compute.Download[float32](d, full)
	for b, want := range f.floats(name) {
		if x := got[b*compute.QuantBlock]; x != want {
			f.t.Fatalf("%s[%d] is %g, want %g", name, b, x, want)
		}
	}
}

// Quantising what was dequantised gives the same codes again, whatever the shape: a property of any tier and type of input.
func TestNF4RoundTrip(t *testing.T) {
	everyTier(t, func(t *testing.T, d *Device, r *rand.Rand) {
		for _, shape := range [][2]int{{1, 1}, {1, 2}, {3, 5}, {7, 9}, {64, 64}, {13, 65}, {129, 63}, {300, 64}, {65, 1000}} {
			t.Run(fmt.Sprint(shape), func(t *testing.T) {
				out, in := shape[0], shape[1]
				values := uniform(r, out*in)
				first := newWeight(t, d, "nf4", out, in, values)
				again := newWeight(t, d, "nf4", out, in, first.values)
				for i := range values {
					if again.values[i] != first.values[i] {
						t.Fatalf("element %d was %g and becomes %g", i, first.values[i], again.values[i])
					}
					// The code book's widest gap is 0.304 of absmax, which is below 0.5 here.
					if diff := math.Abs(float64(values[i] - first.values[i])); diff > 0.152*0.5 {
						t.Fatalf("element %d is %g, quantised %g", i, values[i], first.values[i])
					}
				}
				if err := d.Sync(); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

func TestQuantizeNF4RefusesWhatDoesNotFit(t *testing.T) {
	d := open(t, "", 0)
	w, err := compute.NewQuant4(d, 4, 64, compute.NF4, true)
	if err != nil {
		t.Fatal(err)
	}
	short, right := upload(t, d, make([]float32, 255)), upload(t, d, make([]float32, 256))
	d.Quantize4(w, short)
	if d.Sync() == nil {
		t.Error("a source that is too short is taken")
	}
	d.Quantize4(compute.Weight{Out: 4, In: 64, Data: right}, right)
	if d.Sync() == nil {
		t.Error("a weight without scales is taken")
	}
	d.Quantize4(w, right)
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}
