package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/compute/profile"
	"lathe/internal/performance"
	"lathe/model"
	"lathe/trainer"
)

var benchMethods = []string{"lora", "qlora", "full"}

// The rows that bench makes.
const (
	rowsFull   = "full"   // of --length tokens, all trained
	rowsRagged = "ragged" // of GSM8K's lengths, questions masked
)

// trainBench chooses the work.
type trainBench struct {
	size, method, dtype, trains string
	batch, length, steps, r     int
	shapes                      bool
	model, data, keep, sweep    string
}

func benchTrainCommand(e *env) *cobra.Command {
	var f trainBench
	cmd := benchLeaf(e, "train", "Training steps of a random llama through the real trainer", func(ctx context.Context, _ []string) (report, error) {
		if f.sweep != "" {
			return e.benchSweep(ctx, f)
		}
		return e.benchTrain(ctx, f)
	})
	flags := cmd.Flags()
	sizeFlag(cmd, &f.size, "60m")
	flags.StringVar(&f.method, "method", "lora", "full, lora or qlora")
	flags.StringVar(&f.dtype, "dtype", performance.Float32, "float32 or bfloat16: the products' operands, where the processor has it")
	flags.StringVar(&f.trains, "rows", rowsFull, "full: rows of --length tokens; ragged: GSM8K's lengths, questions masked")
	flags.IntVar(&f.batch, "batch", 4, "rows of a step")
	flags.IntVar(&f.length, "length", 512, "tokens of a row")
	flags.IntVar(&f.steps, "steps", 4, "steps that are timed, after one that is not; 0 with --keep only writes")
	flags.IntVar(&f.r, "r", 16, "LoRA's rank, on all linear layers")
	flags.BoolVar(&f.shapes, "shapes", false, "break the time down by the shapes of operations too")
	flags.StringVar(&f.model, "model", "", "train this model instead of a random one")
	flags.StringVar(&f.data, "data", "", "train these rows instead of random ones; text needs a --model with a tokenizer")
	flags.StringVar(&f.keep, "keep", "", "write model, rows and run.yaml into this folder, and leave them there")
	flags.StringVar(&f.sweep, "sweep", "", "tokens: a token's cost in rows of 64 to 4096; parameters: in models of 1 M to 200 M; the fastest of 3 rounds")
	return cmd
}

// check refuses what means nothing.
func (f *trainBench) check() error {
	if !slices.Contains(benchMethods, f.method) {
		return usage("--method %s: use full, lora or qlora", f.method)
	}
	if f.dtype != performance.Float32 && f.dtype != performance.BFloat16 {
		return usage("--dtype %s: use float32 or bfloat16", f.dtype)
	}
	if f.trains != rowsFull && f.trains != rowsRagged {
		return usage("--rows %s: use full or ragged", f.trains)
	}
	if f.batch < 1 || f.length < 2 || f.r < 1 || f.steps < 0 || f.steps == 0 && f.keep == "" {
		return usage("--batch, --length, --steps and --r are at least 1 (--length 2; --steps 0 with --keep only writes)")
	}
	return nil
}

// benchTrain makes the model and rows in a folder, and trains them as `lathe train` would.
func (e *env) benchTrain(ctx context.Context, f trainBench) (report, error) {
	if err := f.check(); err != nil {
		return report{}, err
	}
	b, err := e.newBencher()
	if err != nil {
		return report{}, err
	}
	defer b.close()
	r, err := b.train(ctx, f)
	if err != nil {
		return report{}, err
	}
	if r.Head, err = b.head(performance.WhatTrain); err != nil {
		return report{}, err
	}
	r.Share = r.GFLOPs / r.Peak.SGEMM
	if r.Peak.FMA > 0 { // which is not measured on GPUs
		r.ShareFMA = r.GFLOPs / r.Peak.FMA
	}
	r.ShareProducts = r.GFLOPs / r.Peak.Products(r.DType)
	return report{json: r, rows: trainRows(r), operations: r.Operations, peak: r.Peak}, nil
}

