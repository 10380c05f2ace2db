package parity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lathe/compute/cpu"
	"lathe/internal/reftest"
	"lathe/model"
	"lathe/model/safetensors"
	"lathe/trainer"
)

// TestLayoutIsWhatLibrariesRead trains again what PEFT and the adapters library were seen to read: the same keys of
// adapter_config.json, and tensors of the same names, types and shapes.
func TestLayoutIsWhatLibrariesRead(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	b, seen := &bench{dev: dev}, 0
	for _, r := range readPeer(t).Rows {
		if r.Layout == nil {
			continue
		}
		seen++
		t.Run(r.Family+"/"+r.Method, func(t *testing.T) {
			if got := b.layoutOf(t, r.Run); got != *r.Layout {
				t.Errorf("lathe writes another layout than the one that was checked; run tools/peercheck/run.sh --results\ngot  %+v\nwant %+v", got, *r.Layout)
			}
		})
	}
	if seen < 100 {
		t.Errorf("%s has %d layouts, want one for each family and method", peerFile, seen)
	}
}

// layoutOf trains a row's run.
func (b *bench) layoutOf(t *testing.T, run map[string]any) layout {
	t.Helper()
	root, err := filepath.Abs(ref())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"model_name_or_path", "train_file"} {
		run[key] = filepath.Join(root, run[key].(string))
	}
	run["output_dir"] = filepath.Join(t.TempDir(), "out")
	data, err := json.Marshal(run) // which is YAML too
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := trainer.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := trainer.Prepare(t.Context(), b.dev, c, trainer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Train(t.Context(), nil, func(trainer.Event) {}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return readLayout(t, c.OutputDir)
}

// readLayout follows layout in tools/peercheck/lathe.py.
func readLayout(t *testing.T, dir string) layout {
	t.Helper()
	var config map[string]any
	reftest.ReadJSON(t, filepath.Join(dir, model.AdapterConfigFile), &config)
	var keys, tensors []string
	for key := range config {
		keys = append(keys, key)
	}
	files, err := filepath.Glob(filepath.Join(dir, "adapter*.safetensors"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files of tensors, %v", len(files), err)
	}
	set, err := safetensors.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for _, name := range set.Names() {
		x, _ := set.Tensor(name)
		var sizes []string
		for _, n := range x.Shape {
			sizes = append(sizes, strconv.FormatInt(n, 10))
		}
		tensors = append(tensors, fmt.Sprintf("%s %s [%s]", name, x.DType, strings.Join(sizes, ",")))
	}
	return layout{digest(keys), digest(tensors)}
}

// digest is SHA-256 of the sorted lines.
func digest(lines []string) string {
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
	return hex.EncodeToString(sum[:])
}
