package model

import (
	"encoding/json"
	"strconv"
	"strings"
)

// float is a number that Python reads as a float: 30.0, not 30, which some of transformers' configurations refuse. bits is the
// precision that it has here, 32 or 64.
func float(x float64, bits int) json.Number {
	text := strconv.FormatFloat(x, 'g', -1, bits)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}

// fields spells the configuration with transformers 4's keys, which version 5 reads too.
func (c *Config) fields() map[string]any {
	f := familyNamed(c.Family)
	out := map[string]any{
		"architectures": []string{c.Architecture}, "model_type": c.Family,
		"hidden_size": c.Hidden, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads, "vocab_size": c.Vocab,
		f.spell("num_key_value_heads"): c.KVHeads, f.spell("intermediate_size"): c.Intermediate,
		"max_position_embeddings": c.ContextLength, f.spell("rms_norm_eps"): float(float64(c.NormEps), 32), f.spell("hidden_act"): actNames[c.Act],
		"tie_word_embeddings": c.TieHead, "initializer_range": float(c.InitStd, 64), "attention_dropout": float(c.AttnDropout, 64), "use_cache": true,
	}
	if f.name == "llama" || c.HeadDim*c.Heads != c.Hidden || f.defaults["head_dim"] != "" {
		out["head_dim"] = c.HeadDim // some families' classes compute it and take none
	}
	written := *c
	f.options(&written, &options{out: out})
	c.ropeFields(f, out)
	for key, id := range map[string]int32{"bos_token_id": c.BOS, "pad_token_id": c.PAD} {
		if out[key] = nil; id >= 0 {
			out[key] = id
		}
	}
	switch len(c.EOS) {
	case 0:
		out["eos_token_id"] = nil
	case 1:
		out["eos_token_id"] = c.EOS[0]
	default:
		out["eos_token_id"] = c.EOS
	}
	return out
}
