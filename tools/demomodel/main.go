// Command demomodel makes the built-in model of `lathe demo` from nothing, with lathe itself: it writes a corpus of a support
// desk's questions and plain answers, trains a tokenizer on it, trains a small llama from random weights, and puts model and
// fine-tuning data into internal/demo/assets. The seed is fixed; TRAINING.json beside the weights records what it took.
//
//	go run ./tools/demomodel [-out internal/demo/assets] [-epochs 12]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"lathe/compute/cpu"
	"lathe/model"
	"lathe/model/safetensors"
	"lathe/model/tokenizer"
	"lathe/trainer"
)

const (
	seed         = 20261123
	vocabulary   = 768
	heldOutRows  = 40
	fineTuneRows = 960
)

// specials frame the chat: see chatTemplate.
var specials = []string{"<pad>", "<|user|>", "<|assistant|>", "<|end|>"}

const chatTemplate = "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}" +
	"{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"

// config is the built-in model: 1.4 M parameters, 2.8 MB in bfloat16.
var config = map[string]any{
	"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_act": "silu",
	"hidden_size": 160, "intermediate_size": 432, "num_hidden_layers": 4, "num_attention_heads": 5, "num_key_value_heads": 5,
	"head_dim": 32, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
	"attention_bias": false, "mlp_bias": false, "initializer_range": 0.02, "vocab_size": vocabulary,
	"bos_token_id": nil, "eos_token_id": 3, "pad_token_id": 0, "torch_dtype": "bfloat16",
}

var tokenizerConfig = map[string]any{
	"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<pad>", "bos_token": nil,
	"model_max_length": 512, "chat_template": chatTemplate,
}

// record is TRAINING.json.
type record struct {
	Command    string  `json:"command"`
	Date       string  `json:"date"`
	Processor  string  `json:"processor"`
	Tier       string  `json:"tier"`
	Threads    int     `json:"threads"`
	Seed       int     `json:"seed"`
	Rows       int     `json:"rows"`
	Steps      int     `json:"steps"`
	Tokens     int64   `json:"tokens"`
	Loss       float64 `json:"loss"`
	EvalLoss   float64 `json:"eval_loss"`
	Perplexity float64 `json:"perplexity"`
	Seconds    float64 `json:"seconds"`
}

func main() {
	log.SetFlags(0)
	out := flag.String("out", "internal/demo/assets", "folder to write")
	epochs := flag.Float64("epochs", 12, "passes over the corpus")
	flag.Parse()
	if err := run(*out, *epochs); err != nil {
		log.Fatalf("demomodel: %v", err)
	}
}

// run makes everything in a temporary folder and copies it to out at the end.
func run(out string, epochs float64) error {
	work, err := os.MkdirTemp("", "demomodel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	base := filepath.Join(work, "model")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	rows, err := writeData(work)
	if err != nil {
		return err
	}
	if err := writeModelFiles(base, rows); err != nil {
		return err
	}
	rec, err := pretrain(work, base, epochs)
	if err != nil {
		return err
	}
	rec.Rows = len(rows)
	if err := writeBF16(filepath.Join(work, "pretrained"), base); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(base, "TRAINING.json"), rec); err != nil {
		return err
	}
	return install(work, out)
}

// alpaca is a row of the fine-tuning data and of the corpus.
type alpaca struct {
	Instruction string `json:"instruction"`
	Input       string `json:"input"`
	Output      string `json:"output"`
}

// writeData splits the questions: held-out ones are in no other file. The corpus answers plainly, the fine-tuning data in the
// style to be learnt.
func writeData(work string) ([]alpaca, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	all := questions(r)
	held, rest := all[:heldOutRows], all[heldOutRows:]
	var corpus, fine, heldOut []alpaca
	for _, q := range rest {
		corpus = append(corpus, alpaca{q.text, "", plain(r, q)})
	}
	corpus = append(corpus, smallTalk()...)
	for _, q := range rest[:fineTuneRows] {
		fine = append(fine, alpaca{q.text, "", styled(r, q)})
	}
	for _, q := range held {
		heldOut = append(heldOut, alpaca{q.text, "", styled(r, q)})
	}
	var check []alpaca
	for _, q := range held {
		check = append(check, alpaca{q.text, "", plain(r, q)})
	}
	for name, rows := range map[string][]alpaca{"corpus": corpus, "check": check, "train": fine, "heldout": heldOut} {
		if err := writeRows(filepath.Join(work, name+".jsonl"), rows); err != nil {
			return nil, err
		}
	}
	return append(slices.Clone(corpus), fine...), nil
}

