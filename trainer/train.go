package trainer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// Reasons for which a run ends, in [Done].
const (
	ReasonFinished      = "finished"
	ReasonStopAfter     = "stop_after"
	ReasonStopped       = "stopped"
	ReasonEarlyStopping = "early_stopping"
)

// Train runs until the end, a stop or a failure. emit gets every event in order, on a goroutine of its own that never holds
// up a step; when Train returns, it has got them all, and the last was Done or Failed. The error is that of Failed. When
// ctx ends, the run stops at the next border without saving. Train must be called once; control may be nil.
func (r *Run) Train(ctx context.Context, control *Control, emit func(Event)) (err error) {
	if control == nil {
		control = NewControl()
	}
	runtime.LockOSThread() // a CUDA context belongs to a thread
	defer runtime.UnlockOSThread()
	queue := newEventQueue(emit)
	defer queue.close()
	defer control.end()
	r.control, r.began = control, time.Now()
	r.emit = func(e Event) {
		r.look()
		queue.put(e)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("step %d: internal error: %v\n%s", r.state.Step+1, p, debug.Stack())
		}
		if err != nil {
			r.emit(r.failed(err))
		}
		r.leave(err)
	}()

	r.emit(Started{
		Step: r.state.Step, Plan: r.plan, ResumedFrom: r.resumed.path, Skipped: r.resumed.skipped,
		SkipRows: r.skips.rows, RateScale: r.state.RateScale,
	})
	for _, text := range r.plan.Notices {
		r.emit(Notice{Step: r.state.Step, Message: text})
	}
	reason, keep, err := r.loop(ctx)
	if err != nil {
		return err
	}
	return r.finish(ctx, reason, keep)
}

// failed is the last event of a run that cannot go on.
func (r *Run) failed(err error) Failed {
	e := Failed{Step: r.state.Step, Error: err.Error(), Checkpoint: newestWhole(r.config.OutputDir)}
	if bad := (*NonFiniteError)(nil); errors.As(err, &bad) {
		if r.leads() {
			r.stopped(bad)
		}
		e.NonFinite, e.Checkpoint = bad, bad.Checkpoint
	}
	return e
}

// loop trains until there is a reason to end; keep says whether the state is to be saved then.
func (r *Run) loop(ctx context.Context) (reason string, keep bool, err error) {
	for r.state.Step < r.plan.Steps {
		if r.stopAfter > 0 && r.state.Step >= r.stopAfter {
			return ReasonStopAfter, true, nil
		}
		if stop, save, err := r.border(ctx); err != nil || stop {
			return ReasonStopped, save, err
		}
		if err := r.oneStep(); err != nil {
			return "", false, err
		}
		if stop, err := r.afterStep(ctx); err != nil || stop {
			return ReasonEarlyStopping, true, err
		}
	}
	return ReasonFinished, true, nil
}

// oneStep trains a step, records and tells it.
func (r *Run) oneStep() error {
	start := time.Now()
	event, err := r.trainStep(r.state.Step)
	if err != nil {
		return err
	}
	switch e := event.(type) {
	case StepSkipped:
		r.recordSkipped(e)
		r.emit(e)
	case StepDone:
		r.recordStep(&e, time.Since(start).Seconds())
		r.lossSum, r.stepsHere = r.lossSum+e.Loss, r.stepsHere+1
		r.unlogged = append(r.unlogged, e)
	}
	if step := r.state.Step; len(r.unlogged) > 0 && (step%r.config.LoggingSteps == 0 || step == r.plan.Steps || step == r.stopAfter) {
		r.emit(sumSteps(r.unlogged))
		r.unlogged = r.unlogged[:0]
	}
	return nil
}

// sumSteps is the event of the steps since the last one, as transformers logs them.
func sumSteps(steps []StepDone) StepDone {
	e := steps[len(steps)-1]
	if len(steps) == 1 {
		return e
	}
	e.Steps, e.Loss, e.Tokens, e.TrainedTokens = len(steps), 0, 0, 0
	seconds := 0.0
	for _, s := range steps {
		e.Loss += s.Loss / float64(len(steps))
		e.Tokens += s.Tokens
		e.TrainedTokens += s.TrainedTokens
		seconds += float64(s.Tokens) / s.TokensPerSec
	}
	e.TokensPerSec = float64(e.Tokens) / seconds
	return e
}

