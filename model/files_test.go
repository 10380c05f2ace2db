package model

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// writeModel writes a small llama folder, config.json changed by edit.
func writeModel(t *testing.T, edit func(config map[string]any)) string {
	t.Helper()
	m := randomModel(t, openDevice(t), LoadOptions{})
	dir := savedModel(t, m)
	if edit != nil {
		editJSON(t, filepath.Join(dir, "config.json"), edit)
	}
	return dir
}

func editJSON(t *testing.T, path string, edit func(map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	edit(fields)
	if data, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// editTensors rewrites a safetensors file.
func editTensors(t *testing.T, path string, edit func(map[string]safetensors.Tensor)) {
	t.Helper()
	set, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]safetensors.Tensor{}
	for _, name := range set.Names() {
		x, _ := set.Tensor(name)
		x.Data = slices.Clone(x.Data)
		tensors[name] = x
	}
	if err := set.Close(); err != nil {
		t.Fatal(err)
	}
	edit(tensors)
	if err := safetensors.Write(path, slices.Collect(maps.Values(tensors)), safetensors.PyTorch()); err != nil {
		t.Fatal(err)
	}
}

func saysAll(err error, words ...string) bool {
	return err != nil && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(err.Error(), w) })
}

func TestBadConfigs(t *testing.T) {
	set := func(key string, value any) func(map[string]any) {
		return func(c map[string]any) { c[key] = value }
	}
	for _, c := range []struct {
		name string
		edit func(map[string]any)
		says []string
	}{
		{"unknown architecture", set("architectures", []string{"MambaForCausalLM"}), []string{"architectures", "MambaForCausalLM", "LlamaForCausalLM"}},
		{"unknown model_type", func(c map[string]any) { delete(c, "architectures"); c["model_type"] = "mamba" }, []string{"model_type", "mamba"}},
		{"neither", func(c map[string]any) { delete(c, "architectures"); delete(c, "model_type") }, []string{"architectures", "model_type"}},
		{"missing key", func(c map[string]any) { delete(c, "hidden_size") }, []string{"hidden_size", "missing"}},
		{"text for a number", set("num_hidden_layers", "three"), []string{"num_hidden_layers", "three"}},
		{"fraction", set("vocab_size", 97.5), []string{"vocab_size", "97.5"}},
		{"negative", set("intermediate_size", -72), []string{"intermediate_size", "-72"}},
		{"huge", set("hidden_size", 1<<40), []string{"hidden_size"}},
		{"huge product", func(c map[string]any) { c["hidden_size"], c["vocab_size"] = 1<<24, 1<<24 }, []string{"hidden_size"}},
		{"many layers", set("num_hidden_layers", 5000), []string{"num_hidden_layers", "5000"}},
		{"heads", set("num_key_value_heads", 3), []string{"num_key_value_heads", "3"}},
		{"odd head", set("head_dim", 13), []string{"head_dim", "13"}},
		{"activation", set("hidden_act", "mish"), []string{"hidden_act", "mish"}},
		{"rope type", set("rope_scaling", map[string]any{"rope_type": "mrope", "factor": 4}), []string{"rope_scaling", "rope_type", "mrope"}},
		{"dynamic", set("rope_scaling", map[string]any{"type": "dynamic"}), []string{"rope_scaling", "factor", "missing"}},
		{"rope key", set("rope_scaling", map[string]any{"type": "linear", "factor": 4, "beta_fast": 3}), []string{"rope_scaling", "beta_fast"}},
		{"factor", set("rope_scaling", map[string]any{"rope_type": "linear"}), []string{"rope_scaling", "factor", "missing"}},
		{"llama3", set("rope_scaling", map[string]any{"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}), []string{"high_freq_factor"}},
		{"rope_parameters", set("rope_parameters", "llama3"), []string{"rope_parameters", "llama3"}},
		{"theta", set("rope_theta", 0), []string{"rope_theta"}},
		{"partial rotary", set("rope_parameters", map[string]any{"rope_type": "default", "partial_rotary_factor": 0.5}), []string{"partial_rotary_factor", "0.5"}},
		{"softcap", set("final_logit_softcapping", 30.0), []string{"final_logit_softcapping", "30"}},
		{"experts", set("num_local_experts", 8), []string{"num_local_experts", "8"}},
		{"layer types", set("layer_types", []string{"full_attention", "sliding_attention"}), []string{"layer_types", "sliding_attention"}},
		{"quantised", set("quantization_config", map[string]any{"quant_method": "gptq"}), []string{"quantization_config", "load_in_4bit"}},
		{"eos", set("eos_token_id", "</s>"), []string{"eos_token_id"}},
		{"more layers than tensors", set("num_hidden_layers", 4), []string{"model.layers.3.input_layernorm.weight", "missing"}},
		{"fewer layers than tensors", set("num_hidden_layers", 2), []string{"model.layers.2.", "not part of"}},
		{"another shape", set("vocab_size", 98), []string{"model.embed_tokens.weight", "[97 40]", "[98 40]"}},
		{"biases that are not there", set("attention_bias", true), []string{"q_proj.bias", "missing"}},
		{"an untied head that is tied", func(c map[string]any) { c["num_attention_heads"] = 8 }, []string{"self_attn.q_proj.weight"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Open(writeModel(t, c.edit))
			if err == nil {
				_ = f.Close() // the test has failed already
			}
			if !saysAll(err, append(c.says, "open model ")...) {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
		})
	}
}

func TestDamagedWeights(t *testing.T) {
	const q = "model.layers.1.self_attn.q_proj.weight"
	weights := func(edit func(map[string]safetensors.Tensor)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { editTensors(t, filepath.Join(dir, "model.safetensors"), edit) }
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		says   []string
	}{
		{"missing tensor", weights(func(m map[string]safetensors.Tensor) { delete(m, q) }), []string{q, "missing"}},
		{"extra tensor", weights(func(m map[string]safetensors.Tensor) {
			x := m[q]
			x.Name = "model.layers.1.self_attn.q_norm.weight"
			m[x.Name] = x
		}), []string{"q_norm", "not part of"}},
		{"transposed", weights(func(m map[string]safetensors.Tensor) {
			x := m[q]
			x.Shape = []int64{x.Shape[1], x.Shape[0]}
			m[q] = x
		}), []string{q, "[40 48]", "[48 40]"}},
		{"integers", weights(func(m map[string]safetensors.Tensor) { x := m[q]; x.DType = safetensors.I32; m[q] = x }), []string{q, "I32"}},
		{"NaN", weights(func(m map[string]safetensors.Tensor) {
			copy(m[q].Data[4*17:], compute.Bytes([]float32{float32(math.NaN())}))
		}), []string{q, "element 17"}},
		{"infinity", weights(func(m map[string]safetensors.Tensor) {
			copy(m[q].Data, compute.Bytes([]float32{float32(math.Inf(-1))}))
		}), []string{q, "element 0"}},
		{"truncated", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 5000); err != nil {
				t.Fatal(err)
			}
		}, []string{"model.safetensors"}},
		{"no weights", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
				t.Fatal(err)
			}
		}, []string{"safetensors"}},
		{"no config", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
				t.Fatal(err)
			}
		}, []string{"config.json"}},
		{"config is no JSON", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"config.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := writeModel(t, nil)
			c.damage(t, dir)
			dev := openDevice(t)
			before := dev.Memory().Used
			f, err := Open(dir)
			if err == nil {
				defer f.Close()
				_, err = Load(dev, f, LoadOptions{}, nil)
			}
			if !saysAll(err, c.says...) {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
			if after := dev.Memory().Used; after != before {
				t.Errorf("%d bytes were left on the device", after-before)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nowhere")); !saysAll(err, "nowhere") {
		t.Errorf("no folder: %v", err)
	}
}

func TestFirstNonFinite(t *testing.T) {
	for dtype, bits := range map[safetensors.DType]struct{ nan, inf, finite []byte }{
		safetensors.F64:  {[]byte{1, 0, 0, 0, 0, 0, 0xf0, 0x7f}, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0xff}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff}},
		safetensors.F32:  {[]byte{1, 0, 0x80, 0x7f}, []byte{0, 0, 0x80, 0xff}, []byte{0xff, 0xff, 0x7f, 0xff}},
		safetensors.BF16: {[]byte{0x81, 0xff}, []byte{0x80, 0x7f}, []byte{0x7f, 0xff}},
		safetensors.F16:  {[]byte{1, 0xfc}, []byte{0, 0x7c}, []byte{0xff, 0xfb}},
	} {
		size := len(bits.nan)
		for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 11, 16, 31, 32, 33, 40, 65} {
			data := bytes.Repeat(bits.finite, n)
			if i := firstNonFinite(safetensors.Tensor{DType: dtype, Data: data}); i != -1 {
				t.Errorf("%s: element %d of %d finite ones is none", dtype, i, n)
			}
			for _, bad := range [][]byte{bits.nan, bits.inf} {
				for at := range n {
					x := bytes.Clone(data)
					copy(x[at*size:], bad)
					copy(x[(n-1)*size:], bad)
					if i := firstNonFinite(safetensors.Tensor{DType: dtype, Data: x}); i != at {
						t.Errorf("%s: found element %d of %d, want %d", dtype, i, n, at)
					}
				}
			}
		}
	}
}

