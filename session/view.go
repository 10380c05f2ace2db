package session

import (
	"maps"
	"slices"
	"time"

	"lathe/datasets"
	"lathe/trainer"
)

// MaxFindings is how many findings of one check the View and the journal hold; the summary counts all.
const MaxFindings = 5000

// maxLog is how many lines the View's log keeps.
const maxLog = 500

// View is all that a screen shows. It is a value: its slices only ever grow at the end (or are replaced), so a View taken
// once stays as it was while the session goes on. The zero value is an empty workspace.
type View struct {
	// Version grows with every change; equal versions are equal views.
	Version int64
	// Config is the run.yaml on the table, which Start begins with; nil before one is loaded. Plan is its forecast, or nil
	// while it is being made; PlanErr is why there is none.
	Config     *trainer.Config
	ConfigPath string
	Plan       *trainer.Plan
	PlanErr    string
	Data       DataView
	Run        RunView
	// Runs are all runs of the workspace, oldest first, the current one included.
	Runs  []RunSummary
	Plays []Play
	// Evaluating is the version under evaluation ("" for none), EvalDone of EvalTotal prompts are answered.
	Evaluating          string
	EvalDone, EvalTotal int
	Reports             []Evaluated
	Exports             []Exported
	Memory              MemorySampled
	// Gauges is empty where the device has none: on the CPU, and before the device was opened.
	Gauges GaugesRead
	Log    []LogLine

	// shelf keeps what is known of datasets that were on screen before, by path; replaced, never changed.
	shelf map[string]DataView
}

// DataView is the dataset on screen.
type DataView struct {
	Path string
	// Opened counts the datasets that were put on screen: another count is another content, even under the same path.
	Opened   int
	Rows     int
	Part     float64 // of the file indexed, 0 to 1
	Indexed  bool
	Err      string
	Linting  bool
	LintRows int
	Findings []datasets.Finding
	Summary  *datasets.Summary // nil before the first check
	// Labels holds the rows that have one; the map is replaced, never changed.
	Labels map[int]string
	Undo   []Labelled
}

// RunView is the current run, or the last one.
type RunView struct {
	RunSummary
	Config trainer.Config
	Plan   *trainer.Plan // nil until planned
	// HasModel tells that the run's model is in memory and can be prompted.
	HasModel bool
	Stage    Preparing // while State is Starting
	Steps    []StepPoint
	Evals    []EvalPoint
	Marks    []Mark
	Saved    []trainer.Saved
	// Last is the newest step; its Step is 0 before the first.
	Last trainer.StepDone
	Done *trainer.Done
	// Released is how much of the device's memory a paused run has given back, in bytes.
	Released int64
	// Trouble is what the guard found where it has ended the run, nil else; Spikes are the loss spikes so far.
	Trouble *trainer.NonFiniteError
	Spikes  []trainer.Spike
	// SkipRows are left out of the steps, FILE:LINE; RateScale is the factor on the configured learning rate, 0 for 1.
	SkipRows  []string
	RateScale float64
	// Overflows is the number of steps that fp16's loss scaler has skipped.
	Overflows int

	before *RunView // what it goes on from, until it says from which step
}

// RunSummary is a run in a list.
type RunSummary struct {
	ID         int64
	Name       string
	State      State
	Reason     string // why it failed
	Started    time.Time
	Ended      time.Time // zero while it goes on
	Step       int
	TotalSteps int
	Loss       float64
	Output     string
}

// StepPoint is one step on the charts.
type StepPoint struct {
	trainer.StepDone
	Time time.Time
}

// EvalPoint is one evaluation on the charts.
type EvalPoint struct {
	trainer.EvalDone
	Time time.Time
}

// Mark is a moment worth a line on the charts.
type Mark struct {
	Step int
	Kind trainer.Kind // paused, resumed, saved, spike
}

// Play is one prompt and the answer of one version of the model.
type Play struct {
	ID      int64       `json:"id"`
	Group   int64       `json:"group"` // plays of one command share it: the sides of a comparison
	Version string      `json:"version"`
	Step    int         `json:"step"`
	Prompt  string      `json:"prompt"`
	Options PlayOptions `json:"options"`
	Text    string      `json:"text"`
	Tokens  []PlayPiece `json:"tokens,omitempty"`
	// Finish is "stop", "length", or FinishStopped, "" while it is being written; Err is why it failed.
	Finish          string  `json:"finish,omitempty"`
	TokensPerSecond float64 `json:"tokens_per_second,omitempty"`
	Err             string  `json:"error,omitempty"`
}

// FinishStopped is the end of an answer that StopAnswers has ended.
const FinishStopped = "stopped"

