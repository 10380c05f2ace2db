package trainer

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"lathe/datasets"
)

// NonFiniteError stops a run whose loss, gradients or weights are no longer numbers. The weights are those before the step,
// unless a weight itself is named. [Failed] carries it, for whoever offers a way on.
type NonFiniteError struct {
	Step int `json:"step"` // the one that failed, from 1
	// What is not finite, in a few words; Where is the first place of the pass where it was so, found by repeating the
	// micro-batch: "layer 17, self_attn.v_proj: output", say.
	What  string `json:"what"`
	Where string `json:"where,omitempty"`
	// Layer is that place's block, from 0; -1 outside of the blocks or where it is not known.
	Layer int `json:"layer"`
	// Tensor and Index are the weight, or the gradient, and its element, where one is at fault.
	Tensor string `json:"tensor,omitempty"`
	Index  int    `json:"index,omitempty"`
	// Rows are the rows at fault, file:line, or all of the step where it cannot be told.
	Rows []string `json:"rows,omitempty"`
	// Checkpoint is the newest one whose weights a later step has proved good (the newest whole one where none is proved);
	// empty where there is none. Before holds the state just before the step, where that is not a checkpoint already.
	Checkpoint string `json:"checkpoint,omitempty"`
	Before     string `json:"before,omitempty"`
	// Unproved says that no step has shown the checkpoint's weights to be good: it may hold what broke the run already.
	Unproved bool `json:"checkpoint_unproved,omitempty"`
	// RateScale is the factor on run.yaml's learning_rate that was in force.
	RateScale float64 `json:"learning_rate_scale"`
}

// Error is one line that says what to try.
func (e *NonFiniteError) Error() string {
	text := fmt.Sprintf("step %d: %s", e.Step, e.What)
	if e.Where != "" {
		text += "; first at " + e.Where
	}
	if e.Tensor != "" {
		text += fmt.Sprintf("; in %s, element %d", e.Tensor, e.Index)
	}
	if len(e.Rows) > 0 {
		text += "; rows " + strings.Join(nameRows(e.Rows), ", ")
	}
	return text + ": roll back, skip these rows or halve the rate"
}

// maxNamedRows is how many rows a line of text names.
const maxNamedRows = 8

// nameRows is the first rows, and how many more there are.
func nameRows(rows []string) []string {
	if more := len(rows) - maxNamedRows; more > 0 {
		return append(slices.Clone(rows[:maxNamedRows]), fmt.Sprintf("and %d more", more))
	}
	return rows
}

// Offer is a way on after a [NonFiniteError]: options of a new start of the same run.
type Offer struct {
	Name  string // "roll back", "skip rows", "halve the rate"
	Title string // what it does, for a dialog
	// Resume is the checkpoint to go on from; empty starts from the beginning.
	Resume    string
	SkipRows  []string
	RateScale float64 // 0 leaves it
}

// Offers lists the ways on: back to the last good checkpoint as it was, the same without the rows, the same at half the
// rate. Where rows are at fault and the state before the step was kept, nothing is lost by skipping them.
func (e *NonFiniteError) Offers() []Offer {
	from := func(path string) string {
		if path == "" {
			return "from the beginning"
		}
		return "from " + filepath.Base(path)
	}
	back := Offer{
		Name: "roll back", Resume: e.Checkpoint,
		Title: "go back and wait, " + from(e.Checkpoint) + "; unchanged, the same step fails again",
	}
	half := e.RateScale / 2
	halve := Offer{
		Name: "halve the rate", Resume: e.Slower(), RateScale: half,
		Title: fmt.Sprintf("go on at %g of run.yaml's learning_rate, %s", half, from(e.Slower())),
	}
	if len(e.Rows) == 0 {
		return []Offer{back, halve}
	}
	resume := e.Checkpoint
	if e.Before != "" {
		resume = e.Before
	}
	skip := Offer{
		Name: "skip rows", Resume: resume, SkipRows: e.Rows,
		Title: fmt.Sprintf("go on without %s, %s", plural(len(e.Rows), "this row", "these %d rows"), from(resume)),
	}
	return []Offer{back, skip, halve}
}

