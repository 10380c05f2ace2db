package model

// fields spells the configuration with transformers 4's keys, which version 5 reads too.
func (c *Config) fields() map[string]any {
	f := familyNamed(c.Family)
	out := map[string]any{
		"architectures": []string{c.Architecture}, "model_type": c.Family,
		"hidden_size": c.Hidden, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads, "vocab_size": c.Vocab,
		f.spell("num_key_value_heads"): c.KVHeads, f.spell("intermediate_size"): c.Intermediate,
		"max_position_embeddings": c.ContextLength, f.spell("rms_norm_eps"): c.NormEps, f.spell("hidden_act"): actNames[c.Act],
		"tie_word_embeddings": c.TieHead, "initializer_range": c.InitStd, "attention_dropout": c.AttnDropout, "use_cache": true,
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
