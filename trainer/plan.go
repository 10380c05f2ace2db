package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
)

// Plan is what a run will do and take, known before its first step.
type Plan struct {
	Steps          int     `json:"steps"`
	StepsPerEpoch  int     `json:"steps_per_epoch"`
	Epochs         float64 `json:"epochs"`
	WarmupSteps    int     `json:"warmup_steps"`
	Rows           int     `json:"rows"`            // training samples
	EvalRows       int     `json:"eval_rows"`       // validation samples
	Tokens         int64   `json:"tokens"`          // of the whole run
	TrainedTokens  int64   `json:"trained_tokens"`  // those with a label
	EpochTokens    int64   `json:"epoch_tokens"`    // of one epoch
	Longest        int     `json:"longest"`         // tokens of the longest sample
	BatchTokens    int     `json:"batch_tokens"`    // tokens of the largest micro-batch: what memory is reserved for
	CutRows        int     `json:"cut_rows"`        // samples cut by max_seq_length
	Parameters     int64   `json:"parameters"`      // of the whole model
	Trainable      int64   `json:"trainable"`       // of them trained, or of the adapter
	CheckpointSize int64   `json:"checkpoint_size"` // bytes of one checkpoint, about

	Memory    MemoryPlan `json:"memory"`
	Available int64      `json:"available"` // bytes the device has for it
	Fits      bool       `json:"fits"`
	// SecondsEstimate is a forecast from the device's measured speed, 0 where that is not known.
	SecondsEstimate float64 `json:"seconds_estimate"`
	// Notices are options that this device or version honours in another way, each one line.
	Notices []string `json:"notices,omitempty"`
}

// MemoryPlan is device memory by owner, in bytes.
type MemoryPlan struct {
	Base        int64 `json:"base"`        // the model's frozen weights
	Adapters    int64 `json:"adapters"`    // trained weights of an adapter
	Gradients   int64 `json:"gradients"`   // of all trained weights
	Optimizer   int64 `json:"optimizer"`   // both moments
	Activations int64 `json:"activations"` // tape and scratch of the largest micro-batch
	KV          int64 `json:"kv"`          // cache of one generation in the playground, which goes without if there is no room
	Workspace   int64 `json:"workspace"`   // tables and the device's own
}

// Total is what training needs: the sum without the KV cache.
func (m MemoryPlan) Total() int64 {
	return m.Base + m.Adapters + m.Gradients + m.Optimizer + m.Activations + m.Workspace
}

// Environment is what a forecast needs to know of the machine.
type Environment struct {
	Device compute.Info
	// FLOPS is the measured speed of a float32 matrix product, in operations a second; 0 where not measured.
	FLOPS float64
}

// Measure gives a device's environment: it multiplies matrices for about a twentieth of a second.
func Measure(dev compute.Device) (Environment, error) {
	const n = 512
	e := Environment{Device: dev.Info()}
	var buffers [3]compute.Buffer
	for i := range buffers {
		b, err := dev.Alloc(compute.F32, n*n)
		if err != nil {
			return e, fmt.Errorf("measure device: %w", err)
		}
		defer b.Free()
		buffers[i] = b
	}
	product := compute.Linear{Y: buffers[0], X: buffers[1], N: n, W: compute.Weight{Out: n, In: n, Data: buffers[2]}}
	var best time.Duration
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
		start := time.Now()
		dev.Linear(product)
		if err := dev.Sync(); err != nil {
			return e, fmt.Errorf("measure device: %w", err)
		}
		if took := time.Since(start); best == 0 || took < best {
			best = took
		}
	}
	if best > 0 {
		e.FLOPS = 2 * n * n * n / best.Seconds()
	}
	return e, nil
}

// MakePlan forecasts a run from the model's headers, the data and a dry run of one step; it loads no weight and writes
// nothing.
func MakePlan(ctx context.Context, cfg Config, env Environment, opts Options) (Plan, error) {
	r, err := readRun(ctx, cfg, env, opts)
	if err != nil {
		return Plan{}, err
	}
	return r.plan, r.closeFiles()
}