// train is one training, without its peak.
func (b *bencher) train(ctx context.Context, f trainBench) (r performance.Train, err error) {
	dir, remove, err := benchFolder(f.keep)
	if err != nil {
		return r, err
	}
	defer remove()
	run, made, err := b.prepare(dir, f)
	if err != nil {
		return r, err
	}
	if f.steps > 0 {
		if r, err = b.timeTraining(ctx, run, f); err != nil {
			return r, err
		}
	}
	r.Method, r.DType, r.Rows, r.Batch, r.Length, r.Steps = f.method, performance.Float32, f.trains, f.batch, f.length, f.steps
	if f.dtype == performance.BFloat16 && b.multiplies(compute.BF16) {
		r.DType = f.dtype
	}
	switch {
	case f.data != "" || f.model != "": // what was done stands for what is needed
		r.Rows, r.Length = filepath.Base(f.data), 0
		r.MFLOPPerToken = total(r.Operations, flops) / (r.TokensPerSecond * total(r.Operations, seconds)) / 1e6
	default:
		cfg, err := benchConfig(f.size)
		if err != nil {
			return r, err
		}
		w, mean := workOf(made)
		r.Length, r.TrainedShare = mean, w.trained
		r.MFLOPPerToken = flopsPerToken(cfg, f.method, f.r, w) / 1e6
	}
	r.GFLOPs = r.TokensPerSecond * r.MFLOPPerToken / 1e3
	return r, nil
}

// workOf is what a token of rows asks for, and the rows' mean length.
func workOf(rows []performance.Row) (w work, mean int) {
	var tokens, pairs, trained float64
	for _, row := range rows {
		n := float64(len(row.InputIDs))
		tokens, pairs = tokens+n, pairs+n*(n+1)/2
		for _, label := range row.Labels[1:] {
			if label >= 0 {
				trained++
			}
		}
	}
	return work{pairs / tokens, trained / tokens}, int(tokens/float64(len(rows)) + 0.5)
}

// prepare writes what a user would have: a model folder, rows of ids, and run.yaml. A model that is there already is kept.
func (b *bencher) prepare(dir string, f trainBench) (c trainer.Config, rows []performance.Row, err error) {
	c = trainer.DefaultConfig()
	c.ModelNameOrPath, c.TrainFile = f.model, trainer.StringList{f.data}
	if f.model == "" {
		c.ModelNameOrPath = filepath.Join(dir, "model")
		if err := b.writeModel(c.ModelNameOrPath, f.size); err != nil {
			return c, nil, err
		}
	}
	if f.data == "" {
		cfg, err := benchConfig(f.size)
		if err != nil {
			return c, nil, err
		}
		n := f.batch * (f.steps + 1)
		if f.steps == 0 {
			n = 64 * f.batch // of whoever trains what is kept
		}
		rows = performance.FullRows(n, f.length, cfg.Vocab)
		if f.trains == rowsRagged {
			rows = performance.RaggedRows(n, cfg.Vocab)
		}
		c.TrainFile = trainer.StringList{filepath.Join(dir, "rows.jsonl")}
		if err := writeRows(c.TrainFile[0], rows); err != nil {
			return c, nil, err
		}
	}
	c.OutputDir = filepath.Join(dir, "out")
	c.Method, c.LoadIn4bit = trainer.Method(f.method), f.method == string(trainer.MethodQLoRA)
	c.QuantComputeDType, c.BF16 = f.dtype, f.dtype == performance.BFloat16
	c.LoRA.R, c.LoRA.Alpha, c.LoRA.TargetModules, c.LoRA.Dropout = f.r, float64(2*f.r), model.TargetModules{Regex: model.AllLinear}, 0
	c.BatchSize, c.GradAccum, c.MaxSteps, c.MaxSeqLength = f.batch, 1, f.steps+1, max(f.length, 1024)
	c.EvalStrategy, c.SaveStrategy, c.Shuffle = trainer.StrategyNo, trainer.StrategyNo, false
	if f.keep != "" {
		if err := writeRunYAML(filepath.Join(dir, "run.yaml"), c); err != nil {
			return c, nil, err
		}
	}
	return c, rows, c.Validate()
}

