package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
)

// Options of [Prepare].
type Options struct {
	// Resume is a checkpoint folder, or an output_dir, whose newest whole checkpoint is taken.
	Resume string
	// MaxSteps, when not 0, replaces the config's max_steps: the schedule's length too.
	MaxSteps int
	// StopAfter, when not 0, saves and stops at that step of the same schedule.
	StopAfter int
	// Files is the model, already open (or embedded); else Prepare opens model_name_or_path. The caller closes it.
	Files *model.Files
	// PauseOnSaveError makes a run whose checkpoint cannot be written wait for a Resume, where it else fails.
	PauseOnSaveError bool
	// SkipRows are training rows, FILE:LINE, to leave out of all steps from here on; a checkpoint remembers them.
	SkipRows []string
	// RateScale, when not 0, multiplies run.yaml's learning_rate from here on, until another is given; a checkpoint remembers
	// it. 1 is run.yaml's own rate again.
	RateScale float64
	// QuantCache, where its folder is set, keeps the base's weights in 4 bits for the next run.
	QuantCache model.QuantCache
	// Progress, when set, hears of long work before the first step: "read train_file", "load model" and so on; total is -1
	// when it is not known yet.
	Progress func(stage string, done, total int64)
	// Group is the ranks that train the run together, nil for this process alone. The run leaves it when it has ended, and tells
	// the others why if it fails.
	Group compute.Group
	// Ranks is how many a plan is made for, where there is no Group.
	Ranks int
}

// ranks is how many devices the run trains on.
func (o Options) ranks() int {
	if o.Group != nil {
		return o.Group.Size()
	}
	return max(o.Ranks, 1)
}

// Run is a prepared run: its data are read and checked, its model is loaded, its memory reserved.
type Run struct {
	config     Config
	plan       Plan
	course     course
	corpus     *corpus
	loader     *datasets.Loader
	evaluation *datasets.Loader // nil without validation rows
	files      *model.Files
	ownFiles   bool
	resumed    resumed
	stopAfter  int

	pauseOnSaveError bool
	released         bool // the device's memory is given back, so many bytes
	releasedBytes    int64
	resuming         bool

	ranks          int
	group          compute.Group
	othersReleased bool // the other ranks' devices, as ordered
	agreed         bool // all ranks have found the fault that ends the run

	dev       compute.Device
	base      *model.Model
	model     *model.Model // with the adapter
	adapter   *model.Adapter
	optimizer *optimizer
	output    *outputFolder

	// of the training goroutine
	state     state
	savedStep int // step of the checkpoint written last, -1 for none
	control   *Control
	emit      func(Event)
	held      atomic.Pointer[Held]
	began     time.Time
	clock     clock
	lossSum   float64
	stepsHere int
	unlogged  []StepDone // since the last step event
	skips     skipList
	scaler    *lossScaler // nil without fp16
	spikes    spikeWatch
}

// Held is what a run's device holds, and what is free on it, in bytes.
type Held struct {
	compute.Memory
	Free, Total int64
}

// look notes what the device holds, for those who must not ask it themselves.
func (r *Run) look() {
	info := r.dev.Info()
	r.held.Store(&Held{Memory: r.dev.Memory(), Free: info.MemoryFree, Total: info.MemoryTotal})
}

// Held is what the device held when an event was told last. A device belongs to the training goroutine: a listener, who hears of
// events on another one, asks here. It is nil before the first event.
func (r *Run) Held() *Held { return r.held.Load() }

// ErrMemory marks a run that does not fit into the device's memory.
var ErrMemory = errors.New("memory")

