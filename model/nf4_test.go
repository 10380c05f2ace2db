package model

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
)

func TestNF4BytesMatchBitsandbytes(t *testing.T) {
	dev := openDevice(t)
	d := openDump(t, "nf4/nf4.safetensors")
	for _, name := range d.set.Names() {
		c, ok := strings.CutSuffix(name, ".weight")
		if !ok {
			continue
		}
		src, _ := d.set.Tensor(name)
		for _, double := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/double=%v", c, double), func(t *testing.T) {
				w, err := compute.NewQuant4(dev, int(src.Shape[0]), int(src.Shape[1]), compute.NF4, double)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Free()
				staged, err := compute.From(dev, d.floats(t, name))
				if err != nil {
					t.Fatal(err)
				}
				defer staged.Free()
				dev.Quantize4(w, staged)
				packed, _ := d.set.Tensor(c + ".packed")
				if got := compute.Download[uint8](dev, w.Data); !bytes.Equal(got, packed.Data) {
					t.Errorf("codes differ: %x…, want %x…", got[:8], packed.Data[:8])
				}
				if double {
					codes, _ := d.set.Tensor(c + ".double.absmax")
					if got := compute.Download[uint8](dev, w.Quant.Codes); !bytes.Equal(got, codes.Data) {
						t.Errorf("scale codes %v, want %v", got, codes.Data)
					}
					return
				}
				if got := compute.Download[float32](dev, w.Quant.Absmax); !slices.Equal(got, d.floats(t, c+".absmax")) {
					t.Errorf("absmax differs")
				}
				wide, err := dev.Alloc(compute.F32, staged.Len())
				if err != nil {
					t.Fatal(err)
				}
				defer wide.Free()
				dev.Dequantize4(wide, w)
				if got := compute.Download[float32](dev, wide); !slices.Equal(got, d.floats(t, c+".dequantized")) {
					t.Errorf("dequantised values differ: off by %g", worst(got, d.floats(t, c+".dequantized")))
				}
			})
		}
	}
	if err := dev.Sync(); err != nil {
		t.Error(err)
	}
}
