package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
)

// ErrClosed says that the session has ended.
var ErrClosed = errors.New("the session has ended")

// Options of [Open].
type Options struct {
	// Dir is the workspace; its state lies in Dir/.lathe.
	Dir string
	// Device is what OpenDevice gets: auto, cpu, cuda or cuda:N.
	Device     string
	OpenDevice func(spec string) (compute.Device, error)
	// Group, when set, finds the other ranks of a run that begins on the device; the run leaves the group when it ends.
	Group func(ctx context.Context, dev compute.Device, start Start) (compute.Group, error)
	// OpenGauges, when set, opens the gauges of the GPUs that a device computes on; nil without an error for a device that has
	// none. It and what it returns are called on a goroutine of their own, which may hang without holding up anything.
	OpenGauges func(compute.Info) (GaugeReader, error)
	// QuantCache keeps runs' bases in 4 bits for the next run.
	QuantCache model.QuantCache
	// PauseOnSaveError pauses a run whose checkpoint could not be written, for somebody who watches to make room; without it
	// such a run ends.
	PauseOnSaveError bool
	// OnEvent, when set, hears every event in order, on the session's goroutine: what prints lines. It must not call the
	// session and should not dawdle.
	OnEvent func(Event)
}

// Session is an open workspace. Its methods may be called from any goroutine.
type Session struct {
	options Options
	store   *store
	queue   *queue
	engine  *engine
	ended   chan struct{} // closed when the session's goroutine has returned
	cancel  context.CancelFunc
	ctx     context.Context

	stopped atomic.Int64 // plays up to this number are to end

	mu        sync.Mutex // guards what follows
	view      View
	listeners map[*Listener]struct{}
	data      *datasets.File
	encoder   *datasets.Encoder
	runErr    error

	// The rest belongs to the session's goroutine.
	pending []Event // to be journalled together
	lastID  int64
	broken  error // why the journal cannot be written any more
}

