package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"lathe/compute"
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
	// LargestBatch is the largest per_device_train_batch_size that fits, 0 where none does or Available is not known.
	LargestBatch int `json:"largest_batch"`
	// Offers are changes of run.yaml that save memory, those that change the result least first. Of a run that does not fit
	// the last one may be several changes that make it fit together.
	Offers []Saving `json:"offers,omitempty"`
	// Verdict is one line: whether it fits, and what makes it fit if not.
	Verdict string `json:"verdict"`
	// SecondsEstimate is a forecast from the device's measured speed, 0 where that is not known.
	SecondsEstimate float64 `json:"seconds_estimate"`
	// Ranks is how many devices train together, GlobalBatch how many rows their step has; both are left out for one device.
	Ranks       int `json:"ranks,omitempty"`
	GlobalBatch int `json:"global_batch,omitempty"`
	// Devices says what fits where, for a forecast on several.
	Devices []DevicePlan `json:"devices,omitempty"`
	// Notices are options that this device or version honours in another way, each one line.
	Notices []string `json:"notices,omitempty"`
}

// DevicePlan is one of several devices. Memory and time are the same on each.
type DevicePlan struct {
	Name      string `json:"name"`
	Available int64  `json:"available"`
	Fits      bool   `json:"fits"`
}

// MemoryPlan is device memory by owner, in bytes.
type MemoryPlan struct {
	Base        int64 `json:"base"`            // the model's frozen weights
	Adapters    int64 `json:"adapters"`        // trained weights of an adapter
	Gradients   int64 `json:"gradients"`       // of all trained weights
	Optimizer   int64 `json:"optimizer"`       // both moments
	Activations int64 `json:"activations"`     // tape and scratch of the largest micro-batch
	KV          int64 `json:"kv"`              // cache of one generation in the playground, which goes without if there is no room
	Workspace   int64 `json:"workspace"`       // tables and the device's own
	Group       int64 `json:"group,omitempty"` // sums over several devices
	Loading     int64 `json:"loading"`         // not of the sum: the most that is held while the weights are read and quantised
}

// Total is what training needs: the sum without the KV cache.
func (m MemoryPlan) Total() int64 {
	return m.Base + m.Adapters + m.Gradients + m.Optimizer + m.Activations + m.Workspace + m.Group
}

// Peak is the most that the run ever holds: while it loads its weights, or from then on.
func (m MemoryPlan) Peak() int64 { return max(m.Loading, m.Total()) }

// Environment is what a forecast needs to know of the machine.
type Environment struct {
	Device compute.Info
	// Others are the further devices of a run on several.
	Others []compute.Info
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
	err = errors.Join(r.makeOffers(env.Device), r.closeFiles())
	return r.plan, err
}

// forecast fills in the plan from the data and the model's configuration.
func (r *Run) forecast(env Environment) error {
	tokens, trained := r.loader.Totals()
	maxTokens, _, maxLen := r.bounds()
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
	held, err := r.holdings(env.Device)
	if err != nil {
		return err
	}
	if p.Memory, err = held.batch(r.config.BatchSize); err != nil {
		return err
	}
	p.Trainable = held.trainable
	p.CheckpointSize = 4*p.Trainable + p.Memory.Optimizer
	if p.Available > 0 { // what operations of an earlier run have left is used again
		p.Available += min(env.Device.WorkspaceHeld, p.Memory.Workspace)
	}
	p.Fits = p.Available == 0 || p.Memory.Peak() <= p.Available
	p.SecondsEstimate = estimateSeconds(p, r.config, env.FLOPS*float64(r.ranks))
	r.devicePlans(&p, env)
	for _, s := range r.corpus.train {
		if s.Cut > 0 {
			p.CutRows++
		}
	}
	p.Verdict = p.verdict()
	r.plan = p
	r.dataNotices()
	return nil
}

// devicePlans says what fits where; the run fits where it fits on each.
func (r *Run) devicePlans(p *Plan, env Environment) {
	if r.ranks == 1 {
		return
	}
	p.Ranks, p.GlobalBatch = r.ranks, r.config.BatchSize*r.accumulated()
	if len(env.Others) == 0 {
		return
	}
	p.Devices = []DevicePlan{{env.Device.Name, p.Available, p.Fits}}
	for _, d := range env.Others {
		fits := d.MemoryFree == 0 || p.Memory.Peak() <= d.MemoryFree
		p.Devices = append(p.Devices, DevicePlan{d.Name, d.MemoryFree, fits})
		if p.Fits = p.Fits && fits; d.MemoryFree > 0 && (p.Available == 0 || d.MemoryFree < p.Available) {
			p.Available = d.MemoryFree
		}
	}
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
