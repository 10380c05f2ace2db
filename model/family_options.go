package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lathe/compute"
)

// options are keys of config.json that a row of the table reads into a Config or, where out is set, writes from it.
type options struct {
	in  *keys
	out map[string]any
}

func (o *options) flag(key string, to *bool) {
	if o.out != nil {
		o.out[key] = *to
		return
	}
	*to = o.in.flag(key, *to)
}

// count is a whole number above 0.
func (o *options) count(key string, to *int) {
	if o.out != nil {
		o.out[key] = *to
		return
	}
	*to = o.in.size(key, *to)
}

func (o *options) number(key string, to *float64) {
	if o.out != nil {
		o.out[key] = *to
	} else if *to = o.in.number(key, *to); *to <= 0 {
		o.in.fail(key, fmt.Errorf("%v is not above 0", *to))
	}
}

// window is a number of tokens; null, which is 0 here, is no window.
func (o *options) window(key string, to *int) {
	switch {
	case o.out == nil && o.in.has(key):
		*to = o.in.size(key, 1)
	case o.out != nil && *to > 0:
		o.out[key] = *to
	case o.out != nil:
		o.out[key] = nil
	}
}

// softcap is a bound of scores, c·tanh(s/c); null, which is 0 here, is none.
func (o *options) softcap(key string, to *float32) {
	switch {
	case o.out == nil && o.in.has(key):
		if *to = float32(o.in.number(key, 0)); *to <= 0 {
			o.in.fail(key, fmt.Errorf("%v is not above 0", *to))
		}
	case o.out != nil && *to > 0:
		o.out[key] = float(float64(*to), 32)
	case o.out != nil:
		o.out[key] = nil
	}
}

const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// layerTypes are the blocks with a sliding window: those that layer_types says or, in older configurations, a rule.
func (o *options) layerTypes(c *Config, sliding func(layer int) bool) {
	o.window("sliding_window", &c.Window)
	if o.out != nil {
		types := make([]string, c.Layers)
		for i := range types {
			if types[i] = fullAttention; c.sliding(i) {
				types[i] = slidingAttention
			}
		}
		o.out["layer_types"] = types
		return
	}
	types := decode[[]string](o.in, "layer_types", nil, "a list of names")
	if types != nil && len(types) != c.Layers {
		o.in.fail("layer_types", fmt.Errorf("%d names for %d layers", len(types), c.Layers))
		return
	}
	c.Sliding = make([]bool, min(c.Layers, maxLayers))
	for i := range c.Sliding {
		switch {
		case types == nil:
			c.Sliding[i] = sliding(i)
		case types[i] == slidingAttention:
			c.Sliding[i] = true
		case types[i] != fullAttention:
			o.in.fail("layer_types", fmt.Errorf("%q is not supported (%s or %s)", types[i], fullAttention, slidingAttention))
		}
	}
}

// upperWindows are Qwen's: off unless use_sliding_window, else of the blocks from max_window_layers on.
func (o *options) upperWindows(c *Config) {
	on, from := c.Window > 0, c.Layers
	o.flag("use_sliding_window", &on)
	if o.out == nil {
		from = int(decode(o.in, "max_window_layers", int64(0), "a whole number"))
	}
	o.layerTypes(c, func(layer int) bool { return on && layer >= from })
	if !on {
		c.Window = 0
	}
	if !slices.Contains(c.Sliding, true) {
		c.Window, c.Sliding = 0, nil
	}
}

// gemma is what all of Gemma shares.
func (c *Config) gemma(o *options) {
	c.NormOffset, c.EmbedScale = 1, true
	o.flag("attention_bias", &c.AttentionBias)
	c.OutputBias = c.AttentionBias
}

// gemmaAct reads the first Gemma's activation: its published "gelu" means the tanh form, as hidden_activation then said.
func (o *options) gemmaAct(c *Config) {
	if o.out != nil {
		return
	}
	if c.Act == compute.GELU {
		c.Act = compute.GELUTanh
	}
	if name := o.in.text("hidden_activation", actNames[c.Act]); acts[name] != c.Act {
		o.in.fail("hidden_activation", fmt.Errorf("%q is not hidden_act, %q", name, actNames[c.Act]))
	}
}

