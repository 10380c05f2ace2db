package session

import (
	"encoding/json"
	"fmt"
	"time"

	"lathe/datasets"
	"lathe/evalsuite"
	"lathe/trainer"
)

// Event is something that happened in a workspace.
type Event struct {
	// Seq is the journal's number, from 1; 0 for what is shown but not journalled (progress, half an answer).
	Seq int64
	// Run is the run it belongs to, 0 for none.
	Run  int64
	Time time.Time
	Body Body
}

// Body is what happened: one of the types of this file.
type Body interface {
	// Kind names the type in the journal; names are never reused.
	Kind() string
	// Transient bodies are shown, never journalled.
	Transient() bool
}

// journalled and transient are embedded by bodies to say which they are.
type (
	journalled struct{}
	transient  struct{}
)

// Transient is false: the event is part of history.
func (journalled) Transient() bool { return false }

// Transient is true: the event is worth a frame, not a line of history.
func (transient) Transient() bool { return true }

// The bodies.
type (
	// ConfigLoaded says that a run.yaml lies on the table.
	ConfigLoaded struct {
		journalled
		Path   string         `json:"path"`
		Config trainer.Config `json:"config"`
	}
	// Forecast is the plan of the run.yaml on the table, or why there is none.
	Forecast struct {
		transient
		Plan *trainer.Plan
		Err  string
	}
	// DataOpened says that a dataset is now the one on screen.
	DataOpened struct {
		journalled
		Path string `json:"path"`
	}
	// DataIndexed tells how much of the open dataset is known.
	DataIndexed struct {
		transient
		Rows int
		Part float64
		Done bool
		Err  string
	}
	// LintStarted says that the open dataset is being checked.
	LintStarted struct {
		journalled
		Path string `json:"path"`
	}
	// LintProgress tells how far a check is.
	LintProgress struct {
		transient
		Rows int
	}
	// Linted is the result of a check. Findings holds the first MaxFindings; Summary counts all.
	Linted struct {
		journalled
		Path     string             `json:"path"`
		Findings []datasets.Finding `json:"findings"`
		Summary  datasets.Summary   `json:"summary"`
		Err      string             `json:"error,omitempty"`
	}
	// Labelled sets a row's label; an empty one takes it away.
	Labelled struct {
		journalled
		Path     string `json:"path"`
		Row      int    `json:"row"`
		Label    string `json:"label"`
		Previous string `json:"previous"`
		// Undo says that this event took an earlier one back.
		Undo bool `json:"undo,omitempty"`
	}
	// RunCreated is the birth of a run; the event's Run is its number.
	RunCreated struct {
		journalled
		Name   string         `json:"name"`
		Config trainer.Config `json:"config"`
		Resume string         `json:"resume,omitempty"`
		// SkipRows and RateScale are what this start changes in the run's course.
		SkipRows  []string `json:"skip_rows,omitempty"`
		RateScale float64  `json:"learning_rate_scale,omitempty"`
	}
	// Preparing tells what is being made ready before step 1.
	Preparing struct {
		transient
		Stage       string
		Done, Total int64
	}
	// Planned is the forecast of memory, steps and time.
	Planned struct {
		journalled
		Plan trainer.Plan `json:"plan"`
	}
	// Training is an event of the trainer. In the journal it is the event's own JSON line.
	Training struct {
		journalled
		Event trainer.Event
	}
	// StateChanged is a move of the run's state machine.
	StateChanged struct {
		journalled
		State State `json:"state"`
		// Reason is empty, or the error of a failed run.
		Reason string `json:"reason,omitempty"`
	}
	// PlayStarted is a prompt given to one version of the model.
	PlayStarted struct {
		journalled
		Play Play `json:"play"`
	}
	// PlayToken is one more token of an answer.
	PlayToken struct {
		transient
		ID      int64
		Text    string
		LogProb float32
	}
	// PlayDone is the whole answer.
	PlayDone struct {
		journalled
		Play Play `json:"play"`
	}
	// EvalProgress tells how far an evaluation is.
	EvalProgress struct {
		transient
		Version     string
		Done, Total int
	}
	// Evaluated is a suite's report on one version of the model.
	Evaluated struct {
		journalled
		Version string           `json:"version"`
		Step    int              `json:"step"`
		Report  evalsuite.Report `json:"report"`
	}
	// Exported says where an adapter or model was written.
	Exported struct {
		journalled
		Format string `json:"format"`
		Path   string `json:"path"`
	}
	// MemorySampled is what the device holds now.
	MemorySampled struct {
		transient
		Used, Peak, Free, Total int64
	}
	// GaugesRead is what the GPUs' own gauges say, coarse enough to stand still while nothing happens. It is not journalled: a
	// row a second for ever would tell nobody anything a week later, and what a run took at most is in its steps.
	GaugesRead struct {
		transient
		// GPUs are those that the device computes on first, then the host's others.
		GPUs []Gauge
		// Err is why there are none, or why they are old.
		Err string
	}
	// Noted is a line for the log: a warning, or what a key could not do.
	Noted struct {
		journalled
		Level datasets.Level `json:"level"`
		Text  string         `json:"text"`
	}
)

