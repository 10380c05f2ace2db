// Command randmodel writes a model with random weights in Hugging Face layout, a llama or one of another family: of a chosen
// size, to train, benchmark and break things with, without a download.
//
//	go run ./tools/randmodel --preset 60m --out /tmp/llama-60m
//	go run ./tools/randmodel --family falcon --set new_decoder_architecture=true --kv-heads 2 --out /tmp/falcon
//	go run ./tools/randmodel --hidden 256 --layers 4 --heads 8 --kv-heads 2 --vocab 50304 --tokenizer gpt2.json --out m
//
// Weights are normal with deviation 0.02, norms change nothing. A tensor depends on the seed and its name alone, so the same flags
// give the same bytes.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"lathe/compute"
	"lathe/model"
)

// presets are shapes by name; the number is the parameters they come to.
var presets = map[string]shape{
	"10m":     {Hidden: 256, Layers: 6, Heads: 8, KVHeads: 4, Intermediate: 704, Vocab: 8192},     // 8.6 M
	"30m":     {Hidden: 448, Layers: 10, Heads: 7, KVHeads: 7, Intermediate: 1216, Vocab: 8192},   // 31.7 M
	"60m":     {Hidden: 640, Layers: 10, Heads: 10, KVHeads: 10, Intermediate: 1728, Vocab: 8192}, // 60.1 M
	"60m-gqa": {Hidden: 640, Layers: 11, Heads: 10, KVHeads: 2, Intermediate: 1792, Vocab: 8192},  // 59.2 M
}

func main() {
	switch err := run(os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "randmodel:", err)
		os.Exit(1)
	}
}

// options are the flags that are no part of the shape.
type options struct {
	out, tokenizer string
	dtype          compute.DType
	seed           uint64
	shardBytes     int64
}

func run(args []string, stdout io.Writer) error {
	s, o, err := parse(args)
	if err != nil {
		return err
	}
	tok, err := readTokenizer(o.tokenizer)
	if err != nil {
		return err
	}
	if s.Vocab == 0 {
		s.Vocab = (tok.size + 63) / 64 * 64
	}
	if s.Vocab < tok.size {
		return fmt.Errorf("--vocab %d is smaller than the tokenizer's %d entries: give at least that, or leave it out", s.Vocab, tok.size)
	}
	if err := s.check(); err != nil {
		return err
	}
	c, err := s.config(tok)
	if err != nil {
		return err
	}
	if err := write(c, o, tok); err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s: %s, %.1f M parameters, %s, vocabulary %d, seed %d\n", o.out, c.Family, float64(c.Parameters())/1e6, o.dtype, s.Vocab, o.seed)
	return err
}

func parse(args []string) (s shape, o options, err error) {
	f := flag.NewFlagSet("randmodel", flag.ContinueOnError)
	preset := f.String("preset", "", "start from a named size: "+presetNames()+"; other flags change it")
	f.StringVar(&o.out, "out", "", "folder to write (needed)")
	hidden := f.Int("hidden", 256, "hidden size")
	layers := f.Int("layers", 4, "decoder layers")
	heads := f.Int("heads", 8, "attention heads")
	kv := f.Int("kv-heads", 0, "key-value heads (default: as many as heads)")
	intermediate := f.Int("intermediate", 0, "MLP width (default: 8/3 of hidden, rounded up to 64)")
	vocab := f.Int("vocab", 0, "vocabulary (default: the tokenizer's, rounded up to 64)")
	positions := f.Int("positions", 2048, "max_position_embeddings")
	tied := f.Bool("tied", false, "one matrix for embedding and head (default: as the family has it)")
	family := f.String("family", "llama", "model_type: "+strings.Join(model.Families(), ", "))
	keys := map[string]any{}
	f.Func("set", "further KEY=JSON of config.json; may be given again", func(text string) error {
		key, value, ok := strings.Cut(text, "=")
		var parsed any
		if err := json.Unmarshal([]byte(value), &parsed); !ok || err != nil {
			return fmt.Errorf("%q is not KEY=JSON", text)
		}
		keys[key] = parsed
		return nil
	})
	f.StringVar(&o.tokenizer, "tokenizer", "", "tokenizer.json to copy, with tokenizer_config.json beside it (default: a byte-level one of 272 entries)")
	dtype := f.String("dtype", "float32", "float32, bfloat16 or float16")
	f.Uint64Var(&o.seed, "seed", 42, "seed of the weights")
	f.Int64Var(&o.shardBytes, "max-shard-bytes", 0, "split into shards of at most this size (default: one file up to 5 GB)")
	if err := f.Parse(args); err != nil {
		return s, o, err
	}
	if f.NArg() > 0 || o.out == "" {
		return s, o, errors.New("give --out FOLDER and no other argument; --help lists the flags")
	}
	dtypes := map[string]compute.DType{"float32": compute.F32, "bfloat16": compute.BF16, "float16": compute.F16}
	var known bool
	if o.dtype, known = dtypes[*dtype]; !known {
		return s, o, fmt.Errorf("--dtype %q: choose float32, bfloat16 or float16", *dtype)
	}
	s = shape{Hidden: *hidden, Layers: *layers, Heads: *heads, KVHeads: *kv, Intermediate: *intermediate, Vocab: *vocab}
	if *preset != "" {
		named, ok := presets[*preset]
		if !ok {
			return s, o, fmt.Errorf("--preset %q: choose %s", *preset, presetNames())
		}
		s = named
		f.Visit(func(given *flag.Flag) {
			fields := map[string]*int{"hidden": &s.Hidden, "layers": &s.Layers, "heads": &s.Heads, "kv-heads": &s.KVHeads, "intermediate": &s.Intermediate, "vocab": &s.Vocab}
			if field := fields[given.Name]; field != nil {
				*field = given.Value.(flag.Getter).Get().(int)
			}
		})
	}
	s.Positions, s.Family, s.Keys = *positions, *family, keys
	f.Visit(func(given *flag.Flag) {
		if given.Name == "tied" {
			s.Tied = tied
		}
	})
	return s.withDefaults(), o, nil
}

func presetNames() string { return strings.Join(sortedKeys(presets), ", ") }
