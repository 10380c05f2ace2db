package trainer

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killsVariable asks for more kills than a normal test run does: LATHE_KILLS=50 go test ./trainer -run Kill
const killsVariable = "LATHE_KILLS"

// A process that saves after every step is killed (SIGKILL) at a random moment, again and again. Each time what it leaves
// is a whole checkpoint, no older than the last one it reported; the resume cleans up, and in the end the run has the bits
// of one that nobody disturbed.
func TestKillWhileSaving(t *testing.T) {
	kills := 5
	if s := os.Getenv(killsVariable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s=%q: %v", killsVariable, s, err)
		}
		kills = n
	}
	c := tinyConfig(t)
	c.SaveStrategy, c.SaveSteps, c.SaveTotalLimit, c.MaxSteps = StrategySteps, 1, 3, 40
	undisturbed := c
	undisturbed.OutputDir = filepath.Join(t.TempDir(), "undisturbed")
	train(t, undisturbed, Options{})
	want := outcomeOf(t, undisturbed)

	random := rand.New(rand.NewPCG(1, 2)) // the moments still depend on the machine's load
	resume, killed := "", 0
	for killed < kills {
		lastSaved := killAtRandom(t, childTask{Config: c, Resume: resume}, random)
		if lastSaved < 0 { // it ran to its end before the kill: start anew
			outcomeOf(t, c).compare(t, want)
			resume = ""
			continue
		}
		killed++
		found, err := findCheckpoint(c.OutputDir)
		if err != nil {
			if lastSaved == 0 { // killed before its first save: nothing was promised
				resume = ""
				continue
			}
			t.Fatalf("kill %d, after checkpoint-%d was reported: %v", killed, lastSaved, err)
		}
		step, _ := checkpointStep(filepath.Base(found.path))
		if s, err := readState(found.path); err != nil || s.Step < lastSaved {
			t.Fatalf("kill %d: %s is older than the reported checkpoint-%d (%v)", killed, found.path, lastSaved, err)
		}
		t.Logf("kill %d: reported %d, found %d, skipped %d", killed, lastSaved, step, len(found.skipped))
		resume = c.OutputDir
	}
	_, stderr, err := startChild(t, childTask{Config: c, Resume: resume}).wait(t)
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	outcomeOf(t, c).compare(t, want)
	entries, err := os.ReadDir(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left over", e.Name())
		}
	}
}

// killAtRandom starts a process, waits for a random number of its events and then some, and kills it. It returns the last
// step that it reported as saved, or -1 when it had ended by itself.
func killAtRandom(t *testing.T, task childTask, random *rand.Rand) (lastSaved int) {
	t.Helper()
	c := startChild(t, task)
	events := 1 + random.IntN(12)
	for range events {
		e := c.next(t)
		if e == nil {
			break
		}
		if saved, ok := e.(Saved); ok {
			lastSaved = saved.Step
		}
	}
	time.Sleep(time.Duration(random.Int64N(int64(8 * time.Millisecond)))) // into the middle of a step or a save
	if err := c.cmd.Process.Kill(); err != nil {
		t.Logf("kill: %v", err)
	}
	rest, stderr, err := c.wait(t)
	for _, e := range rest {
		switch e := e.(type) {
		case Saved:
			lastSaved = e.Step
		case Failed:
			t.Fatalf("the run failed by itself: %s", e.Error)
		}
	}
	if err == nil {
		return -1
	}
	if strings.Contains(stderr, "error") || strings.Contains(stderr, "panic") {
		t.Fatalf("the process did not die of the kill: %s", stderr)
	}
	return lastSaved
}

// A disk that fills up in the middle of a run: one line, the earlier checkpoints untouched, nothing half-written.
func TestFullDiskDuringASave(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: this system has no limit for the size of a file")
	}
	c := tinyConfig(t)
	c.MaxSteps, c.SaveStrategy, c.SaveSteps = 6, StrategySteps, 2
	train(t, c, Options{StopAfter: 2})
	events, stderr, err := startChild(t, childTask{Config: c, Resume: c.OutputDir, FileLimit: 8 << 10}).wait(t)
	if err == nil || len(events) == 0 {
		t.Fatalf("the child succeeded: %+v %s", events, stderr)
	}
	failed, ok := events[len(events)-1].(Failed)
	if !ok || !strings.Contains(failed.Error, "save ") || !strings.Contains(failed.Error, "checkpoint-4") || strings.Contains(failed.Error, "\n") {
		t.Errorf("%+v", events[len(events)-1])
	}
	found, err := findCheckpoint(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := readState(found.path); err != nil || s.Step != 2 || len(found.skipped) != 0 {
		t.Errorf("%+v %v", found, err)
	}
	entries, err := os.ReadDir(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "checkpoint-4" {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// In the workbench a save that fails pauses the run with the reason; Resume tries again.
func TestSaveErrorPausesWhenAsked(t *testing.T) {
	c := tinyConfig(t)
	c.MaxSteps, c.SaveStrategy, c.SaveSteps = 4, StrategySteps, 2
	control := NewControl()
	r, err := Prepare(t.Context(), newDevice(t), c, Options{PauseOnSaveError: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	away := c.OutputDir + "-away"
	if err := os.Rename(c.OutputDir, away); err != nil { // the disk was unmounted, say
		t.Fatal(err)
	}
	if err := os.WriteFile(c.OutputDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	paused := 0
	err = r.Train(t.Context(), control, func(e Event) {
		if p, ok := e.(Paused); ok && p.Error != "" {
			paused++
			if err := os.Remove(c.OutputDir); err != nil {
				t.Error(err)
			}
			if err := os.Rename(away, c.OutputDir); err != nil {
				t.Error(err)
			}
			control.Resume()
		}
	})
	if err != nil || paused != 1 {
		t.Errorf("%v, paused %d times", err, paused)
	}
	if err := checkWhole(checkpointPath(c.OutputDir, 2), true); err != nil {
		t.Error(err)
	}
}