// The names in the journal.

func (ConfigLoaded) Kind() string  { return "config_loaded" }
func (Forecast) Kind() string      { return "forecast" }
func (DataOpened) Kind() string    { return "data_opened" }
func (DataIndexed) Kind() string   { return "data_indexed" }
func (LintStarted) Kind() string   { return "lint_started" }
func (LintProgress) Kind() string  { return "lint_progress" }
func (Linted) Kind() string        { return "linted" }
func (Labelled) Kind() string      { return "labelled" }
func (RunCreated) Kind() string    { return "run_created" }
func (Preparing) Kind() string     { return "preparing" }
func (Planned) Kind() string       { return "planned" }
func (Training) Kind() string      { return "training" }
func (StateChanged) Kind() string  { return "state_changed" }
func (PlayStarted) Kind() string   { return "play_started" }
func (PlayToken) Kind() string     { return "play_token" }
func (PlayDone) Kind() string      { return "play_done" }
func (EvalProgress) Kind() string  { return "eval_progress" }
func (Evaluated) Kind() string     { return "evaluated" }
func (Exported) Kind() string      { return "exported" }
func (MemorySampled) Kind() string { return "memory_sampled" }
func (GaugesRead) Kind() string    { return "gauges_read" }
func (Noted) Kind() string         { return "noted" }

// decoders read the journal's bodies back, by kind.
var decoders = map[string]func([]byte) (Body, error){
	"config_loaded": decode[ConfigLoaded],
	"data_opened":   decode[DataOpened],
	"lint_started":  decode[LintStarted],
	"linted":        decode[Linted],
	"labelled":      decode[Labelled],
	"run_created":   decode[RunCreated],
	"planned":       decode[Planned],
	"training":      decode[Training],
	"state_changed": decode[StateChanged],
	"play_started":  decode[PlayStarted],
	"play_done":     decode[PlayDone],
	"evaluated":     decode[Evaluated],
	"exported":      decode[Exported],
	"noted":         decode[Noted],
}

func decode[T Body](data []byte) (Body, error) {
	var body T
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("decode %s: %w", body.Kind(), err)
	}
	return body, nil
}

// MarshalJSON writes the trainer's own line.
func (t Training) MarshalJSON() ([]byte, error) { return trainer.MarshalEvent(t.Event) }

// UnmarshalJSON reads the trainer's own line.
func (t *Training) UnmarshalJSON(data []byte) (err error) {
	t.Event, err = trainer.UnmarshalEvent(data)
	return err
}

func encodeBody(b Body) (kind string, data []byte, err error) {
	data, err = json.Marshal(b)
	if err != nil {
		return "", nil, fmt.Errorf("encode %s: %w", b.Kind(), err)
	}
	return b.Kind(), data, nil
}

func decodeBody(kind string, data []byte) (Body, error) {
	read, ok := decoders[kind]
	if !ok {
		return nil, fmt.Errorf("kind %q is unknown: it was written by a newer lathe", kind)
	}
	return read(data)
}
