package model

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// savedOn saves an adapter of a method on llama-gqa, and gives its folder.
func savedOn(t *testing.T, m *Model, c AdapterConfig) string {
	t.Helper()
	a, err := NewAdapter(m, c, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Free()
	dir := t.TempDir()
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Files of every method that are not what they say: one line each, nothing left on the device.
func TestDamagedMethods(t *testing.T) {
	dev := openDevice(t)
	m := loadModel(t, dev, "llama-gqa", LoadOptions{})
	dora := LoRAConfig{R: 3, Alpha: 6, DoRA: true, ModulesToSave: []string{"norm"}}
	const magnitude = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
	const down = "model.layers.1.attention_adapters.adapters.lathe.adapter_down.0.weight"
	config := func(edit func(map[string]any)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { editJSON(t, filepath.Join(dir, AdapterConfigFile), edit) }
	}
	tensors := func(edit func(map[string]safetensors.Tensor)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, "*.safetensors"))
			editTensors(t, files[0], edit)
		}
	}
	set := func(key string, value any) func(t *testing.T, dir string) {
		return config(func(c map[string]any) { c[key] = value })
	}
	option := func(key string, value any) func(t *testing.T, dir string) {
		return config(func(c map[string]any) { c["config"].(map[string]any)[key] = value })
	}
	notANumber := func(name string) func(t *testing.T, dir string) {
		return tensors(func(m map[string]safetensors.Tensor) {
			copy(m[name].Data[4:], compute.Bytes([]float32{float32(math.NaN())}))
		})
	}
	without := func(name string) func(t *testing.T, dir string) {
		return tensors(func(m map[string]safetensors.Tensor) { delete(m, name) })
	}
	more := func(like string) func(t *testing.T, dir string) {
		return tensors(func(m map[string]safetensors.Tensor) { x := m[like]; x.Name = "more"; m["more"] = x })
	}
	for _, c := range []struct {
		name   string
		method AdapterConfig
		damage func(t *testing.T, dir string)
		says   string // words, with a bar between
	}{
		{"another rank", dora, set("r", 4), "lora_A.weight|[3 64]|[4 64]"},
		{"no magnitudes asked for", dora, set("use_dora", false), "lora_magnitude_vector|no module"},
		{"magnitude missing", dora, without(magnitude), magnitude + "|missing"},
		{"magnitude of NaN", dora, notANumber(magnitude), magnitude + "|element 1"},
		{"saved module missing", dora, without("base_model.model.model.norm.weight"), "base_model.model.model.norm.weight|missing"},
		{"saved module not listed", dora, set("modules_to_save", nil), "norm.weight|no module"},
		{"saved module of no model", dora, set("modules_to_save", []string{"norm", "score"}), `modules_to_save|"score"`},
		{"biases that a base has not", dora, set("bias", 7), "bias|7 is not a string"},
		{"unknown peft_type", dora, set("peft_type", "IA3"), `peft_type|"IA3"|LORA, PREFIX_TUNING`},
		{"no peft_type", dora, set("peft_type", nil), "peft_type|missing"},

		{"prefix of another size", PrefixConfig{VirtualTokens: 3}, set("num_layers", 4), "num_layers|4|2|another model"},
		{"prefix of other heads", PrefixConfig{VirtualTokens: 3}, set("token_dim", 64), "token_dim|64|32|another model"},
		{"prefix of another length", PrefixConfig{VirtualTokens: 3}, set("num_virtual_tokens", 4), promptEmbeddings + "|[3 128]|[4 128]"},
		{"prefix of no token", PrefixConfig{VirtualTokens: 3}, set("num_virtual_tokens", 0), "num_virtual_tokens|0"},
		{"endless prefix", PrefixConfig{VirtualTokens: 3}, set("num_virtual_tokens", 1e15), "num_virtual_tokens"},
		{"prefix for an encoder", PrefixConfig{VirtualTokens: 3}, set("num_transformer_submodules", 2), "num_transformer_submodules|2"},
		{"prefix of an unknown option", PrefixConfig{VirtualTokens: 3}, set("prefix_gate", "on"), "prefix_gate|not supported"},
		{"prefix missing", PrefixConfig{VirtualTokens: 3}, without(promptEmbeddings), promptEmbeddings + "|missing"},
		{"prefix of NaN", PrefixConfig{VirtualTokens: 3}, notANumber(promptEmbeddings), promptEmbeddings + "|element 1"},
		{"more than a prefix", PrefixConfig{VirtualTokens: 3}, more(promptEmbeddings), "more|no module"},

		{"bottleneck of another base", Houlsby(), set("hidden_size", 96), "hidden_size|96|64|another model"},
		{"another factor", Houlsby(), option("reduction_factor", 8), "adapter_down|[4 64]|[8 64]"},
		{"no factor", Houlsby(), option("reduction_factor", nil), "reduction_factor|missing"},
		{"factor 0", Houlsby(), option("reduction_factor", 0), "reduction_factor|0"},
		{"factors of some blocks", Houlsby(), option("reduction_factor", map[string]any{"0": 16}), "reduction_factor|block 1|no default"},
		{"a factor by name", Houlsby(), option("reduction_factor", map[string]any{"first": 16, "default": 2}), `reduction_factor|"first"`},
		{"unknown activation", Houlsby(), option("non_linearity", "mish"), `non_linearity|"mish"|swish`},
		{"invertible adapter", Houlsby(), option("inv_adapter", "nice"), "inv_adapter|nice"},
		{"parallel adapter", Houlsby(), option("is_parallel", true), "is_parallel"},
		{"gate", Houlsby(), option("use_gating", true), "use_gating"},
		{"hypercomplex layers", Houlsby(), option("phm_layer", true), "phm_layer"},
		{"norm of its own", Houlsby(), option("ln_before", true), "ln_before"},
		{"learned scaling", Houlsby(), option("scaling", "learned"), "scaling|learned"},
		{"no residual", Houlsby(), option("original_ln_after", false), "original_ln_after|false"},
		{"another residual", Houlsby(), option("residual_before_ln", "post_add"), "residual_before_ln|post_add"},
		{"LoRA of the library", Houlsby(), option("architecture", "lora"), "architecture|lora"},
		{"all left out", Houlsby(), option("leave_out", []int{0, 1}), "leave_out|all 2"},
		{"no place", Houlsby(), config(func(c map[string]any) {
			o := c["config"].(map[string]any)
			o["mh_adapter"], o["output_adapter"] = false, false
		}), "mh_adapter|output_adapter"},
		{"bottleneck missing", Houlsby(), without(down), down + "|missing"},
		{"bottleneck of NaN", Houlsby(), notANumber(down), down + "|element 1"},
		{"more than bottlenecks", Houlsby(), more(down), "more|no module"},
		{"no file", Houlsby(), func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, BottleneckWeightsFile)); err != nil {
				t.Fatal(err)
			}
		}, BottleneckWeightsFile},
		{"pickle", Houlsby(), func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, BottleneckWeightsFile), filepath.Join(dir, "pytorch_adapter.bin")); err != nil {
				t.Fatal(err)
			}
		}, "pytorch_adapter.bin is pickle|use_safetensors=True"},
	} {
		dir := savedOn(t, m, c.method)
		c.damage(t, dir)
		before := dev.Memory().Used
		_, err := LoadAdapter(m, dir)
		if !saysAll(err, append(strings.Split(c.says, "|"), dir)...) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %v", c.name, err)
		}
		if after := dev.Memory().Used; after != before {
			t.Errorf("%s: %d bytes were left on the device", c.name, after-before)
		}
	}
}

