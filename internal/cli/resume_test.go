package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// steps of a run as its events tell them; what depends on the clock is left out.
func measured(list []object) []string {
	var lines []string
	for _, e := range events(list, "step") {
		lines = append(lines, fmt.Sprintf("step %v epoch %v loss %v rate %v norm %v tokens %v of %v", e["step"], e["epoch"], e["loss"],
			e["learning_rate"], e["grad_norm"], e["tokens"], e["total_tokens"]))
	}
	return lines
}

// sameState compares two output folders, or checkpoints, byte by byte: the weights and the optimiser's moments.
func sameState(t *testing.T, method, a, b string) {
	t.Helper()
	weights := "adapter_model.safetensors"
	if method == "full" {
		weights = "model.safetensors"
	}
	for _, name := range []string{weights, filepath.Join("trainer_state", "optimizer.safetensors")} {
		if !bytes.Equal(read(t, a, name), read(t, b, name)) {
			t.Errorf("%s: %s and %s differ", name, a, b)
		}
	}
}

// trainProcess runs the rest of a run in a process of its own.
func trainProcess(t *testing.T, dir, yaml string, args ...string) []object {
	t.Helper()
	cmd := process(append([]string{"train", "-c", yaml, "--workspace", dir, "--json"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return decodeLines[object](t, stdout.String())
}

// Twenty steps are ten, and ten more in a new process, bit for bit: with dropout, shuffling and packing.
func TestTwentyStepsAreTenAndTen(t *testing.T) {
	for method, changes := range map[string]config{
		"lora":  {"save_strategy": "steps", "save_steps": 5},
		"qlora": {"load_in_4bit": true, "bnb_4bit_compute_dtype": "float32"},
		"full":  {"learning_rate": 1e-3},
	} {
		t.Run(method, func(t *testing.T) {
			dir := t.TempDir()
			c := tiny(t, dir, changes)
			c["method"], c["max_steps"], c["shuffle"] = method, 20, true
			straight := train(t, dir, c.save(t, dir, "straight.yaml"))
			c["output_dir"] = filepath.Join(dir, "halves")
			yaml := c.save(t, dir, "halves.yaml")
			first := train(t, dir, yaml, "--stop-after", "10")
			second := trainProcess(t, dir, yaml, "--resume", c["output_dir"].(string))
			halves := append(measured(first), measured(second)...)
			if want := measured(straight); len(want) != 20 || !reflect.DeepEqual(halves, want) {
				t.Errorf("straight:\n%s\nin halves:\n%s", strings.Join(want, "\n"), strings.Join(halves, "\n"))
			}
			sameState(t, method, filepath.Join(dir, "out"), filepath.Join(dir, "halves"))
		})
	}
}

// --resume takes a checkpoint folder too: from step 5 the run comes to the same end.
func TestResumeOfACheckpointFolder(t *testing.T) {
	dir := t.TempDir()
	c := tiny(t, dir, config{"max_steps": 8, "save_strategy": "steps", "save_steps": 3})
	yaml := c.save(t, dir, "run.yaml")
	straight := train(t, dir, yaml)
	out := c["output_dir"].(string)
	saved := events(straight, "saved")
	if len(saved) != 3 || saved[0]["path"] != filepath.Join(out, "checkpoint-3") || saved[2]["path"] != filepath.Join(out, "checkpoint-8") {
		t.Fatalf("saved: %v", saved)
	}
	c["output_dir"] = filepath.Join(dir, "again")
	rest := train(t, dir, c.save(t, dir, "again.yaml"), "--resume", filepath.Join(out, "checkpoint-3"))
	if got, want := measured(rest), measured(straight)[3:]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	sameState(t, "lora", out, filepath.Join(dir, "again"))
	if started := events(rest, "started"); len(started) != 1 || started[0]["step"] != 3.0 || started[0]["resumed_from"] != filepath.Join(out, "checkpoint-3") {
		t.Errorf("started: %v", started)
	}
}

// --max-steps is the schedule's length as well; --stop-after leaves the schedule as it was.
func TestMaxStepsAndStopAfter(t *testing.T) {
	rates := func(list []object) []float64 {
		var r []float64
		for _, e := range events(list, "step") {
			r = append(r, e["learning_rate"].(float64))
		}
		return r
	}
	dir := t.TempDir()
	yaml := tiny(t, dir, config{"max_steps": 8, "warmup_steps": 0, "learning_rate": 0.008}).save(t, dir, "run.yaml")
	out := filepath.Join(dir, "out")
	for _, test := range []struct {
		args   []string
		rates  []float64
		reason string
	}{
		{[]string{"--max-steps", "4"}, []float64{0.008, 0.006, 0.004, 0.002}, "finished"},
		{[]string{"--stop-after", "4"}, []float64{0.008, 0.007, 0.006, 0.005}, "stop_after"},
		{[]string{"--stop-after", "3", "--max-steps", "4"}, []float64{0.008, 0.006, 0.004}, "stop_after"},
		{[]string{"--stop-after", "99"}, []float64{0.008, 0.007, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001}, "finished"},
	} {
		list := train(t, dir, yaml, test.args...)
		if got := rates(list); !closeTo(got, test.rates) {
			t.Errorf("%v: rates %v, want %v", test.args, got, test.rates)
		}
		done := events(list, "done")
		if len(done) != 1 || done[0]["reason"] != test.reason || done[0]["path"] != out || done[0]["step"] != float64(len(test.rates)) {
			t.Errorf("%v: done %v", test.args, done)
		}
		if len(read(t, out, "adapter_model.safetensors")) == 0 {
			t.Errorf("%v: no adapter in output_dir", test.args)
		}
	}
}

// closeTo allows for the last bits of a schedule's arithmetic.
func closeTo(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if d := a[i] - b[i]; d > 1e-15 || d < -1e-15 {
			return false
		}
	}
	return true
}

// A resume that could not go on with the same bits is refused, and nothing is touched.
func TestResumeRefusals(t *testing.T) {
	dir := t.TempDir()
	c := tiny(t, dir, config{"max_steps": 8})
	out := c["output_dir"].(string)
	train(t, dir, c.save(t, dir, "run.yaml"), "--stop-after", "4")
	before := read(t, out, "trainer_state", "manifest.json")
	for _, test := range []struct {
		name    string
		changes config
		resume  string
		code    int
		words   []string
	}{
		{"another seed", config{"seed": 7}, out, exitFailed, []string{"seed", "42", "set it back"}},
		{"another length", config{"max_steps": 9}, out, exitFailed, []string{"max_steps", "9", "8"}},
		{"other data", config{"train_file": write(t, dir, "other.jsonl", `{"input_ids":[1,5,6,7,2]}`)}, out, exitFailed, []string{"train_file"}},
		{"no such folder", nil, filepath.Join(dir, "none"), exitUsage, []string{"none", "no such file"}},
		{"a folder without checkpoint", nil, t.TempDir(), exitFailed, []string{"no checkpoint", "--resume"}},
		{"a file", nil, filepath.Join(dir, "run.yaml"), exitUsage, []string{"run.yaml"}},
		{"a checkpoint that is not there", nil, filepath.Join(out, "checkpoint-77"), exitUsage, []string{"checkpoint-77"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := tiny(t, dir, config{"max_steps": 8})
			for k, v := range test.changes {
				changed[k] = v
			}
			yaml := changed.save(t, t.TempDir(), "run.yaml")
			refusal(t, lathe(t, "train", "-c", yaml, "--workspace", dir, "--resume", test.resume), test.code, test.words...)
			if !bytes.Equal(read(t, out, "trainer_state", "manifest.json"), before) {
				t.Error("the checkpoint was touched")
			}
		})
	}
	if _, err := os.Stat(filepath.Join(out, "earlier-1")); err == nil {
		t.Error("a refused resume moved the checkpoint aside")
	}
}
