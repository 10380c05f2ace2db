package demo

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/model"
	"lathe/session"
)

// The demo's promise: the whole job, with the form of the answers learnt and perplexity down.
func TestWholeJob(t *testing.T) {
	files, err := Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Open(session.Options{
		Dir: files.Dir, Device: "cpu",
		OpenDevice: func(string) (compute.Device, error) { return cpu.New(cpu.Options{}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var panes []string
	r, err := Play(ctx, s, files, func(scene Scene) { panes = append(panes, scene.Pane) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Before.Format >= 0.1 || r.After.Format <= 0.8 {
		t.Errorf("format KPI from %.2f to %.2f, want from under 0.1 to over 0.8", r.Before.Format, r.After.Format)
	}
	if r.After.Perplexity >= r.Before.Perplexity {
		t.Errorf("perplexity rose from %.3f to %.3f", r.Before.Perplexity, r.After.Perplexity)
	}
	if len(r.Epochs) != 2 {
		t.Errorf("%d epochs were measured, want 2", len(r.Epochs))
	}
	if want := []string{"data", "train", "playground", "train", "compare", "compare", "compare"}; !slices.Equal(panes, want) {
		t.Errorf("scenes in panes %v, want %v", panes, want)
	}
	checkPause(t, r.Final)
	checkAdapter(t, files, r)
}

// checkPause looks for the pause, the answers in it, and the resume.
func checkPause(t *testing.T, v session.View) {
	t.Helper()
	var kinds []string
	for _, m := range v.Run.Marks {
		kinds = append(kinds, string(m.Kind))
	}
	if !slices.Contains(kinds, "paused") || !slices.Contains(kinds, "resumed") {
		t.Errorf("marks %v, want a pause and a resume", kinds)
	}
	if len(v.Plays) != 4 {
		t.Fatalf("%d answers, want base, live and two epochs", len(v.Plays))
	}
	if regexp.MustCompile(FormatKPI).MatchString(v.Plays[0].Text) {
		t.Errorf("the base answers in the form already: %q", v.Plays[0].Text)
	}
}

// checkAdapter loads what was exported over the demo's model.
func checkAdapter(t *testing.T, files Files, r Result) {
	t.Helper()
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	base, err := model.Open(filepath.Join(files.Dir, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	m, err := model.Load(dev, base, model.LoadOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.LoadAdapter(m, r.Adapter); err != nil {
		t.Errorf("the exported adapter does not load: %v", err)
	}
}

// The built-in model may be at most 4 MB.
func TestModelIsSmall(t *testing.T) {
	data, err := assets.ReadFile("assets/model/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 4<<20 {
		t.Errorf("the built-in model has %d bytes, more than 4 MB", len(data))
	}
}

// A folder that holds an earlier demo's output is refused, and left as it was.
func TestEarlierDemoIsKept(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir); err == nil {
		t.Error("an earlier demo would have been overwritten")
	}
	if _, err := os.Stat(filepath.Join(dir, "run.yaml")); err == nil {
		t.Error("files were written before the refusal")
	}
}
