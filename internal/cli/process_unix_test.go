//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lathe/trainer"
)

// running is `lathe train` as a process of its own, told by its events.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	pipe   *os.File // the read end of its stdout
	lines  *bufio.Reader
	stderr bytes.Buffer
}

func startTrain(t *testing.T, dir, yaml string, env []string, args ...string) *running {
	t.Helper()
	r := &running{t: t, cmd: process(append([]string{"train", "-c", yaml, "--workspace", dir, "--json"}, args...)...)}
	r.cmd.Env = append(r.cmd.Env, env...)
	r.cmd.Stderr = &r.stderr
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.pipe, r.lines, r.cmd.Stdout = read, bufio.NewReader(read), write
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // of a test that failed half-way
		read.Close()
	})
	return r
}

// next is the process's next event, nil when there is none any more. A line that a kill cut off is no event.
func (r *running) next() object {
	r.t.Helper()
	line, err := r.lines.ReadString('\n')
	if err != nil {
		return nil
	}
	return decodeLines[object](r.t, line)[0]
}

// until reads events up to one of a kind.
func (r *running) until(kind string) object {
	r.t.Helper()
	for e := r.next(); e != nil; e = r.next() {
		if e["event"] == kind {
			return e
		}
	}
	r.t.Fatalf("the process ended before its %s: %s", kind, &r.stderr)
	return nil
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// end reads the rest of the events and waits for the process; code is -1 for one that a signal killed.
func (r *running) end() (rest []object, code int) {
	r.t.Helper()
	for e := r.next(); e != nil; e = r.next() {
		rest = append(rest, e)
	}
	_ = r.cmd.Wait() // the code says the same
	return rest, r.cmd.ProcessState.ExitCode()
}

// noLeftovers finds what a save that did not end has left.
func noLeftovers(t *testing.T, out string) {
	t.Helper()
	err := filepath.WalkDir(out, func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// longRun never comes to its end by itself within a test.
func longRun(t *testing.T, dir string, changes config) string {
	c := tiny(t, dir, config{"max_steps": 1 << 20, "lr_scheduler_type": "constant"})
	for k, v := range changes {
		c[k] = v
	}
	return c.save(t, dir, "run.yaml")
}

// An interrupt saves a checkpoint and stops; what comes after it goes on from there.
func TestInterruptSaves(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			dir := t.TempDir()
			yaml := longRun(t, dir, nil)
			r := startTrain(t, dir, yaml, nil)
			r.until("step")
			r.signal(s)
			r.signal(s) // as timeout(1) does: the same request
			rest, code := r.end()
			done := events(rest, "done")
			if code != exitDone || len(done) != 1 || done[0]["reason"] != "stopped" || !strings.Contains(r.stderr.String(), "saving a checkpoint") {
				t.Fatalf("exit %d, %v: %s", code, done, &r.stderr)
			}
			noLeftovers(t, filepath.Join(dir, "out"))
			step := int(done[0]["step"].(float64))
			started := events(train(t, dir, yaml, "--resume", filepath.Join(dir, "out"), "--max-steps", fmt.Sprint(step+2)), "started")
			if len(started) != 1 || started[0]["step"] != float64(step) {
				t.Errorf("resumed: %v, saved at %d", started, step)
			}
		})
	}
}

// A second interrupt ends at once, also where the first has not got through yet; what comes with the first is the same request.
func TestSecondInterruptEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 4)
		var asked, ended int
		go interrupts(signals, func() { asked++ }, func() { ended++ })
		for _, step := range []struct {
			after        time.Duration
			asked, ended int
		}{{0, 1, 0}, {0, 1, 0}, {repeated - 1, 1, 0}, {2, 1, 1}} {
			time.Sleep(step.after)
			signals <- syscall.SIGINT
			if synctest.Wait(); asked != step.asked || ended != step.ended {
				t.Errorf("%v later: asked %d times to end and ended %d times, want %d and %d", step.after, asked, ended, step.asked, step.ended)
			}
		}
	})
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func exists(parts ...string) bool {
	_, err := os.Stat(filepath.Join(parts...))
	return err == nil
}

// checkpoints are the steps of an output folder's checkpoints.
func checkpoints(t *testing.T, out string) (steps []int) {
	t.Helper()
	list, err := trainer.ListCheckpoints(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Problem != "" {
			t.Errorf("%s is not whole: %s", c.Path, c.Problem)
		}
		if !c.Final {
			steps = append(steps, c.Step)
		}
	}
	return steps
}

