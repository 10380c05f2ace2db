package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lathe/model/safetensors"
)

// deviation is that of the weights: transformers' initializer_range.
const deviation = 0.02

// shape is what sizes a llama; the names are those of its config.json.
type shape struct {
	Hidden, Layers, Heads, KVHeads, Intermediate, Vocab, Positions int

	Tied  bool
	DType string // as torch_dtype spells it
}

func (s shape) withDefaults() shape {
	if s.KVHeads == 0 {
		s.KVHeads = s.Heads
	}
	if s.Intermediate == 0 {
		s.Intermediate = (s.Hidden*8/3 + 63) / 64 * 64
	}
	return s
}

func (s shape) check() error {
	for name, n := range map[string]int{"hidden": s.Hidden, "layers": s.Layers, "heads": s.Heads, "kv-heads": s.KVHeads, "intermediate": s.Intermediate, "positions": s.Positions} {
		if n < 1 {
			return fmt.Errorf("--%s %d: it has to be 1 or more", name, n)
		}
	}
	switch {
	case s.Hidden%s.Heads != 0 || s.Hidden/s.Heads%2 != 0:
		return fmt.Errorf("--hidden %d over --heads %d gives no even head size: rotary embedding turns pairs", s.Hidden, s.Heads)
	case s.Heads%s.KVHeads != 0:
		return fmt.Errorf("--heads %d is no multiple of --kv-heads %d", s.Heads, s.KVHeads)
	}
	return nil
}

// weight is a tensor's name and shape: [out, in], or [hidden] for a norm.
type weight struct {
	name string
	dims []int64
}

// weights lists the model's tensors by their Hugging Face names.
func (s shape) weights() []weight {
	h, kv, m := int64(s.Hidden), int64(s.Hidden/s.Heads*s.KVHeads), int64(s.Intermediate)
	w := []weight{{"model.embed_tokens.weight", []int64{int64(s.Vocab), h}}}
	for i := range s.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		w = append(
			w,
			weight{p + "input_layernorm.weight", []int64{h}},
			weight{p + "self_attn.q_proj.weight", []int64{h, h}},
			weight{p + "self_attn.k_proj.weight", []int64{kv, h}},
			weight{p + "self_attn.v_proj.weight", []int64{kv, h}},
			weight{p + "self_attn.o_proj.weight", []int64{h, h}},
			weight{p + "post_attention_layernorm.weight", []int64{h}},
			weight{p + "mlp.gate_proj.weight", []int64{m, h}},
			weight{p + "mlp.up_proj.weight", []int64{m, h}},
			weight{p + "mlp.down_proj.weight", []int64{h, m}},
		)
	}
	w = append(w, weight{"model.norm.weight", []int64{h}})
	if !s.Tied {
		w = append(w, weight{"lm_head.weight", []int64{int64(s.Vocab), h}})
	}
	return w
}

func (s shape) parameters() int64 {
	var n int64
	for _, w := range s.weights() {
		n += w.elements()
	}
	return n
}

func (w weight) elements() int64 {
	n := int64(1)
	for _, d := range w.dims {
		n *= d
	}
	return n
}

// values draws a tensor; its generator is seeded by seed and name, so that no tensor depends on another.
func (w weight) values(seed uint64) []float32 {
	v := make([]float32, w.elements())
	if strings.HasSuffix(w.name, "norm.weight") {
		for i := range v {
			v[i] = 1
		}
		return v
	}
	h := fnv.New64a()
	h.Write([]byte(w.name)) // never fails
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	for i := range v {
		v[i] = float32(deviation * r.NormFloat64())
	}
	return v
}

// write makes the folder, the tokenizer's files first and the weights last: a folder with weights is whole.
func write(s shape, o options, tok *tokenizerFiles) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "tokenizer.json"), tok.tokenizer, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "tokenizer_config.json"), tok.config, 0o644); err != nil {
		return err
	}
	config, err := json.MarshalIndent(s.config(tok), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "config.json"), append(config, '\n'), 0o644); err != nil {
		return err
	}
	var sources []safetensors.Source
	for _, w := range s.weights() {
		sources = append(sources, safetensors.Source{Name: w.name, DType: o.dtype, Shape: w.dims, Data: func() ([]byte, error) {
			return safetensors.AppendFloat32s(nil, o.dtype, w.values(o.seed))
		}})
	}
	return safetensors.WriteSharded(o.out, sources, safetensors.PyTorch(), o.shardBytes)
}

// config is config.json in the style of published checkpoints (transformers 4).
func (s shape) config(tok *tokenizerFiles) map[string]any {
	return map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_act": "silu",
		"hidden_size": s.Hidden, "num_hidden_layers": s.Layers, "num_attention_heads": s.Heads,
		"num_key_value_heads": s.KVHeads, "intermediate_size": s.Intermediate, "vocab_size": s.Vocab,
		"max_position_embeddings": s.Positions, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": nil,
		"attention_bias": false, "mlp_bias": false, "attention_dropout": 0.0, "tie_word_embeddings": s.Tied,
		"initializer_range": deviation, "torch_dtype": s.DType, "use_cache": true,
		"bos_token_id": tok.bos, "eos_token_id": tok.eos, "pad_token_id": tok.pad,
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