// forecast fills in the plan from the data and the model's configuration.
func (r *Run) forecast(env Environment) error {
	tokens, trained := r.loader.Totals()
	maxTokens, maxSeqs, maxLen := r.bounds()
	epochs := float64(r.course.steps) / float64(r.loader.StepsPerEpoch())
	p := Plan{
		Steps:         r.course.steps,
		StepsPerEpoch: r.loader.StepsPerEpoch(),
		Epochs:        epochs,
		WarmupSteps:   r.course.warmup,
		Rows:          len(r.corpus.train),
		EvalRows:      len(r.corpus.validation),
		Tokens:        int64(math.Round(float64(tokens) * epochs)),
		TrainedTokens: int64(math.Round(float64(trained) * epochs)),
		EpochTokens:   tokens,
		Longest:       maxLen,
		BatchTokens:   maxTokens,
		Parameters:    r.files.Parameters(),
		Available:     env.Device.MemoryFree,
		Notices:       r.plan.Notices,
	}
	options := model.PlanOptions{
		Load:       r.loadOptions(env.Device),
		Files:      r.files,
		Full:       r.config.Method == MethodFull,
		Checkpoint: r.config.GradCheckpointing,
		MaxTokens:  maxTokens, MaxSeqs: maxSeqs, MaxLen: maxLen,
		Workspace: env.Device.Workspace,
		Optimizer: func(dev compute.Device, params []*model.Param) error {
			_, err := newOptimizer(dev, params, r.config)
			return err
		},
	}
	var err error
	if options.Adapter, err = r.config.planned(r.resuming); err != nil {
		return err
	}
	m, err := model.PlanMemory(r.files.Config, options)
	if errors.Is(err, model.ErrAdapter) {
		return faultf(0, "%s.%v", r.config.Method.section(), err)
	}
	if err != nil {
		return fmt.Errorf("plan memory: %w", err)
	}
	p.Trainable = m.Trainable
	p.Memory = MemoryPlan{
		Base: m.Base, Adapters: m.Adapters, Gradients: m.Gradients, Optimizer: m.Optimizer,
		Activations: m.Activations, KV: m.KV, Workspace: m.Workspace,
	}
	p.CheckpointSize = 4*m.Trainable + m.Optimizer
	p.Fits = p.Available == 0 || p.Memory.Total() <= p.Available
	p.SecondsEstimate = estimateSeconds(p, r.config, env.FLOPS)
	for _, s := range r.corpus.train {
		if s.Cut > 0 {
			p.CutRows++
		}
	}
	r.plan = p
	r.dataNotices()
	return nil
}

// bounds are those of the largest micro-batch, in training and in evaluation.
func (r *Run) bounds() (maxTokens, maxSeqs, maxLen int) {
	for _, l := range []*datasets.Loader{r.loader, r.evaluation} {
		if l == nil {
			continue
		}
		tokens, seqs, length := l.LongestBatch()
		maxTokens, maxSeqs, maxLen = max(maxTokens, tokens), max(maxSeqs, seqs), max(maxLen, length)
	}
	return maxTokens, maxSeqs, maxLen
}

// estimateSeconds counts two operations a parameter and token forward, two for the gradient of the activations, two more
// for that of trained weights (Kaplan et al. 2020), at the share of the measured peak that a step reaches.
func estimateSeconds(p Plan, c Config, flops float64) float64 {
	if flops == 0 {
		return 0
	}
	const share = 0.5
	operations := 4 * float64(p.Parameters)
	if c.Method == MethodFull {
		operations += 2 * float64(p.Parameters)
	}
	if c.GradCheckpointing {
		operations += 2 * float64(p.Parameters)
	}
	return operations * float64(p.Tokens) / (flops * share)
}

