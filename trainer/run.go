package trainer

import (
	"context"
	"errors"

	"lathe/compute"
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
	// Progress, when set, hears of long work before the first step: "read", "load" and so on; total is -1 when unknown.
	Progress func(stage string, done, total int64)
}

// Run is a prepared run: its data are read and checked, its model is loaded, its memory reserved.
type Run struct {
	config Config
	plan   Plan
}

// Prepare does all that can fail for want of data, memory or disk.
func Prepare(ctx context.Context, dev compute.Device, cfg Config, opts Options) (*Run, error) {
	return nil, errors.New("prepare run: not built yet")
}

// Config is the run's configuration, with the options' changes.
func (r *Run) Config() Config { return r.config }

// Plan is what the run will do and take.
func (r *Run) Plan() Plan { return r.plan }

// Train runs until the end, a stop or a failure; its last event is Done or Failed. It must be called once.
func (r *Run) Train(ctx context.Context, control *Control, emit func(Event)) error { return nil }

// Live is what can be asked while no training is under way: before Train, and after it until Close. While Train runs, only
// jobs of [Control.Do] may touch the model.
func (r *Run) Live() *Live { return nil }

// Close frees the run's memory.
func (r *Run) Close() error { return nil }

// MakePlan forecasts a run from the model's headers, the data and a dry run of one step.
func MakePlan(ctx context.Context, cfg Config, env Environment, opts Options) (Plan, error) {
	return Plan{}, errors.New("plan run: not built yet")
}