// A terminal that hangs up does not end the run, nor does a reader of the events that goes away.
func TestHangUpAndClosedPipe(t *testing.T) {
	dir := t.TempDir()
	yaml := tiny(t, dir, config{"max_steps": 400, "save_strategy": "steps", "save_steps": 200}).save(t, dir, "run.yaml")
	r := startTrain(t, dir, yaml, nil)
	r.until("step")
	r.signal(syscall.SIGHUP)
	r.until("step")
	r.pipe.Close()
	if err := r.cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &r.stderr)
	}
	if got := checkpoints(t, filepath.Join(dir, "out")); !slices.Equal(got, []int{200, 400}) {
		t.Errorf("checkpoints %v", got)
	}
	if !exists(dir, "out", "adapter_model.safetensors") {
		t.Error("no final adapter")
	}
}

// A reader that takes nothing holds up neither the steps nor an orderly end.
func TestStalledReader(t *testing.T) {
	dir := t.TempDir()
	r := startTrain(t, dir, longRun(t, dir, config{"save_strategy": "steps", "save_steps": 400}), nil)
	// four hundred events are more than a pipe holds
	eventually(t, "a checkpoint", func() bool { return exists(dir, "out", "checkpoint-400") })
	r.signal(syscall.SIGINT)
	eventually(t, "the final state", func() bool { return exists(dir, "out", "trainer_state") })
	rest, code := r.end()
	done := events(rest, "done")
	if code != exitDone || len(done) != 1 || len(events(rest, "step")) != int(done[0]["step"].(float64)) {
		t.Errorf("exit %d, %d step events, done %v: %s", code, len(events(rest, "step")), done, &r.stderr)
	}
}

// A second run does not write into the folder of one that is at work.
func TestTwoRunsInOneFolder(t *testing.T) {
	dir := t.TempDir()
	yaml := longRun(t, dir, nil)
	r := startTrain(t, dir, yaml, nil)
	r.until("step")
	refusal(t, lathe(t, "train", "-c", yaml, "--workspace", dir), exitFailed, "output_dir", "another run", filepath.Join(dir, "out"))
	r.signal(syscall.SIGINT)
	if _, code := r.end(); code != exitDone {
		t.Errorf("exit %d: %s", code, &r.stderr)
	}
}

// A disk that fills up: exit 1, the reason with the way out, the earlier checkpoint whole, nothing half-written; with space
// again the run goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	c := tiny(t, dir, config{"max_steps": 6, "save_strategy": "steps", "save_steps": 2})
	c["lora"] = config{"r": 64, "lora_alpha": 8, "target_modules": "all-linear", "lora_dropout": 0.1} // an adapter of half a megabyte
	yaml := c.save(t, dir, "run.yaml")
	train(t, dir, yaml, "--stop-after", "2")
	r := startTrain(t, dir, yaml, []string{limitVariable + "=262144"}, "--resume", out)
	rest, code := r.end()
	failed := events(rest, "failed")
	if len(failed) != 1 || failed[0]["checkpoint"] == "" || len(events(rest, "done")) != 0 {
		t.Errorf("failed: %v", failed)
	}
	refusal(t, output{code, "", r.stderr.String()}, exitFailed, "save", "checkpoint-4", "--resume", out)
	noLeftovers(t, out)
	if got := checkpoints(t, out); !slices.Equal(got, []int{2}) {
		t.Errorf("checkpoints %v", got)
	}
	if done := events(train(t, dir, yaml, "--resume", out), "done"); len(done) != 1 || done[0]["step"] != 6.0 {
		t.Errorf("with space again: %v", done)
	}
}

// Output that cannot be written is a failure where it is what the command is for.
func TestFullStdout(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("skipped: this system has no /dev/full: %v", err)
	}
	defer full.Close()
	dir := t.TempDir()
	ids := write(t, dir, "ids.jsonl", "{\"ids\":[1,2]}\n")
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"score", "--model", refDir(t, "llama-gqa"), "--ids", ids}, exitFailed},
		{[]string{"inspect", "--model", refDir(t, "llama-gqa")}, exitFailed},
		{[]string{"data", "lint", refDir(t, "llama-gqa", "train-lora", "rows.jsonl")}, exitFailed},
		{[]string{"train", "--workspace", dir, "-c", tiny(t, dir, nil).save(t, dir, "run.yaml")}, exitDone}, // its result is the folder
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), test.args, strings.NewReader(""), full, &stderr); code != test.code {
			t.Errorf("%v: exit %d, want %d: %s", test.args, code, test.code, &stderr)
		}
	}
}

func TestOutputWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root may write everywhere")
	}
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	yaml := tiny(t, dir, config{"output_dir": filepath.Join(locked, "out")}).save(t, dir, "run.yaml")
	refusal(t, lathe(t, "train", "-c", yaml, "--workspace", dir), exitFailed, "output_dir", "permission denied", "folder that can be written")
	// a workspace that cannot be written costs the history, not the run
	yaml = tiny(t, dir, nil).save(t, dir, "run.yaml")
	out := lathe(t, "train", "-c", yaml, "--workspace", locked)
	if out.code != exitDone || !strings.Contains(out.stderr, "history goes to") || !exists(dir, "out", "adapter_model.safetensors") {
		t.Errorf("%+v", out)
	}
}
