package trainer

import (
	"encoding/json"
	"fmt"
)

// Kind names an event in its JSON line.
type Kind string

// The kinds of events.
const (
	KindStarted Kind = "started"
	KindNotice  Kind = "notice"
	KindStep    Kind = "step"
	KindSkipped Kind = "skipped"
	KindSpike   Kind = "spike"
	KindEval    Kind = "eval"
	KindSaved   Kind = "saved"
	KindPaused  Kind = "paused"
	KindResumed Kind = "resumed"
	KindDone    Kind = "done"
	KindFailed  Kind = "failed"
)

// Event is something that happened to a run: one of [Started], [Notice], [StepDone], [StepSkipped], [Spike], [EvalDone],
// [Saved], [Paused], [Resumed], [Done] and [Failed], all of them values. [MarshalEvent] gives its JSON line.
type Event interface {
	// Kind is the event's name in its JSON line.
	Kind() Kind
	// At is the optimiser step after which it happened, 0 before the first.
	At() int
}

// Started opens a run: what will be done, before step 1 (or the first step after a resume).
type Started struct {
	Step int  `json:"step"` // steps already done by the checkpoint it goes on from
	Plan Plan `json:"plan"`
	// ResumedFrom is the checkpoint's folder; Skipped says which newer ones are not whole, and why.
	ResumedFrom string   `json:"resumed_from,omitempty"`
	Skipped     []string `json:"skipped,omitempty"`
	// SkipRows are the rows that are left out, RateScale the factor on run.yaml's learning_rate where it is not 1.
	SkipRows  []SkippedRow `json:"skip_rows,omitempty"`
	RateScale float64      `json:"learning_rate_scale,omitempty"`
}

// Notice tells the user something that is no failure: an option honoured differently, a leftover cleaned away.
type Notice struct {
	Step    int    `json:"step"`
	Message string `json:"message"`
}

// StepDone is one optimiser step. With logging_steps above 1 it stands for the steps since the event before: as in
// transformers' logs, Loss is then the mean of theirs, GradNorm and LearningRate are the last one's; tokens are summed.
type StepDone struct {
	Step         int     `json:"step"`          // from 1
	Epoch        float64 `json:"epoch"`         // done so far
	Loss         float64 `json:"loss"`          // mean over the trained tokens of the whole optimiser step
	LearningRate float64 `json:"learning_rate"` // the one this step used
	GradNorm     float64 `json:"grad_norm"`     // global norm before clipping
	Tokens       int     `json:"tokens"`        // of this step, prompts included
	TokensPerSec float64 `json:"tokens_per_second"`

	TrainedTokens int     `json:"trained_tokens"` // those with a label
	TotalTokens   int64   `json:"total_tokens"`   // of all steps so far
	TotalSteps    int     `json:"total_steps"`    // of the whole run
	SecondsLeft   float64 `json:"seconds_left"`
	MemoryPeak    int64   `json:"memory_peak"` // bytes on the device since the run began
	// Steps is the number of steps it stands for, left out where it is 1.
	Steps int `json:"steps,omitempty"`
}

// Reasons for which a step changes no weight, in [StepSkipped].
const (
	SkippedOverflow = "overflow" // fp16: its scaled gradients were no finite numbers
	SkippedRows     = "rows"     // all of its rows are skipped
)

// StepSkipped is an optimiser step that changed no weight. It counts as a step.
type StepSkipped struct {
	Step    int      `json:"step"` // from 1
	Reason  string   `json:"reason"`
	Message string   `json:"message"`
	Loss    *float64 `json:"loss,omitempty"` // nil where nothing was computed
	Tokens  int      `json:"tokens"`
	// Scale is the loss scale that overflowed and NextScale that of the next step; InARow steps were skipped since the last
	// clean one, Total in the whole run.
	Scale     float64 `json:"scale,omitempty"`
	NextScale float64 `json:"next_scale,omitempty"`
	InARow    int     `json:"in_a_row,omitempty"`
	Total     int     `json:"total,omitempty"`
}

// Spike is a loss far above those before it; the run goes on.
type Spike struct {
	Step   int     `json:"step"`
	Loss   float64 `json:"loss"`
	Median float64 `json:"median"` // of the losses before
	Z      float64 `json:"z"`      // see spikeWatch
	// Rows are the step's, file:line, those with the highest loss of their own first; at most eight of them.
	Rows []string `json:"rows"`
}

