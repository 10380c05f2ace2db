package model

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// savedModel saves a model into a folder of its own.
func savedModel(t testing.TB, m *Model) string {
	t.Helper()
	dir := t.TempDir()
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSaveRoundTrip(t *testing.T) {
	dev := openDevice(t)
	in := randomInput(20)
	for _, tied := range []bool{false, true} {
		cfg := randomConfig()
		cfg.TieHead, cfg.AttentionBias, cfg.OutputBias, cfg.MLPBias = tied, tied, tied, tied
		cfg.RoPE = RoPE{Theta: 500000, Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalContext: 64}
		m, err := NewRandom(dev, cfg, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		dir := savedModel(t, m)
		f := openFiles(t, dir)
		if f.Parameters() != cfg.Parameters() || f.Bytes() != 4*cfg.Parameters() || f.DType() != "float32" {
			t.Errorf("%d parameters in %d bytes of %s, want %d", f.Parameters(), f.Bytes(), f.DType(), cfg.Parameters())
		}
		var last, total int64
		again, err := Load(dev, f, LoadOptions{}, func(done, all int64) { last, total = done, all })
		if err != nil {
			t.Fatal(err)
		}
		defer again.Free()
		if last != total || total != f.Bytes() {
			t.Errorf("progress ended at %d of %d, want %d", last, total, f.Bytes())
		}
		want, err := m.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.LogProbs(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("the saved model scores otherwise: %v", err)
		}
		second := savedModel(t, again)
		sameFile(t, filepath.Join(dir, "model.safetensors"), filepath.Join(second, "model.safetensors"))
		embedded, err := OpenFS(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		third, err := Load(dev, embedded, LoadOptions{KeepDType: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer third.Free()
		if got, err := third.LogProbs(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("the embedded model scores otherwise: %v", err)
		}
	}
}

// A bfloat16 checkpoint that is kept as it is stored is written as it was read.
func TestSaveKeepsBFloat16(t *testing.T) {
	m := loadModel(t, openDevice(t), "llama-gqa-bf16", LoadOptions{KeepDType: true})
	dir := savedModel(t, m)
	f := openFiles(t, dir)
	if f.DType() != "bfloat16" || f.Config.DType != "bfloat16" {
		t.Errorf("saved as %s, config.json says %s", f.DType(), f.Config.DType)
	}
	original := openDump(t, "llama-gqa-bf16/model.safetensors")
	for _, name := range original.set.Names() {
		want, _ := original.set.Tensor(name)
		got, _ := f.set.Tensor(name)
		if len(want.Shape) == 2 && !slices.Equal(got.Data, want.Data) {
			t.Errorf("%s changed", name)
		}
	}
	if err := loadModel(t, m.dev, "llama-gqa", LoadOptions{Quant4: true}).Save(t.TempDir()); !saysAll(err, "4 bits") {
		t.Errorf("saving 4 bits: %v", err)
	}
}

func sameFile(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x, y) {
		t.Errorf("%s and %s differ", a, b)
	}
}
