package trainer

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killsVariable asks for more kills than a normal test run does: LATHE_KILLS=50 go test ./trainer -run Kill
const killsVariable = "LATHE_KILLS"

// Processes that save after every step are killed (SIGKILL) at random moments, again and again, one method of training after
// the other. Each time what such a process leaves is a whole checkpoint, no older than the last one it reported; the resume
// cleans up, and in the end every run has the bits of one that nobody disturbed.
func TestKillWhileSaving(t *testing.T) {
	kills := 6
	if s := os.Getenv(killsVariable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s=%q: %v", killsVariable, s, err)
		}
		kills = n
	}
	names := []string{"lora", "prefix projection", "full", "qdora", "fp16", "houlsby", "lora modules_to_save", "lora bias all", "lora adamw_8bit", "full adamw_8bit"}
	victims := make([]*victim, min(len(names), kills))
	for i := range victims {
		victims[i] = newVictim(t, names[i])
	}
	random := rand.New(rand.NewPCG(1, 2)) // the moments still depend on the machine's load
	resumes := 0
	for n := range kills {
		v := victims[n%len(victims)]
		for !v.kill(t, random) { // it ran to its end before the kill
		}
		if v.resume != "" {
			resumes++
		}
	}
	for _, v := range victims {
		_, stderr, err := startChild(t, childTask{Config: v.config, Resume: v.resume}).wait(t)
		if err != nil {
			t.Fatalf("%s: %v: %s", v.name, err, stderr)
		}
		v.check(t)
	}
	if t.Failed() {
		return
	}
	t.Logf("%d kills over %d methods: %d left a checkpoint to go on from, the others came before the first save; every run ended with the bits of an undisturbed one",
		kills, len(victims), resumes)
}

// victim is a run that is killed again and again.
type victim struct {
	name   string
	config Config
	want   outcome // of the same run, undisturbed
	resume string  // what its next process goes on from
	killed int
}

func newVictim(t *testing.T, name string) *victim {
	t.Helper()
	all := methods(t)
	at := slices.IndexFunc(all, func(m method) bool { return m.name == name })
	if at < 0 {
		t.Fatalf("no method %q", name)
	}
	v := &victim{name: name, config: tinyConfig(t)}
	all[at].change(&v.config)
	v.config.SaveStrategy, v.config.SaveSteps, v.config.SaveTotalLimit, v.config.MaxSteps = StrategySteps, 1, 3, 24
	undisturbed := v.config
	undisturbed.OutputDir, undisturbed.SaveStrategy = filepath.Join(t.TempDir(), "undisturbed"), StrategyNo
	train(t, undisturbed, Options{})
	v.want = outcomeOf(t, undisturbed)
	return v
}

// kill starts a process and kills it; false says that it had ended before, and that the next one starts anew.
func (v *victim) kill(t *testing.T, random *rand.Rand) bool {
	t.Helper()
	lastSaved := killAtRandom(t, childTask{Config: v.config, Resume: v.resume}, random)
	if lastSaved < 0 {
		v.check(t)
		v.resume = ""
		return false
	}
	v.killed++
	found, err := findCheckpoint(v.config.OutputDir)
	if err != nil {
		if lastSaved > 0 {
			t.Fatalf("%s, kill %d, after checkpoint-%d was reported: %v", v.name, v.killed, lastSaved, err)
		}
		v.resume = "" // killed before its first save: nothing was promised
		return true
	}
	if s, err := readState(found.path); err != nil || s.Step < lastSaved {
		t.Fatalf("%s, kill %d: %s is older than the reported checkpoint-%d (%v)", v.name, v.killed, found.path, lastSaved, err)
	}
	v.resume = v.config.OutputDir
	return true
}

// check compares the run's end with the undisturbed one's, and looks for leftovers.
func (v *victim) check(t *testing.T) {
	t.Helper()
	outcomeOf(t, v.config).compare(t, v.want)
	entries, err := os.ReadDir(v.config.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s: %s is left over", v.name, e.Name())
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
