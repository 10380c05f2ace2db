// Package sparsemodel writes checkpoints of real shapes that take no disk: their headers are whole, their weights are holes
// of sparse files, which read as zeros. Tests open, plan and load models of 7 to 70 billion parameters with them.
package sparsemodel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Llama is the shape of a llama without tied embeddings, stored as bfloat16.
type Llama struct{ Hidden, Layers, Heads, KVHeads, Intermediate, Vocab int }

// Published shapes, but for the first.
var (
	Llama500M = Llama{2048, 8, 16, 16, 5504, 32000} // a third of Sheared-LLaMA-1.3B's blocks
	Llama7B   = Llama{4096, 32, 32, 32, 11008, 32000}
	Llama13B  = Llama{5120, 40, 40, 40, 13824, 32000}
	Llama70B  = Llama{8192, 80, 64, 8, 28672, 32000}
)

const shardBytes = 5_000_000_000

type tensor struct {
	name  string
	shape []int64
}

func (t tensor) bytes() int64 {
	n := int64(2)
	for _, d := range t.shape {
		n *= d
	}
	return n
}

func (l Llama) tensors() []tensor {
	c, f, v := int64(l.Hidden), int64(l.Intermediate), int64(l.Vocab)
	kv := c / int64(l.Heads) * int64(l.KVHeads)
	all := []tensor{{"model.embed_tokens.weight", []int64{v, c}}}
	for i := range l.Layers {
		for _, t := range []tensor{
			{"self_attn.q_proj", []int64{c, c}},
			{"self_attn.k_proj", []int64{kv, c}},
			{"self_attn.v_proj", []int64{kv, c}},
			{"self_attn.o_proj", []int64{c, c}},
			{"mlp.gate_proj", []int64{f, c}},
			{"mlp.up_proj", []int64{f, c}},
			{"mlp.down_proj", []int64{c, f}},
			{"input_layernorm", []int64{c}},
			{"post_attention_layernorm", []int64{c}},
		} {
			all = append(all, tensor{fmt.Sprintf("model.layers.%d.%s.weight", i, t.name), t.shape})
		}
	}
	return append(all, tensor{"model.norm.weight", []int64{c}}, tensor{"lm_head.weight", []int64{v, c}})
}

// Linear is the number of weights in the linear layers of the blocks, which load_in_4bit quantises; Other that of all others.
func (l Llama) Linear() int64 { return l.parameters() - l.Other() }

// Other is the number of weights that are not quantised.
func (l Llama) Other() int64 {
	return 2*int64(l.Vocab)*int64(l.Hidden) + int64(2*l.Layers+1)*int64(l.Hidden)
}

func (l Llama) parameters() int64 {
	var n int64
	for _, t := range l.tensors() {
		n += t.bytes() / 2
	}
	return n
}

// Write writes config.json, the shards and their index into dir.
func (l Llama) Write(dir string) error {
	if err := l.writeConfig(dir); err != nil {
		return err
	}
	var shards [][]tensor
	var size, total int64
	for _, t := range l.tensors() {
		if len(shards) == 0 || size+t.bytes() > shardBytes {
			shards, size = append(shards, nil), 0
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], t)
		size += t.bytes()
		total += t.bytes()
	}
	weightMap := map[string]string{}
	for i, shard := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		if err := writeShard(filepath.Join(dir, name), shard); err != nil {
			return err
		}
		for _, t := range shard {
			weightMap[t.name] = name
		}
	}
	return writeJSON(filepath.Join(dir, "model.safetensors.index.json"), map[string]any{
		"metadata": map[string]any{"total_size": total}, "weight_map": weightMap,
	})
}

func (l Llama) writeConfig(dir string) error {
	return writeJSON(filepath.Join(dir, "config.json"), map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "torch_dtype": "bfloat16",
		"hidden_size": l.Hidden, "num_hidden_layers": l.Layers, "num_attention_heads": l.Heads, "num_key_value_heads": l.KVHeads,
		"intermediate_size": l.Intermediate, "vocab_size": l.Vocab, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
		"hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
	})
}

// writeShard writes the header, and makes the file as long as its tensors would be.
func writeShard(path string, tensors []tensor) error {
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var at int64
	for _, t := range tensors {
		header[t.name] = map[string]any{"dtype": "BF16", "shape": t.shape, "data_offsets": []int64{at, at + t.bytes()}}
		at += t.bytes()
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.WriteFile(path, file, 0o644); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(file))+at)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