// Prepare does all that can fail for want of data, memory or disk: it reads, checks and tokenises the rows, claims
// output_dir, loads the model and the adapter, and reserves the memory of the largest step.
func Prepare(ctx context.Context, dev compute.Device, cfg Config, opts Options) (_ *Run, err error) {
	if opts.Group == nil {
		opts.Group = alone{}
	}
	defer func() {
		if err != nil {
			opts.Group.Abandon(err)
		}
	}()
	r, err := readRun(ctx, cfg, Environment{Device: dev.Info()}, opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	r.dev, r.group = dev, opts.Group
	if !r.plan.Fits {
		if err := r.makeOffers(dev.Info()); err != nil {
			return nil, err
		}
		return nil, r.plan.memoryError()
	}
	from, err := r.claimAs(opts.Resume)
	if err != nil {
		return nil, err
	}
	if err := r.load(ctx, opts); err != nil {
		return nil, err
	}
	if opts.Resume != "" {
		if err := r.restore(from); err != nil {
			return nil, err
		}
	}
	if err := r.steerFrom(opts); err != nil {
		return nil, err
	}
	return r, r.meet()
}

// readRun does what needs no device: the data, the loaders, the schedule and the plan.
func readRun(ctx context.Context, cfg Config, env Environment, opts Options) (_ *Run, err error) {
	if opts.MaxSteps < 0 || opts.StopAfter < 0 {
		return nil, faultf(0, "max-steps and stop-after count steps: give 1 or more")
	}
	if opts.MaxSteps > 0 {
		cfg.MaxSteps = opts.MaxSteps
	}
	if err := errors.Join(cfg.Validate(), cfg.checkOverlap()); err != nil {
		return nil, err
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int64, int64) {}
	}
	r := &Run{config: cfg, files: opts.Files, stopAfter: opts.StopAfter, pauseOnSaveError: opts.PauseOnSaveError, resuming: opts.Resume != "", savedStep: -1, ranks: opts.ranks()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closeFiles())
		}
	}()
	if r.files == nil {
		if r.files, err = model.Open(cfg.ModelNameOrPath); err != nil {
			return nil, fmt.Errorf("model_name_or_path: %w", err)
		}
		r.ownFiles = true
	}
	if err = r.checkQuantization(); err != nil {
		return nil, err
	}
	if r.corpus, err = readData(ctx, cfg, r.files, opts.Progress); err != nil {
		return nil, err
	}
	r.makeLoaders()
	r.course = newCourse(cfg, r.loader.StepsPerEpoch())
	r.deviceNotices(env.Device)
	if err := r.forecast(env); err != nil {
		return nil, err
	}
	return r, r.fingerprint(env.Device)
}

// accumulated is the number of micro-batches of an optimiser step: gradient_accumulation_steps on each rank.
func (r *Run) accumulated() int { return r.config.GradAccum * max(r.ranks, 1) }

func (r *Run) makeLoaders() {
	c := r.config
	length := r.corpus.encoder.MaxSeqLength
	r.loader = datasets.NewLoader(r.corpus.train, datasets.LoaderConfig{
		BatchSize: c.BatchSize, GradAccum: r.accumulated(), Packing: c.Packing, MaxSeqLength: length, Shuffle: c.Shuffle, Seed: c.DataSeed,
	})
	if len(r.corpus.validation) > 0 {
		size := c.EvalBatchSize
		if size == 0 {
			size = c.BatchSize
		}
		r.evaluation = datasets.NewLoader(r.corpus.validation, datasets.LoaderConfig{BatchSize: size, GradAccum: 1})
	}
}

func (r *Run) fingerprint(device compute.Info) error {
	weights, err := fingerprintModel(r.files)
	if err != nil {
		return err
	}
	r.state = state{
		Version: stateVersion, Steps: r.plan.Steps, StepsPerEpoch: r.plan.StepsPerEpoch, Config: r.config,
		Device: strings.TrimSpace(device.Name + " " + device.Tier), Ranks: noteRanks(r.ranks),
		Fingerprints: fingerprints{
			Train:      fingerprintSamples(r.corpus.train),
			Validation: fingerprintSamples(r.corpus.validation),
			Model:      weights,
		},
	}
	return nil
}

// claim takes output_dir and finds the checkpoint to go on from, if any. What another run left there is moved aside.
func (r *Run) claim(resume string) (from state, err error) {
	if resume != "" {
		if _, err := os.Stat(resume); err != nil {
			return state{}, fmt.Errorf("%w: %w", ErrResume, err)
		}
	}
	if r.output, err = claimOutput(r.config.OutputDir, r.plan.CheckpointSize); err != nil {
		return state{}, err
	}
	for _, text := range r.output.notices {
		r.notice(text)
	}
	if resume != "" {
		if from, err = r.findResume(resume); err != nil {
			return state{}, err
		}
		for _, text := range r.resumed.skipped {
			r.notice("not whole, and skipped: " + text)
		}
		if r.output.holds(r.resumed.path) {
			return from, nil
		}
	}
	if err := foreignWeights(r.config.OutputDir); err != nil {
		return state{}, err
	}
	moved, err := moveAside(r.config.OutputDir)
	if err != nil {
		return state{}, fmt.Errorf("output_dir: %w", err)
	}
	if moved != "" {
		r.notice(moved)
	}
	return from, nil
}

// findResume finds the checkpoint to go on from and makes sure that going on is the same run.
func (r *Run) findResume(path string) (s state, err error) {
	if r.resumed, err = findCheckpoint(path); err != nil {
		return state{}, err
	}
	if s, err = readState(r.resumed.path); err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrResume, err)
	}
	return s, r.checkResume(s)
}