// EvalDone is one pass over the validation rows.
type EvalDone struct {
	Step       int     `json:"step"`
	Epoch      float64 `json:"epoch"`
	EvalLoss   float64 `json:"eval_loss"`  // mean over all trained tokens
	Perplexity float64 `json:"perplexity"` // exp of it
	Best       bool    `json:"best"`       // lower than every earlier one
	Tokens     int64   `json:"tokens"`     // trained tokens it is the mean of
	Seconds    float64 `json:"seconds"`
}

// Saved is a checkpoint that lies whole on the disk.
type Saved struct {
	Step    int      `json:"step"`
	Path    string   `json:"path"`
	Bytes   int64    `json:"bytes"`
	Removed []string `json:"removed,omitempty"` // older checkpoints that save_total_limit removed
}

// Paused says that the run waits at a step's border.
type Paused struct {
	Step int `json:"step"`
	// Error says why, when nobody asked for it: a save that failed, say.
	Error string `json:"error,omitempty"`
	// Released is how many bytes of the device's memory were given back; they are taken again when the run goes on.
	Released int64 `json:"released,omitempty"`
}

// Resumed says that a paused run goes on.
type Resumed struct {
	Step int `json:"step"`
}

// Done ends a run that reached its end, or was stopped as asked.
type Done struct {
	Step         int     `json:"step"`
	Reason       string  `json:"reason"` // "finished", "stop_after", "stopped" or "early_stopping"
	Path         string  `json:"path"`   // folder of the final state, empty when not saved
	Loss         float64 `json:"loss"`   // mean of the steps' losses in this process
	Tokens       int64   `json:"tokens"`
	Seconds      float64 `json:"seconds"`
	TokensPerSec float64 `json:"tokens_per_second"`
	BestStep     int     `json:"best_step,omitempty"`
	BestEvalLoss float64 `json:"best_eval_loss,omitempty"`
	BestPath     string  `json:"best_path,omitempty"`
}

// Failed ends a run that cannot go on.
type Failed struct {
	Step  int    `json:"step"`
	Error string `json:"error"`
	// Checkpoint is the newest whole one, to resume from (the last good one after a NonFinite); empty when there is none.
	Checkpoint string `json:"checkpoint,omitempty"`
	// NonFinite says more where a loss, gradient or weight was no finite number, and lists the ways on.
	NonFinite *NonFiniteError `json:"non_finite,omitempty"`
}

func (Started) Kind() Kind     { return KindStarted }
func (Notice) Kind() Kind      { return KindNotice }
func (StepDone) Kind() Kind    { return KindStep }
func (StepSkipped) Kind() Kind { return KindSkipped }
func (Spike) Kind() Kind       { return KindSpike }
func (EvalDone) Kind() Kind    { return KindEval }
func (Saved) Kind() Kind       { return KindSaved }
func (Paused) Kind() Kind      { return KindPaused }
func (Resumed) Kind() Kind     { return KindResumed }
func (Done) Kind() Kind        { return KindDone }
func (Failed) Kind() Kind      { return KindFailed }

func (e Started) At() int     { return e.Step }
func (e Notice) At() int      { return e.Step }
func (e StepDone) At() int    { return e.Step }
func (e StepSkipped) At() int { return e.Step }
func (e Spike) At() int       { return e.Step }
func (e EvalDone) At() int    { return e.Step }
func (e Saved) At() int       { return e.Step }
func (e Paused) At() int      { return e.Step }
func (e Resumed) At() int     { return e.Step }
func (e Done) At() int        { return e.Step }
func (e Failed) At() int      { return e.Step }

// MarshalEvent gives the event's JSON object, "event" first, without a newline.
func MarshalEvent(e Event) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write %s event: %w", e.Kind(), err)
	}
	return append([]byte(`{"event":"`+string(e.Kind())+`",`), body[1:]...), nil
}

// UnmarshalEvent reads what MarshalEvent wrote.
func UnmarshalEvent(line []byte) (Event, error) {
	var head struct {
		Event Kind `json:"event"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	read, ok := eventReaders[head.Event]
	if !ok {
		return nil, fmt.Errorf("read event: unknown kind %q", head.Event)
	}
	return read(line)
}

var eventReaders = map[Kind]func([]byte) (Event, error){
	KindStarted: readEvent[Started],
	KindNotice:  readEvent[Notice],
	KindStep:    readEvent[StepDone],
	KindSkipped: readEvent[StepSkipped],
	KindSpike:   readEvent[Spike],
	KindEval:    readEvent[EvalDone],
	KindSaved:   readEvent[Saved],
	KindPaused:  readEvent[Paused],
	KindResumed: readEvent[Resumed],
	KindDone:    readEvent[Done],
	KindFailed:  readEvent[Failed],
}

func readEvent[E Event](line []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, fmt.Errorf("read %s event: %w", e.Kind(), err)
	}
	return e, nil
}