func TestMissingShard(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(refDir, "llama-gqa-sharded"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "model-00002-of-00003.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !saysAll(err, "model-00002-of-00003.safetensors") {
		t.Errorf("error %v", err)
	}
}

// What other checkpoints have and transformers ignores.
func TestHarmlessTensors(t *testing.T) {
	dir := writeModel(t, nil)
	editTensors(t, filepath.Join(dir, "model.safetensors"), func(m map[string]safetensors.Tensor) {
		x := m["model.norm.weight"]
		x.Name = "model.layers.0.self_attn.rotary_emb.inv_freq"
		m[x.Name] = x
	})
	editJSON(t, filepath.Join(dir, "config.json"), func(c map[string]any) { c["tie_word_embeddings"] = true })
	openFiles(t, dir)
}

func TestTokenizerAndTemplateOfEmbeddedFiles(t *testing.T) {
	for _, open := range []func() (*Files, error){
		func() (*Files, error) { return Open(filepath.Join(refDir, "llama-gqa")) },
		func() (*Files, error) { return OpenFS(os.DirFS(filepath.Join(refDir, "llama-gqa"))) },
	} {
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		tok, err := f.Tokenizer()
		if err != nil || tok.EOS() != 2 {
			t.Fatalf("tokenizer: %v", err)
		}
		tmpl, err := f.Template()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tmpl.Render([]byte(`{"messages":[{"role":"user","content":"hi"}]}`)); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