// load puts weights, adapter, gradients, moments and workspace into the device's memory.
func (r *Run) load(ctx context.Context, opts Options) (err error) {
	files := r.files
	full := r.config.Method == MethodFull
	if full && r.resumed.path != "" {
		if files, err = model.Open(r.resumed.path); err != nil {
			return fmt.Errorf("%w: %w", ErrResume, err)
		}
		defer func() { err = errors.Join(err, files.Close()) }()
	}
	progress := func(done, total int64) {
		if opts.Progress != nil {
			opts.Progress("load model", done, total)
		}
	}
	r.dev.ResetPeak()
	options := r.loadOptions(r.dev.Info())
	options.Cache = opts.QuantCache
	if r.base, err = model.Load(r.dev, files, options, progress); err != nil {
		return fmt.Errorf("model_name_or_path: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.model = r.base
	if full {
		if err := r.base.TrainAll(); err != nil {
			return fmt.Errorf("train all weights: %w", err)
		}
	} else if err := r.loadAdapter(); err != nil {
		return err
	}
	if r.optimizer, err = newOptimizer(r.dev, r.model.Trainable(), r.config); err != nil {
		return err
	}
	maxTokens, maxSeqs, maxLen := r.bounds()
	if err := r.model.ReserveStep(maxTokens, maxSeqs, maxLen, true, model.StepOptions{Checkpoint: r.config.GradCheckpointing}); err != nil {
		return fmt.Errorf("reserve workspace: %w", err)
	}
	return r.dev.Sync()
}

// loadAdapter makes a new adapter, or reads that of the checkpoint, or the one to go on from.
func (r *Run) loadAdapter() (err error) {
	switch {
	case r.resumed.path != "":
		r.adapter, err = model.ResumeAdapter(r.base, r.resumed.path, filepath.Join(r.resumed.path, adapterStateFile))
	case r.config.AdapterNameOrPath != "":
		if r.adapter, err = model.LoadAdapter(r.base, r.config.AdapterNameOrPath); err != nil {
			return fmt.Errorf("adapter_name_or_path: %w", err)
		}
		r.adapterNotices()
	default:
		r.adapter, err = model.NewAdapter(r.base, r.config.adapterConfig(), uint64(r.config.Seed))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.config.Method.section(), err)
	}
	r.model = r.base.With(r.adapter)
	return nil
}

// memoryError says by how much a run does not fit, and what makes it fit.
func (p Plan) memoryError() error {
	m := p.Memory
	return fmt.Errorf("%w: %s; weights take %s, gradients and optimiser %s, activations %s", ErrMemory, p.verdict(),
		formatBytes(m.Base+m.Adapters), formatBytes(m.Gradients+m.Optimizer), formatBytes(m.Activations))
}

// Config is the run's configuration, with the options' changes.
func (r *Run) Config() Config { return r.config }

// Plan is what the run will do and take.
func (r *Run) Plan() Plan { return r.plan }

// History is what the run had measured when it was prepared or when Train returned; a resumed run knows its past.
func (r *Run) History() History {
	return History{Steps: slices.Clone(r.state.History.Steps), Evals: slices.Clone(r.state.History.Evals)}
}

// Step is the number of optimiser steps done: not 0 for a resumed run. Not to be called while Train runs.
func (r *Run) Step() int { return r.state.Step }

// Live is what can be asked while no training is under way: before Train, and after it until Close. While Train runs, only
// jobs of [Control.Do] may touch the model.
func (r *Run) Live() *Live { return r.live() }

func (r *Run) live() *Live {
	return &Live{Model: r.model, Adapter: r.adapter, Encoder: r.corpus.encoder, Step: r.state.Step, Evaluate: r.evaluate}
}

// Close frees the run's memory and lets go of its output folder.
func (r *Run) Close() error {
	if r.optimizer != nil {
		r.optimizer.free()
		r.optimizer = nil
	}
	if r.adapter != nil {
		r.adapter.Free()
		r.adapter = nil
	}
	if r.base != nil {
		r.base.Release()
		r.base.Free()
		r.base = nil
	}
	if r.group != nil {
		r.group.Close() // of a run that was never trained: else it has left
	}
	output := r.output
	r.output = nil
	return errors.Join(r.closeFiles(), output.close())
}

func (r *Run) closeFiles() error {
	if !r.ownFiles || r.files == nil {
		return nil
	}
	files := r.files
	r.files = nil
	return files.Close()
}
