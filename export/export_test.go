package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/export/licence"
	"lathe/model"
	"lathe/model/safetensors"
)

func ref(parts ...string) string {
	return filepath.Join(append([]string{"..", "testdata", "ref"}, parts...)...)
}

// open loads a reference model with one of its adapters.
func open(t *testing.T, dir, adapter string, o model.LoadOptions) (*model.Model, *model.Files) {
	t.Helper()
	m, files := openBase(t, dir, o)
	a, err := model.LoadAdapter(m, adapter)
	if err != nil {
		t.Fatal(err)
	}
	return m.With(a), files
}

func openBase(t *testing.T, dir string, o model.LoadOptions) (*model.Model, *model.Files) {
	t.Helper()
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	files, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	m, err := model.Load(dev, files, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, files
}

func tensors(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	set, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	out := map[string][]float32{}
	for _, name := range set.Names() {
		x, _ := set.Tensor(name)
		if out[name], err = safetensors.Float32s(x); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// worst is the largest difference of two sets of tensors with the same names.
func worst(t *testing.T, got, want map[string][]float32) float64 {
	t.Helper()
	most := 0.0
	for name, w := range want {
		g := got[name]
		if len(g) != len(w) {
			t.Fatalf("%s: %d values, want %d", name, len(g), len(w))
		}
		for i := range w {
			most = max(most, math.Abs(float64(g[i])-float64(w[i])))
		}
	}
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%d tensors, want %d", len(got), len(want))
	}
	return most
}

// alone fails when anything but the named things lies in a folder: a leftover, say.
func alone(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			t.Errorf("%s is left in %s", e.Name(), dir)
		}
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
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", a, b)
	}
}

// A PEFT folder has the adapter's own bits, the base's tokenizer byte for byte, and a card that the Hub can read.
func TestPEFT(t *testing.T) {
	base, adapter := ref("llama-gqa"), ref("llama-gqa", "adapters", "lora-random")
	m, files := open(t, base, adapter, model.LoadOptions{})
	parent := t.TempDir()
	out := filepath.Join(parent, "mine")
	r, err := PEFT(t.Context(), m, Options{Out: out, Base: files, AdapterDir: adapter, Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	alone(t, parent, "mine")
	if !r.Verified || r.MaxLogitDifference != 0 || r.Kind != "lora" || r.ProbeTokens < 100 || len(r.Warnings) != 0 {
		t.Errorf("%+v", r)
	}
	name := model.AdapterWeightsFile
	if d := worst(t, tensors(t, filepath.Join(out, name)), tensors(t, filepath.Join(adapter, name))); d != 0 {
		t.Errorf("the adapter's weights are off by %g", d)
	}
	for _, f := range []string{"tokenizer.json", "tokenizer_config.json"} {
		sameFile(t, filepath.Join(out, f), filepath.Join(base, f))
	}
	listed := 0
	for _, f := range r.Files {
		info, err := os.Stat(filepath.Join(out, f.Name))
		if err != nil || info.Size() != f.Bytes {
			t.Errorf("%+v: %v", f, err)
		}
		listed++
	}
	if entries, _ := os.ReadDir(out); len(entries) != listed {
		t.Errorf("%d files, %d listed", len(entries), listed)
	}
	config, err := readAdapterFile(filepath.Join(out, "adapter_config.json"))
	if abs, _ := filepath.Abs(base); err != nil || config.BaseModel != abs || config.R != 8 {
		t.Errorf("%+v, %v", config, err)
	}
	head, text := readCard(t, out)
	if head["library_name"] != "peft" || head["base_model"] != nil { // a path is no base_model that the Hub takes
		t.Errorf("front matter: %v", head)
	}
	for _, want := range []string{"PeftModel.from_pretrained", "--enable-lora", "does not state a licence", "lathe v1.2.3", "| r | 8 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the card does not say %q:\n%s", want, text)
		}
	}
}

func readCard(t *testing.T, dir string) (front map[string]any, text string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	head, ok := licence.FrontMatter(data)
	if !ok || yaml.Unmarshal(head, &front) != nil {
		t.Fatalf("no front matter: %s", data)
	}
	return front, string(data)
}

