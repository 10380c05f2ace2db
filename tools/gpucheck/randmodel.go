package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"lathe/compute"
	"lathe/model"
	"lathe/model/safetensors"
)

// shape is a llama's.
type shape struct{ hidden, layers, heads, kvHeads, intermediate, vocab int }

var (
	shape8B   = shape{4096, 32, 32, 8, 14336, 128256}
	shape1B   = shape{2048, 16, 32, 8, 8192, 32000} // 1.1 G parameters: for what needs size, not depth
	shapeTiny = shape{64, 2, 4, 2, 192, 320}
)

func (s shape) config() (model.Config, error) {
	return model.NewConfig("llama", map[string]any{
		"hidden_size": s.hidden, "num_hidden_layers": s.layers, "num_attention_heads": s.heads, "num_key_value_heads": s.kvHeads,
		"head_dim": s.hidden / s.heads, "intermediate_size": s.intermediate, "vocab_size": s.vocab, "max_position_embeddings": 8192,
		"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2,
	})
}

// writeModel writes a random model in bfloat16. Its matrices are cut from one pool of random numbers, each from another place of it:
// 8 G draws would take a minute, and a product's speed does not hang on whether two matrices share numbers.
func writeModel(dir string, s shape) (model.Config, error) {
	cfg, err := s.config()
	if err != nil {
		return cfg, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return cfg, err
	}
	text, err := cfg.JSON(compute.BF16)
	if err != nil {
		return cfg, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		return cfg, err
	}
	pool, err := drawPool(cfg)
	if err != nil {
		return cfg, err
	}
	var sources []safetensors.Source
	for i, w := range cfg.Weights() {
		n, dims := 1, make([]int64, len(w.Shape))
		for j, d := range w.Shape {
			n *= d
			dims[j] = int64(d)
		}
		sources = append(sources, safetensors.Source{Name: w.Name, DType: safetensors.BF16, Shape: dims, Data: func() ([]byte, error) {
			if len(w.Shape) > 1 {
				return cut(pool, i, 2*n), nil
			}
			v := make([]float32, n)
			w.Draw(v, rand.New(rand.NewPCG(1, uint64(i))))
			return safetensors.AppendFloat32s(nil, safetensors.BF16, v)
		}})
	}
	return cfg, safetensors.WriteSharded(dir, sources, safetensors.PyTorch(), 0)
}

// drawPool are 4 M weights in bfloat16.
func drawPool(cfg model.Config) ([]byte, error) {
	weights := cfg.Weights()
	i := slices.IndexFunc(weights, func(w model.WeightSpec) bool { return len(w.Shape) > 1 })
	v := make([]float32, 1<<22)
	weights[i].Draw(v, rand.New(rand.NewPCG(3, 4)))
	return safetensors.AppendFloat32s(nil, safetensors.BF16, v)
}

// cut is so many bytes of the pool's endless repetition, from a place that tensor i has for itself.
func cut(pool []byte, i, bytes int) []byte {
	out := make([]byte, bytes)
	at := i * 2 * 104729 % len(pool) // a prime number of elements apart
	for done := 0; done < bytes; {
		n := copy(out[done:], pool[at:])
		done, at = done+n, (at+n)%len(pool)
	}
	return out
}

// writeRows writes rows of random ids.
func writeRows(path string, vocab, rows, length int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w, rng := bufio.NewWriter(f), rand.New(rand.NewPCG(5, 6))
	ids := make([]int, length)
	for range rows {
		for i := range ids {
			ids[i] = 3 + rng.IntN(vocab-3)
		}
		line, err := json.Marshal(map[string][]int{"input_ids": ids})
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// bytes is the size of the model's folder, about.
func (s shape) bytes() int64 {
	cfg, err := s.config()
	if err != nil {
		return 0
	}
	return 2 * cfg.Parameters()
}

// scratch is a folder with room for so much: the one that --scratch names, else memory or the temporary folder.
func (c *check) scratch(bytes int64) (string, error) {
	candidates := []string{c.Scratch}
	if c.Scratch == "" {
		candidates = []string{"/dev/shm", c.Work}
	}
	for _, dir := range candidates {
		if free := diskFree(dir); free < bytes+bytes/8 {
			continue
		}
		made, err := os.MkdirTemp(dir, "gpucheck-model-")
		if err != nil {
			continue
		}
		// The parent removes it, for this process may be stopped.
		return made, os.WriteFile(filepath.Join(c.Work, fmt.Sprintf("%s.scratch-%d", c.Name, time.Now().UnixNano())), []byte(made), 0o644)
	}
	return "", fmt.Errorf("no room for %.1f GiB in %v: give --scratch", gib(bytes), candidates)
}
