package trainer

import (
	"context"
	"errors"
	"testing"
)

// A run that gives the device's memory back while it pauses, is asked something meanwhile, and gives it back again ends with
// the losses of a run that was left alone.
func TestReleaseWhilePaused(t *testing.T) {
	c := tinyConfig(t)
	alone := only[StepDone](train(t, c, Options{}))
	c.OutputDir = t.TempDir()
	var held, released int64
	events := steered(t, c, Options{}, func(ctx context.Context, control *Control) error {
		memory := func(into *int64) error {
			return control.Do(ctx, func(l *Live) error { *into = l.Model.Device().Memory().Used; return nil })
		}
		if err := memory(&held); err != nil {
			return err
		}
		control.Release()
		err := errors.Join(memory(&released), memory(&released))
		control.Resume()
		return err
	})
	if p := only[Paused](events); len(p) != 2 || p[0].Released != 0 || p[1].Released < 0 {
		t.Errorf("%+v", p)
	}
	if released > held {
		t.Errorf("%d bytes are held after the release, %d before", released, held)
	}
	steps := only[StepDone](events)
	if len(steps) != len(alone) {
		t.Fatalf("%d steps, want %d", len(steps), len(alone))
	}
	for i, s := range steps {
		if s.Loss != alone[i].Loss || s.GradNorm != alone[i].GradNorm {
			t.Errorf("step %d: loss %v and norm %v, left alone %v and %v", s.Step, s.Loss, s.GradNorm, alone[i].Loss, alone[i].GradNorm)
		}
	}
}