// A base in 4 bits has no weights that a copy could be trained from.
func TestModulesToSaveOf4Bits(t *testing.T) {
	m := loadModel(t, openDevice(t), "llama-gqa", LoadOptions{Quant4: true})
	_, err := NewAdapter(m, LoRAConfig{R: 3, Alpha: 6, ModulesToSave: []string{"down_proj"}}, 1)
	if !saysAll(err, "modules_to_save", "model.layers.0.mlp.down_proj", "4 bits", "load_in_4bit") {
		t.Errorf("%v", err)
	}
	a, err := NewAdapter(m, LoRAConfig{R: 3, Alpha: 6, ModulesToSave: []string{"lm_head", "embed_tokens"}}, 1)
	if err != nil {
		t.Fatal(err) // neither is quantised
	}
	a.Free()
}

// What PEFT writes on a model whose head is its embedding: with ensure_weight_tying one tensor under two names, else two that part.
func TestTiedModulesToSave(t *testing.T) {
	m := loadModel(t, openDevice(t), "llama-bias-tied", LoadOptions{})
	const embed, head = "base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"
	for _, c := range []struct {
		modules []string
		tying   bool
		saved   []string
		trained int // tensors beside LoRA's
		parted  bool
	}{
		{[]string{"embed_tokens"}, false, []string{embed}, 1, true},
		{[]string{"lm_head"}, false, []string{head}, 1, true},
		{[]string{"embed_tokens", "lm_head"}, false, []string{embed, head}, 2, true},
		{[]string{"embed_tokens"}, true, []string{embed, head}, 1, false},
		{[]string{"lm_head"}, true, []string{embed, head}, 1, false},
	} {
		config := LoRAConfig{R: 2, Alpha: 4, LayersToTransform: []int{0}, ModulesToSave: c.modules, EnsureWeightTying: c.tying}
		v := moved(t, m, config)
		dir := t.TempDir()
		if err := v.adapter.Save(dir); err != nil {
			t.Fatal(err)
		}
		set, err := safetensors.Open(filepath.Join(dir, AdapterWeightsFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{embed, head} {
			_, has := set.Tensor(name)
			if want := strings.Contains(strings.Join(c.saved, " "), name); has != want {
				t.Errorf("%v, tying %v: %s in the file: %v", c.modules, c.tying, name, has)
			}
		}
		set.Close()
		if got := len(v.Trainable()) - 4; got != c.trained {
			t.Errorf("%v, tying %v: %d tensors train, want %d", c.modules, c.tying, got, c.trained)
		}
		if parted := v.MergedConfig().TieHead != m.cfg.TieHead; parted != c.parted {
			t.Errorf("%v, tying %v: the merged head parts: %v", c.modules, c.tying, parted)
		}
		again, err := LoadAdapter(m, dir)
		if err != nil {
			t.Fatal(err)
		}
		want, err1 := v.LogProbs(randomInput(12))
		got, err2 := m.With(again).LogProbs(randomInput(12))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		within(t, "loaded", got, want, 0)
		again.Free()
	}
}

// GPT-NeoX' head has two names: transformers 4's, which its files have, and transformers 5's, under which PEFT looks for it today.
func TestNeoXHeadByEitherName(t *testing.T) {
	m := loadModel(t, openDevice(t), "gpt-neox", LoadOptions{})
	for _, name := range []string{"embed_out", "lm_head"} {
		a, err := NewAdapter(m, LoRAConfig{R: 2, Alpha: 4, ModulesToSave: []string{name}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := a.Save(dir); err != nil {
			t.Fatal(err)
		}
		a.Free()
		set, err := safetensors.Open(filepath.Join(dir, AdapterWeightsFile))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := set.Tensor("base_model.model." + name + ".weight"); !ok {
			t.Errorf("modules_to_save %s: the file has %v", name, set.Names())
		}
		set.Close()
		again, err := LoadAdapter(m, dir)
		if err != nil {
			t.Fatal(err)
		}
		again.Free()
	}
}