// Open opens the workspace, replays its journal and starts the session. A run that was at work when the last process died
// is found as stopped, with the way to resume it.
func Open(o Options) (*Session, error) {
	st, err := openStore(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Session{
		options: o, store: st, queue: newQueue(), ended: make(chan struct{}), listeners: map[*Listener]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := st.replay(func(e Event) error { s.view.Apply(e); return nil }); err != nil {
		st.close()
		return nil, err
	}
	s.engine = newEngine(s)
	go s.loop()
	s.queue.post(s.recover)
	return s, nil
}

// recover puts a replayed view right: no model is in memory, no answer is being written, no run is at work.
func (s *Session) recover() {
	s.mu.Lock()
	s.view.Run.HasModel = false
	s.view.Evaluating = ""
	state, output := s.view.Run.State, s.view.Run.Output
	path := s.view.Data.Path
	s.view.Data.Linting = false
	s.view.Plays = slices.Clone(s.view.Plays)
	for i, p := range s.view.Plays {
		if !p.Ended() {
			s.view.Plays[i].Err = "lathe ended before this was answered: ask again"
		}
	}
	s.mu.Unlock()
	if state.Active() {
		reason := "lathe ended while the run was " + string(state) + "; go on with :resume " + output
		s.publish(s.view.Run.ID, StateChanged{State: Stopped, Reason: reason})
	}
	if path != "" {
		if err := s.openData(path, datasets.Options{}); err != nil {
			s.publish(0, Noted{Level: datasets.LevelWarn, Text: err.Error()})
		}
	}
}

// Do asks for something and answers at once: nil means that it has begun.
func (s *Session) Do(c Command) error {
	answer := make(chan error, 1)
	work := func() {
		err := s.handle(c)
		s.flush() // whoever asked finds the answer's effect in the View
		answer <- err
	}
	if !s.queue.post(work) {
		return ErrClosed
	}
	select {
	case err := <-answer:
		return err
	case <-s.ended:
		return ErrClosed
	}
}

// View is what a screen shows now.
func (s *Session) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

// Wait returns the first View that the condition holds for.
func (s *Session) Wait(ctx context.Context, condition func(View) bool) (View, error) {
	l := s.Listen()
	defer l.Close()
	for {
		select {
		case <-l.Changed():
			if v := l.Take(); condition(v) {
				return v, nil
			}
		case <-s.ended:
			return s.View(), ErrClosed
		case <-ctx.Done():
			return s.View(), ctx.Err()
		}
	}
}

// Close stops a run at work with a checkpoint, waits for it, and ends the session.
func (s *Session) Close() error {
	s.engine.close()
	s.cancel()
	s.queue.close()
	<-s.ended
	s.mu.Lock()
	if s.data != nil {
		s.data.Close()
	}
	s.mu.Unlock()
	return errors.Join(s.broken, s.store.close())
}

// loop is the session's goroutine: it runs what was posted, journals what happened and wakes who listens.
func (s *Session) loop() {
	defer close(s.ended)
	for range s.queue.wake {
		for {
			jobs, closed := s.queue.take()
			for _, job := range jobs {
				job()
			}
			s.flush()
			if len(jobs) == 0 && closed {
				return
			}
			if len(jobs) == 0 {
				break
			}
		}
	}
}

// publish records what happened; flush journals it and shows it.
func (s *Session) publish(run int64, body Body) {
	s.pending = append(s.pending, Event{Run: run, Time: time.Now(), Body: body})
	if len(s.pending) >= 256 {
		s.flush()
	}
}

// post publishes from any goroutine, without waiting.
func (s *Session) post(run int64, body Body) { s.queue.post(func() { s.publish(run, body) }) }

// flush writes the pending events to the journal, folds them into the view, and wakes the listeners. When the journal
// cannot be written (a full disk) the work goes on, and the view says once that history is no longer kept.
func (s *Session) flush() {
	if len(s.pending) == 0 {
		return
	}
	events := s.pending
	s.pending = nil
	if s.broken == nil {
		if err := s.store.append(durable(events)); err != nil {
			s.broken = err
			text := fmt.Sprintf("history is not kept any more: %v; free space and start lathe again", err)
			events = append(events, Event{Time: time.Now(), Body: Noted{Level: datasets.LevelError, Text: text}})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		s.view.Apply(e)
		if s.options.OnEvent != nil {
			s.options.OnEvent(e)
		}
	}
	s.wakeAll()
}

// durable is the part of events that belongs to history.
func durable(events []Event) []Event {
	var kept []Event
	for _, e := range events {
		if !e.Body.Transient() {
			kept = append(kept, e)
		}
	}
	return kept
}

// current is the view as the session's goroutine sees it, with what is pending.
func (s *Session) current() View {
	s.flush()
	return s.View()
}

// handle checks and begins a command.
func (s *Session) handle(c Command) error {
	v := s.current()
	if err := c.Refusal(v); err != nil {
		return err
	}
	switch c := c.(type) {
	case LoadConfig:
		return s.loadConfig(c)
	case OpenData:
		return s.openData(c.Path, datasets.Options{})
	case Lint:
		return s.lint()
	case SetLabel:
		previous := v.Data.Labels[c.Row]
		s.publish(0, Labelled{Path: v.Data.Path, Row: c.Row, Label: c.Label, Previous: previous})
		return nil
	case UndoLabel:
		last := v.Data.Undo[len(v.Data.Undo)-1]
		s.publish(0, Labelled{Path: last.Path, Row: last.Row, Label: last.Previous, Previous: last.Label, Undo: true})
		return nil
	case Start:
		return s.start(c)
	case RollBack:
		return s.rollBack(v, c)
	case SkipRows:
		return s.skipRows(v, c)
	case HalveRate:
		return s.halveRate(v)
	case Pause, Release, Resume, Save, Stop:
		return s.steer(v, c)
	case Prompt:
		return s.prompt(v, c)
	case StopAnswers:
		s.stopped.Store(s.newID())
		return nil
	case Evaluate:
		return s.evaluate(v, c)
	case Export:
		return s.export(v, c)
	case Note:
		s.publish(0, Noted{Level: c.Level, Text: c.Text})
		return nil
	}
	return fmt.Errorf("unknown command %T", c)
}

// newID is a number that no play or run of this workspace has had: the time in microseconds, so that two processes in one
// workspace do not meet either.
func (s *Session) newID() int64 {
	s.lastID = max(s.lastID+1, time.Now().UnixMicro())
	return s.lastID
}
