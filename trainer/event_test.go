package trainer

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

var allEvents = []Event{
	Started{Step: 3, Plan: Plan{Steps: 7, Fits: true, Memory: MemoryPlan{Base: 1}, Notices: []string{"n"}}, ResumedFrom: "p", Skipped: []string{"s"}},
	Notice{Step: 1, Message: "m"},
	StepDone{Step: 1, Epoch: 0.25, Loss: 2.0 / 3, LearningRate: 1e-5 / 3, GradNorm: 0.1, Tokens: 5, TokensPerSec: 7, TrainedTokens: 3, TotalTokens: 9, TotalSteps: 4, SecondsLeft: 1, MemoryPeak: 2},
	EvalDone{Step: 2, Epoch: 1, EvalLoss: 0.1 + 0.2, Perplexity: 3, Best: true, Tokens: 4, Seconds: 1},
	Saved{Step: 2, Path: "a/b", Bytes: 3, Removed: []string{"c"}},
	Paused{Step: 2, Error: "disk"},
	Resumed{Step: 2},
	Done{Step: 4, Reason: ReasonFinished, Path: "p", Loss: 1, Tokens: 2, Seconds: 3, TokensPerSec: 4, BestStep: 1, BestEvalLoss: 2, BestPath: "q"},
	StepSkipped{Step: 3, Reason: SkippedOverflow, Message: "m", Loss: new(float64), Tokens: 4, Scale: 2, NextScale: 1, InARow: 1, Total: 5},
	Spike{Step: 3, Loss: 2, Median: 1, Z: 7.5, Rows: []string{"a:1"}},
	Failed{Step: 4, Error: "e", Checkpoint: "c"},
	Failed{Step: 4, Error: "e", NonFinite: &NonFiniteError{Step: 5, What: "w", Where: "x", Layer: -1, Rows: []string{"a:1"}, RateScale: 1}},
}

func TestEventsRoundTrip(t *testing.T) {
	kinds := map[Kind]bool{}
	for _, e := range allEvents {
		line, err := MarshalEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := UnmarshalEvent(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s\ngot  %+v\nwant %+v", line, got, e)
		}
		kinds[e.Kind()] = true
	}
	for kind := range eventReaders {
		if !kinds[kind] {
			t.Errorf("no %s event was tried", kind)
		}
	}
	for _, bad := range []string{``, `{}`, `{"event":"x"}`, `{"event":"step","step":"1"}`, `[]`} {
		if e, err := UnmarshalEvent([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, e)
		}
	}
}

// The keys that outside programs read, present even when they are zero: warm-up's first learning rate is 0.
func TestEventKeysAreTheContract(t *testing.T) {
	for _, test := range []struct {
		event Event
		keys  []string
	}{
		{StepDone{}, []string{"event", "step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second"}},
		{EvalDone{}, []string{"event", "step", "eval_loss", "perplexity"}},
		{Spike{}, []string{"event", "step", "loss", "z", "rows"}},
		{StepSkipped{}, []string{"event", "step", "reason"}},
		{Saved{}, []string{"event", "path"}},
		{Done{}, []string{"event"}},
		{Failed{}, []string{"event", "error"}},
	} {
		line, err := MarshalEvent(test.event)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(line, &object); err != nil {
			t.Fatal(err)
		}
		for _, key := range test.keys {
			if _, ok := object[key]; !ok {
				t.Errorf("%s has no %q", line, key)
			}
		}
	}
}

// A listener that sleeps holds up nobody, and gets every event in order.
func TestEventQueueNeverBlocks(t *testing.T) {
	release := make(chan struct{})
	var got []int
	q := newEventQueue(func(e Event) {
		<-release
		got = append(got, e.At())
	})
	put := make(chan struct{})
	go func() {
		for i := range 1000 {
			q.put(Resumed{Step: i})
		}
		close(put)
	}()
	select {
	case <-put:
	case <-time.After(30 * time.Second): // a generous limit for a hang, not a timing
		t.Fatal("putting events waits for the listener")
	}
	close(release)
	q.close()
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Errorf("%d events, sorted: %v", len(got), slices.IsSorted(got))
	}
}

// Whatever line a journal holds, it is an event that is written again as it was read, or an error.
func FuzzUnmarshalEvent(f *testing.F) {
	for _, e := range allEvents {
		line, err := MarshalEvent(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"event":"step","loss":1e999}`))
	f.Add([]byte(`{"event":"started","skip_rows":[],"plan":{"Notices":[]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := UnmarshalEvent(line)
		if err != nil {
			return
		}
		again, err := MarshalEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		second, err := UnmarshalEvent(again)
		if err != nil {
			t.Fatal(err)
		}
		// an empty list and none are the same event, and the same line
		if third, err := MarshalEvent(second); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("%s came back as %s (%v)", again, third, err)
		}
	})
}
