package model

// llamaNames are llama's, and with few differences those of most families since.
var llamaNames = names{
	embed: "model.embed_tokens", finalNorm: "model.norm", head: "lm_head",
	layer: "model.layers.%d.",
	norms: [numNorms]string{
		inputNorm: "input_layernorm", mlpNorm: "post_attention_layernorm",
		qNorm: "self_attn.q_norm", kNorm: "self_attn.k_norm",
	},
	modules: [numModules]string{
		qProj: "self_attn.q_proj", kProj: "self_attn.k_proj", vProj: "self_attn.v_proj", oProj: "self_attn.o_proj",
		gateProj: "mlp.gate_proj", upProj: "mlp.up_proj", downProj: "mlp.down_proj",
	},
	stored:  [][2]string{{"model.", ""}},
	buffers: []string{".rotary_emb.inv_freq"},
}

// sandwichNames are those of Gemma 2 and 3: four norms a block, and post_attention_layernorm is another one.
func sandwichNames() names {
	n := llamaNames
	n.norms[postAttentionNorm] = "post_attention_layernorm"
	n.norms[mlpNorm] = "pre_feedforward_layernorm"
	n.norms[postMLPNorm] = "post_feedforward_layernorm"
	return n
}

// gemma3Names are also found beside a vision model, where two versions of transformers put them differently.
func gemma3Names() names {
	n := sandwichNames()
	n.stored = [][2]string{
		{"lm_head.", "language_model.lm_head."},
		{"model.", "language_model.model."},
		{"model.", "model.language_model."},
		{"model.", ""},
	}
	n.beside = []string{"vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."}
	return n
}

func phi3Names() names {
	n := llamaNames
	n.modules[qkvProj], n.modules[gateUpProj] = "self_attn.qkv_proj", "mlp.gate_up_proj"
	return n
}

func starcoder2Names() names {
	n := llamaNames
	n.modules[upProj], n.modules[downProj] = "mlp.c_fc", "mlp.c_proj"
	return n
}

var neoxNames = names{
	embed: "gpt_neox.embed_in", finalNorm: "gpt_neox.final_layer_norm", head: "embed_out",
	layer: "gpt_neox.layers.%d.",
	norms: [numNorms]string{inputNorm: "input_layernorm", mlpNorm: "post_attention_layernorm"},
	modules: [numModules]string{
		qkvProj: "attention.query_key_value", oProj: "attention.dense", upProj: "mlp.dense_h_to_4h", downProj: "mlp.dense_4h_to_h",
	},
	stored:  [][2]string{{"embed_out.", "lm_head."}, {"gpt_neox.", ""}},
	buffers: []string{".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"},
}

var falconNames = names{
	embed: "transformer.word_embeddings", finalNorm: "transformer.ln_f", head: "lm_head",
	layer:         "transformer.h.%d.",
	norms:         [numNorms]string{inputNorm: "input_layernorm", mlpNorm: "post_attention_layernorm"},
	parallelNorms: [numNorms]string{inputNorm: "ln_attn", mlpNorm: "ln_mlp"},
	modules: [numModules]string{
		qkvProj: "self_attention.query_key_value", oProj: "self_attention.dense", upProj: "mlp.dense_h_to_4h", downProj: "mlp.dense_4h_to_h",
	},
	stored:  [][2]string{{"transformer.", ""}},
	buffers: []string{".rotary_emb.inv_freq"},
}

const (
	eps5    = "1e-5"
	eps6    = "1e-6"
	tanhAct = `"gelu_pytorch_tanh"`
)

// gemmaDefaults are what all of Gemma's configurations share.
func gemmaDefaults(more map[string]string) map[string]string {
	d := map[string]string{
		"head_dim": "256", "tie_word_embeddings": "true", "rms_norm_eps": eps6,
		"pad_token_id": "0", "eos_token_id": "1", "bos_token_id": "2",
	}
	for key, value := range more {
		d[key] = value
	}
	return d
}