func (b *bencher) writeModel(dir, size string) error {
	cfg, err := benchConfig(size)
	if err != nil {
		return err
	}
	if files, err := model.Open(dir); err == nil {
		same := files.Parameters() == cfg.Parameters()
		files.Close()
		if same {
			return nil
		}
		return usage("%s holds another model than --size %s: name another folder with --keep, or remove it", dir, size)
	}
	m, err := model.NewRandom(b.dev, cfg, 1)
	if err != nil {
		return err
	}
	defer m.Free()
	return m.Save(dir)
}

func writeRows(path string, rows []performance.Row) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriter(out)
	for _, row := range rows {
		if err := writeJSON(w, row); err != nil {
			return err
		}
	}
	return w.Flush()
}

// writeRunYAML writes a configuration as JSON, which is YAML too, so that tools/peers reads it with what Python has.
func writeRunYAML(path string, c trainer.Config) error {
	keys := map[string]any{
		"model_name_or_path": c.ModelNameOrPath, "train_file": c.TrainFile[0], "output_dir": c.OutputDir, "method": c.Method,
		"load_in_4bit": c.LoadIn4bit, "bnb_4bit_compute_dtype": c.QuantComputeDType, "bf16": c.BF16,
		"lora":                        map[string]any{"r": c.LoRA.R, "lora_alpha": c.LoRA.Alpha, "target_modules": model.AllLinear, "lora_dropout": 0},
		"per_device_train_batch_size": c.BatchSize, "gradient_accumulation_steps": c.GradAccum, "max_steps": c.MaxSteps,
		"max_seq_length": c.MaxSeqLength, "eval_strategy": c.EvalStrategy, "save_strategy": c.SaveStrategy, "shuffle": c.Shuffle,
		"learning_rate": c.LearningRate, "seed": c.Seed,
	}
	text, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// timeTraining runs the steps and takes the mean speed of all but the first, which touches every page for the first time.
func (b *bencher) timeTraining(ctx context.Context, c trainer.Config, f trainBench) (performance.Train, error) {
	account := profile.New(b.dev)
	run, err := trainer.Prepare(ctx, account, c, trainer.Options{})
	if err != nil {
		return performance.Train{}, err
	}
	defer run.Close()
	plan := run.Plan()
	r := performance.Train{Parameters: plan.Parameters, PlannedBytes: plan.Memory.Total()}
	account.OnStep = func(step int) {
		if step > 1 {
			r.Operations = breakDown(account, f.shapes)
		} else {
			account.Reset()
		}
	}
	bar := newProgress(b.e.stderr)
	var seconds, tokens, trained float64
	err = run.Train(ctx, trainer.NewControl(), func(event trainer.Event) {
		s, ok := event.(trainer.StepDone)
		if ok && s.Step > 1 {
			seconds += float64(s.Tokens) / s.TokensPerSec
			tokens, trained = tokens+float64(s.Tokens), trained+float64(s.TrainedTokens)
			bar.set("step", int64(s.Step), int64(s.TotalSteps), "")
		}
	})
	bar.clear()
	if err != nil {
		return r, err
	}
	r.TokensPerSecond, r.TrainedShare = tokens/seconds, trained/tokens
	return r, nil
}

func speedText(r performance.Train) string {
	text := fmt.Sprintf("%s tokens/s, %.1f GFLOP/s (%.0f MFLOP a token): %.0f%% of the peak of products",
		count(int64(r.TokensPerSecond)), r.GFLOPs, r.MFLOPPerToken, 100*r.ShareProducts)
	if r.ShareFMA > 0 {
		text += fmt.Sprintf(", %.0f%% of multiply-adds in registers", 100*r.ShareFMA)
	}
	return text
}

func trainRows(r performance.Train) [][]string {
	rows := [][]string{
		headRow(r.Head),
		{"work", fmt.Sprintf("%s in %s of %s parameters, %d steps of %d rows, %s, %d tokens each, %.0f%% of them trained",
			r.Method, r.DType, count(r.Parameters), r.Steps, r.Batch, r.Rows, r.Length, 100*r.TrainedShare)},
		{"speed", speedText(r)},
	}
	return append(append(rows, peakRows(r.Peak)...), [][]string{
		{"memory", fmt.Sprintf("%s at most (planned for the run: %s)", bytesText(r.PeakMemory), bytesText(r.PlannedBytes))},
		{"padding", fmt.Sprintf("%.0f%%: batches are flat", 100*r.Padding)},
	}...)
}
