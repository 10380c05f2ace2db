package cli

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"time"

	"lathe/session"
	"lathe/trainer"
)

// trainPrinter prints a run's events: JSON lines, plain lines, or a line redrawn on a terminal. Its methods return at once,
// but for close.
type trainPrinter struct {
	e      *env
	feed   *feed
	config string // the run.yaml, as it was named

	mu   sync.Mutex
	last string // the newest whole checkpoint of a run that failed

	// of the feed's goroutine
	bar  *progress
	told bool   // the run's failure is printed already
	step string // the live line's, not printed for good yet
	kept time.Time
}

// keepEvery is how often a step's line stays on a terminal, where the others give way to the next.
const keepEvery = 10 * time.Second

func newTrainPrinter(e *env) *trainPrinter {
	return &trainPrinter{e: e, feed: newFeed(), bar: newProgress(e.stderr)}
}

// event is what a session calls with what happens.
func (p *trainPrinter) event(ev session.Event) {
	if t, ok := ev.Body.(session.Training); ok {
		if failed, ok := t.Event.(trainer.Failed); ok {
			p.mu.Lock()
			p.last = failed.Checkpoint
			p.mu.Unlock()
		}
	}
	p.feed.put(func() { p.print(ev) })
}

// say prints a line among the events.
func (p *trainPrinter) say(format string, args ...any) {
	p.feed.put(func() {
		p.keepStep()
		fmt.Fprintf(p.e.stdout, format+"\n", args...)
	})
}

// warn prints a message to stderr, where --json does not reach.
func (p *trainPrinter) warn(format string, args ...any) {
	p.feed.put(func() {
		p.keepStep()
		fmt.Fprintf(p.e.stderr, "lathe: "+format+"\n", args...)
	})
}

// offer prints the commands that go on after the guard has ended a run, ready to be typed.
func (p *trainPrinter) offer(bad *trainer.NonFiniteError) {
	for _, o := range bad.Offers() {
		p.warn("to %s: lathe train -c %s %s", o.Name, trainer.ShellQuote(p.config), o.Flags())
	}
}

// close waits until all is printed, and takes the live line away.
func (p *trainPrinter) close() {
	p.feed.put(p.bar.clear)
	p.feed.close()
}

func (p *trainPrinter) lastCheckpoint() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func (p *trainPrinter) print(ev session.Event) {
	switch b := ev.Body.(type) {
	case session.Preparing:
		if strings.HasPrefix(b.Stage, "load") { // bytes, the rest are rows
			p.bar.set(b.Stage, b.Done>>20, b.Total>>20, "MiB")
		} else {
			p.bar.set(b.Stage, b.Done, b.Total, "rows")
		}
	case session.Training:
		p.training(b.Event)
	case session.StateChanged:
		p.bar.clear()
		if b.State == session.Failed && p.e.json && !p.told {
			p.line(trainer.Failed{Error: b.Reason})
		}
	}
}

func (p *trainPrinter) training(event trainer.Event) {
	if _, failed := event.(trainer.Failed); failed {
		p.told = true
	}
	if p.e.json {
		p.line(event)
		return
	}
	if step, ok := event.(trainer.StepDone); ok && p.bar.live {
		p.step = stepLine(step)
		p.bar.show(p.step)
		if time.Since(p.kept) > keepEvery {
			p.keepStep()
		}
		return
	}
	if text := eventText(event); text != "" {
		p.keepStep()
		fmt.Fprintln(p.e.stdout, text)
	}
}

// keepStep takes the live line away, and prints the last step's for good.
func (p *trainPrinter) keepStep() {
	p.bar.clear()
	if p.step != "" {
		fmt.Fprintln(p.e.stdout, p.step)
	}
	p.step, p.kept = "", time.Now()
}

func (p *trainPrinter) line(event trainer.Event) {
	line, err := trainer.MarshalEvent(event)
	if err != nil {
		fmt.Fprintf(p.e.stderr, "lathe: %v\n", err)
		return
	}
	_, _ = p.e.stdout.Write(append(line, '\n')) // a reader that is gone must not stop the run
}

func stepLine(s trainer.StepDone) string {
	return fmt.Sprintf("step %d/%d  loss %.4f  lr %.2e  grad %.3f  %s tok/s  %s left",
		s.Step, s.TotalSteps, s.Loss, s.LearningRate, s.GradNorm, count(int64(s.TokensPerSec)), shortDuration(s.SecondsLeft))
}

func eventText(event trainer.Event) string {
	switch t := event.(type) {
	case trainer.Started:
		text := fmt.Sprintf("%s of %s parameters trained, %s of memory, %s steps",
			count(t.Plan.Trainable), count(t.Plan.Parameters), bytesText(t.Plan.Memory.Total()), count(int64(t.Plan.Steps)))
		if t.ResumedFrom != "" {
			text += fmt.Sprintf("; goes on after step %d from %s", t.Step, t.ResumedFrom)
		}
		return text
	case trainer.Notice:
		return "note: " + t.Message
	case trainer.StepDone:
		return stepLine(t)
	case trainer.StepSkipped:
		return fmt.Sprintf("step %d skipped: %s", t.Step, t.Message)
	case trainer.Spike:
		return fmt.Sprintf("spike at step %d: loss %.4f, the median before is %.4f (z %.1f); rows %s",
			t.Step, t.Loss, t.Median, t.Z, strings.Join(t.Rows, ", "))
	case trainer.EvalDone:
		return fmt.Sprintf("eval at step %d: loss %.4f, perplexity %.3f", t.Step, t.EvalLoss, t.Perplexity)
	case trainer.Saved:
		return fmt.Sprintf("saved %s (%s)", t.Path, bytesText(t.Bytes))
	case trainer.Paused:
		return fmt.Sprintf("paused at step %d %s", t.Step, t.Error)
	case trainer.Resumed:
		return fmt.Sprintf("resumed at step %d", t.Step)
	case trainer.Done:
		return doneText(t)
	}
	return ""
}

// doneText says how a run ended, how fast it was, and where its result is.
func doneText(d trainer.Done) string {
	reasons := map[string]string{
		trainer.ReasonStopAfter: "stopped, as --stop-after asked,", trainer.ReasonEarlyStopping: "stopped early, as eval_loss fell no more,",
	}
	text := fmt.Sprintf("%s at step %d after %s, at %s tok/s", cmp.Or(reasons[d.Reason], d.Reason), d.Step, shortDuration(d.Seconds), count(int64(d.TokensPerSec)))
	switch {
	case d.Path == "":
		return text
	case d.Reason == trainer.ReasonStopped || d.Reason == trainer.ReasonStopAfter:
		return text + "; --resume " + d.Path + " goes on"
	}
	return text + ": " + d.Path
}
