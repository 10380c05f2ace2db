package session

import (
	"fmt"

	"lathe/datasets"
	"lathe/trainer"
)

// Command asks the session for something; it is one of the types of this file.
type Command interface {
	// Refusal says why the command cannot act in this view, or nil. A key that sends a command shows the same reason.
	Refusal(View) error
}

// The commands.
type (
	// LoadConfig puts a run.yaml on the table: its dataset is opened, its tokenizer and template serve the token view, and
	// its plan is made.
	LoadConfig struct {
		Path   string
		Config trainer.Config
	}
	// OpenData puts a dataset on screen.
	OpenData struct{ Path string }
	// Lint checks the open dataset, against the model of the run.yaml on the table when there is one.
	Lint struct{}
	// SetLabel gives a row of the open dataset a label of the user's own; an empty one takes it away.
	SetLabel struct {
		Row   int
		Label string
	}
	// UndoLabel takes the last change of a label back.
	UndoLabel struct{}
	// Start begins a run, or goes on with one: Resume is a checkpoint folder or an output_dir.
	Start struct {
		Name                string
		Config              trainer.Config
		Resume              string
		MaxSteps, StopAfter int
		// SkipRows are training rows, FILE:LINE, to leave out from there on; RateScale is a factor on run.yaml's learning_rate,
		// 0 for what the checkpoint says.
		SkipRows  []string
		RateScale float64
		// Paused waits before the first step.
		Paused bool
	}
	// RollBack goes back to a checkpoint of the run that has ended, and waits there paused; without one, to the last good one.
	RollBack struct{ Checkpoint string }
	// SkipRows goes on with the run that has ended without some rows, FILE:LINE; without any, those that its guard named.
	SkipRows struct{ Rows []string }
	// HalveRate goes on with the run that has ended at half the learning rate that it had.
	HalveRate struct{}
	// Pause halts the run at the next step's end.
	Pause struct{}
	// Release pauses like Pause and gives the device's memory back until the run is resumed: another job can use the GPU.
	Release struct{}
	// Resume goes on with a paused run.
	Resume struct{}
	// Save writes a checkpoint at the next step's end.
	Save struct{}
	// Stop ends the run at the next step's end, with a checkpoint.
	Stop struct{}
	// Prompt asks versions of the model the same thing with the same seed: one for the playground, two to compare.
	Prompt struct {
		Text     string
		Versions []string // VersionLive, VersionBase or a checkpoint's folder
		Options  PlayOptions
	}
	// StopAnswers ends the answers being written, and those that wait for their turn, where they are.
	StopAnswers struct{}
	// Evaluate runs the suite on versions of the model.
	Evaluate struct {
		Versions []string
		Suite    Suite
	}
	// Export writes an adapter in a format that others read.
	Export struct {
		Version, Format, Out string
	}
	// Note writes a line into the log: what went wrong in front of the session, say.
	Note struct {
		Level datasets.Level
		Text  string
	}
)

// Versions of a model that have no folder.
const (
	VersionLive = "live"
	VersionBase = "base"
)

func refuse(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Refusal is nil: it may always be tried.
func (LoadConfig) Refusal(View) error { return nil }

// Refusal is nil: any path may be tried.
func (OpenData) Refusal(View) error { return nil }

// Refusal asks for an open dataset that is not being checked already.
func (Lint) Refusal(v View) error {
	switch {
	case v.Data.Path == "":
		return refuse("no dataset is open: open one with :open FILE")
	case v.Data.Linting:
		return refuse("the dataset is being checked already")
	}
	return nil
}

// Refusal asks for a row of the open dataset.
func (c SetLabel) Refusal(v View) error {
	switch {
	case v.Data.Path == "":
		return refuse("no dataset is open: open one with :open FILE")
	case c.Row < 0 || c.Row >= v.Data.Rows:
		return refuse("row %d is not in the dataset of %d rows", c.Row, v.Data.Rows)
	}
	return nil
}

// Refusal asks for a label to take back.
func (UndoLabel) Refusal(v View) error {
	if len(v.Data.Undo) == 0 {
		return refuse("no label to take back")
	}
	return nil
}

// Refusal asks that no other run is at work.
func (Start) Refusal(v View) error {
	if v.Run.State.Active() {
		return refuse("run %q is %s: stop it first with :stop", v.Run.Name, v.Run.State)
	}
	return nil
}

// Refusal asks for a running run.
func (Pause) Refusal(v View) error {
	switch v.Run.State {
	case Running:
		return nil
	case Pausing:
		return refuse("the run pauses at the end of this step")
	case Paused:
		return refuse("the run is paused already: resume it with space")
	}
	return refuse("no run is training: start one with :train FILE")
}

// Refusal asks for a run that holds memory.
func (Release) Refusal(v View) error {
	switch {
	case !v.Run.State.Training():
		return refuse("no run is training: start one with :train FILE")
	case v.Run.Released > 0:
		return refuse("the memory is given back already: space takes it again and resumes")
	}
	return nil
}

// Refusal asks for a paused run.
func (Resume) Refusal(v View) error {
	if v.Run.State != Paused && v.Run.State != Pausing {
		return refuse("no run is paused")
	}
	return nil
}

// Refusal asks for a run at work.
func (Save) Refusal(v View) error {
	if !v.Run.State.Training() {
		return refuse("no run is training: start one with :train FILE")
	}
	return nil
}

// Refusal asks for a run at work.
func (Stop) Refusal(v View) error {
	if !v.Run.State.Active() {
		return refuse("no run to stop")
	}
	return nil
}

// Refusal asks for a model in memory and for versions that exist.
func (c Prompt) Refusal(v View) error {
	if c.Text == "" {
		return refuse("an empty prompt: type something first")
	}
	return v.refuseVersions(c.Versions)
}

// Refusal asks for an answer that is not finished.
func (StopAnswers) Refusal(v View) error {
	for _, p := range v.Plays {
		if !p.Ended() {
			return nil
		}
	}
	return refuse("no answer is being written")
}

// Refusal asks for a model in memory, for versions that exist, and for cases or validation rows.
func (c Evaluate) Refusal(v View) error {
	if v.Evaluating != "" {
		return refuse("version %s is being evaluated already", v.Evaluating)
	}
	if err := v.refuseVersions(c.Versions); err != nil {
		return err
	}
	if plan := v.Run.Plan; len(c.Suite.Cases) == 0 && (plan == nil || plan.EvalRows == 0) {
		return refuse("there is nothing to evaluate on: give the run a validation_file or a validation_split")
	}
	return nil
}

// Refusal asks for a model in memory and a version with a folder or the live one.
func (c Export) Refusal(v View) error { return v.refuseVersions([]string{c.Version}) }

// Refusal is nil: it may always be noted.
func (Note) Refusal(View) error { return nil }

// refuseVersions says which of the versions cannot be asked now.
func (v View) refuseVersions(versions []string) error {
	if !v.Run.HasModel {
		return refuse("no model is in memory: start a run with :train FILE")
	}
	for _, version := range versions {
		if version != VersionLive && v.Run.Config.Method == trainer.MethodFull {
			return refuse("full fine-tuning changes the base itself: only %q can be asked", VersionLive)
		}
		if version != VersionLive && version != VersionBase && !v.Run.HasCheckpoint(version) {
			return refuse("no checkpoint %q in this run", version)
		}
	}
	return nil
}
