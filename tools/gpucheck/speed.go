package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lathe/internal/performance"
	"lathe/model"
	"lathe/trainer"
)

// race is the work that lathe and PEFT do alternately.
type race struct {
	dir, rows     string
	cfg           model.Config
	length, steps int
	checkpointing bool
}

// rate is one measurement.
type rate struct {
	tokens    float64 // a second
	peak      int64
	load      float64 // seconds until the first step
	firstLoss float64
}

const speedRank, speedAlpha = 16, 32

// speed trains a random 8B llama on rows of 4096 tokens, as users do: the lathe binary and transformers with PEFT, each in processes
// of its own, alternately, on the same folder of weights.
func speed(c *check) error {
	s, w := shape8B, race{length: 4096, steps: 8}
	if c.Quick {
		s, w = shapeTiny, race{length: 24, steps: 3}
	}
	dir, err := c.scratch(s.bytes())
	if err != nil {
		c.skip("%v", err)
		return nil
	}
	began := time.Now()
	w.dir, w.rows = filepath.Join(dir, "model"), filepath.Join(dir, "rows.jsonl")
	if w.cfg, err = writeModel(w.dir, s); err != nil {
		return err
	}
	if err := writeRows(w.rows, s.vocab, w.steps, w.length); err != nil {
		return err
	}
	c.fact("model", "llama of %.2f G parameters with random weights, bfloat16, written in %.0f s to %s; %d rows of %d tokens, one a step", float64(w.cfg.Parameters())/1e9, time.Since(began).Seconds(), filepath.Dir(dir), w.steps, w.length)
	t := c.table("Speed", "what", "tokens/s", "TFLOP/s", "peak memory (GiB)", "planned (GiB)", "seconds before step 1", "loss of step 1")
	t.Note = fmt.Sprintf("LoRA r %d on all linear layers, AdamW, bfloat16 products, median of the steps after the second. TFLOP/s count the products that the method needs (no recomputation). Memory is lathe's own account, torch's reserved.", speedRank)
	var longest time.Duration // of one run of either side
	for _, method := range []trainer.Method{trainer.MethodQLoRA, trainer.MethodLoRA} {
		if err := c.raceOf(t, w, method, &longest); err != nil {
			c.fail("%s: %v", method, err)
		}
	}
	return nil
}

// raceOf runs lathe, PEFT, lathe, PEFT for as long as the part has time for one more. After the first pair of qlora it looks where a step's
// time goes, which has no second place in the order: what is cut off for time is the second pair, or lora.
func (c *check) raceOf(t *table, w race, method trainer.Method, longest *time.Duration) error {
	var ours, theirs []rate
	peft := true
	for round := range 2 {
		if !c.left(*longest) {
			break
		}
		began := time.Now()
		r, err := c.latheRate(t, &w, method)
		if err != nil {
			return err
		}
		ours, *longest = append(ours, r), max(*longest, time.Since(began))
		if peft && c.Known.Rehearsal == "" && c.left(*longest) {
			began = time.Now()
			r, err = c.peftRate(t, w, method)
			switch {
			case errors.Is(err, errNoPython):
				c.fact(fmt.Sprintf("PEFT, %s", method), "not compared: %v", err)
				peft = false
			case err != nil:
				return fmt.Errorf("PEFT: %w", err)
			default:
				theirs, *longest = append(theirs, r), max(*longest, time.Since(began))
			}
		}
		if round == 0 && method == trainer.MethodQLoRA && !w.checkpointing {
			if err := c.breakDown(w); err != nil {
				c.fail("where a step's time goes: %v", err)
			}
		}
	}
	if len(ours) == 0 {
		c.fact(string(method), "not measured: no time was left")
	}
	if len(ours) == 0 || len(theirs) == 0 {
		return nil
	}
	a, b := best(ours), best(theirs)
	c.fact(fmt.Sprintf("lathe / PEFT, %s", method), "%.2f in speed, %.2f in memory, the faster of %d and %d runs", a.tokens/b.tokens, float64(a.peak)/float64(b.peak), len(ours), len(theirs))
	// B of a fresh adapter is zero: the first loss is the base's, which both compute in bfloat16 from the same weights.
	if d := math.Abs(a.firstLoss/b.firstLoss - 1); !(d < 1e-2) {
		c.fail("%s: the first loss is %.4f, PEFT's %.4f on the same weights", method, a.firstLoss, b.firstLoss)
	}
	return nil
}

// breakDown is where a step's time goes, by `lathe bench train` on the same model and rows.
func (c *check) breakDown(w race) error {
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	steps := 3
	cmd := exec.CommandContext(ctx, c.lathe(), "bench", "train", "--device", c.Device, "--model", w.dir, "--data", w.rows, "--method", "qlora", "--dtype", "bfloat16",
		"--batch", "1", "--length", fmt.Sprint(w.length), "--steps", fmt.Sprint(steps-1), "--r", fmt.Sprint(speedRank), "--shapes", "--json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("lathe bench train: %w (its output is in gpucheck.log)", err)
	}
	var r performance.Train
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("lathe bench train: %w", err)
	}
	t := c.table("Where a step's time goes, qlora", "operation", "calls a step", "ms a step", "% of the step", "TFLOP/s", "GB/s")
	t.Note = "By the GPU's events around each operation, which cost the step a little; those that the loss is made of have rows of their own. \"Between operations\" is the GPU waiting for the host."
	n := float64(steps - 1)
	for _, o := range r.Operations {
		if c.Known.Rehearsal != "" {
			c.row(t, strings.TrimSpace(o.Name+" "+o.Shape), "", "", "", "", "")
			continue
		}
		c.row(t, strings.TrimSpace(o.Name+" "+o.Shape), float64(o.Calls)/n, 1e3*o.Seconds/n, 100*o.Share, o.GFLOPs/1e3, o.GBs)
	}
	if c.Known.Rehearsal == "" {
		c.fact("break-down", "%.0f tokens/s while operations were timed; peaks by lathe's own operations: %.0f TFLOP/s float32, %.0f bfloat16 with float32 activations, %.0f GB/s copied", r.TokensPerSecond, r.Peak.SGEMM/1e3, r.Peak.BF16/1e3, r.Peak.CopyBandwidth)
	}
	return nil
}

