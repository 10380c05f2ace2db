package trainer

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/internal/reftest"
	"lathe/model/safetensors"
)

// A step of one micro-batch of four rows is one of four micro-batches of one row: the loss and the gradient are normalised
// over the whole step. The tolerance is the project's 1e-5 relative, for sums in another order.
func TestAccumulationDoesNotChangeAStep(t *testing.T) {
	run := func(batch, accumulate int, packing bool) []StepDone {
		c := tinyConfig(t)
		c.LoRA.Dropout, c.Packing, c.WarmupSteps = 0, packing, 0
		c.BatchSize, c.GradAccum, c.MaxSteps, c.LearningRate = batch, accumulate, 6, 1e-3
		return only[StepDone](train(t, c, Options{}))
	}
	for _, packing := range []bool{false, true} {
		want := run(4, 1, packing)
		for _, split := range [][2]int{{1, 4}, {2, 2}, {3, 1}} {
			got := run(split[0], split[1], packing)
			for i := range want {
				same := reftest.Relative(got[i].Loss, want[i].Loss) <= 1e-5 && reftest.Relative(got[i].GradNorm, want[i].GradNorm) <= 1e-5
				if split[0]*split[1] == 4 && (!same || got[i].TrainedTokens != want[i].TrainedTokens) {
					t.Errorf("packing %v, %d×%d, step %d: %+v, want %+v", packing, split[0], split[1], i+1, got[i], want[i])
				}
				if split[0]*split[1] == 3 && i == 0 && same { // the test would see a difference
					t.Errorf("three rows a step give what four give")
				}
			}
		}
	}
}

func TestEpochsAreCountedInMicroBatches(t *testing.T) {
	c := tinyConfig(t)
	c.Packing, c.MaxSteps, c.Epochs, c.BatchSize, c.GradAccum = false, 0, 2, 2, 2 // 21 rows: 11 micro-batches, 6 steps
	steps := only[StepDone](train(t, c, Options{}))
	if len(steps) != 12 {
		t.Fatalf("%d steps, want 12", len(steps))
	}
	for i, want := range map[int]float64{0: 2. / 11, 4: 10. / 11, 5: 1, 6: 1 + 2./11, 11: 2} {
		if math.Abs(steps[i].Epoch-want) > 1e-12 {
			t.Errorf("step %d: epoch %v, want %v", i+1, steps[i].Epoch, want)
		}
	}
	if steps[5].Tokens >= steps[4].Tokens {
		t.Errorf("the epoch's last step, with one micro-batch of one row, has %d tokens, the one before %d", steps[5].Tokens, steps[4].Tokens)
	}
}

func TestLoggingSteps(t *testing.T) {
	c := tinyConfig(t)
	c.LoggingSteps, c.MaxSteps = 3, 7
	var at []int
	for _, e := range only[StepDone](train(t, c, Options{})) {
		at = append(at, e.Step)
	}
	if len(at) != 3 || at[0] != 3 || at[1] != 6 || at[2] != 7 {
		t.Errorf("logged at %v, want 3, 6 and the last", at)
	}
}

// A rate that throws the weights to infinity stops the run, names what it was, saves nothing of it, and leaves the checkpoint
// of before.
func TestNonFiniteStopsTheRun(t *testing.T) {
	c := tinyConfig(t)
	c.Method, c.LearningRate, c.Schedule, c.WarmupSteps, c.Packing = MethodFull, 1e30, ScheduleLinear, 3, false
	c.MaxSteps, c.SaveStrategy, c.SaveSteps = 20, StrategySteps, 1
	events, err := tryTrain(t, c, Options{}, nil)
	failed, ok := events[len(events)-1].(Failed)
	if !ok || err == nil || failed.Error != err.Error() {
		t.Fatalf("ended with %+v, %v", events[len(events)-1], err)
	}
	if failed.Checkpoint == "" || checkWhole(failed.Checkpoint, true) != nil {
		t.Errorf("no whole checkpoint is named: %+v", failed)
	}
	var bad *NonFiniteError
	if errors.As(err, &bad) {
		if bad.Step < 2 || len(bad.Rows) == 0 || !strings.Contains(err.Error(), "rows.jsonl:") || bad.Where == "" {
			t.Errorf("%v", err)
		}
	} else if !strings.Contains(err.Error(), "such weights are not saved") {
		t.Errorf("%v", err)
	}
}

// A NaN in a stored weight is found before anything is trained, by name.
func TestNaNInAWeightIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	poison(t, filepath.Join(dir, "model.safetensors"), "model.layers.1.mlp.up_proj.weight")
	c := tinyConfig(t)
	c.ModelNameOrPath = dir
	_, err := tryTrain(t, c, Options{}, nil)
	if err == nil || !strings.Contains(err.Error(), "model.layers.1.mlp.up_proj.weight") {
		t.Errorf("%v", err)
	}
}

// poison writes a NaN into the middle of a tensor.
func poison(t *testing.T, path, name string) {
	t.Helper()
	set := openSet(t, path)
	var tensors []safetensors.Tensor
	for _, n := range set.Names() {
		tensor, _ := set.Tensor(n)
		tensor.Data = append([]byte(nil), tensor.Data...)
		if n == name {
			binary.LittleEndian.PutUint32(tensor.Data[len(tensor.Data)/8*4:], 0x7fc00000)
		}
		tensors = append(tensors, tensor)
	}
	if err := safetensors.Write(path, tensors, safetensors.PyTorch()); err != nil {
		t.Fatal(err)
	}
}
