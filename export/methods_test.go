package export

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model"
)

// Every method: its own files read back bit for bit, its merge the same model, or a refusal where there is no merge.
func TestEveryMethod(t *testing.T) {
	for _, test := range []struct {
		base, adapter, kind, warning string
		merges                       bool
	}{
		{"llama-gqa", "lora-qv-rslora-random", "lora", "", true},
		{"llama-gqa", "dora-random", "dora", "DoRA", true},
		{"llama-gqa", "lora-modules-random", "lora", "modules_to_save", true},
		{"llama-bias-tied", "lora-bias-all-random", "lora", "biases", true},
		{"llama-bias-tied", "lora-bias-only-random", "lora", "biases", true},
		{"llama-gqa", "prefix-random", "prefix", "LoRA adapters alone", false},
		{"llama-gqa", "prefix-projection-random", "prefix", "LoRA adapters alone", false},
		{"mistral-window", "lora-random", "lora", "", true},
		{"gemma", "lora-random", "lora", "", true},
	} {
		t.Run(test.base+" "+test.adapter, func(t *testing.T) {
			adapter := ref(test.base, "adapters", test.adapter)
			if _, err := os.Stat(adapter); err != nil {
				t.Fatal(err)
			}
			m, files := open(t, ref(test.base), adapter, model.LoadOptions{})
			parent := t.TempDir()
			r, err := PEFT(t.Context(), m, Options{Out: filepath.Join(parent, "peft"), Base: files, AdapterDir: adapter})
			if err != nil {
				t.Fatal(err)
			}
			// a prefix that is projected is saved as what it makes, in the same order of operations
			if r.MaxLogitDifference != 0 || r.Kind != test.kind {
				t.Errorf("%+v", r)
			}
			if warned := strings.Join(r.Warnings, "; "); !strings.Contains(warned, test.warning) || (warned == "") != (test.warning == "") {
				t.Errorf("warnings %q, want %q", warned, test.warning)
			}
			_, text := readCard(t, filepath.Join(parent, "peft"))
			if strings.Contains(text, "--enable-lora") != (test.warning == "") {
				t.Errorf("the card on vLLM:\n%s", text)
			}
			r, err = Merged(t.Context(), m, Options{Out: filepath.Join(parent, "merged"), Base: files}) // an adapter without a folder
			if !test.merges {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "export peft") {
					t.Errorf("merged: %v", err)
				}
				alone(t, parent, "peft")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind != test.kind || !r.Verified {
				t.Errorf("%+v", r)
			}
			t.Logf("merged: logits up to %.3g differ by %.2g", r.MaxLogit, r.MaxLogitDifference)
		})
	}
}

// Bottleneck adapters are written as the adapters library does, and not merged.
func TestBottleneck(t *testing.T) {
	m, files := open(t, ref("llama-gqa"), ref("llama-gqa", "adapters", "lora-init"), model.LoadOptions{})
	for name, config := range map[string]model.BottleneckConfig{"houlsby": model.Houlsby(), "pfeiffer": model.Pfeiffer()} {
		a, err := model.NewAdapter(m.With(nil), config, 7)
		if err != nil {
			t.Fatal(err)
		}
		view := m.With(a)
		for _, p := range view.Trainable() { // as if it had been trained
			values := compute.Download[float32](m.Device(), p.Value)
			for i := range values {
				values[i] = values[i]*4 + 0.05
			}
			compute.Upload(m.Device(), p.Value, values)
		}
		parent := t.TempDir()
		out := filepath.Join(parent, name)
		r, err := PEFT(t.Context(), view, Options{Out: out, Base: files})
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != "bottleneck" || r.MaxLogitDifference != 0 {
			t.Errorf("%s: %+v", name, r)
		}
		d, err := DescribeAdapter(out)
		if err != nil || d.Kind != "bottleneck" || d.Parameters != a.Parameters() || d.File != "adapter.safetensors" {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		head, text := readCard(t, out)
		if head["library_name"] != "adapter-transformers" || !strings.Contains(text, "load_adapter") || !strings.Contains(text, "reduction_factor") {
			t.Errorf("%s: %s", name, text)
		}
		if _, err := Merged(t.Context(), view, Options{Out: filepath.Join(parent, "merged"), Base: files}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: merged: %v", name, err)
		}
		a.Free()
	}
}

// A head that was trained apart from the embedding it was tied to is a tensor of its own in the merged model.
func TestMergedUntiesTheHead(t *testing.T) {
	m, files := open(t, ref("llama-bias-tied"), ref("llama-bias-tied", "adapters", "lora-init"), model.LoadOptions{})
	a, err := model.NewAdapter(m.With(nil), model.LoRAConfig{R: 2, Alpha: 4, ModulesToSave: []string{"lm_head"}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	view := m.With(a)
	for _, p := range view.Trainable() {
		values := compute.Download[float32](m.Device(), p.Value)
		for i := range values {
			values[i] += 0.01 * float32(i%7)
		}
		compute.Upload(m.Device(), p.Value, values)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Merged(t.Context(), view, Options{Out: out, Base: files}); err != nil {
		t.Fatal(err)
	}
	again, err := model.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Config.TieHead {
		t.Error("config.json still ties the head to the embedding")
	}
}

// Every family, those with fused layers too, and a base in each way of holding it: a LoRA on all linear layers goes out and
// comes back, alone and merged.
func TestEveryFamily(t *testing.T) {
	for _, name := range []string{
		"mistral-window", "gemma", "gemma2", "gemma3", "gpt-neox", "gpt-neox-seq", "falcon-7b", "falcon-40b", "falcon-rw", "qwen2", "qwen3",
		"phi3", "starcoder2", "llama-dynamic-rope", "llama-yarn-rope", "llama3-rope", "llama-gqa-sharded", "llama-gqa-v4", "llama-gqa-fp4",
	} {
		t.Run(name, func(t *testing.T) {
			m, files := openBase(t, ref(name), model.LoadOptions{})
			a, err := model.NewAdapter(m, model.LoRAConfig{R: 4, Alpha: 8, TargetModules: model.TargetModules{Regex: model.AllLinear}}, 5)
			if err != nil {
				t.Fatal(err)
			}
			view := m.With(a)
			random := rand.New(rand.NewPCG(6, 7))
			for _, p := range view.Trainable() { // as if it had been trained
				values := compute.Download[float32](m.Device(), p.Value)
				for i := range values {
					values[i] += 0.05 * float32(random.NormFloat64())
				}
				compute.Upload(m.Device(), p.Value, values)
			}
			r, err := PEFT(t.Context(), view, Options{Out: filepath.Join(t.TempDir(), "out"), Base: files})
			if err != nil {
				t.Fatal(err)
			}
			if r.MaxLogitDifference != 0 {
				t.Errorf("peft: %+v", r)
			}
			r, err = Merged(t.Context(), view, Options{Out: filepath.Join(t.TempDir(), "out"), Base: files})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s merged: logits up to %.3g differ by %.2g, allowed %.2g", r.DType, r.MaxLogit, r.MaxLogitDifference, r.Tolerance)
		})
	}
}