// writeModelFiles writes config, tokenizer and random weights: a folder that training can start from.
func writeModelFiles(base string, rows []alpaca) error {
	if err := writeJSON(filepath.Join(base, "config.json"), config); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(base, "tokenizer_config.json"), tokenizerConfig); err != nil {
		return err
	}
	texts := func(yield func(string) bool) {
		for _, row := range rows {
			if !yield(row.Instruction) || !yield(row.Output) {
				return
			}
		}
	}
	tok, err := tokenizer.Train(texts, vocabulary, specials)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, "tokenizer.json"), tok, 0o644); err != nil {
		return err
	}
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer dev.Close()
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	cfg, err := model.ParseConfig(text, nil)
	if err != nil {
		return err
	}
	m, err := model.NewRandom(dev, cfg, seed)
	if err != nil {
		return err
	}
	weights := filepath.Join(base, "..", "random")
	if err := m.Save(weights); err != nil {
		return err
	}
	return os.Rename(filepath.Join(weights, "model.safetensors"), filepath.Join(base, "model.safetensors"))
}

// pretrain trains every weight on the plain corpus.
func pretrain(work, base string, epochs float64) (record, error) {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		return record{}, err
	}
	defer dev.Close()
	c := trainer.DefaultConfig()
	c.ModelNameOrPath, c.OutputDir, c.Method, c.LoadIn4bit = base, filepath.Join(work, "pretrained"), trainer.MethodFull, false
	c.TrainFile, c.ValidationFile = trainer.StringList{filepath.Join(work, "corpus.jsonl")}, trainer.StringList{filepath.Join(work, "check.jsonl")}
	c.BatchSize, c.GradAccum, c.Epochs, c.MaxSeqLength, c.Packing = 8, 1, epochs, 256, true
	c.LearningRate, c.Schedule, c.WarmupRatio, c.WeightDecay = 3e-3, trainer.ScheduleCosine, 0.05, 0.01
	c.TrainOnInputs = true // the questions are language too
	c.EvalStrategy, c.SaveStrategy, c.Seed = trainer.StrategyEpoch, trainer.StrategyNo, seed
	run, err := trainer.Prepare(context.Background(), dev, c, trainer.Options{})
	if err != nil {
		return record{}, err
	}
	defer run.Close()
	info := dev.Info()
	rec := record{
		Command: "go run ./tools/demomodel", Date: time.Now().UTC().Format("2006-01-02"),
		Processor: info.Name, Tier: info.Tier, Threads: info.Threads, Seed: seed,
	}
	err = run.Train(context.Background(), trainer.NewControl(), func(event trainer.Event) {
		switch e := event.(type) {
		case trainer.StepDone:
			rec.Steps, rec.Tokens, rec.Loss = e.Step, e.TotalTokens, e.Loss
			if e.Step%20 == 0 {
				log.Printf("step %d/%d loss %.4f, %.0f tok/s", e.Step, e.TotalSteps, e.Loss, e.TokensPerSec)
			}
		case trainer.EvalDone:
			rec.EvalLoss, rec.Perplexity = e.EvalLoss, e.Perplexity
			log.Printf("eval loss %.4f, perplexity %.3f", e.EvalLoss, e.Perplexity)
		case trainer.Done:
			rec.Seconds = math.Round(e.Seconds*10) / 10
		}
	})
	return rec, err
}

// writeBF16 rounds the trained weights to bfloat16 into the base folder.
func writeBF16(trained, base string) error {
	set, err := safetensors.Open(trained)
	if err != nil {
		return err
	}
	defer set.Close()
	var tensors []safetensors.Tensor
	for _, name := range set.Names() {
		t, _ := set.Tensor(name)
		values, err := safetensors.Float32s(t)
		if err != nil {
			return err
		}
		data, err := safetensors.AppendFloat32s(nil, safetensors.BF16, values)
		if err != nil {
			return err
		}
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: safetensors.BF16, Shape: t.Shape, Data: data})
	}
	return safetensors.Write(filepath.Join(base, "model.safetensors"), tensors, safetensors.PyTorch())
}

// install copies what the demo embeds; run.yaml is written by hand and stays.
func install(work, out string) error {
	for _, name := range []string{
		"model/config.json", "model/tokenizer_config.json", "model/tokenizer.json", "model/model.safetensors", "model/TRAINING.json",
		"train.jsonl", "heldout.jsonl",
	} {
		target := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(work, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, data, 0o644); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	return nil
}

func writeRows(path string, rows []alpaca) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, row := range rows {
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