// loadOptions says how weights are held, and notes what this device does otherwise than asked.
func (r *Run) loadOptions(device compute.Info) model.LoadOptions {
	c := r.config
	o := model.LoadOptions{Quant4: r.in4bit(), QuantType: c.quantType(), DoubleQuant: c.DoubleQuant, KeepDType: c.Method != MethodFull}
	native := false
	for _, t := range device.MatMul {
		native = native || t == compute.BF16
	}
	// the 4-bit linears are nearly all of the products of a 4-bit model: their type is that of all of them
	wanted := c.BF16 || r.in4bit() && c.QuantComputeDType == "bfloat16"
	if wanted && native {
		o.Compute = compute.BF16
	}
	return o
}

// in4bit says whether the base is held in 4 bits: as asked for, or because the checkpoint is quantised already.
func (r *Run) in4bit() bool { return r.config.LoadIn4bit || r.files.Config.Quantization != nil }

// checkQuantization holds the run's options against a checkpoint that is quantised already: its own quantisation holds, as in
// transformers.
func (r *Run) checkQuantization() error {
	q, c := r.files.Config.Quantization, r.config
	if q == nil {
		return nil
	}
	if c.Method == MethodFull {
		return faultf(0, "method: full trains every weight, but the checkpoint holds %s weights, which cannot be trained; use method qlora, or the checkpoint that it was made from", q.Type)
	}
	switch {
	case !c.LoadIn4bit:
		r.notice(fmt.Sprintf("load_in_4bit: the checkpoint is quantised already (%s), so it is on", q))
	case c.QuantType != q.Type.String() || c.DoubleQuant != q.DoubleQuant:
		r.notice(fmt.Sprintf("bnb_4bit_quant_type, bnb_4bit_use_double_quant: the checkpoint is quantised already (%s); its own hold", q))
	}
	return nil
}

func (r *Run) notice(text string) { r.plan.Notices = append(r.plan.Notices, text) }

// deviceNotices tells which options this device honours in another way.
func (r *Run) deviceNotices(device compute.Info) {
	c, o := r.config, r.loadOptions(device)
	if c.BF16 && o.Compute != compute.BF16 {
		r.notice("bf16: this device multiplies no bfloat16; computed in float32")
	}
	if !r.in4bit() {
		return
	}
	switch {
	case c.QuantComputeDType == "bfloat16" && o.Compute != compute.BF16:
		r.notice("bnb_4bit_compute_dtype: this device multiplies no bfloat16; computed in float32")
	case c.QuantComputeDType == "float16":
		r.notice("bnb_4bit_compute_dtype: float16 is computed in float32")
	}
}

// dataNotices tells what was done to rows and options to make them fit.
func (r *Run) dataNotices() {
	r.plan.Notices = append(r.plan.Notices, r.files.Config.Notices...)
	if limit := maxSeqLength(r.config, r.files.Config); limit < r.config.MaxSeqLength {
		r.notice(fmt.Sprintf("max_seq_length: %d is beyond the model's context; rows are cut at %d tokens", r.config.MaxSeqLength, limit))
	}
	if r.plan.CutRows > 0 {
		r.notice(fmt.Sprintf("%d of %d rows are longer than max_seq_length and were cut at the right: their ends are not learnt", r.plan.CutRows, r.plan.Rows))
	}
	ends := slices.ContainsFunc(r.corpus.train, func(s datasets.Sample) bool { return s.EOSTrained })
	if _, none := r.corpus.encoder.Tokenizer.(noTokenizer); !ends && !none {
		r.notice("no row trains an end-of-text or end-of-turn token: the model will not learn to stop")
	}
	if r.corpus.warnings > 0 {
		r.notice(fmt.Sprintf("warnings of the linter: %d; `lathe data lint` lists them", r.corpus.warnings))
	}
	if r.config.EvalStrategy != StrategyNo && r.evaluation == nil {
		r.notice("eval_strategy: there is no validation_file or validation_split; nothing is evaluated")
	}
}