// afterStep evaluates and saves where the strategies say so, in transformers' order.
func (r *Run) afterStep(ctx context.Context) (stop bool, err error) {
	step, best := r.state.Step, false
	if due(r.config.EvalStrategy, r.config.EvalSteps, step, r.plan) && r.evaluation != nil {
		if best, err = r.evaluateStep(ctx); err != nil {
			return false, err
		}
		stop = r.config.Patience > 0 && r.state.Waited >= r.config.Patience && step < r.plan.Steps
	}
	keepBest := best && r.config.Patience > 0 && r.config.SaveStrategy != StrategyNo
	if keepBest || due(r.config.SaveStrategy, r.config.SaveSteps, step, r.plan) {
		if err := r.save(ctx); err != nil {
			return false, err
		}
	}
	return stop, nil
}

// due reports whether a strategy wants something after a step; the last step of the run is always wanted.
func due(s Strategy, every, step int, p Plan) bool {
	switch s {
	case StrategySteps:
		return step%every == 0 || step == p.Steps
	case StrategyEpoch:
		return step%p.StepsPerEpoch == 0 || step == p.Steps
	}
	return false
}

// border is the place between two steps where others are heard: jobs, saves, pauses and stops.
func (r *Run) border(ctx context.Context) (stop, save bool, err error) {
	if !r.leads() {
		return r.follow(ctx)
	}
	var told rest
	for {
		if err := ctx.Err(); err != nil {
			return false, false, fmt.Errorf("run cancelled at step %d: %w", r.state.Step, err)
		}
		if !r.control.pausing() { // a pause is told before a long answer is given: wait does the jobs
			r.doWaiting()
		}
		w, err := r.hear()
		if err != nil {
			return false, false, err
		}
		if w.stop {
			return true, w.keep, r.orderStop(w.keep)
		}
		if w.save {
			if err := r.saveHere(ctx); err != nil {
				return false, false, err
			}
		}
		if !w.pause {
			if told.paused {
				r.emit(Resumed{Step: r.state.Step})
			}
			o, err := r.agree(wish{Order: goOn})
			return o == stopKeep, o == stopKeep, err
		}
		if err := r.wait(ctx, w, &told); err != nil {
			return false, false, err
		}
	}
}

// hear takes what is wanted, and the device's memory back where that needs it. Memory that cannot be had keeps the run paused.
func (r *Run) hear() (wishes, error) {
	w := r.control.take()
	if w.pause && !w.save && !(w.stop && w.keep) {
		return w, nil
	}
	err := r.takeBackFor(w)
	if r.group.Err() != nil {
		return w, err
	}
	if err != nil {
		r.control.hold()
		r.emit(Paused{Step: r.state.Step, Error: err.Error(), Released: r.releasedBytes})
		w = wishes{pause: true, release: w.release}
	}
	return w, nil
}

// saveHere writes a checkpoint of this step, or says where it lies already.
func (r *Run) saveHere(ctx context.Context) error {
	if r.savedStep == r.state.Step {
		r.emit(Saved{Step: r.state.Step, Path: checkpointPath(r.config.OutputDir, r.state.Step)})
		return nil
	}
	return r.save(ctx)
}

// rest is what a pause has told already.
type rest struct{ paused, released bool }

// wait holds the run until something is wanted; meanwhile jobs are done.
func (r *Run) wait(ctx context.Context, w wishes, told *rest) error {
	if !told.paused {
		told.paused = true
		r.emit(Paused{Step: r.state.Step})
	}
	if w.release && !r.released {
		if err := r.giveBack(); err != nil {
			return err
		}
		if !told.released { // once, however many prompts have taken it again meanwhile
			told.released = true
			r.emit(Paused{Step: r.state.Step, Released: r.releasedBytes})
		}
	}
	r.listen(ctx)
	return nil
}

// listen waits until something is wanted, and does it where it is a job.
func (r *Run) listen(ctx context.Context) {
	select {
	case j := <-r.control.jobs:
		r.do(j)
	case <-r.control.wake:
	case <-ctx.Done():
	}
}

// finish writes the final state and says goodbye.
func (r *Run) finish(ctx context.Context, reason string, keep bool) error {
	done := Done{
		Step: r.state.Step, Reason: reason, Tokens: r.state.Tokens, Seconds: time.Since(r.began).Seconds(),
	}
	if r.stepsHere > 0 {
		done.Loss = r.lossSum / float64(r.stepsHere)
	}
	done.TokensPerSec = float64(r.state.Tokens-r.resumed.tokens) / max(done.Seconds, 1e-9)
	if keep {
		if err := r.saveFinal(ctx, reason); err != nil {
			return err
		}
		done.Path = r.config.OutputDir
	}
	if best := r.state.Best; best != nil {
		done.BestStep, done.BestEvalLoss = best.Step, best.EvalLoss
		if path := checkpointPath(r.config.OutputDir, best.Step); checkWhole(path, false) == nil {
			done.BestPath = path
		}
	}
	r.emit(done)
	return nil
}
