package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lathe/model"
	"lathe/model/safetensors"
)

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "model")
	if err := run(append(args, "--out", out), io.Discard); err != nil {
		t.Fatalf("run %v: %v", args, err)
	}
	return out
}

func TestPresetSizes(t *testing.T) {
	for name, want := range map[string]float64{"10m": 8.6, "30m": 31.7, "60m": 60.1, "60m-gqa": 59.2} {
		s := presets[name]
		s.Family, s.Positions = "llama", 64
		c, err := s.config(&tokenizerFiles{})
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(c.Parameters()) / 1e6; math.Abs(got-want) > 0.05 {
			t.Errorf("%s has %.2f M parameters, its comment says %.1f", name, got, want)
		}
		if s.Hidden%64 != 0 || s.Intermediate%64 != 0 {
			t.Errorf("%s: hidden and intermediate have to be multiples of NF4's block", name)
		}
	}
}

func TestWritesWholeFolder(t *testing.T) {
	dir := mustRun(t, "--hidden", "64", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--dtype", "bfloat16", "--max-shard-bytes", "40000")
	set, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if len(set.Files()) < 2 {
		t.Errorf("one file, want shards")
	}
	if got, want := len(set.Names()), 2*9+3; got != want {
		t.Errorf("%d tensors, want %d", got, want)
	}
	k, _ := set.Tensor("model.layers.1.self_attn.k_proj.weight")
	if k.DType != safetensors.BF16 || k.Shape[0] != 32 || k.Shape[1] != 64 {
		t.Errorf("k_proj is %v %v, want BF16 [32 64]", k.DType, k.Shape)
	}
	v, err := safetensors.Float32s(k)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	// 2048 draws: the deviation is within 5 standard errors, 0.02·5/√4096.
	if got := math.Sqrt(sum / float64(len(v))); math.Abs(got-deviation) > 0.0016 {
		t.Errorf("deviation %.4f, want %.2f", got, deviation)
	}
	var config struct {
		Vocab int  `json:"vocab_size"`
		EOS   *int `json:"eos_token_id"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	if config.Vocab != 320 || config.EOS == nil || *config.EOS != 2 {
		t.Errorf("config.json has vocab_size %d and eos_token_id %v, want 320 and 2", config.Vocab, config.EOS)
	}
}

func TestEveryFamily(t *testing.T) {
	for _, family := range model.Families() {
		dir := mustRun(t, "--family", family, "--hidden", "64", "--layers", "2", "--heads", "4", "--tied")
		f, err := model.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c := f.Config; c.Family != family || c.HeadDim != 16 || !c.TieHead || !slices.Equal(c.EOS, []int32{2}) {
			t.Errorf("%s: %+v", family, c)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	dir := mustRun(t, "--family", "falcon", "--hidden", "64", "--heads", "4", "--kv-heads", "2", "--set", "new_decoder_architecture=true")
	f, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Config.KVHeads != 2 {
		t.Errorf("%d key-value heads, want 2", f.Config.KVHeads)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	read := func(seed string) []byte {
		b, err := os.ReadFile(filepath.Join(mustRun(t, "--hidden", "32", "--layers", "1", "--heads", "2", "--tied", "--seed", seed), "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read("7"), read("7")) {
		t.Error("the same seed gave other bytes")
	}
	if bytes.Equal(read("7"), read("8")) {
		t.Error("another seed gave the same bytes")
	}
}

func TestTokenizerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(path, []byte(`{"added_tokens":[{"id":70,"content":"<|endoftext|>"}],"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	tok, err := readTokenizer(path)
	if err != nil {
		t.Fatal(err)
	}
	if tok.size != 71 || tok.eos == nil || *tok.eos != 70 || tok.bos != nil {
		t.Errorf("size %d, eos %v, bos %v; want 71, 70, none", tok.size, tok.eos, tok.bos)
	}
}

func TestRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"--out":             {},
		"no even head size": {"--out", "x", "--hidden", "66", "--heads", "4"},
		"no multiple":       {"--out", "x", "--heads", "8", "--kv-heads", "3"},
		"smaller than":      {"--out", "x", "--vocab", "100"},
		"--preset":          {"--out", "x", "--preset", "7b"},
		"--dtype":           {"--out", "x", "--dtype", "int8"},
		"--layers":          {"--out", "x", "--layers", "0"},
		"model_type":        {"--out", "x", "--family", "mamba"},
		"not KEY=JSON":      {"--out", "x", "--set", "sliding_window"},
	} {
		if err := run(args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run %v: %v, want an error naming %q", args, err, want)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a refused run left its folder")
	}
}
