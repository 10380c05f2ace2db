package trainer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"lathe/datasets"
	"lathe/model"
)

// ErrEnded is what [Control.Do] answers when the run has ended before its turn: ask [Run.Live] instead.
var ErrEnded = errors.New("the run has ended")

// Control steers a run from other goroutines. Its methods return at once, but for Do; they take effect at the next border
// between two optimiser steps. A Control belongs to one run; see [NewControl].
type Control struct {
	mu    sync.Mutex
	want  wishes
	wake  chan struct{} // capacity 1: something is wanted
	jobs  chan job
	ended chan struct{}
	once  sync.Once
}

// wishes are what was asked for since the last border.
type wishes struct {
	pause   bool // stays until Resume
	release bool // the device's memory, while paused; stays until Resume
	save    bool
	stop    bool
	keep    bool // stop with a checkpoint
}

type job struct {
	ctx  context.Context
	run  func(*Live) error
	done chan error // capacity 1
}

// Live is what a job of [Control.Do] may use while it runs. It may generate, score and evaluate with it; it must not keep the
// pointers after it returns, and it cannot change the training's bits: dropout and data order depend on the step alone.
type Live struct {
	// Model is the view that is being trained, adapter included; Model.With(nil) is its base (for method full, the same).
	// Model.Release gives the workspace's memory back for as long as the run is paused; the next step takes it again.
	Model *model.Model
	// Adapter is nil for method full.
	Adapter *model.Adapter
	// Encoder turns rows and messages into tokens as the training does. Its tokenizer may be nil: ready-made ids need none.
	Encoder *datasets.Encoder
	// Step is the number of optimiser steps done.
	Step int
	// Evaluate is the token-weighted loss of a view of the model (the trained one, its base, or with a checkpoint's adapter)
	// over the validation rows, and the number of tokens it is the mean of: 0 where the run has no such rows.
	Evaluate func(ctx context.Context, m *model.Model) (loss float64, tokens int64, err error)
}

// NewControl returns the steering of one run.
func NewControl() *Control {
	return &Control{wake: make(chan struct{}, 1), jobs: make(chan job), ended: make(chan struct{})}
}

// Pause asks the run to wait at the next border.
func (c *Control) Pause() { c.wish(func(w *wishes) { w.pause = true }) }

// Release asks the run to wait at the next border, and to give the device's memory back until Resume.
func (c *Control) Release() { c.wish(func(w *wishes) { w.pause, w.release = true, true }) }

// Resume lets a paused run go on, and takes back a Pause that has not taken effect yet.
func (c *Control) Resume() { c.wish(func(w *wishes) { w.pause, w.release = false, false }) }

// hold keeps the run paused: what was asked for cannot be done.
func (c *Control) hold() {
	c.mu.Lock()
	c.want = wishes{pause: true, release: c.want.release}
	c.mu.Unlock()
}

// Save asks for a checkpoint at the next border, or at once while paused.
func (c *Control) Save() { c.wish(func(w *wishes) { w.save = true }) }

// Stop ends the run at the next border, or at once while paused; with save, a checkpoint and the final state are written.
func (c *Control) Stop(save bool) { c.wish(func(w *wishes) { w.stop, w.keep = true, save }) }

func (c *Control) wish(change func(*wishes)) {
	c.mu.Lock()
	change(&c.want)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // already awake
	}
}

// pausing reports whether a pause is wanted.
func (c *Control) pausing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want.pause
}

// take returns what is wanted; a save is taken once, a pause and a stop stay.
func (c *Control) take() wishes {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.want
	c.want.save = false
	return w
}

// Do runs a job on the training goroutine, at the next border or at once while the run is paused, and waits for its end.
// A job that panics returns an error; the run goes on. When ctx ends before the job began, Do gives up.
func (c *Control) Do(ctx context.Context, run func(*Live) error) error {
	j := job{ctx: ctx, run: run, done: make(chan error, 1)}
	select {
	case c.jobs <- j:
	case <-c.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-j.done
}

// end refuses later jobs.
func (c *Control) end() { c.once.Do(func() { close(c.ended) }) }

// doWaiting runs the jobs that wait, if any: at a border, and between the batches of an evaluation.
func (r *Run) doWaiting() {
	for {
		select {
		case j := <-r.control.jobs:
			r.do(j)
		default:
			return
		}
	}
}

// do runs one job. What it leaves undone on the device must not become the next step's error.
func (r *Run) do(j job) {
	j.done <- func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("a job panicked: %v\n%s", p, debug.Stack())
			}
			if syncErr := r.dev.Sync(); err == nil {
				err = syncErr
			}
		}()
		if err := j.ctx.Err(); err != nil {
			return err
		}
		if err := r.takeBack(); err != nil {
			return err
		}
		return j.run(r.live())
	}()
}
