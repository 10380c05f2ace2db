package session

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/cuda"
	"lathe/cuda/driver"
	"lathe/cuda/emulator"
)

// The workbench's work on the emulated GPU: a run that pauses, gives all of its memory to somebody else, is asked something
// meanwhile, resumes when the memory is there again, ends, is evaluated and exported.
func TestWorkOnCUDA(t *testing.T) {
	library := emulator.Need(t)
	s, err := Open(Options{Dir: t.TempDir(), Device: "cuda", OpenDevice: func(string) (compute.Device, error) {
		return cuda.Open(cuda.Options{Driver: library})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	do := func(c Command) {
		t.Helper()
		if err := s.Do(c); err != nil {
			t.Fatalf("%T: %v", c, err)
		}
	}
	c := markedRun(t)
	c.MaxSteps, c.LoadIn4bit, c.Method = 4, true, "qlora"
	do(Start{Config: c, Paused: true})
	wait(t, s, "the pause before step 1", func(v View) bool { return v.Run.State == Paused })
	held := freeMemory(t, library)
	do(Release{})
	v := wait(t, s, "the release", func(v View) bool { return v.Run.Released > 0 })
	if free := freeMemory(t, library); free-held < v.Run.Released || v.Run.Released == 0 {
		t.Errorf("%d bytes were given back, %d more are free", v.Run.Released, free-held)
	}
	do(Prompt{Text: "How much is it?", Versions: []string{VersionLive}, Options: PlayOptions{MaxNewTokens: 4}})
	v = wait(t, s, "the answer", func(v View) bool { return len(v.Plays) == 1 && v.Plays[0].Ended() })
	if v.Plays[0].Err != "" || v.Run.State != Paused {
		t.Errorf("state %s, answer %+v", v.Run.State, v.Plays[0])
	}
	do(Resume{})
	v = wait(t, s, "the run's end", func(v View) bool { return !v.Run.State.Active() })
	if v.Run.Done == nil || v.Run.Released != 0 || len(v.Run.Steps) != 4 {
		t.Fatalf("%+v: %s", v.Run, logText(v))
	}
	out := filepath.Join(t.TempDir(), "peft")
	do(Export{Version: VersionLive, Format: "peft", Out: out})
	v = wait(t, s, "the export", func(v View) bool { return len(v.Exports) > 0 || strings.Contains(logText(v), "export:") })
	if len(v.Exports) == 0 {
		t.Error(logText(v))
	}
}

// freeMemory is what the GPU has free, as another process would see it.
func freeMemory(t *testing.T, library string) int64 {
	t.Helper()
	d, err := driver.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := d.NewContext(0)
	if err != nil {
		t.Fatal(err)
	}
	free, _, err := ctx.MemInfo()
	if err := errors.Join(err, ctx.Close()); err != nil {
		t.Fatal(err)
	}
	return free
}
