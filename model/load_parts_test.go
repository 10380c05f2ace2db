package model

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/model/safetensors"
)

// staged is a device that says nothing of its memory being the host's.
type staged struct{ compute.Device }

// partsConfig has matrices of two parts in 16 bits and more in others, which end within a block, and tensors of less than a part.
func partsConfig() Config {
	c := randomConfig()
	c.Layers, c.Intermediate, c.InitStd = 1, 3*partBytes/4/40+13, 0.02
	return c
}

// writeAs writes a random model whose tensors are stored as dtype.
func writeAs(t *testing.T, cfg Config, dtype safetensors.DType) string {
	t.Helper()
	m, err := NewRandom(openDevice(t), cfg, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	dir := savedModel(t, m)
	editTensors(t, filepath.Join(dir, safetensors.SingleFile), func(all map[string]safetensors.Tensor) {
		for name, x := range all {
			values, err := safetensors.Float32s(x)
			if err != nil {
				t.Fatal(err)
			}
			x.DType = dtype
			if x.Data, err = safetensors.AppendFloat32s(nil, dtype, values); err != nil {
				t.Fatal(err)
			}
			all[name] = x
		}
	})
	return dir
}

// TestLoadInParts holds every byte of a model that several goroutines have loaded in parts against one whose tensors were staged whole.
func TestLoadInParts(t *testing.T) {
	for _, dtype := range []safetensors.DType{safetensors.BF16, safetensors.F16, safetensors.F32, safetensors.F64} {
		dir := writeAs(t, partsConfig(), dtype)
		for _, o := range []LoadOptions{
			{},
			{KeepDType: true},
			{Quant4: true, DoubleQuant: true, KeepDType: true},
			{Quant4: true},
			{Quant4: true, DoubleQuant: true, QuantType: compute.FP4},
		} {
			want := weightBytes(t, staged{openDevice(t)}, dir, o)
			for _, threads := range []int{3} {
				t.Run(fmt.Sprintf("%s/%+v/%d", dtype, o, threads), func(t *testing.T) {
					dev, err := cpu.New(cpu.Options{Threads: threads})
					if err != nil {
						t.Fatal(err)
					}
					defer dev.Close()
					got := weightBytes(t, dev, dir, o)
					for name := range want {
						if !bytes.Equal(got[name], want[name]) {
							t.Errorf("%s differs", name)
						}
					}
				})
			}
		}
	}
}

// weightBytes loads a model and gives the buffers that its weights consist of.
func weightBytes(t *testing.T, dev compute.Device, dir string, o LoadOptions) map[string][]byte {
	t.Helper()
	var told, total int64
	m, err := Load(dev, openFiles(t, dir), o, func(done, all int64) { told, total = done, all })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if told != total || total == 0 {
		t.Errorf("%T: progress ended at %d of %d bytes", dev, told, total)
	}
	all := map[string][]byte{}
	for _, x := range m.tensors {
		for i, buffer := range x.weight.Buffers() {
			data := make([]byte, compute.ByteLen(buffer))
			dev.Download(data, buffer)
			all[fmt.Sprint(x.name, " ", i)] = data
		}
	}
	if err := dev.Sync(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Of several damaged tensors the first one in the file is named, whichever goroutine was quicker.
func TestLoadInPartsNamesTheFirst(t *testing.T) {
	dir := writeAs(t, partsConfig(), safetensors.F32)
	const first, second = "model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.gate_proj.weight"
	editTensors(t, filepath.Join(dir, safetensors.SingleFile), func(all map[string]safetensors.Tensor) {
		nan := compute.Bytes([]float32{float32(math.NaN())})
		copy(all[first].Data[len(all[first].Data)-4:], nan) // the last to be read of the one
		copy(all[second].Data, nan)                         // and the first of the other
	})
	f := openFiles(t, dir)
	x, _ := f.set.Tensor(first)
	y, _ := f.set.Tensor(second)
	_, atX := f.set.Position(x)
	if _, atY := f.set.Position(y); atX > atY {
		t.Fatalf("%s does not lie before %s", first, second)
	}
	dev, err := cpu.New(cpu.Options{Threads: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for range 20 {
		if _, err := Load(dev, f, LoadOptions{Quant4: true}, nil); !saysAll(err, first, "NaN") {
			t.Fatalf("error %v, want one of %s", err, first)
		}
	}
	if held := dev.Memory().Used; held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}
