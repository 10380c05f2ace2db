package trainer

import (
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
)

// The scales of torch.amp.GradScaler(device="cpu") of torch 2.15 over 8200 steps whose gradients were infinite at steps 0, 1,
// 5, 2006 and 4100 to 4102: its get_scale() after each step at which it changed.
func TestScalerIsTorchs(t *testing.T) {
	overflows := []int{0, 1, 5, 2006, 4100, 4101, 4102}
	want := map[int]float64{
		0: 32768, 1: 16384, 5: 8192, 2005: 16384, 2006: 8192, 4006: 16384, 4100: 8192, 4101: 4096, 4102: 2048, 6102: 4096, 8102: 8192,
	}
	s, scale := newLossScaler(), float64(scalerInit)
	for step := range 8200 {
		clean := !slices.Contains(overflows, step)
		if stepped := s.update(clean); stepped != clean {
			t.Fatalf("step %d: stepped %v", step, stepped)
		}
		if to, changes := want[step]; changes {
			scale = to
		}
		if s.Scale != scale {
			t.Fatalf("step %d: scale %v, want %v", step, s.Scale, scale)
		}
	}
	if s.Skipped != len(overflows) {
		t.Errorf("%d skipped", s.Skipped)
	}
}

func TestScalerDoesNotGrowBeyondFloat32(t *testing.T) {
	s := &lossScaler{Scale: math.Exp2(127), Tracker: scalerInterval - 1}
	s.update(true)
	if s.Scale != math.Exp2(127) || s.Tracker != 0 {
		t.Errorf("%+v", s)
	}
}

// halfDevice overflows where float16 would: when the loss's gradient is scaled by more than a limit.
type halfDevice struct {
	compute.Device
	limit float64 // of GradScale
	after int     // clean passes before the limit holds
	done  *int
}

func (d halfDevice) LinearCrossEntropy(a compute.LinearCrossEntropy) {
	d.Device.LinearCrossEntropy(a)
	if a.DX == nil {
		return
	}
	if *d.done++; *d.done > d.after && float64(a.GradScale) > d.limit {
		compute.Upload(d.Device, a.DX.Slice(0, 1), []float32{float32(math.Inf(1))})
	}
}

func fp16Config(t *testing.T) Config {
	c := guardConfig(t)
	c.FP16, c.GradAccum, c.MaxSteps, c.SaveSteps = true, 1, 10, 5
	return c
}

// Without an overflow float16's scaling changes no bit of a float32 run: the scale is a power of two.
func TestScaledLossIsTheSameRun(t *testing.T) {
	c := fp16Config(t)
	scaled := only[StepDone](train(t, c, Options{}))
	plain := c
	plain.FP16, plain.OutputDir = false, filepath.Join(t.TempDir(), "plain")
	train(t, plain, Options{})
	outcomeOf(t, c).compare(t, outcomeOf(t, plain))
	if len(scaled) != 10 {
		t.Errorf("%d steps", len(scaled))
	}
}

// Steps that overflow change nothing and count as steps; the schedule waits for them, as accelerate's does, and the scale
// falls until it fits. The scaler's state outlives a resume.
func TestOverflowingStepsAreSkipped(t *testing.T) {
	c := fp16Config(t)
	c.WarmupSteps = 0
	// a row of five tokens trains four: a scale of 16384 / 4 = 4096 and below passes
	dev := halfDevice{newDevice(t), 4096, 0, new(int)}
	c.TrainFile = equalRows(t)
	events, err := prepareAndTrain(t, dev, c, Options{StopAfter: 5})
	if err != nil {
		t.Fatal(err)
	}
	skipped := only[StepSkipped](events)
	if len(skipped) != 2 || skipped[0].Scale != 65536 || skipped[1].Scale != 32768 || skipped[1].NextScale != 16384 || skipped[1].InARow != 2 || skipped[1].Reason != SkippedOverflow {
		t.Fatalf("%+v", skipped)
	}
	steps := only[StepDone](events)
	if len(steps) != 3 || steps[0].Step != 3 {
		t.Fatalf("%+v", steps)
	}
	for i, s := range steps {
		if want := c.LearningRate * float64(10-i) / 10; math.Abs(s.LearningRate-want) > 1e-15 {
			t.Errorf("step %d has rate %v, want %v: skipped steps do not move the schedule", s.Step, s.LearningRate, want)
		}
	}
	s, err := readState(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	if want := (lossScaler{Scale: 16384, Tracker: 3, Skipped: 2}); !reflect.DeepEqual(*s.Scaler, want) || s.Idle != 2 {
		t.Errorf("saved %+v, idle %d, want %+v", *s.Scaler, s.Idle, want)
	}
	if _, err := prepareAndTrain(t, halfDevice{newDevice(t), 4096, 0, new(int)}, c, Options{Resume: c.OutputDir}); err != nil {
		t.Fatal(err)
	}
	straight := c
	straight.OutputDir = filepath.Join(t.TempDir(), "straight")
	if _, err := prepareAndTrain(t, halfDevice{newDevice(t), 4096, 0, new(int)}, straight, Options{}); err != nil {
		t.Fatal(err)
	}
	outcomeOf(t, c).compare(t, outcomeOf(t, straight))
}

// equalRows are sixteen rows of five tokens.
func equalRows(t *testing.T) StringList {
	t.Helper()
	return writeRows(t, strings.Repeat(`{"input_ids":[1,5,9,11,13]}`+"\n", 16))
}

// Where no scale fits, the guard ends the run.
func TestScaleBelowOneEndsTheRun(t *testing.T) {
	c := fp16Config(t)
	c.MaxSteps, c.TrainFile = 40, equalRows(t)
	events, err := prepareAndTrain(t, halfDevice{newDevice(t), 0, 3, new(int)}, c, Options{})
	var bad *NonFiniteError
	if !errors.As(err, &bad) {
		t.Fatalf("ended with %v", err)
	}
	// three clean steps, then 65536 = 2^16 falls below 1 at the seventeenth overflow
	if skipped := only[StepSkipped](events); len(skipped) != 16 || bad.Step != 20 || !strings.Contains(err.Error(), "overflow at every loss scale") {
		t.Errorf("%d skipped; %v", len(skipped), err)
	}
	if bad.Where == "" || len(bad.Rows) == 0 || bad.Checkpoint == "" {
		t.Errorf("%+v", bad)
	}
}

// A loss that is no number ends a float16 run at once: a smaller scale cannot mend it.
func TestScalerDoesNotSkipALossThatIsNaN(t *testing.T) {
	c := guardConfig(t)
	c.FP16 = true
	events, err := prepareAndTrain(t, faultyDevice{newDevice(t)}, c, Options{})
	var bad *NonFiniteError
	if !errors.As(err, &bad) || bad.Step != 6 || len(only[StepSkipped](events)) != 0 {
		t.Errorf("%v", err)
	}
}