// falcon is three generations: 7B has one key-value head and one norm, 40B groups of heads and two norms, RW neither, but
// alibi in place of rotations and one branch after the other.
func (c *Config) falcon(o *options) {
	c.LayerNorm, c.MLP = true, Plain
	bias, multiQuery, norms := c.MLPBias, c.KVHeads == 1, 1
	grouped := c.Parallel && (!c.SharedNorm || c.KVHeads > 1 && c.KVHeads < c.Heads)
	o.flag("bias", &bias)
	o.flag("alibi", &c.Alibi)
	o.flag("multi_query", &multiQuery)
	o.flag("parallel_attn", &c.Parallel)
	o.flag("new_decoder_architecture", &grouped)
	if grouped && !c.SharedNorm {
		norms = 2
	}
	o.count("num_ln_in_parallel_attn", &norms)
	c.AttentionBias, c.OutputBias, c.MLPBias = bias, bias, bias
	if o.out != nil {
		return
	}
	if multiQuery && !grouped {
		c.KVHeads = 1
	} else if !grouped && c.KVHeads != c.Heads {
		o.in.fail("num_kv_heads", fmt.Errorf("%d with neither multi_query nor new_decoder_architecture", c.KVHeads))
	}
	switch {
	case grouped && !c.Parallel:
		o.in.fail("parallel_attn", errors.New("false is not supported with new_decoder_architecture"))
	case norms > 2 || norms == 2 && !grouped:
		o.in.fail("num_ln_in_parallel_attn", fmt.Errorf("%d is not supported here", norms))
	}
	c.QKVGroups, c.SharedNorm = c.KVHeads, c.Parallel && norms == 1
}

// otherwise lists keys that change what a model computes, with the values at which they do not. A config of a known
// architecture that sets one otherwise, where its row of the table does not read it, is not the model its name says.
var otherwise = map[string]string{
	"partial_rotary_factor":       "1",
	"rotary_pct":                  "1",
	"attn_logit_softcapping":      "null",
	"final_logit_softcapping":     "null",
	"query_pre_attn_scalar":       "null",
	"sliding_window":              "null",
	"attention_bias":              "false",
	"mlp_bias":                    "false",
	"qkv_bias":                    "false",
	"lm_head_bias":                "false",
	"num_experts":                 "0",
	"num_local_experts":           "0",
	"use_qk_norm":                 "false",
	"qk_norm":                     "false",
	"alibi":                       "false",
	"parallel_attn":               "false",
	"use_parallel_residual":       "false",
	"new_decoder_architecture":    "false",
	"clip_qkv":                    "null",
	"no_rope_layers":              "null",
	"attention_chunk_size":        "null",
	"residual_multiplier":         "1",
	"embedding_multiplier":        "1",
	"attention_multiplier":        "null",
	"logits_scaling":              "1",
	"is_encoder_decoder":          "false",
	"add_cross_attention":         "false",
	"use_bidirectional_attention": "false",
}

// refuse reports options that would change the result if they were ignored.
func (k *keys) refuse(f *family) {
	for _, key := range slices.Sorted(maps.Keys(otherwise)) {
		if k.read[key] || !k.has(key) {
			continue
		}
		raw := strings.TrimSuffix(string(k.raw[key]), ".0")
		if raw == otherwise[key] || raw == "{}" {
			continue
		}
		k.fail(key, fmt.Errorf("%s: not supported for %s", clip(k.raw[key]), f.architecture))
	}
	if k.read["layer_types"] {
		return
	}
	types := decode[[]string](k, "layer_types", nil, "a list of names")
	if slices.ContainsFunc(types, func(s string) bool { return s != fullAttention }) {
		k.fail("layer_types", fmt.Errorf("%s: only %s is supported for %s", clip(k.raw["layer_types"]), fullAttention, f.architecture))
	}
}

// textOnly is the language model of a configuration that has a vision model beside it: Gemma 3's. It is trained and saved as
// a model of its own.
func textOnly(k *keys) (text *keys, notices []string, err error) {
	const whole = "Gemma3ForConditionalGeneration"
	architectures := decode[[]string](k, "architectures", nil, "a list of names")
	if !slices.Contains(architectures, whole) {
		return k, nil, k.err
	}
	if text = k.object("text_config"); text == nil {
		k.fail("text_config", fmt.Errorf("the key is missing: a %s has it", whole))
		return nil, nil, k.err
	}
	text.raw["architectures"], text.raw["model_type"] = []byte(`["Gemma3ForCausalLM"]`), []byte(`"gemma3_text"`)
	for _, key := range []string{"quantization_config", "torch_dtype", "dtype", "eos_token_id", "bos_token_id", "pad_token_id", "tie_word_embeddings"} {
		if raw, ok := k.raw[key]; ok && text.raw[key] == nil {
			text.raw[key] = raw
		}
	}
	return text, []string{whole + ": its language model is read, trained and saved, as Gemma3ForCausalLM; the vision model is left out"}, nil
}