func best(r []rate) rate {
	return slices.MaxFunc(r, func(a, b rate) int {
		if a.tokens < b.tokens {
			return -1
		}
		return 1
	})
}

// raceYAML writes the race's run.yaml for lathe.
func (c *check) raceYAML(w race, method trainer.Method) (string, error) {
	out := filepath.Join(c.Work, "speed-out")
	text := fmt.Sprintf(`model_name_or_path: %q
train_file: %q
output_dir: %q
method: %s
load_in_4bit: %v
bf16: true
lora: {r: %d, lora_alpha: %d, target_modules: all-linear, lora_dropout: 0.0}
per_device_train_batch_size: 1
gradient_accumulation_steps: 1
max_steps: %d
max_seq_length: %d
learning_rate: 2.0e-4
gradient_checkpointing: %v
logging_steps: 1
shuffle: false
eval_strategy: "no"
save_strategy: "no"
`, w.dir, w.rows, out, method, method == trainer.MethodQLoRA, speedRank, speedAlpha, w.steps, w.length, w.checkpointing)
	path := filepath.Join(c.Work, "speed.yaml")
	return path, errors.Join(os.RemoveAll(out), os.WriteFile(path, []byte(text), 0o644))
}

// latheRate measures lathe. Where the activations do not fit, both sides recompute them.
func (c *check) latheRate(t *table, w *race, method trainer.Method) (r rate, err error) {
	path, err := c.raceYAML(*w, method)
	if err != nil {
		return r, err
	}
	s, err := c.latheTrain(path)
	if err != nil && !w.checkpointing && len(s.steps) == 0 {
		c.fact(fmt.Sprintf("%s without gradient_checkpointing", method), "%v", err)
		w.checkpointing = true
		return c.latheRate(t, w, method)
	}
	if err != nil {
		return r, err
	}
	if len(s.steps) != w.steps {
		return r, fmt.Errorf("%d steps were told, %d wanted", len(s.steps), w.steps)
	}
	var rates []float64
	for _, step := range s.steps[2:] {
		rates = append(rates, step.TokensPerSec)
	}
	slices.Sort(rates)
	r = rate{tokens: rates[len(rates)/2], peak: s.steps[len(s.steps)-1].MemoryPeak, load: s.loading.Seconds(), firstLoss: s.steps[0].Loss}
	c.rateRow(t, "lathe", *w, method, r, gib(s.plan.Memory.Peak()))
	if r.peak > s.plan.Memory.Peak()+ownBytes {
		c.fail("%s: the device held %.2f GiB, %d bytes more than are planned", method, gib(r.peak), r.peak-s.plan.Memory.Peak())
	}
	return r, nil
}

func (c *check) rateRow(t *table, who string, w race, method trainer.Method, r rate, plan any) {
	what := fmt.Sprintf("%s, %s", who, method)
	if w.checkpointing {
		what += ", checkpointing"
	}
	if c.Known.Rehearsal != "" {
		c.row(t, what, "", "", gib(r.peak), plan, "", r.firstLoss)
		return
	}
	c.row(t, what, r.tokens, r.tokens*adapterFLOPs(w.cfg, w.length)/1e12, gib(r.peak), plan, r.load, r.firstLoss)
}

// peftRate measures transformers with PEFT on the same folder.
func (c *check) peftRate(t *table, w race, method trainer.Method) (r rate, err error) {
	data, err := json.Marshal(map[string]any{
		"model": w.dir, "rows": w.rows, "four_bit": method == trainer.MethodQLoRA, "r": speedRank, "alpha": speedAlpha,
		"checkpointing": w.checkpointing, "steps": w.steps, "learning_rate": 2e-4,
	})
	if err != nil {
		return r, err
	}
	path := filepath.Join(c.Work, "peft.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return r, err
	}
	var s struct {
		Tokens   float64   `json:"tokens_per_second"`
		Losses   []float64 `json:"losses"`
		Load     float64   `json:"load_seconds"`
		Reserved int64     `json:"peak_reserved"`
		What     string    `json:"what"`
	}
	if err := c.script("peft_speed.py", &s, path); err != nil {
		return r, err
	}
	if len(s.Losses) == 0 {
		return r, errors.New("it told no loss")
	}
	r = rate{tokens: s.Tokens, peak: s.Reserved, load: s.Load, firstLoss: s.Losses[0]}
	c.rateRow(t, s.What, w, method, r, "")
	return r, nil
}

// adapterFLOPs is the arithmetic of one token of a LoRA step: each linear layer and the head forward and for its input's gradient, the
// adapter's three products each forward and backward, causal attention with two products forward and five backward.
func adapterFLOPs(c model.Config, length int) float64 {
	q, kv, h, inter := float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim), float64(c.Hidden), float64(c.Intermediate)
	linear := float64(c.Layers) * (2*h*q + 2*h*kv + 3*h*inter)
	sides := float64(c.Layers) * (2*(h+q) + 2*(h+kv) + 3*(h+inter))
	attention := float64(c.Layers) * 7 * 2 * q * float64(length+1) / 2
	return 4*(linear+float64(c.Vocab)*h) + 6*speedRank*sides + attention
}
