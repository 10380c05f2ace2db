//go:build unix

package cli

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killsVariable asks for more kills than a normal test run does: LATHE_KILLS=50 go test ./internal/cli -run Kill -v
const killsVariable = "LATHE_KILLS"

// `lathe train` saves after every step and is killed (SIGKILL) at a random moment, again and again. Each time the resume of
// its output folder goes on from a whole checkpoint, no older than the last one that it had reported, and clears away what
// the save left; in the end the run has the bits of one that nobody disturbed.
func TestKillWhileSaving(t *testing.T) {
	kills := 8
	if s := os.Getenv(killsVariable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s=%q: %v", killsVariable, s, err)
		}
		kills = n
	}
	dir := t.TempDir()
	c := tiny(t, dir, config{"max_steps": 12 * kills, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 3})
	train(t, dir, c.save(t, dir, "undisturbed.yaml"))
	c["output_dir"] = filepath.Join(dir, "killed")
	out, yaml := filepath.Join(dir, "killed"), c.save(t, dir, "killed.yaml")

	random := rand.New(rand.NewPCG(1, 2)) // the moments still depend on the machine's load
	torn := 0                             // kills in the middle of a save
	for kill := 1; kill <= kills; kill++ {
		var args []string
		if exists(out) {
			args = []string{"--resume", out}
		}
		saved, ended := killAtRandom(t, startTrain(t, dir, yaml, nil, args...), random)
		if ended { // before the kill: start anew
			sameState(t, "lora", filepath.Join(dir, "out"), out)
			if err := os.RemoveAll(out); err != nil {
				t.Fatal(err)
			}
			kill--
			continue
		}
		left := leftovers(t, out)
		if len(left) > 0 {
			torn++
		}
		resumed := resumeOneStep(t, dir, yaml, out, saved)
		t.Logf("kill %d: reported %d, resumed after %d, left %v", kill, saved, resumed, left)
		noLeftovers(t, out)
	}
	t.Logf("%d of %d kills in the middle of a save", torn, kills)
	train(t, dir, yaml, "--resume", out)
	sameState(t, "lora", filepath.Join(dir, "out"), out)
	noLeftovers(t, out)
}

// resumeOneStep goes on for one step and returns where it started. A run that was killed before its first save starts anew.
func resumeOneStep(t *testing.T, dir, yaml, out string, saved int) int {
	t.Helper()
	refused := lathe(t, "train", "-c", yaml, "--workspace", dir, "--resume", out, "--stop-after", "1", "--json")
	if refused.code != exitDone {
		if saved > 0 || !strings.Contains(refused.stderr, "no checkpoint") && !strings.Contains(refused.stderr, "no such file") {
			t.Fatalf("checkpoint-%d was reported, but: %s", saved, refused.stderr)
		}
		train(t, dir, yaml, "--stop-after", "1")
		return 0
	}
	started := events(refused.objects(t), "started")
	step := int(started[0]["step"].(float64))
	if step < saved {
		t.Fatalf("resumed after step %d, but checkpoint-%d was reported", step, saved)
	}
	train(t, dir, yaml, "--resume", out, "--stop-after", fmt.Sprint(step+1))
	return step
}

// leftovers are what a killed process was about to write or to remove.
func leftovers(t *testing.T, out string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(out)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// killAtRandom waits for a random number of a process's events and then some, and kills it. It returns the last step that
// it reported as saved; ended tells that it came to its end by itself.
func killAtRandom(t *testing.T, r *running, random *rand.Rand) (saved int, ended bool) {
	t.Helper()
	note := func(e object) {
		if e["event"] == "saved" {
			saved = int(e["step"].(float64))
		}
	}
	for range 1 + random.IntN(16) {
		e := r.next()
		if e == nil {
			break
		}
		note(e)
	}
	time.Sleep(time.Duration(random.Int64N(int64(8 * time.Millisecond)))) // into the middle of a step or a save
	r.signal(syscall.SIGKILL)
	rest, code := r.end()
	for _, e := range rest {
		note(e)
		if e["event"] == "failed" {
			t.Fatalf("the run failed by itself: %v", e["error"])
		}
	}
	if text := r.stderr.String(); text != "" {
		t.Fatalf("the process did not die of the kill: %s", text)
	}
	return saved, code == exitDone
}