// Ended tells whether the answer will not change any more.
func (p Play) Ended() bool { return p.Finish != "" || p.Err != "" }

// PlayPiece is one token of an answer with ln p under the model.
type PlayPiece struct {
	Text    string  `json:"text"`
	LogProb float32 `json:"logprob"`
}

// PlayOptions says how to sample.
type PlayOptions struct {
	MaxNewTokens int     `json:"max_new_tokens"`
	Temperature  float64 `json:"temperature"`
	TopP         float64 `json:"top_p"`
	TopK         int     `json:"top_k"`
	Seed         uint64  `json:"seed"`
}

// LogLine is one line of the event log.
type LogLine struct {
	Time  time.Time
	Level datasets.Level
	Text  string
}

// HasCheckpoint tells whether the run saved that folder.
func (r RunView) HasCheckpoint(path string) bool {
	return slices.ContainsFunc(r.Saved, func(s trainer.Saved) bool { return s.Path == path })
}

// Versions lists what can be prompted: base, every checkpoint, live.
func (r RunView) Versions() []string {
	if !r.HasModel {
		return nil
	}
	versions := []string{VersionBase}
	for _, s := range r.Saved {
		versions = append(versions, s.Path)
	}
	return append(versions, VersionLive)
}

// Apply folds one event into the view. It is the only thing that changes a View.
func (v *View) Apply(e Event) {
	v.Version++
	switch b := e.Body.(type) {
	case ConfigLoaded:
		v.Config, v.ConfigPath, v.Plan, v.PlanErr = &b.Config, b.Path, nil, ""
	case Forecast:
		v.Plan, v.PlanErr = b.Plan, b.Err
	case DataOpened:
		v.openData(b.Path)
	case DataIndexed, LintStarted, LintProgress, Linted, Labelled:
		v.Data.apply(b)
	case RunCreated:
		v.startRun(e, b)
	case Preparing, Planned, Training, StateChanged:
		v.Run.apply(e)
		if n := len(v.Runs); n > 0 {
			v.Runs = slices.Clone(v.Runs)
			v.Runs[n-1] = v.Run.RunSummary
		}
	case PlayStarted, PlayToken, PlayDone:
		v.applyPlay(b)
	case EvalProgress:
		v.Evaluating, v.EvalDone, v.EvalTotal = b.Version, b.Done, b.Total
	case Evaluated:
		v.Reports = append(v.Reports, b)
	case Exported:
		v.Exports = append(v.Exports, b)
	case MemorySampled:
		v.Memory = b
	case GaugesRead:
		v.Gauges = b
	}
	if line, ok := logLine(e); ok {
		if len(v.Log) >= 2*maxLog {
			v.Log = slices.Clone(v.Log[len(v.Log)-maxLog:])
		}
		v.Log = append(v.Log, line)
	}
}

// startRun puts a fresh run in front; the screens of the last one go with it, but for the history of a run that goes on.
func (v *View) startRun(e Event, b RunCreated) {
	last := v.Run
	v.Run = RunView{
		RunSummary: RunSummary{ID: e.Run, Name: b.Name, State: Starting, Started: e.Time, Output: b.Config.OutputDir},
		Config:     b.Config,
	}
	if b.Resume != "" && last.Output == b.Config.OutputDir {
		v.Run.before = &last
	}
	v.Runs = append(slices.Clone(v.Runs), v.Run.RunSummary)
	v.Reports, v.Exports = nil, nil
}

// openData puts a dataset on screen and the one before on the shelf; labels and findings come back with their dataset.
func (v *View) openData(path string) {
	shelf := maps.Clone(v.shelf)
	if shelf == nil {
		shelf = map[string]DataView{}
	}
	shelf[v.Data.Path] = v.Data
	known := shelf[path]
	v.shelf = shelf
	v.Data = DataView{Path: path, Opened: v.Data.Opened + 1, Labels: known.Labels, Undo: known.Undo, Findings: known.Findings, Summary: known.Summary}
}

func (d *DataView) apply(body Body) {
	switch b := body.(type) {
	case DataIndexed:
		d.Rows, d.Part, d.Indexed, d.Err = b.Rows, b.Part, b.Done, b.Err
	case LintStarted:
		d.Linting, d.LintRows = true, 0
	case LintProgress:
		d.LintRows = b.Rows
	case Linted:
		d.Linting = false
		if b.Path == d.Path && b.Err == "" {
			d.Findings, d.Summary = b.Findings, &b.Summary
		}
	case Labelled:
		if b.Path == d.Path {
			d.label(b)
		}
	}
}

