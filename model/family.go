package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// family is a row of options: how a family's config.json differs from llama's, and what its tensors are called.
type family struct {
	name         string // model_type
	architecture string
	options      func(c *Config, k *keys)
	names        names
}

// names are the parts of tensor names.
type names struct {
	embed, finalNorm, head string
	layer                  string // with the layer's number: model.layers.%d.
	inputNorm, postNorm    string
	modules                [numModules]string
}

// module is a linear layer of a block; its number is part of its dropout stream and must not change.
type module uint8

const (
	qProj module = iota
	kProj
	vProj
	oProj
	gateProj
	upProj
	downProj
	numModules
)

var llamaNames = names{
	embed: "model.embed_tokens", finalNorm: "model.norm", head: "lm_head",
	layer: "model.layers.%d.", inputNorm: "input_layernorm", postNorm: "post_attention_layernorm",
	modules: [numModules]string{
		"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
		"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
	},
}

var families = []family{
	{name: "llama", architecture: "LlamaForCausalLM", names: llamaNames, options: func(c *Config, k *keys) {
		c.AttentionBias = k.flag("attention_bias", false)
		c.OutputBias = c.AttentionBias
		c.MLPBias = k.flag("mlp_bias", false)
	}},
}

func familyNamed(name string) *family {
	for i := range families {
		if families[i].name == name {
			return &families[i]
		}
	}
	return &families[0]
}

// findFamily goes by architectures, and by model_type where that is missing.
func findFamily(k *keys) (*family, error) {
	architectures := decode[[]string](k, "architectures", nil, "a list of names")
	modelType := k.text("model_type", "")
	if k.err != nil {
		return nil, k.err
	}
	if len(architectures) == 0 && modelType == "" {
		return nil, errors.New("config.json: neither architectures nor model_type says what kind of model this is")
	}
	for i, f := range families {
		if slices.Contains(architectures, f.architecture) || len(architectures) == 0 && f.name == modelType {
			return &families[i], nil
		}
	}
	known := make([]string, len(families))
	for i, f := range families {
		known[i] = f.architecture
	}
	if len(architectures) == 0 {
		return nil, fmt.Errorf("config.json: model_type %q is not supported (known: %s)", modelType, strings.Join(known, ", "))
	}
	return nil, fmt.Errorf("config.json: architectures %q is not supported (known: %s)", architectures, strings.Join(known, ", "))
}

// otherwise lists keys that change what a model computes, with the values at which they do not. A config of a known
// architecture that sets one otherwise is not the model its name says.
var otherwise = map[string]string{
	"partial_rotary_factor":   "1",
	"attn_logit_softcapping":  "null",
	"final_logit_softcapping": "null",
	"query_pre_attn_scalar":   "null",
	"num_experts":             "0",
	"num_local_experts":       "0",
	"use_qk_norm":             "false",
	"qk_norm":                 "false",
	"alibi":                   "false",
	"parallel_attn":           "false",
	"clip_qkv":                "null",
	"no_rope_layers":          "null",
	"attention_chunk_size":    "null",
	"residual_multiplier":     "1",
	"embedding_multiplier":    "1",
	"attention_multiplier":    "null",
	"logits_scaling":          "1",
	"is_encoder_decoder":      "false",
	"add_cross_attention":     "false",
}

// refuse reports options that would change the result if they were ignored.
func (k *keys) refuse(f *family) {
	for _, key := range slices.Sorted(maps.Keys(otherwise)) {
		if !k.has(key) {
			continue
		}
		raw := strings.TrimSuffix(string(k.raw[key]), ".0")
		if raw == otherwise[key] || raw == "{}" {
			continue
		}
		k.fail(key, fmt.Errorf("%s: not supported for %s", clip(k.raw[key]), f.architecture))
	}
	if types := decode[[]string](k, "layer_types", nil, "a list of names"); slices.ContainsFunc(types, func(s string) bool { return s != "full_attention" }) {
		k.fail("layer_types", fmt.Errorf("%s: only full_attention is supported for %s", clip(k.raw["layer_types"]), f.architecture))
	}
}
