package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"lathe/internal/performance"
)

func init() {
	for _, name := range []string{"gpt2", "phi3"} {
		goals["tokenize-"+name] = func(o options) (performance.Pair, error) { return tokenize(o, name) }
	}
	goals["generate"] = generate
	for _, method := range []string{"lora", "qlora"} {
		goals["start-"+method+"-float32"] = func(o options) (performance.Pair, error) {
			o.batch, o.length, o.steps = 1, 64, 4 // a step so short that its own noise is none of the start's
			return train(o, method, performance.Float32, "full")
		}
	}
}

// answer runs a program that prints one JSON value.
func answer(cmd *exec.Cmd, result any) error {
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, result)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", cmd.Args, err)
	}
	return nil
}

// tokenize runs Hugging Face tokenizers and lathe in turn on one core; both have to find as many tokens.
func tokenize(o options, name string) (performance.Pair, error) {
	p := performance.Pair{
		Work:  "tokenise the strings of " + filepath.Base(o.corpus) + " with " + name + ", one core",
		Peer:  performance.Side{Name: "tokenizers", Unit: "MB/s"},
		Lathe: performance.Side{Name: "lathe", Unit: "MB/s"},
	}
	if o.tokenizers == "" || o.corpus == "" {
		return p, errors.New("name -tokenizers FOLDER and -corpus FILE.jsonl")
	}
	file := filepath.Join(o.tokenizers, name+".json")
	for range o.rounds {
		var peer, lathe struct {
			Speed   float64 `json:"mb_per_second"`
			Tokens  int64   `json:"tokens"`
			Bytes   int64   `json:"bytes"`
			Version string  `json:"version"`
		}
		cmd := exec.Command(o.python, "tools/peers/hf_tokenize.py", "--tokenizer", file, "--data", o.corpus)
		cmd.Env = append(os.Environ(), "TOKENIZERS_PARALLELISM=false")
		if err := answer(cmd, &peer); err != nil {
			return p, err
		}
		if err := answer(exec.Command(o.lathe, "bench", "tokenize", "--model", file, "--data", o.corpus, "--json"), &lathe); err != nil {
			return p, err
		}
		if peer.Tokens != lathe.Tokens || peer.Bytes != lathe.Bytes {
			return p, fmt.Errorf("%d tokens of %d bytes and %d of %d: the two do not tokenise the same", peer.Tokens, peer.Bytes, lathe.Tokens, lathe.Bytes)
		}
		p.Peer.Versions = map[string]string{"tokenizers": peer.Version}
		p.Peer.Figures, p.Lathe.Figures = append(p.Peer.Figures, peer.Speed), append(p.Lathe.Figures, lathe.Speed)
	}
	return p, nil
}

// generate decodes the same random llama with llama.cpp (Q4_0) and lathe (NF4), 128 tokens of one sequence.
func generate(o options) (performance.Pair, error) {
	p := performance.Pair{
		Work:  "generate 128 tokens, 4 bit, one sequence, " + o.size + " llama",
		Peer:  performance.Side{Name: "llama.cpp Q4_0", Unit: "tokens/s"},
		Lathe: performance.Side{Name: "lathe NF4", Unit: "tokens/s"},
	}
	if o.llama == "" {
		return p, errors.New("name llama.cpp's folder of programs with -llamacpp")
	}
	dir, err := os.MkdirTemp("", "lathe-peers-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	folder, half, quarter := filepath.Join(dir, "model"), filepath.Join(dir, "f16.gguf"), filepath.Join(dir, "q4_0.gguf")
	threads := strconv.Itoa(o.threads)
	for _, cmd := range []*exec.Cmd{
		exec.Command(o.lathe, "bench", "train", "--keep", dir, "--steps", "0", "--json", "--size", o.size),
		exec.Command(o.python, "tools/peers/llamacpp_gguf.py", folder, half),
		exec.Command(filepath.Join(o.llama, "llama-quantize"), half, quarter, "Q4_0", threads),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
		}
	}
	for range o.rounds {
		var peer []struct {
			Speed float64 `json:"avg_ts"`
			Build string  `json:"build_commit"`
		}
		bench := exec.Command(filepath.Join(o.llama, "llama-bench"), "-m", quarter, "-t", threads, "-p", "0", "-n", "128", "-r", "3", "-o", "json")
		if err := answer(bench, &peer); err != nil {
			return p, err
		}
		p.Peer.PeakMemory = max(p.Peer.PeakMemory, maxRSS(bench.ProcessState))
		var lathe struct {
			Speed float64 `json:"tokens_per_second"`
		}
		ids := "1,5,9,17,33,65,129,257,513,1025,2049,4097,11,13,19,23"
		mine := exec.Command(o.lathe, "generate", "--model", folder, "--load-in-4bit", "--prompt-ids", ids, "--max-new-tokens", "128", "--ignore-eos", "--json", "--device", "cpu")
		mine.Env = append(os.Environ(), "LATHE_THREADS="+threads)
		var speeds []float64
		for range 3 {
			again := exec.Command(mine.Path, mine.Args[1:]...)
			again.Env = mine.Env
			if err := answer(again, &lathe); err != nil {
				return p, err
			}
			speeds = append(speeds, lathe.Speed)
			p.Lathe.PeakMemory = max(p.Lathe.PeakMemory, maxRSS(again.ProcessState))
		}
		if len(peer) != 1 {
			return p, fmt.Errorf("llama-bench gave %d results, want one", len(peer))
		}
		p.Peer.Versions = map[string]string{"llama.cpp": peer[0].Build}
		p.Peer.Figures, p.Lathe.Figures = append(p.Peer.Figures, peer[0].Speed), append(p.Lathe.Figures, performance.Median(speeds))
	}
	return p, nil
}
