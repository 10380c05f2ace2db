package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"lathe/compute/cpu"
	"lathe/model"
	"lathe/trainer"
)

// benchResult is what `lathe bench train --json` prints.
type benchResult struct {
	What   string `json:"what"`
	Device string `json:"device"`
	Tier   string `json:"tier"`
	Method string `json:"method"`
	// Parameters of the model; Batch and Length are rows and tokens a row of one optimiser step.
	Parameters      int64   `json:"parameters"`
	Batch           int     `json:"batch"`
	Length          int     `json:"length"`
	Steps           int     `json:"steps"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	MFLOPPerToken   float64 `json:"mflop_per_token"`
	GFLOPs          float64 `json:"gflops"`
	// Peak is measured on this machine in this run, before and after the training; Share is GFLOPs of Peak.SGEMM.
	Peak  cpu.Peak `json:"peak"`
	Share float64  `json:"share_of_sgemm_peak"`
	// ShareFMA is GFLOPs of the rate of FMAs in registers, which no product can reach.
	ShareFMA     float64 `json:"share_of_fma_peak"`
	PeakMemory   int64   `json:"peak_memory"` // of the process, from /proc/self/status; 0 where that is not there
	PlannedBytes int64   `json:"planned_memory"`
	Padding      float64 `json:"padding"`
	// Operations is where the timed steps' time went, the longest first.
	Operations []benchOperation `json:"operations"`
}

// benchFlags choose the work.
type benchFlags struct {
	preset, method          string
	batch, length, steps, r int
	shapes                  bool
}

// benchShapes are the random llamas; 60m is the shape that the project's performance goals name.
var benchShapes = map[string]map[string]any{
	"10m": {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 6, "num_attention_heads": 5},
	"60m": {"hidden_size": 640, "intermediate_size": 1728, "num_hidden_layers": 10, "num_attention_heads": 10},
}

func benchConfig(preset string) (model.Config, error) {
	shape, ok := benchShapes[preset]
	if !ok {
		return model.Config{}, usage("--size %s: use 10m or 60m", preset)
	}
	c := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_act": "silu", "vocab_size": 8192,
		"max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "eos_token_id": 2,
	}
	for k, v := range shape {
		c[k] = v
	}
	text, err := json.Marshal(c)
	if err != nil {
		return model.Config{}, err
	}
	return model.ParseConfig(text, nil)
}

// benchTrain makes the model and rows in a temporary folder, and trains them as `lathe train` would.
func (e *env) benchTrain(ctx context.Context, f benchFlags) (benchResult, error) {
	if !slices.Contains([]string{"full", "lora", "qlora"}, f.method) {
		return benchResult{}, usage("--method %s: use full, lora or qlora", f.method)
	}
	cfg, err := benchConfig(f.preset)
	if err != nil {
		return benchResult{}, err
	}
	if f.batch < 1 || f.length < 2 || f.steps < 1 || f.r < 1 {
		return benchResult{}, usage("--batch, --length, --steps and --r are at least 1 (--length 2)")
	}
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		return benchResult{}, err
	}
	defer dev.Close()
	dir, err := os.MkdirTemp("", "lathe-bench-")
	if err != nil {
		return benchResult{}, err
	}
	defer os.RemoveAll(dir)
	run, err := benchRun(dir, dev, cfg, f)
	if err != nil {
		return benchResult{}, err
	}
	before, err := dev.MeasurePeak()
	if err != nil {
		return benchResult{}, err
	}
	r, err := e.timeTraining(ctx, dev, run, f)
	if err != nil {
		return r, err
	}
	after, err := dev.MeasurePeak()
	if err != nil {
		return r, err
	}
	r.Peak = before
	if after.SGEMM > before.SGEMM {
		r.Peak = after
	}
	r.What, r.Method, r.Device, r.Tier = "train", f.method, dev.Info().Name, dev.Info().Tier
	r.MFLOPPerToken = flopsPerToken(cfg, f) / 1e6
	r.GFLOPs = r.TokensPerSecond * r.MFLOPPerToken / 1e3
	r.Share, r.ShareFMA = r.GFLOPs/r.Peak.SGEMM, r.GFLOPs/r.Peak.FMA
	return r, nil
}

// benchRun writes what a user would have: a model folder, rows of ids, and the configuration.
func benchRun(dir string, dev *cpu.Device, cfg model.Config, f benchFlags) (trainer.Config, error) {
	c := trainer.DefaultConfig()
	m, err := model.NewRandom(dev, cfg, 1)
	if err != nil {
		return c, err
	}
	base := filepath.Join(dir, "model")
	err = m.Save(base)
	m.Free()
	if err != nil {
		return c, err
	}
	rows := filepath.Join(dir, "rows.jsonl")
	if err := writeRandomRows(rows, cfg.Vocab, f.batch*(f.steps+1), f.length); err != nil {
		return c, err
	}
	c.ModelNameOrPath, c.TrainFile, c.OutputDir = base, trainer.StringList{rows}, filepath.Join(dir, "out")
	c.Method, c.LoadIn4bit = trainer.Method(f.method), f.method == string(trainer.MethodQLoRA)
	c.QuantComputeDType = "float32"
	c.LoRA.R, c.LoRA.Alpha, c.LoRA.TargetModules, c.LoRA.Dropout = f.r, float64(2*f.r), model.TargetModules{Regex: model.AllLinear}, 0
	c.BatchSize, c.GradAccum, c.MaxSteps, c.MaxSeqLength = f.batch, 1, f.steps+1, f.length
	c.EvalStrategy, c.SaveStrategy, c.Shuffle = trainer.StrategyNo, trainer.StrategyNo, false
	return c, c.Validate()
}

func writeRandomRows(path string, vocab, n, length int) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriter(out)
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]int, length)
	for range n {
		for i := range ids {
			ids[i] = r.IntN(vocab)
		}
		if err := writeJSON(w, map[string][]int{"input_ids": ids}); err != nil {
			return err
		}
	}
	return w.Flush()
}

// timeTraining runs the steps and takes the mean speed of all but the first, which touches every page for the first time.
func (e *env) timeTraining(ctx context.Context, dev *cpu.Device, c trainer.Config, f benchFlags) (benchResult, error) {
	profile := cpu.NewProfile(dev)
	run, err := trainer.Prepare(ctx, profile, c, trainer.Options{})
	if err != nil {
		return benchResult{}, err
	}
	defer run.Close()
	plan := run.Plan()
	r := benchResult{
		Parameters: plan.Parameters, Batch: f.batch, Length: f.length, Steps: f.steps, PlannedBytes: plan.Memory.Total(),
	}
	bar := newProgress(e.stderr)
	var seconds float64
	var tokens int
	err = run.Train(ctx, trainer.NewControl(), func(event trainer.Event) {
		s, ok := event.(trainer.StepDone)
		if ok && s.Step == 1 {
			profile.Reset()
		}
		if ok && s.Step > 1 {
			seconds += float64(s.Tokens) / s.TokensPerSec
			tokens += s.Tokens
			r.Operations = breakDown(profile, f.shapes)
			bar.set("step", int64(s.Step), int64(s.TotalSteps), "")
		}
	})
	bar.clear()
	if err != nil {
		return r, err
	}
	r.TokensPerSecond = float64(tokens) / seconds
	r.PeakMemory = peakMemory()
	return r, nil
}

// flopsPerToken is the arithmetic that a step needs for one token, two operations an element of a product: the linear layers
// forward and their input gradients (weight gradients too for full), the head likewise, LoRA's three products forward and
// backward, and attention, causal, with five products backward against two forward (FlashAttention 2, Dao 2023, §3).
func flopsPerToken(c model.Config, f benchFlags) float64 {
	q, kv := float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim)
	h, inter := float64(c.Hidden), float64(c.Intermediate)
	linear := float64(c.Layers) * (2*h*q + 2*h*kv + 3*h*inter)
	sides := float64(c.Layers) * (2*(h+q) + 2*(h+kv) + 3*(h+inter))
	head := float64(c.Vocab) * h
	attention := float64(c.Layers) * 7 * 2 * q * float64(f.length+1) / 2
	if f.method == string(trainer.MethodFull) {
		return 6*(linear+head) + attention
	}
	return 4*(linear+head) + 6*float64(f.r)*sides + attention
}

func (r benchResult) rows() [][]string {
	return [][]string{
		{"device", fmt.Sprintf("%s, %s", r.Device, r.Tier)},
		{"work", fmt.Sprintf("%s of %s parameters, %d rows of %d tokens, %d steps", r.Method, count(r.Parameters), r.Batch, r.Length, r.Steps)},
		{"speed", fmt.Sprintf("%s tokens/s, %.1f GFLOP/s (%.0f MFLOP a token)", count(int64(r.TokensPerSecond)), r.GFLOPs, r.MFLOPPerToken)},
		{"sgemm", fmt.Sprintf("%.1f GFLOP/s measured here and now: the step reaches %.0f%% of it", r.Peak.SGEMM, 100*r.Share)},
		{"fma", fmt.Sprintf("%.1f GFLOP/s in registers: %.0f%%", r.Peak.FMA, 100*r.ShareFMA)},
		{"bandwidth", fmt.Sprintf("%.1f GB/s copied, %.1f GB/s read", r.Peak.CopyBandwidth, r.Peak.ReadBandwidth)},
		{"memory", fmt.Sprintf("%s at most (planned for the run: %s)", bytesText(r.PeakMemory), bytesText(r.PlannedBytes))},
		{"padding", fmt.Sprintf("%.0f%%: batches are flat", 100*r.Padding)},
	}
}