// A merged model has the weights of PEFT's merge_and_unload, in one file or in shards. PEFT multiplies B·A in float32 in
// another order than ours: 1e-6 of weights below 1 is what that makes.
func TestMergedMatchesPEFT(t *testing.T) {
	adapter := ref("llama-gqa", "adapters", "lora-random")
	m, files := open(t, ref("llama-gqa"), adapter, model.LoadOptions{})
	want := tensors(t, ref("llama-gqa"))
	maps.Copy(want, tensors(t, ref("llama-gqa", "dump", "merged-lora.safetensors"))) // the layers that PEFT merged
	for name, size := range map[string]int64{"whole": 0, "sharded": 100_000} {
		out := filepath.Join(t.TempDir(), name)
		calls := 0
		r, err := Merged(t.Context(), m, Options{
			Out: out, Base: files, AdapterDir: adapter, MaxShardBytes: size,
			Progress: func(stage string, done, total int64) {
				if calls++; done > total || stage == "" {
					t.Errorf("progress: %s %d of %d", stage, done, total)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := worst(t, tensors(t, out), want); d > 1e-6 {
			t.Errorf("%s: weights are off by %g", name, d)
		}
		sameFile(t, filepath.Join(out, "config.json"), ref("llama-gqa", "config.json"))
		sameFile(t, filepath.Join(out, "generation_config.json"), ref("llama-gqa", "generation_config.json"))
		shards, _ := filepath.Glob(filepath.Join(out, "model-*-of-*.safetensors"))
		if (len(shards) > 2) != (size > 0) || calls == 0 {
			t.Errorf("%s: %d shards, %d calls of Progress", name, len(shards), calls)
		}
		for _, s := range shards {
			if info, err := os.Stat(s); err != nil || info.Size() > size+16<<10 { // and a header
				t.Errorf("%s: %v, %v", s, info.Size(), err)
			}
		}
		p := r.Perplexity
		if !r.Verified || r.DType != "float32" || p == nil || p.Requantized != nil || math.Abs(p.Merged/p.Live-1) > 1e-4 || p.Tokens < 100 {
			t.Errorf("%s: %+v, %+v", name, r, p)
		}
		t.Logf("%s: logits differ by %.2g, allowed %.2g", name, r.MaxLogitDifference, r.Tolerance)
	}
}

// A base in 16 bits gives a model in 16 bits, and the other way round where that is asked for.
func TestMergedTypes(t *testing.T) {
	adapter := ref("llama-gqa", "adapters", "lora-random") // the bf16 model has the same shape
	for _, test := range []struct {
		dtype, want string
		keep        bool
	}{{"", "BF16", true}, {"bfloat16", "BF16", true}, {"float16", "F16", false}, {"float32", "F32", false}} {
		m, files := open(t, ref("llama-gqa-bf16"), adapter, model.LoadOptions{KeepDType: test.keep})
		out := filepath.Join(t.TempDir(), "out")
		r, err := Merged(t.Context(), m, Options{Out: out, Base: files, AdapterDir: adapter, DType: test.dtype})
		if err != nil {
			t.Fatalf("%q: %v", test.dtype, err)
		}
		set, err := safetensors.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range set.Names() {
			if x, _ := set.Tensor(name); x.DType.String() != test.want {
				t.Errorf("%q: %s is %s", test.dtype, name, x.DType)
			}
		}
		set.Close()
		again, err := model.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if again.DType() != r.DType || again.Config.DType != r.DType {
			t.Errorf("%q: %s in files, %s in config.json, %s reported", test.dtype, again.DType(), again.Config.DType, r.DType)
		}
		again.Close()
		if exact := r.MaxLogitDifference <= f32Tolerance*r.MaxLogit; exact != (test.want == "F32") {
			t.Errorf("%q: logits differ by %g", test.dtype, r.MaxLogitDifference)
		}
		t.Logf("%q: logits up to %.3g differ by %.3g, allowed %.3g; perplexity %+v", test.dtype, r.MaxLogit, r.MaxLogitDifference, r.Tolerance, r.Perplexity)
	}
	m, files := open(t, ref("llama-gqa-bf16"), adapter, model.LoadOptions{KeepDType: true})
	if _, err := Merged(t.Context(), m, Options{Out: filepath.Join(t.TempDir(), "o"), Base: files, DType: "int8"}); !errors.Is(err, ErrRefused) {
		t.Errorf("int8: %v", err)
	}
}

// Merging into a base in 4 bits gives the dequantised weights with the adapter, exactly the model that was trained, and says
// what quantising it again would cost.
func TestMergedFrom4Bits(t *testing.T) {
	adapter := ref("llama-gqa", "adapters", "lora-random")
	for _, test := range []struct {
		base string
		o    model.LoadOptions
	}{
		{"llama-gqa", model.LoadOptions{Quant4: true, QuantType: compute.NF4, DoubleQuant: true}},
		{"llama-gqa-nf4", model.LoadOptions{}}, // quantised before it was saved
	} {
		m, files := open(t, ref(test.base), adapter, test.o)
		out := filepath.Join(t.TempDir(), "out")
		released := false
		r, err := Merged(t.Context(), m, Options{
			Out: out, Base: files, AdapterDir: adapter, DType: "float32",
			Release: func() { released = true; m.Adapter().Free(); m.Free() },
		})
		if err != nil {
			t.Fatal(err)
		}
		p := r.Perplexity
		if !released || p == nil || p.Requantized == nil || math.Abs(p.Merged/p.Live-1) > 1e-4 || math.Abs(*p.Requantized/p.Live-1) < 1e-4 {
			t.Errorf("%s: released %t, %+v", test.base, released, p)
		}
		config, err := os.ReadFile(filepath.Join(out, "config.json"))
		if err != nil || bytes.Contains(config, []byte("quantization_config")) {
			t.Errorf("%s: %v, %s", test.base, err, config)
		}
		if _, text := readCard(t, out); !strings.Contains(text, "quantised to 4 bits again") {
			t.Errorf("%s: the card does not say what it cost:\n%s", test.base, text)
		}
		t.Logf("%s: perplexity %.5g as trained, %.5g merged, %.5g in 4 bits again", test.base, p.Live, p.Merged, *p.Requantized)
	}
}

func TestHubID(t *testing.T) {
	dir := t.TempDir()
	config := func(name string) {
		data, _ := json.Marshal(map[string]string{"_name_or_path": name})
		if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fsys := os.DirFS(dir)
	config("meta-llama/Llama-3.2-1B")
	for _, test := range []struct{ dir, named, want string }{
		{dir, "", "meta-llama/Llama-3.2-1B"},
		{"/home/me/.cache/huggingface/hub/models--mistralai--Mistral-7B-v0.1/snapshots/abc", "", "mistralai/Mistral-7B-v0.1"},
	} {
		if got := hubID(fsys, test.dir, test.named, ""); got != test.want {
			t.Errorf("%s, %q: %q", test.dir, test.named, got)
		}
	}
	config("/models/llama")
	for named, want := range map[string]string{"google/gemma-2b": "google/gemma-2b", "../llama": "", "models/x": "", "llama": "", "about.go": ""} {
		if got := hubID(fsys, "/data/models/x", named, ""); got != want {
			t.Errorf("%q: %q, want %q", named, got, want)
		}
	}
}

// What vLLM refuses is said, with the way out.
func TestReaders(t *testing.T) {
	for config, words := range map[string][]string{
		`{"peft_type":"LORA","r":16}`:                                                    nil,
		`{"peft_type":"LORA","r":24}`:                                                    {"--max-lora-rank 32"},
		`{"peft_type":"LORA","r":8,"rank_pattern":{"q_proj":200}}`:                       {"--max-lora-rank 256"},
		`{"peft_type":"LORA","r":8,"use_dora":true}`:                                     {"DoRA"},
		`{"peft_type":"LORA","r":64,"modules_to_save":["lm_head"],"bias":"all"}`:         {"lm_head", "biases", "--max-lora-rank 64"},
		`{"peft_type":"PREFIX_TUNING","num_virtual_tokens":20}`:                          {"LoRA adapters alone"},
		`{"config":{"reduction_factor":16},"model_name":"x","model_type":"llama"}`:       {"LoRA adapters alone"},
		`{"peft_type":"LORA","r":8,"target_modules":"all-linear","bias":"none"}`:         nil,
		`{"peft_type":"LORA","r":8,"target_modules":null,"modules_to_save":null}`:        nil,
		`{"peft_type":"LORA","r":8,"target_modules":["q_proj"],"alpha_pattern":{"a":1}}`: nil,
	} {
		var a adapterFile
		if err := json.Unmarshal([]byte(config), &a); err != nil {
			t.Fatal(err)
		}
		got := a.readers()
		if len(got) != len(words) {
			t.Errorf("%s: %q", config, got)
			continue
		}
		for i, word := range words {
			if !strings.Contains(got[i], word) {
				t.Errorf("%s: %q does not say %q", config, got[i], word)
			}
		}
	}
}