// Slower is where a lower rate can still help: the checkpoint, or the beginning (empty) where that is not known to be good.
func (e *NonFiniteError) Slower() string {
	if e.Unproved {
		return ""
	}
	return e.Checkpoint
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

// Flags are an offer's options of `lathe train`, ready for a shell.
func (o Offer) Flags() string {
	var flags []string
	if o.Resume != "" {
		flags = append(flags, "--resume "+ShellQuote(o.Resume))
	}
	if len(o.SkipRows) > 0 {
		flags = append(flags, "--skip-rows "+ShellQuote(strings.Join(o.SkipRows, ",")))
	}
	if o.RateScale != 0 {
		flags = append(flags, fmt.Sprintf("--learning-rate-scale %g", o.RateScale))
	}
	return strings.Join(flags, " ")
}

// ShellQuote writes a word for a POSIX shell.
func ShellQuote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,@%+="
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// nonFinite finds out where the first number that is none came from: it repeats the step's micro-batches, as they were, and
// looks at what every operation leaves.
func (r *Run) nonFinite(step int, loss float64, batches []datasets.Batch) error {
	e := &NonFiniteError{Step: step + 1, Layer: -1, RateScale: r.state.rateScale()}
	r.agreed = true
	if !r.leads() { // which has the weights and the rows too, and repeats all micro-batches
		e.What = "the loss or a gradient is not finite"
		return e
	}
	switch {
	case !finite(loss):
		e.What = fmt.Sprintf("the loss is %v", loss)
	case r.scaler != nil:
		e.What = fmt.Sprintf("gradients overflow at every loss scale down to %g", r.scaler.Scale)
	default:
		e.What = "the loss is finite, a gradient is not"
	}
	if tensor, index := r.dev.FirstNonFinite(r.optimizer.values()); tensor >= 0 {
		e.What = "a weight is no longer finite"
		e.Tensor, e.Index = r.optimizer.params[tensor].Name, index
	} else if tensor, index := r.dev.FirstNonFinite(r.optimizer.grads); tensor >= 0 && finite(loss) {
		e.Tensor, e.Index = "the gradient of "+r.optimizer.params[tensor].Name, index
	}
	problem := r.diagnose(e, step, batches)
	if len(e.Rows) == 0 {
		for _, b := range batches {
			e.Rows = append(e.Rows, r.rowNames(b, nil)...)
		}
	}
	if err := errors.Join(problem, r.dev.Sync()); err != nil {
		return fmt.Errorf("%w (%w)", e, err)
	}
	return e
}

// diagnose repeats the micro-batches until one of them is at fault.
func (r *Run) diagnose(e *NonFiniteError, step int, batches []datasets.Batch) error {
	_, trained := countTokens(batches)
	r.optimizer.zeroGrads()
	for micro, b := range batches {
		if len(b.Tokens) == 0 {
			continue
		}
		found, err := r.model.Diagnose(input(b), r.stepOptions(step, micro, trained))
		if err != nil {
			return err
		}
		if found != nil {
			e.Where, e.Layer = found.String(), found.Layer
			e.Rows = r.rowNames(b, found.Seqs)
			return nil
		}
	}
	e.Where = "no place: repeated, the step was finite; look at the device's memory and cooling"
	return nil
}

// rowNames are a batch's rows, file:line: those of the sequences, or all where these are nil.
func (r *Run) rowNames(b datasets.Batch, seqs []int) []string {
	var names []string
	for s, sample := range b.Rows {
		if seqs == nil || slices.Contains(seqs, s) {
			names = append(names, rowName(r.loader.Sample(sample)))
		}
	}
	return names
}

// stopped completes the error of a run that the guard ended: what to go back to, and the state before the step kept aside.
func (r *Run) stopped(e *NonFiniteError) {
	e.Checkpoint, e.Unproved = r.lastGood()
	switch before := e.Step == r.state.Step+1 && r.state.Step > 0; {
	case !before || r.scaler != nil && r.scaler.exhausted():
		return
	case r.savedStep == r.state.Step:
		e.Before = checkpointPath(r.config.OutputDir, r.savedStep)
		return
	}
	path := filepath.Join(r.config.OutputDir, fmt.Sprintf("%s%d", beforeName, e.Step))
	if _, err := r.writeCheckpoint(path); err == nil { // without it the last checkpoint is there still
		e.Before = path
	}
}

// beforeName begins the folder that holds the state before a step that failed. It is no checkpoint-N, so that a --resume of
// output_dir never goes on from there by itself.
const beforeName = "before-step-"

// lastGood is the newest whole checkpoint whose weights have given a sound loss in the step or the evaluation after them, or
// else the newest whole one, which is unproved.
func (r *Run) lastGood() (path string, unproved bool) {
	list, err := ListCheckpoints(r.config.OutputDir)
	if err != nil {
		return "", false
	}
	list = slices.DeleteFunc(list, func(c Checkpoint) bool { return c.Problem != "" })
	proved := func(c Checkpoint) bool {
		return slices.ContainsFunc(r.state.History.Steps, func(p StepPoint) bool {
			return p.Step == c.Step+1 && !r.spikes.at[p.Step]
		})
	}
	for _, c := range slices.Backward(list) {
		if proved(c) {
			return c.Path, false
		}
	}
	path = r.resumed.path
	if n := len(list); n > 0 {
		path = list[n-1].Path
	}
	return path, path != ""
}
