package trainer

import (
	"context"
	"errors"

	"lathe/datasets"
	"lathe/model"
)

// ErrEnded is what [Control.Do] answers when the run has ended before its turn: ask [Run.Live] instead.
var ErrEnded = errors.New("the run has ended")

// Control steers a run from other goroutines. Its methods return at once, but for Do; they take effect at the next border
// between two optimiser steps. The zero value is not usable: see [NewControl].
type Control struct {
	jobs chan job
}

type job struct {
	run  func(*Live) error
	done chan error
}

// Live is what a job of [Control.Do] may use while it runs. It may generate, score and evaluate with it; it must not keep the
// pointers after it returns, and it cannot change the training's bits: dropout and data order depend on the step alone.
type Live struct {
	// Model is the view that is being trained, adapter included; Model.With(nil) is its base (for method full, the same).
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
func NewControl() *Control { return &Control{jobs: make(chan job)} }

// Pause asks the run to wait at the next border.
func (c *Control) Pause() {}

// Resume lets a paused run go on.
func (c *Control) Resume() {}

// Save asks for a checkpoint at the next border.
func (c *Control) Save() {}

// Stop ends the run at the next border, with or without a checkpoint.
func (c *Control) Stop(save bool) {}

// Do runs a job on the training goroutine, at the next border or at once while the run is paused, and waits for it.
func (c *Control) Do(ctx context.Context, run func(*Live) error) error { return nil }
