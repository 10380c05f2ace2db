package synthetic

import (
	"fmt"
	"sync"
	"time"

	"lathe/datasets"
	"lathe/session"
	"lathe/trainer"
)

// Live is a made-up session: it takes the commands that steer a run and moves its made-up run on by itself. It serves as a
// workbench's session and feed.
type Live struct {
	mu   sync.Mutex
	tape *Tape
	wake chan struct{}
}

// NewLive goes on from a tape.
func NewLive(t *Tape) *Live {
	l := &Live{tape: t, wake: make(chan struct{}, 1)}
	l.told()
	return l
}

// Run trains a step each interval until stop is closed or the run is over.
func (l *Live) Run(every time.Duration, stop <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.Change(func(t *Tape) {
				t.Answer(4)
				switch r := t.View.Run; {
				case r.State != session.Running:
				case r.Step+1 >= Steps:
					t.Done()
				default:
					t.To(r.Step + 1)
				}
			})
		case <-stop:
			return
		}
	}
}

// Change moves the tape and tells the workbench.
func (l *Live) Change(f func(*Tape)) {
	l.mu.Lock()
	f(l.tape)
	l.mu.Unlock()
	l.told()
}

func (l *Live) told() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Do steers the made-up run.
func (l *Live) Do(c session.Command) error {
	l.mu.Lock()
	err := c.Refusal(l.tape.View)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.Change(func(t *Tape) {
		switch c := c.(type) {
		case session.Start:
			t.Started()
		case session.Pause:
			t.Pause()
		case session.Resume:
			t.Resume()
		case session.Save:
			step := t.View.Run.Step
			t.Train(trainer.Saved{Step: step, Path: fmt.Sprintf("runs/refund/checkpoint-%d", step), Bytes: 14_155_776})
		case session.Stop:
			t.Train(trainer.Done{Step: t.View.Run.Step, Reason: "stopped"}).Add(session.StateChanged{State: session.Stopped})
		case session.RollBack:
			t.Again(t.View.Run.Step/100*100, t.View.Run.Trouble.Checkpoint, nil, 0).Pause()
		case session.SkipRows:
			t.Again(t.View.Run.Step, t.View.Run.Trouble.Before, t.View.Run.Trouble.Rows, 0)
		case session.HalveRate:
			t.Again(t.View.Run.Step/100*100, t.View.Run.Trouble.Checkpoint, nil, 0.5)
		case session.OpenData:
			t.Add(session.DataOpened{Path: c.Path}, session.DataIndexed{Rows: 3200, Part: 1, Done: true})
		case session.Note:
			t.Add(session.Noted{Level: c.Level, Text: c.Text})
		case session.LoadConfig:
			t.Loaded()
		case session.Prompt:
			t.Ask(c.Text, c.Options, c.Versions...)
		case session.StopAnswers:
			for _, p := range t.View.Plays {
				if !p.Ended() {
					p.Finish = session.FinishStopped
					t.Add(session.PlayDone{Play: p})
				}
			}
		case session.Lint:
			t.Checked()
		case session.UndoLabel:
			last := t.View.Data.Undo[len(t.View.Data.Undo)-1]
			t.Add(session.Labelled{Path: last.Path, Row: last.Row, Label: last.Previous, Previous: last.Label, Undo: true})
		case session.SetLabel:
			t.Add(session.Labelled{Path: t.View.Data.Path, Row: c.Row, Label: c.Label, Previous: t.View.Data.Labels[c.Row]})
		}
	})
	return nil
}

// Row is a made-up row.
func (l *Live) Row(i int) (datasets.Row, error) { return Row(i) }

// Tokens are a made-up row's tokens.
func (l *Live) Tokens(i int) (datasets.View, error) { return Tokens(i) }

// Changed, Take and Close make it a workbench's feed.

// Changed is readable after a change.
func (l *Live) Changed() <-chan struct{} { return l.wake }

// Take is the newest view.
func (l *Live) Take() session.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tape.View
}

// Close does nothing.
func (l *Live) Close() {}
