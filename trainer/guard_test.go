package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
)

// marker is a token that only the row at fault has.
const marker = 63

// faultyDevice makes the embedding of one token NaN: a row that no weight can train, as a flipped bit in a loaded table would be.
type faultyDevice struct{ compute.Device }

func (d faultyDevice) Embedding(a compute.Embedding) {
	d.Device.Embedding(a)
	for i, id := range compute.Download[int32](d.Device, a.IDs) {
		if id == marker {
			compute.Upload(d.Device, a.Y.Slice(i*a.C+3, 1), []float32{float32(math.NaN())})
		}
	}
}

// markedRows writes rows of ready-made ids, the marker in one of them.
func markedRows(t *testing.T, rows, marked int) string {
	t.Helper()
	var text strings.Builder
	for row := range rows {
		ids := []int{1}
		for i := range 4 + row%5 {
			ids = append(ids, 3+(7*row+5*i)%50)
		}
		if row == marked-1 {
			ids[2] = marker
		}
		line, err := json.Marshal(map[string]any{"input_ids": ids})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s\n", line)
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// guardConfig is a run of eight steps over sixteen rows, in the file's order, two rows a step; row 11 is in step 6.
func guardConfig(t *testing.T) Config {
	t.Helper()
	c := tinyConfig(t)
	c.TrainFile = StringList{markedRows(t, 16, 11)}
	c.Shuffle, c.Packing, c.MaxSteps, c.BatchSize, c.GradAccum = false, false, 8, 1, 2
	c.SaveStrategy, c.SaveSteps = StrategySteps, 2
	return c
}

func prepareAndTrain(t *testing.T, dev compute.Device, c Config, o Options) ([]Event, error) {
	t.Helper()
	r, err := Prepare(t.Context(), dev, c, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var events []Event
	err = r.Train(t.Context(), nil, func(e Event) { events = append(events, e) })
	return events, err
}

// The run stops at the first NaN, names layer, step and row, and keeps the state that it had before the step: the bits of a
// run that was stopped there. Without the row it goes on, and a resume of that is bit-equal again.
func TestGuardNamesTheRowAndGoesOnWithoutIt(t *testing.T) {
	c := guardConfig(t)
	events, err := prepareAndTrain(t, faultyDevice{newDevice(t)}, c, Options{})
	var bad *NonFiniteError
	if !errors.As(err, &bad) {
		t.Fatalf("ended with %v", err)
	}
	row := c.TrainFile[0] + ":11"
	if bad.Step != 6 || !slices.Equal(bad.Rows, []string{row}) || !strings.Contains(bad.Where, "embed_tokens: output") || bad.Layer != -1 {
		t.Errorf("%+v", bad)
	}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, row) || !strings.Contains(text, "step 6: the loss is NaN") {
		t.Errorf("%q", text)
	}
	failed := events[len(events)-1].(Failed)
	if failed.NonFinite == nil || failed.Checkpoint != checkpointPath(c.OutputDir, 4) {
		t.Errorf("%+v", failed)
	}
	if steps := only[StepDone](events); len(steps) != 5 {
		t.Errorf("%d steps were done, want 5", len(steps))
	}

	straight := c
	straight.OutputDir = filepath.Join(t.TempDir(), "straight")
	train(t, straight, Options{StopAfter: 5})
	before := c
	before.OutputDir = bad.Before
	outcomeOf(t, before).compare(t, outcomeOf(t, straight))

	offers := bad.Offers()
	if len(offers) != 3 || offers[1].Flags() != "--resume "+ShellQuote(bad.Before)+" --skip-rows "+ShellQuote(row) {
		t.Fatalf("%+v", offers)
	}
	skip := Options{Resume: offers[1].Resume, SkipRows: offers[1].SkipRows}
	events, err = prepareAndTrain(t, faultyDevice{newDevice(t)}, c, skip)
	if err != nil {
		t.Fatal(err)
	}
	steps := only[StepDone](events)
	if len(steps) != 3 || steps[0].Step != 6 {
		t.Fatalf("%+v", steps)
	}

	// the same rows left out from the start, and stopped and resumed without saying it again
	halves := c
	halves.OutputDir = filepath.Join(t.TempDir(), "halves")
	train(t, halves, Options{StopAfter: 3, SkipRows: []string{"rows.jsonl:11"}})
	events = train(t, halves, Options{Resume: halves.OutputDir})
	outcomeOf(t, halves).compare(t, outcomeOf(t, c))
	if started := only[Started](events)[0]; len(started.SkipRows) != 1 || started.SkipRows[0].Row != row || started.SkipRows[0].From != 1 {
		t.Errorf("%+v", started.SkipRows)
	}

	// only the step that would have had the row has fewer tokens
	whole := c
	whole.OutputDir = filepath.Join(t.TempDir(), "whole")
	with := only[StepDone](train(t, whole, Options{}))
	for i, got := range only[StepDone](train(t, halves, Options{Resume: checkpointPath(halves.OutputDir, 2)})) {
		want := with[2+i]
		if fewer := got.Tokens < want.Tokens; got.Step != want.Step || fewer != (want.Step == 6) || got.LearningRate != want.LearningRate {
			t.Errorf("%+v, with the row %+v", got, want)
		}
	}
}

// A step all of whose rows are left out trains nothing, and says so.
func TestStepWithoutRows(t *testing.T) {
	c := guardConfig(t)
	rows, err := ParseRows("rows.jsonl:11, 12")
	if err != nil {
		t.Fatal(err)
	}
	events := train(t, c, Options{SkipRows: rows})
	skipped := only[StepSkipped](events)
	if len(skipped) != 1 || skipped[0].Step != 6 || skipped[0].Reason != SkippedRows {
		t.Fatalf("%+v", skipped)
	}
	if done := only[Done](events); done[0].Step != 8 || len(only[StepDone](events)) != 7 {
		t.Errorf("%+v", done)
	}
}

func TestParseRows(t *testing.T) {
	got, err := ParseRows("a.jsonl:3,7, b c.jsonl:1,")
	if want := []string{"a.jsonl:3", "a.jsonl:7", "b c.jsonl:1"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"3", "a.jsonl", "a.jsonl:0", "a.jsonl:x", ":3"} {
		if rows, err := ParseRows(bad); !errors.Is(err, ErrConfig) {
			t.Errorf("%q gave %q, %v", bad, rows, err)
		}
	}
}

func TestRowsThatAreNotThere(t *testing.T) {
	c := guardConfig(t)
	for name, want := range map[string]string{
		"rows.jsonl:99":  "line 99 of",
		"other.jsonl:1":  "other.jsonl is none of the training files",
		"rows.jsonl:abc": "line abc of",
		"rows":           "names no row",
	} {
		_, err := Prepare(t.Context(), newDevice(t), c, Options{SkipRows: []string{name}})
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Half the rate, from a checkpoint on: steps before are as they were, later ones have half the schedule's rate, and the scale
// outlives another resume.
func TestRateScaleIsExactAndStays(t *testing.T) {
	c := guardConfig(t)
	plain := only[StepDone](train(t, c, Options{}))
	half := c
	half.OutputDir = filepath.Join(t.TempDir(), "half")
	train(t, half, Options{Resume: checkpointPath(c.OutputDir, 4), RateScale: 0.5, StopAfter: 6})
	events := train(t, half, Options{Resume: half.OutputDir})
	if started := only[Started](events)[0]; started.RateScale != 0.5 {
		t.Errorf("%+v", started)
	}
	for i, e := range only[StepDone](events) {
		if want := plain[6+i].LearningRate / 2; e.LearningRate != want {
			t.Errorf("step %d has rate %v, want %v", e.Step, e.LearningRate, want)
		}
	}
	straight := c
	straight.OutputDir = filepath.Join(t.TempDir(), "straight")
	train(t, straight, Options{Resume: checkpointPath(c.OutputDir, 4), RateScale: 0.5})
	outcomeOf(t, half).compare(t, outcomeOf(t, straight))
	again := only[StepDone](train(t, half, Options{Resume: checkpointPath(c.OutputDir, 6), RateScale: 1}))
	if again[0].LearningRate != plain[6].LearningRate {
		t.Errorf("a scale of 1 gives %v, want %v", again[0].LearningRate, plain[6].LearningRate)
	}
}

// A checkpoint whose weights have only been saved, not used, is not the one to go back to.
func TestLastGoodCheckpointIsProved(t *testing.T) {
	c := guardConfig(t)
	c.SaveSteps = 1
	_, err := prepareAndTrain(t, faultyDevice{newDevice(t)}, c, Options{})
	var bad *NonFiniteError
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	if bad.Checkpoint != checkpointPath(c.OutputDir, 4) || bad.Before != checkpointPath(c.OutputDir, 5) || bad.Unproved {
		t.Errorf("%+v", bad)
	}
}

// Where no checkpoint is known to be good, half the rate is no help from there: the run would repeat the step that failed. It
// starts from the beginning, and the offer says so.
func TestHalfTheRateFromTheBeginning(t *testing.T) {
	c := guardConfig(t)
	c.Method, c.LearningRate, c.WarmupSteps, c.SaveSteps = MethodFull, 1e30, 0, 1 // the first update throws the weights away
	_, err := prepareAndTrain(t, newDevice(t), c, Options{})
	var bad *NonFiniteError
	if !errors.As(err, &bad) {
		t.Fatalf("ended with %v", err)
	}
	if bad.Step != 2 || bad.Checkpoint != checkpointPath(c.OutputDir, 1) || !bad.Unproved {
		t.Errorf("%+v", bad)
	}
	offers := bad.Offers()
	half := offers[len(offers)-1]
	if half.Flags() != "--learning-rate-scale 0.5" || !strings.Contains(half.Title, "from the beginning") {
		t.Errorf("%+v", half)
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"a/b-1.jsonl:3,4": "a/b-1.jsonl:3,4", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'"} {
		if got := ShellQuote(in); got != want {
			t.Errorf("%q became %s, want %s", in, got, want)
		}
	}
}
