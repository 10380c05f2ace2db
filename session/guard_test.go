package session

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/trainer"
)

// marker is a token that only the row at fault has; markedDevice makes its embedding NaN.
const marker = 63

type markedDevice struct{ compute.Device }

func (d markedDevice) Embedding(a compute.Embedding) {
	d.Device.Embedding(a)
	for i, id := range compute.Download[int32](d.Device, a.IDs) {
		if id == marker {
			compute.Upload(d.Device, a.Y.Slice(i*a.C, 1), []float32{float32(math.NaN())})
		}
	}
}

func openMarked(t *testing.T, dir string) *Session {
	t.Helper()
	s, err := Open(Options{Dir: dir, Device: "cpu", OpenDevice: func(string) (compute.Device, error) {
		dev, err := cpu.New(cpu.Options{})
		return markedDevice{dev}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// markedRun is eight steps over sixteen rows in order, of which row 11, in step 6, cannot be trained.
func markedRun(t *testing.T) trainer.Config {
	t.Helper()
	var rows strings.Builder
	for row := 1; row <= 16; row++ {
		ids := []int{1, 5, 9, 11, 13, 3 + row}
		if row == 11 {
			ids[2] = marker
		}
		line, err := json.Marshal(map[string]any{"input_ids": ids})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&rows, "%s\n", line)
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := trainer.DefaultConfig()
	c.ModelNameOrPath, c.TrainFile, c.OutputDir = "../testdata/ref/llama-gqa", trainer.StringList{path}, filepath.Join(t.TempDir(), "out")
	c.Method, c.LoadIn4bit, c.Shuffle, c.MaxSteps, c.BatchSize, c.GradAccum = trainer.MethodLoRA, false, false, 8, 1, 2
	c.EvalStrategy, c.SaveStrategy, c.SaveSteps = trainer.StrategyNo, trainer.StrategySteps, 2
	return c
}

// The guard ends a run; each of the three ways on is a command, is journalled, and the view keeps the history before it.
func TestWaysOnAfterTheGuard(t *testing.T) {
	dir := t.TempDir()
	s := openMarked(t, dir)
	do := func(c Command) {
		t.Helper()
		if err := s.Do(c); err != nil {
			t.Fatalf("%T: %v", c, err)
		}
	}
	ended := func(v View) bool { return !v.Run.State.Active() }
	if err := s.Do(HalveRate{}); err == nil || !strings.Contains(err.Error(), "no run to change") {
		t.Errorf("HalveRate without a run: %v", err)
	}
	do(Start{Config: markedRun(t)})
	failed := wait(t, s, "the guard", ended)
	if failed.Run.State != Failed || failed.Run.Trouble == nil || failed.Run.Trouble.Step != 6 || len(failed.Run.Offers()) != 3 {
		t.Fatalf("%s: %s", failed.Run.State, failed.Run.Reason)
	}

	do(RollBack{})
	back := wait(t, s, "the pause", func(v View) bool { return v.Run.State == Paused })
	if back.Run.Step != 4 || len(back.Run.Steps) != 4 || back.Run.Trouble != nil || len(back.Run.Saved) != 2 {
		t.Errorf("rolled back to step %d with %d steps and %d checkpoints, %v", back.Run.Step, len(back.Run.Steps), len(back.Run.Saved), back.Run.Trouble)
	}
	if err := s.Do(SkipRows{}); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("SkipRows of a paused run: %v", err)
	}
	do(Resume{}) // the same bits: it fails again
	again := wait(t, s, "the guard again", ended)
	if again.Run.Trouble == nil || again.Run.Trouble.Step != 6 || again.Run.Trouble.Where != failed.Run.Trouble.Where {
		t.Fatalf("%+v", again.Run.Trouble)
	}

	do(HalveRate{})
	half := wait(t, s, "the guard at half the rate", ended)
	if half.Run.RateScale != 0.5 || half.Run.Trouble == nil || half.Run.Trouble.RateScale != 0.5 {
		t.Errorf("scale %v, %+v", half.Run.RateScale, half.Run.Trouble)
	}
	do(SkipRows{})
	done := wait(t, s, "the end", ended)
	if done.Run.State != Done || len(done.Run.SkipRows) != 1 || done.Run.RateScale != 0.5 || len(done.Run.Steps) != 8 {
		t.Errorf("%s %s: without %q at %v, %d steps", done.Run.State, done.Run.Reason, done.Run.SkipRows, done.Run.RateScale, len(done.Run.Steps))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openMarked(t, dir)
	defer s.Close()
	replayed := s.View().Run
	if len(replayed.Steps) != 8 || len(replayed.SkipRows) != 1 || replayed.RateScale != 0.5 || replayed.State != Done {
		t.Errorf("replayed: %s, %d steps, without %q at %v", replayed.State, len(replayed.Steps), replayed.SkipRows, replayed.RateScale)
	}
}
