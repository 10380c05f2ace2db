package session

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lathe/compute"
	"lathe/datasets"
	"lathe/trainer"
)

func open(t *testing.T, dir string) *Session {
	t.Helper()
	s, err := Open(Options{Dir: dir, Device: "dry", OpenDevice: func(string) (compute.Device, error) { return compute.NewDry(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wait(t *testing.T, s *Session, what string, condition func(View) bool) View {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	v, err := s.Wait(ctx, condition)
	if err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
	return v
}

func writeRows(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "rows.jsonl")
	rows := strings.Repeat(`{"prompt":"How much is it?","completion":"Four dollars."}`+"\n", 3)
	if err := os.WriteFile(path, []byte(rows), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Labels, their undo, findings and the log come back when the workspace is opened again: the journal is all there is.
func TestReplayRebuildsTheScreen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	do := func(c Command) {
		t.Helper()
		if err := s.Do(c); err != nil {
			t.Fatalf("%T: %v", c, err)
		}
	}
	do(OpenData{Path: writeRows(t, dir)})
	wait(t, s, "the index", func(v View) bool { return v.Data.Rows == 3 && v.Data.Indexed })
	do(SetLabel{Row: 1, Label: "good"})
	do(SetLabel{Row: 1, Label: "bad"})
	do(SetLabel{Row: 2, Label: "good"})
	do(UndoLabel{})
	do(Lint{})
	before := wait(t, s, "the check", func(v View) bool { return v.Data.Summary != nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	defer s.Close()
	after := wait(t, s, "the index", func(v View) bool { return v.Data.Indexed })
	if want := map[int]string{1: "bad"}; !reflect.DeepEqual(after.Data.Labels, want) {
		t.Errorf("labels after replay %v, want %v", after.Data.Labels, want)
	}
	if len(after.Data.Undo) != 2 {
		t.Errorf("%d labels can be taken back after replay, want 2", len(after.Data.Undo))
	}
	if len(before.Log) == 0 {
		t.Error("the log is empty after a check")
	}
	if len(before.Data.Findings) != len(after.Data.Findings) {
		t.Errorf("%d findings after replay, want %d", len(after.Data.Findings), len(before.Data.Findings))
	}
}

// StopAnswers ends what is being written and what waits, not what is asked afterwards.
func TestStopAnswers(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	var before, after Play
	done := make(chan error)
	s.queue.post(func() { before.ID = s.newID(); s.publish(0, PlayStarted{Play: before}); done <- nil })
	<-done
	if err := s.Do(StopAnswers{}); err != nil {
		t.Fatal(err)
	}
	s.queue.post(func() { after.ID = s.newID(); done <- nil })
	<-done
	if !s.isStopped(before) || s.isStopped(after) {
		t.Errorf("stopped: the play before %v, the play after %v", s.isStopped(before), s.isStopped(after))
	}
}

// A view taken once stays as it was while the session goes on.
func TestViewIsAValue(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	if err := s.Do(OpenData{Path: writeRows(t, dir)}); err != nil {
		t.Fatal(err)
	}
	wait(t, s, "the index", func(v View) bool { return v.Data.Indexed })
	if err := s.Do(SetLabel{Row: 0, Label: "good"}); err != nil {
		t.Fatal(err)
	}
	early := wait(t, s, "the label", func(v View) bool { return v.Data.Labels[0] == "good" })
	if err := s.Do(SetLabel{Row: 0, Label: "bad"}); err != nil {
		t.Fatal(err)
	}
	wait(t, s, "the other label", func(v View) bool { return v.Data.Labels[0] == "bad" })
	if early.Data.Labels[0] != "good" {
		t.Errorf("an old view changed its label to %q", early.Data.Labels[0])
	}
}

// A command that cannot act says why, in words that name the next step.
func TestRefusals(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	for want, c := range map[string]Command{
		"no dataset is open":   Lint{},
		"no run is training":   Pause{},
		"no run is paused":     Resume{},
		"no run to stop":       Stop{},
		"no answer is being":   StopAnswers{},
		"no label to take":     UndoLabel{},
		"no model is in":       Prompt{Text: "Hello", Versions: []string{VersionLive}},
		"an empty prompt":      Prompt{Versions: []string{VersionLive}},
		"no such file":         OpenData{Path: filepath.Join(t.TempDir(), "none.jsonl")},
		"no model is in memor": Export{Version: VersionLive, Format: "peft", Out: "x"},
	} {
		if err := s.Do(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %q", c, err, want)
		}
	}
}

// A run that was at work when its process died is found as stopped, with the way to go on.
func TestDeadRunIsFoundStopped(t *testing.T) {
	dir := t.TempDir()
	st, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	events := []Event{
		{Run: 7, Time: time.Now(), Body: RunCreated{Name: "refund", Config: trainer.Config{OutputDir: "runs/refund"}}},
		{Run: 7, Time: time.Now(), Body: StateChanged{State: Running}},
		{Run: 7, Time: time.Now(), Body: Training{Event: trainer.StepDone{Step: 1, Loss: 2.5}}},
	}
	if err := st.append(events); err != nil {
		t.Fatal(err)
	}
	st.close()
	s := open(t, dir)
	defer s.Close()
	v := wait(t, s, "the recovery", func(v View) bool { return v.Run.State == Stopped })
	if !strings.Contains(v.Run.Reason, ":resume runs/refund") {
		t.Errorf("reason %q names no way to go on", v.Run.Reason)
	}
	if len(v.Run.Steps) != 1 || v.Run.Last.Loss != 2.5 || v.Run.HasModel {
		t.Errorf("replayed run %+v", v.Run)
	}
}

// A broken run ends as failed, with its reason, and the session lives on.
func TestFailedStart(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	cfg := trainer.DefaultConfig()
	cfg.ModelNameOrPath, cfg.OutputDir = filepath.Join(t.TempDir(), "none"), t.TempDir()
	if err := s.Do(Start{Config: cfg}); err != nil {
		t.Fatal(err)
	}
	v := wait(t, s, "the failure", func(v View) bool { return v.Run.State == Failed })
	if v.Run.Reason == "" {
		t.Error("a failed run without a reason")
	}
	if err := s.Do(Pause{}); err == nil {
		t.Error("a failed run can be paused")
	}
}

// A full or broken disk under the journal stops history, not work.
func TestJournalThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	path := writeRows(t, dir)
	s.store.db.Close()
	if err := s.Do(OpenData{Path: path}); err != nil {
		t.Fatal(err)
	}
	v := wait(t, s, "the dataset", func(v View) bool { return v.Data.Indexed })
	if n := len(v.Log); n == 0 || v.Log[n-1].Level != datasets.LevelError {
		t.Errorf("nobody was told that history is not kept: %v", v.Log)
	}
	if err := s.Close(); err == nil {
		t.Error("Close hides that the journal was broken")
	}
}

// Every kind of the journal comes back as it was written.
func TestBodiesRoundTrip(t *testing.T) {
	bodies := []Body{
		ConfigLoaded{Path: "run.yaml", Config: trainer.DefaultConfig()},
		DataOpened{Path: "a"},
		LintStarted{Path: "a"},
		Linted{Path: "a", Findings: []datasets.Finding{{Code: "pii_email", Line: 3}}},
		Labelled{Path: "a", Row: 4, Label: "x", Previous: "y", Undo: true},
		RunCreated{Name: "n", Config: trainer.DefaultConfig()},
		Planned{Plan: trainer.Plan{Steps: 3}},
		Training{Event: trainer.StepDone{Step: 3, Loss: 0.25}},
		StateChanged{State: Failed, Reason: "r"},
		PlayStarted{Play: Play{ID: 1, Prompt: "p"}},
		PlayDone{Play: Play{ID: 1, Text: "t", Finish: "stop"}},
		Evaluated{Version: VersionBase, Step: 2},
		Exported{Format: "peft", Path: "p"},
		Noted{Level: datasets.LevelWarn, Text: "t"},
	}
	for _, body := range bodies {
		kind, data, err := encodeBody(body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeBody(kind, data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, body) {
			t.Errorf("%s came back as %+v, want %+v", kind, got, body)
		}
	}
	if len(bodies) != len(decoders) {
		t.Errorf("%d kinds tested, the journal knows %d", len(bodies), len(decoders))
	}
}

// A listener that never takes its mail holds nobody up.
func TestSlowListener(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	slow := s.Listen()
	defer slow.Close()
	for range 1000 {
		s.post(0, Noted{Level: datasets.LevelInfo, Text: "x"})
	}
	wait(t, s, "the notes", func(v View) bool { return v.Version >= 1000 })
	<-slow.Changed()
	if v := slow.Take(); v.Version < 1000 {
		t.Errorf("the mailbox holds version %d, not the latest", v.Version)
	}
}