// families is the table: each row follows transformers' configuration_*.py and modeling_*.py of its name.
var families = []family{
	{name: "llama", architecture: "LlamaForCausalLM", names: llamaNames, options: func(c *Config, o *options) {
		o.flag("attention_bias", &c.AttentionBias)
		o.flag("mlp_bias", &c.MLPBias)
		c.OutputBias = c.AttentionBias
	}},
	{
		name: "mistral", architecture: "MistralForCausalLM", names: llamaNames,
		defaults: map[string]string{
			"num_key_value_heads": "8", "max_position_embeddings": "131072", "sliding_window": "4096", "bos_token_id": "1", "eos_token_id": "2",
		},
		options: func(c *Config, o *options) { o.window("sliding_window", &c.Window) },
	},
	{
		name: "gemma", architecture: "GemmaForCausalLM", names: llamaNames,
		defaults: gemmaDefaults(map[string]string{"num_key_value_heads": "16", "max_position_embeddings": "8192", "hidden_act": tanhAct}),
		options: func(c *Config, o *options) {
			c.gemma(o)
			o.gemmaAct(c)
		},
	},
	{
		name: "gemma2", architecture: "Gemma2ForCausalLM", names: sandwichNames(),
		keys: map[string]string{"hidden_act": "hidden_activation"},
		defaults: gemmaDefaults(map[string]string{
			"num_key_value_heads": "4", "max_position_embeddings": "8192", "hidden_activation": tanhAct, "query_pre_attn_scalar": "256",
			"sliding_window": "4096", "final_logit_softcapping": "30.0", "attn_logit_softcapping": "50.0",
		}),
		options: func(c *Config, o *options) {
			c.gemma(o)
			c.Sandwich = true
			o.number("query_pre_attn_scalar", &c.AttnScalar)
			o.softcap("attn_logit_softcapping", &c.AttnSoftcap)
			o.softcap("final_logit_softcapping", &c.FinalSoftcap)
			o.layerTypes(c, func(layer int) bool { return layer%2 == 0 })
		},
	},
	{
		name: "gemma3_text", architecture: "Gemma3ForCausalLM", names: gemma3Names(),
		keys: map[string]string{"hidden_act": "hidden_activation"},
		defaults: gemmaDefaults(map[string]string{
			"num_key_value_heads": "4", "max_position_embeddings": "131072", "hidden_activation": tanhAct, "query_pre_attn_scalar": "256",
			"sliding_window": "4096", "rope_theta": "1000000.0", "rope_local_base_freq": "10000.0", "sliding_window_pattern": "6",
			"vocab_size": "262208", "num_attention_heads": "8",
		}),
		options: func(c *Config, o *options) {
			c.gemma(o)
			c.Sandwich, c.QKNorm = true, true
			o.number("query_pre_attn_scalar", &c.AttnScalar)
			o.softcap("final_logit_softcapping", &c.FinalSoftcap)
			pattern := 6
			o.count("sliding_window_pattern", &pattern)
			o.layerTypes(c, func(layer int) bool { return pattern > 0 && (layer+1)%pattern != 0 })
		},
	},
	{
		name: "gpt_neox", architecture: "GPTNeoXForCausalLM", names: neoxNames,
		keys: map[string]string{"rms_norm_eps": "layer_norm_eps", "rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"},
		defaults: map[string]string{
			"layer_norm_eps": eps5, "hidden_act": `"gelu"`, "rotary_pct": "0.25", "use_parallel_residual": "true", "attention_bias": "true",
			"bos_token_id": "0", "eos_token_id": "2",
		},
		options: func(c *Config, o *options) {
			c.LayerNorm, c.MLP, c.QKVGroups = true, Plain, c.KVHeads
			o.flag("use_parallel_residual", &c.Parallel)
			o.flag("attention_bias", &c.AttentionBias)
			c.OutputBias, c.MLPBias = c.AttentionBias, true
		},
	},
	{
		name: "falcon", architecture: "FalconForCausalLM", names: falconNames,
		keys: map[string]string{
			"rms_norm_eps": "layer_norm_epsilon", "num_key_value_heads": "num_kv_heads", "intermediate_size": "ffn_hidden_size",
			"hidden_act": "activation",
		},
		defaults: map[string]string{
			"layer_norm_epsilon": eps5, "activation": `"gelu"`, "tie_word_embeddings": "true", "multi_query": "true", "parallel_attn": "true",
			"bos_token_id": "11", "eos_token_id": "11",
		},
		options: func(c *Config, o *options) { c.falcon(o) },
	},
	{
		name: "qwen2", architecture: "Qwen2ForCausalLM", names: llamaNames,
		defaults: map[string]string{"num_key_value_heads": "32", "max_position_embeddings": "32768", "sliding_window": "4096", "max_window_layers": "28"},
		options: func(c *Config, o *options) {
			c.AttentionBias = true
			o.upperWindows(c)
		},
	},
	{
		name: "qwen3", architecture: "Qwen3ForCausalLM", names: llamaNames,
		defaults: map[string]string{
			"num_key_value_heads": "32", "max_position_embeddings": "32768", "head_dim": "128", "sliding_window": "4096", "max_window_layers": "28",
		},
		options: func(c *Config, o *options) {
			c.QKNorm = true
			o.flag("attention_bias", &c.AttentionBias)
			c.OutputBias = c.AttentionBias
			o.upperWindows(c)
		},
	},
	{
		name: "phi3", architecture: "Phi3ForCausalLM", names: phi3Names(),
		defaults: map[string]string{
			"max_position_embeddings": "4096", "original_max_position_embeddings": "4096", "rms_norm_eps": eps5,
			"bos_token_id": "1", "eos_token_id": "32000", "pad_token_id": "32000",
		},
		options: func(c *Config, o *options) {
			c.MLP, c.QKVGroups = FusedGated, 1
			o.window("sliding_window", &c.Window)
		},
	},
	{
		name: "starcoder2", architecture: "Starcoder2ForCausalLM", names: starcoder2Names(),
		keys: map[string]string{"rms_norm_eps": "norm_epsilon"},
		defaults: map[string]string{
			"num_key_value_heads": "2", "max_position_embeddings": "4096", "hidden_act": tanhAct, "norm_epsilon": eps5, "use_bias": "true",
			"tie_word_embeddings": "true", "initializer_range": "0.018042", "bos_token_id": "50256", "eos_token_id": "50256",
		},
		options: func(c *Config, o *options) {
			c.LayerNorm, c.MLP = true, Plain
			o.flag("use_bias", &c.MLPBias)
			c.AttentionBias, c.OutputBias = c.MLPBias, c.MLPBias
			o.window("sliding_window", &c.Window)
		},
	},
}
