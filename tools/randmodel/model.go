package main

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"lathe/compute"
	"lathe/model"
	"lathe/model/safetensors"
)

// deviation is that of the weights: transformers' initializer_range.
const deviation = 0.02

var storedTypes = map[compute.DType]safetensors.DType{
	compute.F32: safetensors.F32, compute.BF16: safetensors.BF16, compute.F16: safetensors.F16,
}

// shape is what sizes a model; the names are those of a llama's config.json.
type shape struct {
	Hidden, Layers, Heads, KVHeads, Intermediate, Vocab, Positions int

	Family string         // model_type
	Keys   map[string]any // further keys of config.json
	Tied   *bool          // nil: as the family has it
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

// config is the model's configuration, in the style of published checkpoints (transformers 4).
func (s shape) config(tok *tokenizerFiles) (model.Config, error) {
	keys := map[string]any{
		"hidden_size": s.Hidden, "num_hidden_layers": s.Layers, "num_attention_heads": s.Heads, "head_dim": s.Hidden / s.Heads,
		"num_key_value_heads": s.KVHeads, "intermediate_size": s.Intermediate, "vocab_size": s.Vocab,
		"max_position_embeddings": s.Positions, "initializer_range": deviation,
		"bos_token_id": tok.bos, "eos_token_id": tok.eos, "pad_token_id": tok.pad,
	}
	if s.Family == "llama" {
		keys["rms_norm_eps"] = 1e-5
	}
	if s.Tied != nil {
		keys["tie_word_embeddings"] = *s.Tied
	}
	maps.Copy(keys, s.Keys)
	return model.NewConfig(s.Family, keys)
}

// values draws a tensor; its generator is seeded by seed and name, so that no tensor depends on another.
func values(w model.WeightSpec, seed uint64) []float32 {
	n := 1
	for _, d := range w.Shape {
		n *= d
	}
	v := make([]float32, n)
	h := fnv.New64a()
	h.Write([]byte(w.Name)) // never fails
	w.Draw(v, rand.New(rand.NewPCG(seed, h.Sum64())))
	return v
}

// write makes the folder, the tokenizer's files first and the weights last: a folder with weights is whole.
func write(c model.Config, o options, tok *tokenizerFiles) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "tokenizer.json"), tok.tokenizer, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "tokenizer_config.json"), tok.config, 0o644); err != nil {
		return err
	}
	config, err := c.JSON(o.dtype)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "config.json"), config, 0o644); err != nil {
		return err
	}
	var sources []safetensors.Source
	for _, w := range c.Weights() {
		dims := make([]int64, len(w.Shape))
		for i, d := range w.Shape {
			dims[i] = int64(d)
		}
		stored := storedTypes[o.dtype]
		sources = append(sources, safetensors.Source{Name: w.Name, DType: stored, Shape: dims, Data: func() ([]byte, error) {
			return safetensors.AppendFloat32s(nil, stored, values(w, o.seed))
		}})
	}
	return safetensors.WriteSharded(o.out, sources, safetensors.PyTorch(), o.shardBytes)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
