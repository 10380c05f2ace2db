package export

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model"
	"lathe/model/safetensors"
)

func TestRefusedPlaces(t *testing.T) {
	base, adapter := t.TempDir(), t.TempDir()
	full, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	file := filepath.Join(full, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base, link); err != nil {
		t.Skipf("skipped: no symbolic links here: %v", err)
	}
	for out, word := range map[string]string{
		"": "--out", full: "not empty", file: "is a file", base: "lies in", filepath.Join(base, "a", "b"): "lies in",
		filepath.Join(adapter, "x"): "lies in", filepath.Join(link, "x"): "lies in",
	} {
		f, err := begin(out, base, adapter, "")
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v", out, err)
		}
		if f != nil {
			t.Error(f.abandon())
		}
	}
	beside := base + "-merged" // a name that only begins like the base's
	f, err := begin(beside, base, adapter)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begin(beside, base, adapter); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "another export") {
		t.Errorf("two exports to one place: %v", err)
	}
	left := f.temp
	if err := f.lock.Close(); err != nil { // as the kernel does with a killed process's
		t.Fatal(err)
	}
	f.lock = nil
	g, err := begin(beside, base, adapter)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover of a killed export: %v", err)
	}
	if err := g.commit(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.abandon(), os.Remove(beside)); err != nil {
		t.Error(err)
	}
}

// What is not the live model is not put in place: an adapter of zeros, one tensor that is lost, weights that are not finite.
func TestWrongExportIsNotPutInPlace(t *testing.T) {
	adapter := ref("llama-gqa", "adapters", "lora-random")
	m, files := open(t, ref("llama-gqa"), adapter, model.LoadOptions{})
	change := func(edit func([]safetensors.Tensor) []safetensors.Tensor) func(*job) error {
		return func(j *job) error {
			if err := j.writeAdapter(); err != nil {
				return err
			}
			path := filepath.Join(j.temp, model.AdapterWeightsFile)
			set, err := safetensors.Open(path)
			if err != nil {
				return err
			}
			defer set.Close()
			var list []safetensors.Tensor
			for _, name := range set.Names() {
				x, _ := set.Tensor(name)
				x.Data = bytes.Clone(x.Data)
				list = append(list, x)
			}
			return safetensors.Write(path, edit(list), safetensors.PyTorch())
		}
	}
	for word, edit := range map[string]func([]safetensors.Tensor) []safetensors.Tensor{
		"not the model": func(list []safetensors.Tensor) []safetensors.Tensor {
			for _, x := range list {
				clear(x.Data)
			}
			return list
		},
		"missing": func(list []safetensors.Tensor) []safetensors.Tensor { return list[1:] },
	} {
		parent := t.TempDir()
		out := filepath.Join(parent, "out")
		_, err := run(t.Context(), m, Options{Out: out, Base: files, AdapterDir: adapter}, FormatPEFT, change(edit), (*job).verifyAdapter)
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v, want %q", err, word)
		}
		alone(t, parent)
	}
}

// An export that is called off leaves nothing, whenever that is.
func TestCancelled(t *testing.T) {
	adapter := ref("llama-gqa", "adapters", "lora-random")
	m, files := open(t, ref("llama-gqa"), adapter, model.LoadOptions{})
	for _, stage := range []string{"measure", "write", "compare", "perplexity of the merged model"} {
		parent := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Merged(ctx, m, Options{
			Out: filepath.Join(parent, "out"), Base: files, AdapterDir: adapter,
			Progress: func(s string, done, _ int64) {
				if s == stage && done > 0 {
					cancel()
				}
			},
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", stage, err)
		}
		alone(t, parent)
		cancel()
	}
}

// An adapter so faint that its loss is within the tolerance of 16 bits is missed all the same: the base does not move as it
// should.
func TestFaintAdapter(t *testing.T) {
	adapter := ref("llama-gqa", "adapters", "lora-random")
	m, files := open(t, ref("llama-gqa-bf16"), adapter, model.LoadOptions{KeepDType: true})
	for _, p := range m.Trainable() {
		if strings.Contains(p.Name, "lora_B") {
			values := compute.Download[float32](m.Device(), p.Value)
			for i := range values {
				values[i] /= 256
			}
			compute.Upload(m.Device(), p.Value, values)
		}
	}
	j := &job{ctx: t.Context(), live: m, options: Options{Base: files, Progress: func(string, int64, int64) {}}, report: &Report{DType: "bfloat16"}}
	if err := j.measureLive(); err != nil {
		t.Fatal(err)
	}
	if err := j.compare(m.With(nil), tolerance("bfloat16", 2)); err == nil || !strings.Contains(err.Error(), "0% of what the adapter does") {
		t.Errorf("%v with a difference of %g, allowed %g", err, j.report.MaxLogitDifference, j.report.Tolerance)
	}
	r, err := Merged(t.Context(), m, Options{Out: filepath.Join(t.TempDir(), "out"), Base: files, AdapterDir: adapter})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("logits differ by %.3g, allowed %.3g: %q", r.MaxLogitDifference, r.Tolerance, r.Warnings)
}
