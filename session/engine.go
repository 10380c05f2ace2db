package session

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"lathe/compute"
	"lathe/datasets"
	"lathe/trainer"
)

// errNoModel says that nothing is in memory to be asked.
var errNoModel = errors.New("no model is in memory: start a run with :train FILE")

// engine owns the device and the run on one OS-locked goroutine, as a CUDA context wants it. While a run trains, jobs
// reach the model through the run's Control, between two steps; afterwards the engine runs them itself.
type engine struct {
	s    *Session
	jobs chan func()
	done chan struct{}

	mu      sync.Mutex
	control *trainer.Control // of the run at work, else nil
	info    compute.Info     // of the device when it was opened, the zero Info before

	// The rest belongs to the engine's goroutine.
	dev compute.Device
	run *trainer.Run
}

func newEngine(s *Session) *engine {
	e := &engine{s: s, jobs: make(chan func(), 16), done: make(chan struct{})}
	go e.loop()
	return e
}

func (e *engine) loop() {
	runtime.LockOSThread()
	defer close(e.done)
	for job := range e.jobs {
		job()
	}
	e.closeRun()
	if e.dev != nil {
		e.dev.Close()
	}
}

// close stops the run at work with a checkpoint and waits for the engine's end.
func (e *engine) close() {
	if c := e.running(); c != nil {
		c.Stop(true)
	}
	close(e.jobs)
	<-e.done
}

func (e *engine) running() *trainer.Control {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.control
}

func (e *engine) setRunning(c *trainer.Control) {
	e.mu.Lock()
	e.control = c
	e.mu.Unlock()
}

// device opens the device once.
func (e *engine) device() (compute.Device, error) {
	if e.dev != nil {
		return e.dev, nil
	}
	dev, err := e.s.options.OpenDevice(e.s.options.Device)
	if err != nil {
		return nil, fmt.Errorf("open device: %w", err)
	}
	e.dev = dev
	e.mu.Lock()
	e.info = dev.Info()
	e.mu.Unlock()
	e.s.watchGauges(e.info)
	return dev, nil
}

// lastInfo is what the device said when it was opened, but for the memory that is free now.
func (e *engine) lastInfo() compute.Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := e.info
	info.MemoryFree = 0
	return info
}

func (e *engine) closeRun() {
	if e.run != nil {
		e.run.Close()
		e.run = nil
	}
}

// train is the whole life of a run. It returns when the run has ended; the model stays.
func (e *engine) train(id int64, c Start, control *trainer.Control) {
	state, reason := Failed, ""
	defer func() {
		e.setRunning(nil)
		if p := recover(); p != nil {
			state, reason = Failed, fmt.Sprintf("internal error: %v; this is a bug of lathe, please report it with %s", p, firstLines(debug.Stack()))
		}
		e.s.post(id, StateChanged{State: state, Reason: reason})
	}()
	e.closeRun()
	e.s.setRunError(nil)
	run, err := e.prepare(id, c)
	if err != nil {
		e.s.setRunError(err)
		reason = err.Error()
		return
	}
	e.run = run
	e.s.setEncoder(run.Live().Encoder)
	e.s.post(id, Planned{Plan: run.Plan()})
	e.s.post(id, StateChanged{State: Running})
	stopped := false
	err = run.Train(e.s.ctx, control, func(event trainer.Event) {
		if d, ok := event.(trainer.Done); ok {
			stopped = d.Reason == "stopped"
		}
		e.s.trainingEvent(id, event)
		if h := run.Held(); h != nil {
			e.s.post(0, MemorySampled{Used: h.Used, Peak: h.Peak, Free: h.Free, Total: h.Total})
		}
	})
	switch {
	case err != nil:
		e.s.setRunError(err)
		reason = err.Error()
	case stopped:
		state = Stopped
	default:
		state = Done
	}
}

func (e *engine) prepare(id int64, c Start) (*trainer.Run, error) {
	dev, err := e.device()
	if err != nil {
		return nil, err
	}
	var group compute.Group
	if e.s.options.Group != nil {
		if group, err = e.s.options.Group(e.s.ctx, dev, c); err != nil {
			return nil, err
		}
	}
	return trainer.Prepare(e.s.ctx, dev, c.Config, trainer.Options{
		Group:  group,
		Resume: c.Resume, MaxSteps: c.MaxSteps, StopAfter: c.StopAfter, PauseOnSaveError: e.s.options.PauseOnSaveError,
		SkipRows: c.SkipRows, RateScale: c.RateScale, QuantCache: e.s.options.QuantCache,
		Progress: func(stage string, done, total int64) {
			e.s.post(id, Preparing{Stage: stage, Done: done, Total: total})
		},
	})
}

