package model

import (
	"encoding/json"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// withKeys is the config.json of one of familyConfigs, sizes included, with some keys set otherwise.
func withKeys(t *testing.T, family string, more map[string]any) []byte {
	t.Helper()
	c := smallConfig(t, family)
	fields := maps.Clone(c.raw)
	for key, value := range more {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fields[key] = data
	}
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// An option that a family's row does not read, and a value that it cannot honour, is an error that names the key.
func TestUnsupportedOptionsAreNamed(t *testing.T) {
	type keys = map[string]any
	for _, c := range []struct {
		family string
		keys   keys
		says   string
	}{
		{"llama", keys{"sliding_window": 4096}, "sliding_window"},
		{"llama", keys{"partial_rotary_factor": 0.5}, "partial_rotary_factor"},
		{"llama", keys{"use_parallel_residual": true}, "use_parallel_residual"},
		{"llama", keys{"rope_parameters": keys{"full_attention": keys{"rope_type": "default"}}}, "rope_parameters: full_attention"},
		{"llama", keys{"rope_scaling": keys{"rope_type": "proportional"}}, "rope_scaling: rope_type"},
		{"llama longrope", keys{"rope_scaling": keys{"type": "longrope", "short_factor": []int{1}, "long_factor": []int{1}}}, "short_factor: 1 numbers for 5"},
		{"llama yarn", keys{"rope_scaling": keys{"type": "yarn", "factor": 4, "short_factor": []int{1}}}, "short_factor"},
		{"llama yarn", keys{"rope_scaling": keys{"type": "yarn", "factor": 4, "attention_factor": -1}}, "attention_factor"},
		{"mistral", keys{"attention_bias": true}, "attention_bias"},
		{"mistral", keys{"sliding_window": 0}, "sliding_window"},
		{"mistral", keys{"layer_types": []string{"sliding_attention", "full_attention", "full_attention"}}, "layer_types"},
		{"gemma", keys{"hidden_activation": "relu"}, "hidden_activation"},
		{"gemma", keys{"use_bidirectional_attention": true}, "use_bidirectional_attention"},
		{"gemma", keys{"final_logit_softcapping": 30}, "final_logit_softcapping"},
		{"gemma2", keys{"layer_types": []string{"sliding_attention"}}, "layer_types: 1 names for 3 layers"},
		{"gemma2", keys{"layer_types": []string{"chunked_attention", "full_attention", "full_attention"}}, "chunked_attention"},
		{"gemma2", keys{"attn_logit_softcapping": -1}, "attn_logit_softcapping"},
		{"gemma2", keys{"query_pre_attn_scalar": 0}, "query_pre_attn_scalar"},
		{"gemma3", keys{"attn_logit_softcapping": 50}, "attn_logit_softcapping"},
		{"gemma3", keys{"rope_scaling": nil, "rope_parameters": keys{"rope_theta": 1e6}}, "rope_parameters: full_attention"},
		{"gemma3", keys{"rope_local_base_freq": -1}, "rope_local_base_freq"},
		{"neox", keys{"rotary_pct": 1.5}, "rotary_pct"},
		{"neox", keys{"rotary_pct": 0.3}, "head_dim"},
		{"neox", keys{"hidden_act": "gelu_10"}, "hidden_act"},
		{"falcon 7b", keys{"num_ln_in_parallel_attn": 2}, "num_ln_in_parallel_attn"},
		{"falcon 40b", keys{"num_ln_in_parallel_attn": 3}, "num_ln_in_parallel_attn"},
		{"falcon 40b", keys{"parallel_attn": false}, "parallel_attn"},
		{"falcon rw", keys{"num_kv_heads": 2}, "num_kv_heads"},
		{"falcon rw", keys{"activation": "mish"}, "activation"},
		{"qwen2", keys{"num_experts": 8}, "num_experts"},
		{"qwen3", keys{"max_window_layers": "all"}, "max_window_layers"},
		{"phi3", keys{"rope_scaling": keys{"type": "linear", "factor": 2}}, "rope_scaling: rope_type"},
		{"phi3", keys{"lm_head_bias": true}, "lm_head_bias"},
		{"starcoder2", keys{"use_bias": "yes"}, "use_bias"},
	} {
		_, err := ParseConfig(withKeys(t, c.family, c.keys), nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %v: %v, want an error that says %s", c.family, c.keys, err, c.says)
		}
	}
}

// What a published config.json leaves out or spells in another way, and what it then means.
func TestFamilyDefaults(t *testing.T) {
	parse := func(family string, more map[string]any) Config {
		t.Helper()
		c, err := ParseConfig(withKeys(t, family, more), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	check := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Error(what)
		}
	}
	c := parse("mistral", map[string]any{"sliding_window": nil})
	check("mistral: sliding_window null is none", c.Window == 0)
	check("gemma: tied, offset, scale, tanh", func() bool {
		g := smallConfig(t, "gemma")
		return g.TieHead && g.NormOffset == 1 && g.EmbedScale && actNames[g.Act] == "gelu_pytorch_tanh" && g.PAD == 0 && slices.Equal(g.EOS, []int32{1})
	}())
	c = smallConfig(t, "gemma2")
	check("gemma2: the first block has the window", c.window(0) == 5 && c.window(1) == 0 && c.window(2) == 5)
	c = parse("gemma3", map[string]any{"num_hidden_layers": 7, "sliding_window_pattern": nil})
	check("gemma3: five blocks with a window, then one without", c.ropeOf(4) == 1 && c.ropeOf(5) == 0 && c.ropeOf(6) == 1)
	check("gemma3: two bases", c.RoPE.Theta == 1e6 && c.LocalRoPE.Theta == 1e4 && c.RoPE.Factor == 8 && c.LocalRoPE.Factor == 0)
	c = smallConfig(t, "neox")
	check("neox: parallel, biases, an untied head", c.Parallel && !c.SharedNorm && c.AttentionBias && c.MLPBias && !c.TieHead && c.RoPE.rotary(&c) == 4)
	c = smallConfig(t, "falcon 7b")
	check("falcon 7b: one key head, one norm", c.KVHeads == 1 && c.Parallel && c.SharedNorm && c.TieHead)
	c = parse("falcon 7b", map[string]any{"intermediate_size": nil})
	check("falcon: four times as wide", c.Intermediate == 4*c.Hidden)
	c = smallConfig(t, "falcon 40b")
	check("falcon 40b: two norms", c.KVHeads == 2 && !c.SharedNorm)
	c = parse("qwen2", map[string]any{"use_sliding_window": false})
	check("qwen2: no window unless use_sliding_window", c.window(2) == 0 && c.AttentionBias && !c.OutputBias)
	c = smallConfig(t, "qwen2")
	check("qwen2: the blocks from max_window_layers on", c.window(0) == 0 && c.window(1) == 5)
	factors := []float64{1, 1, 1, 1, 1}
	c = parse("phi3", map[string]any{
		"partial_rotary_factor": nil, "original_max_position_embeddings": 32,
		"rope_scaling": map[string]any{"type": "su", "short_factor": factors, "long_factor": factors},
	})
	want := math.Sqrt(1 + math.Log(128.0/32)/math.Log(32))
	check("phi3: su is longrope", c.RoPE.Type == "longrope" && math.Abs(c.RoPE.AttentionFactor-want) < 1e-12)
}

// Python tells 30 from 30.0, and transformers 5 refuses the first where its configuration has a float; and the other way round.
func TestWrittenNumbersHavePythonsTypes(t *testing.T) {
	c, err := NewConfig("gemma2", map[string]any{
		"hidden_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 72, "vocab_size": 97, "rms_norm_eps": 1e-6,
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.JSON(compute.F32)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"final_logit_softcapping": 30.0`, `"rope_theta": 10000.0`, `"attention_dropout": 0.0`, `"rms_norm_eps": 1e-06`, `"query_pre_attn_scalar": 256,`, `"head_dim": 256`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in %s", want, data)
		}
	}
}

// Checkpoints hold the same tensors under other names: saved without the head, by other versions of transformers, with buffers
// that are no weights, and beside a vision model.
func TestStoredNames(t *testing.T) {
	dev := openDevice(t)
	add := func(name string) func(map[string]safetensors.Tensor) {
		return func(m map[string]safetensors.Tensor) {
			m[name] = safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: []int64{1}, Data: make([]byte, 4)}
		}
	}
	spell := func(pairs ...string) func(map[string]safetensors.Tensor) {
		return func(m map[string]safetensors.Tensor) {
			for name, x := range maps.Clone(m) {
				for i := 0; i < len(pairs); i += 2 {
					if rest, ok := strings.CutPrefix(name, pairs[i]); ok {
						x.Name = pairs[i+1] + rest
						delete(m, name)
						m[x.Name] = x
						break
					}
				}
			}
		}
	}
	whole := func(c map[string]any) { // a configuration of Gemma 3 with a vision model
		text := maps.Clone(c)
		clear(c)
		delete(text, "architectures")
		c["architectures"], c["model_type"] = []string{"Gemma3ForConditionalGeneration"}, "gemma3"
		c["text_config"], c["vision_config"] = text, map[string]any{"hidden_size": 16}
	}
	for _, c := range []struct {
		name, family string
		config       func(map[string]any)
		tensors      []func(map[string]safetensors.Tensor)
		refused      string
	}{
		{"without a head", "gemma", nil, []func(map[string]safetensors.Tensor){spell("model.", "")}, ""},
		{"transformers 5", "neox", nil, []func(map[string]safetensors.Tensor){spell("embed_out.", "lm_head.")}, ""},
		{"without a first part", "neox", nil, []func(map[string]safetensors.Tensor){spell("gpt_neox.", "")}, ""},
		{"without a first part", "falcon 7b", nil, []func(map[string]safetensors.Tensor){spell("transformer.", "")}, ""},
		{"buffers", "neox", nil, []func(map[string]safetensors.Tensor){
			add("gpt_neox.layers.0.attention.bias"), add("gpt_neox.layers.0.attention.masked_bias"), add("gpt_neox.layers.0.attention.rotary_emb.inv_freq"),
		}, ""},
		{"a stored tied head", "falcon 7b", nil, []func(map[string]safetensors.Tensor){add("lm_head.weight")}, ""},
		{"beside a vision model", "gemma3", whole, []func(map[string]safetensors.Tensor){spell("model.", "language_model.model."), add("vision_tower.x")}, ""},
		{"beside a vision model, later", "gemma3", whole, []func(map[string]safetensors.Tensor){spell("model.", "model.language_model."), add("model.vision_tower.x")}, ""},
		{"a vision model without its config", "gemma3", nil, []func(map[string]safetensors.Tensor){add("vision_tower.x")}, "vision_tower.x"},
		{"a bias too many", "falcon 7b", nil, []func(map[string]safetensors.Tensor){add("transformer.h.0.self_attention.dense.bias")}, "dense.bias"},
	} {
		t.Run(c.family+"/"+c.name, func(t *testing.T) {
			m := smallModel(t, dev, c.family)
			dir := savedModel(t, m)
			for _, edit := range c.tensors {
				editTensors(t, filepath.Join(dir, "model.safetensors"), edit)
			}
			if c.config != nil {
				editJSON(t, filepath.Join(dir, "config.json"), c.config)
			}
			f, err := Open(dir)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v, want an error that names %s", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if told := len(f.Config.Notices) > 0; told != (c.config != nil) {
				t.Errorf("notices %q", f.Config.Notices)
			}
			again, err := Load(dev, f, LoadOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Free()
			in := randomInput(9)
			want, err := m.Logits(in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := again.Logits(in)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Error("another model was read")
			}
		})
	}
}