// label sets a row's label in a copy of the map, for a View taken before must stay as it was.
func (d *DataView) label(b Labelled) {
	labels := maps.Clone(d.Labels)
	if labels == nil {
		labels = map[int]string{}
	}
	if b.Label == "" {
		delete(labels, b.Row)
	} else {
		labels[b.Row] = b.Label
	}
	d.Labels = labels
	if b.Undo {
		d.Undo = slices.Clone(d.Undo[:max(0, len(d.Undo)-1)])
		return
	}
	d.Undo = append(d.Undo, b)
}

func (r *RunView) apply(e Event) {
	switch b := e.Body.(type) {
	case Preparing:
		r.Stage = b
	case Planned:
		plan := b.Plan
		r.Plan, r.TotalSteps = &plan, plan.Steps
	case Training:
		r.train(e.Time, b.Event)
	case StateChanged:
		r.State, r.Reason = b.State, b.Reason
		switch b.State {
		case Running:
			r.HasModel = true
		case Done, Stopped, Failed:
			r.Ended = e.Time
		}
	}
}

// train folds an event of the trainer.
func (r *RunView) train(at time.Time, event trainer.Event) {
	switch t := event.(type) {
	case trainer.StepDone:
		r.Steps = append(r.Steps, StepPoint{t, at})
		r.Last, r.Step, r.Loss = t, t.Step, t.Loss
	case trainer.StepSkipped:
		r.Step, r.Overflows = t.Step, max(r.Overflows, t.Total)
	case trainer.Spike:
		r.Spikes = append(r.Spikes, t)
		r.Marks = append(r.Marks, Mark{t.Step, t.Kind()})
	case trainer.Started:
		r.recall(t)
		r.RateScale, r.SkipRows = t.RateScale, nil
		for _, row := range t.SkipRows {
			r.SkipRows = append(r.SkipRows, row.Row)
		}
	case trainer.Failed:
		r.Trouble = t.NonFinite
	case trainer.EvalDone:
		r.Evals = append(r.Evals, EvalPoint{t, at})
	case trainer.Saved:
		r.Saved = append(slices.Clone(r.Saved), t)
		r.Saved = slices.DeleteFunc(r.Saved, func(s trainer.Saved) bool { return slices.Contains(t.Removed, s.Path) })
		r.Marks = append(r.Marks, Mark{t.Step, t.Kind()})
	case trainer.Paused:
		r.Released = t.Released
		if t.Released == 0 {
			r.Marks = append(r.Marks, Mark{t.At(), t.Kind()})
		}
	case trainer.Resumed:
		r.Released = 0
		r.Marks = append(r.Marks, Mark{t.At(), t.Kind()})
	case trainer.Done:
		r.Done = &t
	}
}

// recall puts the history of the run that it goes on with before its own, up to the step that it goes on from.
func (r *RunView) recall(t trainer.Started) {
	last := r.before
	r.before = nil
	if last == nil || t.ResumedFrom == "" {
		return
	}
	late := func(step int) bool { return step > t.Step }
	r.Steps = slices.DeleteFunc(slices.Clone(last.Steps), func(s StepPoint) bool { return late(s.Step) })
	r.Evals = slices.DeleteFunc(slices.Clone(last.Evals), func(e EvalPoint) bool { return late(e.Step) })
	r.Marks = slices.DeleteFunc(slices.Clone(last.Marks), func(m Mark) bool { return late(m.Step) })
	r.Saved = slices.DeleteFunc(slices.Clone(last.Saved), func(s trainer.Saved) bool { return late(s.Step) })
	r.Spikes = slices.DeleteFunc(slices.Clone(last.Spikes), func(s trainer.Spike) bool { return late(s.Step) })
	if n := len(r.Steps); n > 0 {
		r.Last = r.Steps[n-1].StepDone
		r.Loss = r.Last.Loss
	}
	r.Step = t.Step
}

func (v *View) applyPlay(body Body) {
	switch b := body.(type) {
	case PlayStarted:
		v.Plays = append(slices.Clone(v.Plays), b.Play)
	case PlayToken:
		v.changePlay(b.ID, func(p *Play) {
			p.Text += b.Text
			p.Tokens = append(p.Tokens, PlayPiece{b.Text, b.LogProb})
		})
	case PlayDone:
		v.changePlay(b.Play.ID, func(p *Play) { *p = b.Play })
	}
}

// changePlay edits one play in a copy of the list.
func (v *View) changePlay(id int64, change func(*Play)) {
	i := slices.IndexFunc(v.Plays, func(p Play) bool { return p.ID == id })
	if i < 0 {
		return
	}
	v.Plays = slices.Clone(v.Plays)
	change(&v.Plays[i])
}
