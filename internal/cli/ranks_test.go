//go:build unix

package cli

import (
	"fmt"
	"math"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lathe/cuda/emulator"
)

// rankEnvironment is torchrun's for one of so many ranks.
func rankEnvironment(rank, size, port int) []string {
	return []string{
		"RANK=" + strconv.Itoa(rank), "LOCAL_RANK=" + strconv.Itoa(rank), "WORLD_SIZE=" + strconv.Itoa(size),
		"MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + strconv.Itoa(port), "LATHE_JOIN_TIMEOUT=60s",
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startRanks starts two ranks as torchrun does; change makes one's environment another.
func startTwo(t *testing.T, dir, yaml string, change func(rank int, environment []string) []string, args ...string) [2]*running {
	t.Helper()
	port := freePort(t)
	var ranks [2]*running
	for rank := range ranks {
		environment := rankEnvironment(rank, 2, port)
		if change != nil {
			environment = change(rank, environment)
		}
		ranks[rank] = startTrain(t, dir, yaml, environment, args...)
	}
	return ranks
}

// endTwo waits for both; rank 1 must have no events.
func endTwo(t *testing.T, ranks [2]*running) []object {
	t.Helper()
	all, code := ranks[0].end()
	rest, other := ranks[1].end()
	if code != exitDone || other != exitDone || len(rest) > 0 {
		t.Fatalf("rank 0: exit %d: %s; rank 1: exit %d, %d events: %s", code, &ranks[0].stderr, other, len(rest), &ranks[1].stderr)
	}
	return all
}

// twoAsOne compares the losses of two ranks with those of one device of twice the accumulation: the goal is 1e-3 relative, and
// sums in another order in float32 are within 1e-5.
func twoAsOne(t *testing.T, two, one []object) {
	t.Helper()
	a, b := events(two, "step"), events(one, "step")
	if len(a) != len(b) || len(a) < 4 {
		t.Fatalf("%d steps, one device %d", len(a), len(b))
	}
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(a[i]["loss"].(float64)/b[i]["loss"].(float64)-1))
		if a[i]["tokens"] != b[i]["tokens"] || a[i]["epoch"] != b[i]["epoch"] {
			t.Errorf("step %d: %v, one device %v", i+1, a[i], b[i])
		}
	}
	t.Logf("the losses of two ranks differ from one device's by %.1e", worst)
	if !(worst <= 1e-5) {
		t.Errorf("the losses of two ranks differ from one device's by %v", worst)
	}
}

// Two processes with torchrun's environment train as one does, on the CPU, and only rank 0 tells.
func TestTorchrunOnCPU(t *testing.T) {
	dir := t.TempDir()
	c := tiny(t, dir, config{"max_steps": 8})
	two := endTwo(t, startTwo(t, dir, c.save(t, dir, "two.yaml"), nil, "--device", "cpu"))
	c["output_dir"], c["gradient_accumulation_steps"] = filepath.Join(dir, "one"), 4
	twoAsOne(t, two, train(t, dir, c.save(t, dir, "one.yaml"), "--device", "cpu"))
	if !exists(dir, "out", "adapter_model.safetensors") {
		t.Error("no final adapter")
	}
}

// A rank that is killed ends the other within seconds, with one line that says how to go on; the checkpoints are whole, and both
// go on from there.
func TestKilledRankEndsTheRun(t *testing.T) {
	for victim := range 2 {
		t.Run(fmt.Sprint("rank ", victim), func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "out")
			yaml := longRun(t, dir, config{"save_strategy": "steps", "save_steps": 2, "save_total_limit": 3})
			ranks := startTwo(t, dir, yaml, nil, "--device", "cpu")
			ranks[0].until("saved")
			ranks[victim].signal(syscall.SIGKILL)
			killed := time.Now()
			survivor := ranks[1-victim]
			_, code := survivor.end()
			if took := time.Since(killed); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			words := []string{fmt.Sprintf("rank %d (host ", victim), "ended without a word"}
			if victim == 1 {
				words = append(words, "--resume")
			}
			refusal(t, output{code, "", survivor.stderr.String()}, exitFailed, words...)
			ranks[victim].end()
			last := checkpoints(t, out)
			if len(last) == 0 {
				t.Fatal("no checkpoint")
			}
			stop := strconv.Itoa(last[len(last)-1] + 2)
			started := events(endTwo(t, startTwo(t, dir, yaml, nil, "--device", "cpu", "--resume", out, "--stop-after", stop)), "started")
			if len(started) != 1 || started[0]["step"] != float64(last[len(last)-1]) {
				t.Errorf("resumed: %v, checkpoints %v", started, last)
			}
		})
	}
}

// An interrupt of either rank lets both save and stop.
func TestInterruptOfARank(t *testing.T) {
	dir := t.TempDir()
	ranks := startTwo(t, dir, longRun(t, dir, nil), nil, "--device", "cpu")
	ranks[0].until("step")
	ranks[1].signal(syscall.SIGTERM)
	done := events(endTwo(t, ranks), "done")
	if len(done) != 1 || done[0]["reason"] != "stopped" || len(checkpoints(t, filepath.Join(dir, "out"))) == 0 {
		t.Errorf("%v", done)
	}
}

func TestRanksThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	yaml := tiny(t, dir, nil).save(t, dir, "run.yaml")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, test := range map[string]struct {
		change func(rank int, environment []string) []string
		words  [2]string
		code   int
	}{
		"world size": {func(rank int, e []string) []string { return append(e, fmt.Sprintf("WORLD_SIZE=%d", 2+rank)) }, [2]string{"WORLD_SIZE has to be the same", "WORLD_SIZE has to be the same"}, exitFailed},
		"token": {func(rank int, e []string) []string {
			return append(e, fmt.Sprintf("LATHE_GROUP_TOKEN=%d", rank), "LATHE_JOIN_TIMEOUT=2s")
		}, [2]string{"did not come", "LATHE_GROUP_TOKEN"}, exitFailed},
		"port taken": {func(_ int, e []string) []string {
			return append(e, "LATHE_JOIN_TIMEOUT=2s", fmt.Sprintf("LATHE_MASTER_PORT=%d", taken.Addr().(*net.TCPAddr).Port))
		}, [2]string{"is taken: set LATHE_MASTER_PORT", "rank 0"}, exitFailed},
		"bad rank": {func(_ int, e []string) []string { return append(e, "RANK=7") }, [2]string{"RANK", "RANK"}, exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			for rank, r := range startTwo(t, dir, yaml, test.change, "--device", "cpu") {
				_, code := r.end()
				refusal(t, output{code, "", r.stderr.String()}, test.code, test.words[rank])
			}
		})
	}
}

func TestDeviceLists(t *testing.T) {
	dir := t.TempDir()
	yaml := tiny(t, dir, nil).save(t, dir, "run.yaml")
	for _, test := range []struct{ args, word string }{
		{"--device cuda:0,0", "named twice"},
		{"--device cpu,cpu", "a list of GPUs, such as cuda:0,1"},
		{"--device cuda:0,x", "a list of GPUs"},
		{"--gpus 2 --device cpu", "give one of them"},
		{"--gpus -1", "cannot be negative"},
	} {
		args := append([]string{"train", "-c", yaml, "--workspace", dir}, strings.Fields(test.args)...)
		refusal(t, lathe(t, args...), exitUsage, test.word)
	}
	refusal(t, lathe(t, "inspect", "--model", refDir(t, "llama-gqa"), "--device", "cuda:0,1"), exitUsage, "several GPUs train together")
}

// emulatedPair is two emulated GPUs with an emulated NCCL between them.
func emulatedPair(t *testing.T) {
	t.Helper()
	library := emulated(t)
	collectives, err := emulator.BuildNCCL()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LATHE_NCCL", collectives)
	t.Setenv("LATHE_EMU_DEVICES", "2") // of processes that start from here
	if err := emulator.Set(library, "LATHE_EMU_DEVICES", "2"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = emulator.Set(library, "LATHE_EMU_DEVICES", "") })
}

// `lathe train --device cuda:0,1` trains on two GPUs as on one with twice the accumulation, and a resume has the bits of a run
// that nobody stopped.
func TestTwoGPUs(t *testing.T) {
	emulatedPair(t)
	dir := t.TempDir()
	c := tiny(t, dir, config{"max_steps": 6})
	ran := func(yaml string, args ...string) []object {
		r := startTrain(t, dir, yaml, nil, args...)
		all, code := r.end()
		if code != exitDone || r.stderr.Len() > 0 {
			t.Fatalf("exit %d: %s", code, &r.stderr)
		}
		return all
	}
	two := ran(c.save(t, dir, "two.yaml"), "--device", "cuda:0,1")
	c["output_dir"] = filepath.Join(dir, "halves")
	halves := c.save(t, dir, "halves.yaml")
	parts := append(measured(ran(halves, "--gpus", "2", "--stop-after", "3")), measured(ran(halves, "--gpus", "2", "--resume", filepath.Join(dir, "halves")))...)
	if want := measured(two); len(want) != 6 || !reflect.DeepEqual(parts, want) {
		t.Errorf("straight:\n%s\nin halves:\n%s", strings.Join(want, "\n"), strings.Join(parts, "\n"))
	}
	sameState(t, "lora", filepath.Join(dir, "out"), filepath.Join(dir, "halves"))
	c["output_dir"], c["gradient_accumulation_steps"] = filepath.Join(dir, "one"), 4
	twoAsOne(t, two, train(t, dir, c.save(t, dir, "one.yaml"), "--device", "cuda"))

	plan := ok(t, "plan", "-c", filepath.Join(dir, "two.yaml"), "--device", "cuda:0,1", "--json").object(t)
	if plan["ranks"] != 2.0 || plan["global_batch"] != 4.0 || len(plan["devices"].([]any)) != 2 || plan["memory"].(map[string]any)["group"] == nil {
		t.Errorf("plan: %v", plan)
	}
}

// What keeps another GPU from training is the run's one line: there is no such GPU, or no NCCL.
func TestSecondGPUThatCannot(t *testing.T) {
	emulatedPair(t)
	dir := t.TempDir()
	yaml := tiny(t, dir, nil).save(t, dir, "run.yaml")
	for _, test := range []struct {
		device, environment string
		word                string
	}{
		{"cuda:0,5", "", "rank 1 failed: open cuda:5"},
		{"cuda:0,1", "LATHE_NCCL=/nowhere/libnccl.so.2", "no such library"},
	} {
		r := startTrain(t, dir, yaml, []string{test.environment}, "--device", test.device)
		_, code := r.end()
		refusal(t, output{code, "", r.stderr.String()}, exitFailed, test.word)
	}
}