// sample tells what the device holds; the device's own goroutine alone may ask it.
func (e *engine) sample() {
	m, info := e.dev.Memory(), e.dev.Info()
	e.s.post(0, MemorySampled{Used: m.Used, Peak: m.Peak, Free: info.MemoryFree, Total: info.MemoryTotal})
}

// ask runs a job with the model: between two steps of the run at work, or at once. It returns when the job has ended.
func (e *engine) ask(ctx context.Context, job func(*trainer.Live) error) error {
	if c := e.running(); c != nil {
		err := c.Do(ctx, job)
		if !errors.Is(err, trainer.ErrEnded) {
			return err
		}
	}
	answer := make(chan error, 1)
	ok := e.submit(func() {
		if e.run == nil {
			answer <- errNoModel
			return
		}
		answer <- guard(func() error { return job(e.run.Live()) })
		e.sample()
	})
	if !ok {
		return ErrClosed
	}
	return <-answer
}

// submit queues a job for the engine's goroutine; false says that it has ended.
func (e *engine) submit(job func()) (ok bool) {
	defer func() {
		if recover() != nil { // the channel was closed: the session ends
			ok = false
		}
	}()
	e.jobs <- job
	return true
}

// guard turns a panic into an error: a bug in a prompt must not take a run with it.
func guard(job func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v; this is a bug of lathe, please report it with %s", p, firstLines(debug.Stack()))
		}
	}()
	return job()
}

// firstLines is the head of a stack trace on one line.
func firstLines(stack []byte) string {
	const enough = 600
	s := string(stack)
	if len(s) > enough {
		s = s[:enough] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// start begins a run.
func (s *Session) start(c Start) error {
	id := s.newID()
	if c.Name == "" {
		c.Name = VersionName(c.Config.OutputDir)
	}
	if c.MaxSteps > 0 { // the run that is journalled can be started again as it was
		c.Config.MaxSteps = c.MaxSteps
	}
	s.publish(id, RunCreated{Name: c.Name, Config: c.Config, Resume: c.Resume, SkipRows: c.SkipRows, RateScale: c.RateScale})
	control := trainer.NewControl()
	if c.Paused {
		control.Pause()
	}
	s.engine.setRunning(control)
	if !s.engine.submit(func() { s.engine.train(id, c, control) }) {
		return ErrClosed
	}
	return nil
}

// trainingEvent publishes what the trainer tells and moves the state with it.
func (s *Session) trainingEvent(id int64, event trainer.Event) {
	s.queue.post(func() {
		s.publish(id, Training{Event: event})
		switch event.(type) {
		case trainer.Paused:
			s.publish(id, StateChanged{State: Paused})
		case trainer.Resumed:
			s.publish(id, StateChanged{State: Running})
		}
	})
}

// steer passes a command on to the run at work.
func (s *Session) steer(v View, c Command) error {
	control := s.engine.running()
	if control == nil {
		return errors.New("no run is training: start one with :train FILE")
	}
	switch c.(type) {
	case Pause:
		control.Pause()
		s.publish(v.Run.ID, StateChanged{State: Pausing})
	case Release:
		control.Release()
		if v.Run.State == Running {
			s.publish(v.Run.ID, StateChanged{State: Pausing})
		}
	case Resume:
		control.Resume()
		if v.Run.State == Pausing {
			s.publish(v.Run.ID, StateChanged{State: Running})
		}
	case Save:
		control.Save()
	case Stop:
		control.Stop(true)
		s.publish(v.Run.ID, StateChanged{State: Stopping})
	}
	return nil
}

// RunError is why the last run failed, with its type; nil when it did not.
func (s *Session) RunError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runErr
}

func (s *Session) setRunError(err error) {
	s.mu.Lock()
	s.runErr = err
	s.mu.Unlock()
}

// setEncoder gives the token view the run's own tokenizer and template.
func (s *Session) setEncoder(e *datasets.Encoder) {
	s.mu.Lock()
	s.encoder = e
	s.mu.Unlock()
}
