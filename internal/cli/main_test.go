package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lathe/cuda/driver"
)

// childVariable makes the test binary lathe itself: what must be a process of its own (killed, hung up, resumed anew) is.
// limitVariable holds the size of a file, in bytes, at which that process finds its disk full.
const (
	childVariable = "LATHE_CLI_CHILD"
	limitVariable = "LATHE_CLI_FILE_LIMIT"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		hideGPU()
		os.Exit(m.Run())
	}
	if limit, err := strconv.ParseUint(os.Getenv(limitVariable), 10, 64); err == nil {
		if err := limitFileSize(limit); err != nil {
			panic(err)
		}
	}
	os.Exit(Main(os.Args[1:]))
}

// hideGPU makes the tests' device the CPU on hosts with a GPU too: what they compare with was computed on CPUs. Tests of the CUDA device
// name the emulated driver, and a GPU's own numbers are tools/gpucheck's.
func hideGPU() {
	if os.Getenv(driver.EnvPath) != "" {
		return
	}
	if err := os.Setenv(driver.EnvPath, "/nowhere/libcuda.so.1"); err != nil {
		panic(err)
	}
}

// process is lathe as a command of its own.
func process(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	return cmd
}

// output is what a command said and how it ended.
type output struct {
	code           int
	stdout, stderr string
}

// lathe runs a command in this process.
func lathe(t testing.TB, args ...string) output {
	t.Helper()
	return latheReading(t, strings.NewReader(""), args...)
}

func latheReading(t testing.TB, stdin io.Reader, args ...string) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, stdin, &stdout, &stderr)
	return output{code, stdout.String(), stderr.String()}
}

// ok runs a command that must succeed.
func ok(t testing.TB, args ...string) output {
	t.Helper()
	out := lathe(t, args...)
	if out.code != exitDone {
		t.Fatalf("lathe %s: exit %d\n%s", strings.Join(args, " "), out.code, out.stderr)
	}
	return out
}

// object is a JSON object of the output.
type object map[string]any

// objects reads JSON lines; whatever else is on stdout fails the test.
func (o output) objects(t testing.TB) []object {
	t.Helper()
	return decodeLines[object](t, o.stdout)
}

// object reads the one JSON object of the output.
func (o output) object(t testing.TB) object {
	t.Helper()
	list := o.objects(t)
	if len(list) != 1 {
		t.Fatalf("%d JSON objects on stdout, want 1:\n%s", len(list), o.stdout)
	}
	return list[0]
}

func decodeLines[T any](t testing.TB, text string) []T {
	t.Helper()
	var list []T
	for line := range strings.Lines(text) {
		var v T
		d := json.NewDecoder(strings.NewReader(line))
		if err := d.Decode(&v); err != nil {
			t.Fatalf("stdout is not JSON lines: %v: %q", err, line)
		}
		if d.More() {
			t.Fatalf("two values in a line of stdout: %q", line)
		}
		list = append(list, v)
	}
	return list
}

// events are the objects of one kind.
func events(list []object, kind string) []object {
	var some []object
	for _, o := range list {
		if o["event"] == kind {
			some = append(some, o)
		}
	}
	return some
}

// refusal checks a command that must fail: its exit code, one line on stderr that holds every word, no JSON event but
// "failed" on stdout, no panic.
func refusal(t testing.TB, out output, code int, words ...string) {
	t.Helper()
	if out.code != code {
		t.Errorf("exit %d, want %d: %s", out.code, code, out.stderr)
	}
	text := strings.TrimSuffix(out.stderr, "\n")
	if !strings.HasPrefix(text, "lathe: ") || strings.Contains(text, "\n") {
		t.Errorf("stderr is not one line of lathe's: %q", out.stderr)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("stderr does not say %q: %s", word, text)
		}
	}
	for _, alien := range []string{"panic", "internal error", "goroutine", "Go struct", "strconv.", "%!"} {
		if strings.Contains(text, alien) {
			t.Errorf("stderr has %q: %s", alien, text)
		}
	}
}

// refDir holds the dumps that tools/refdump made with PyTorch, transformers, PEFT and bitsandbytes.
func refDir(t testing.TB, parts ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", "..", "testdata", "ref"}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// write makes a file in a folder and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// config is a run.yaml; JSON is YAML.
type config map[string]any

// tiny is a short run with everything on that has a random side: dropout, shuffling, packing.
func tiny(t testing.TB, dir string, changes config) config {
	t.Helper()
	c := config{
		"model_name_or_path": refDir(t, "llama-gqa"), "train_file": refDir(t, "llama-gqa", "train-lora", "rows.jsonl"),
		"output_dir": filepath.Join(dir, "out"), "method": "lora", "max_steps": 4, "learning_rate": 5e-3, "warmup_steps": 2,
		"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "max_seq_length": 64, "packing": true,
		"weight_decay": 0.01, "eval_strategy": "no", "save_strategy": "no",
		"lora": config{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "lora_dropout": 0.1},
	}
	for k, v := range changes {
		c[k] = v
	}
	return c
}

// save writes the run.yaml into a folder.
func (c config) save(t testing.TB, dir, name string) string {
	t.Helper()
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, name, string(text))
}

// train runs `lathe train --json` with its history in dir and gives the events.
func train(t testing.TB, dir, yaml string, args ...string) []object {
	t.Helper()
	return ok(t, append([]string{"train", "-c", yaml, "--workspace", dir, "--json"}, args...)...).objects(t)
}

// copyModel copies a reference model's own files, without its dumps, for a test to damage.
func copyModel(t testing.TB, name string) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob(refDir(t, name, "*.*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files of %s (%v)", len(files), name, err)
	}
	for _, file := range files {
		write(t, dir, filepath.Base(file), string(read(t, file)))
	}
	return dir
}
