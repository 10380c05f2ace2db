package trainer

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// steered runs a config while act steers it, and returns the events.
func steered(t *testing.T, c Config, o Options, act func(context.Context, *Control) error) []Event {
	t.Helper()
	control := NewControl()
	control.Pause() // until act lets go: nothing depends on who is faster
	done := make(chan error, 1)
	go func() { done <- act(t.Context(), control) }()
	events, err := tryTrain(t, c, o, control)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return events
}

// stepOf asks the run for its step.
func stepOf(ctx context.Context, control *Control) (step int, err error) {
	err = control.Do(ctx, func(l *Live) error { step = l.Step; return nil })
	return step, err
}

func TestPauseHoldsTheRun(t *testing.T) {
	events := steered(t, tinyConfig(t), Options{}, func(ctx context.Context, control *Control) error {
		for range 3 {
			if step, err := stepOf(ctx, control); err != nil || step != 0 {
				return errors.Join(err, errors.New("a paused run went on"))
			}
		}
		control.Resume()
		return nil
	})
	if p, r := only[Paused](events), only[Resumed](events); len(p) != 1 || p[0].Step != 0 || len(r) != 1 {
		t.Errorf("%+v %+v", p, r)
	}
	if done := only[Done](events); len(done) != 1 || done[0].Reason != ReasonFinished || done[0].Step != 20 {
		t.Errorf("%+v", done)
	}
}

// A prompt that waits when the pause takes effect is answered by a paused run, and can let it go on.
func TestPauseComesBeforeJobs(t *testing.T) {
	control := NewControl()
	control.jobs = make(chan job, 1) // so that one waits for sure
	answered := make(chan error, 1)
	control.jobs <- job{ctx: t.Context(), done: answered, run: func(*Live) error { control.Resume(); return nil }}
	control.Pause()
	events, err := tryTrain(t, tinyConfig(t), Options{}, control)
	if err := errors.Join(err, <-answered); err != nil {
		t.Fatal(err)
	}
	if p, r := only[Paused](events), only[Resumed](events); len(p) != 1 || len(r) != 1 {
		t.Errorf("%+v %+v", p, r)
	}
}

func TestSaveAndStopWhilePaused(t *testing.T) {
	c := tinyConfig(t)
	events := steered(t, c, Options{}, func(ctx context.Context, control *Control) error {
		control.Save()
		control.Save()
		control.Stop(true)
		return nil
	})
	saved, done := only[Saved](events), only[Done](events)
	if len(saved) == 0 || saved[0].Path != checkpointPath(c.OutputDir, 0) {
		t.Errorf("%+v", saved)
	}
	if len(done) != 1 || done[0].Reason != ReasonStopped || done[0].Path != c.OutputDir || checkWhole(c.OutputDir, true) != nil {
		t.Errorf("%+v", done)
	}
	if steps := only[StepDone](train(t, c, Options{Resume: c.OutputDir})); len(steps) != 20 {
		t.Errorf("%d steps after the stop, want all 20", len(steps))
	}
}

func TestStopWithoutSaving(t *testing.T) {
	c := tinyConfig(t)
	events := steered(t, c, Options{}, func(ctx context.Context, control *Control) error {
		control.Stop(false)
		return nil
	})
	if done := only[Done](events); len(done) != 1 || done[0].Path != "" {
		t.Errorf("%+v", done)
	}
	if list, err := ListCheckpoints(c.OutputDir); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestJobsCannotEndARun(t *testing.T) {
	control := NewControl()
	var panicked, failed error
	broken := errors.New("broken")
	events := func() []Event {
		c := tinyConfig(t)
		c.MaxSteps = 2
		control.Pause()
		done := make(chan struct{})
		go func() {
			defer close(done)
			panicked = control.Do(t.Context(), func(*Live) error { panic("boo") })
			failed = control.Do(t.Context(), func(*Live) error { return broken })
			control.Resume()
		}()
		events, err := tryTrain(t, c, Options{}, control)
		<-done
		if err != nil {
			t.Fatal(err)
		}
		return events
	}()
	if panicked == nil || !strings.Contains(panicked.Error(), "boo") {
		t.Errorf("a job that panics returns %v", panicked)
	}
	if !errors.Is(failed, broken) {
		t.Errorf("a job's error came back as %v", failed)
	}
	if len(only[StepDone](events)) != 2 {
		t.Errorf("%+v", events)
	}
	if err := control.Do(t.Context(), func(*Live) error { return nil }); !errors.Is(err, ErrEnded) {
		t.Errorf("a job after the end: %v", err)
	}
}

func TestDoGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewControl().Do(ctx, func(*Live) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCancelledRunFails(t *testing.T) {
	c := tinyConfig(t)
	r, err := Prepare(t.Context(), newDevice(t), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last Event
	if err := r.Train(ctx, nil, func(e Event) { last = e }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, ok := last.(Failed); !ok {
		t.Errorf("last event %+v", last)
	}
	if loss, tokens, err := r.Live().Evaluate(t.Context(), r.Live().Model); loss != 0 || tokens != 0 || err != nil {
		t.Errorf("evaluation without validation rows: %v %v %v", loss, tokens, err)
	}
}
