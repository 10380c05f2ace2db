package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"lathe/cuda/emulator"
)

// packed is a folder that has travelled as an archive, with the emulated driver.
func packed(t *testing.T) string {
	t.Helper()
	emulator.Need(t)
	folder := filepath.Join(t.TempDir(), "gpucheck")
	if err := pack([]string{"--out", folder, "--emulator", "--archive"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	dir := openTempDir(t)
	if out, err := exec.Command("tar", "-xzf", folder+archiveSuffix, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "gpucheck")
}

// openTempDir is a temporary folder that other users may enter and write.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != filepath.Clean(os.TempDir()) && at != filepath.Dir(at); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// elsewhere runs the folder's gpucheck as a clean account would: an empty working directory, no environment, and, where this user may
// change it, another user.
func elsewhere(t *testing.T, folder string, env []string, args ...string) (output, reports string, err error) {
	t.Helper()
	cwd := openTempDir(t)
	cmd := exec.Command(filepath.Join(folder, "gpucheck.sh"), append(args, "--out", filepath.Join(cwd, "report"), "--python", "none")...)
	cmd.Dir = cwd
	cmd.Env = append([]string{"PATH=/usr/bin:/bin"}, env...)
	asNobody(cmd)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), filepath.Join(cwd, "report"), err
}

func readReport(t *testing.T, dir string) (report, string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil || len(files) != 1 {
		t.Fatalf("reports: %v (%v)", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(strings.TrimSuffix(files[0], ".md") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r, string(text)
}

// The whole of it without a GPU: the folder runs on the emulated driver for a user without Go, home or environment, every part
// passes, and no time is told.
func TestRehearsal(t *testing.T) {
	folder := packed(t)
	out, dir, err := elsewhere(t, folder, nil, "--emulator")
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "gpucheck.log"))
		t.Fatalf("%v\n%s\n%s", err, out, log[max(0, len(log)-4000):])
	}
	r, text := readReport(t, dir)
	if !strings.HasPrefix(text, "# EMULATED device:") || r.GPU.Rehearsal != "EMULATED" || r.Commit == "unknown" {
		t.Errorf("a report of %+v from commit %s begins with %q", r.GPU, r.Commit, firstLine(text))
	}
	var names []string
	for _, p := range r.Parts {
		names = append(names, p.Name)
		if p.Status != passed || len(p.Facts)+len(p.Tables) == 0 {
			t.Errorf("%s: %s with %d facts and %d tables", p.Name, p.Status, len(p.Facts), len(p.Tables))
		}
	}
	if want := []string{"doctor", "modules", "suite", "quant", "losses", "resume", "release", "plan", "kernels", "speed"}; !reflect.DeepEqual(names, want) {
		t.Errorf("parts %v, want %v", names, want)
	}
	for _, p := range r.Parts {
		for _, table := range p.Tables {
			for _, row := range table.Rows {
				switch p.Name {
				case "kernels":
					if !reflect.DeepEqual(row[2:], []any{"ran", "", "", ""}) {
						t.Errorf("kernels: %v", row)
					}
				case "modules":
					if !reflect.DeepEqual(row[2:], []any{"loaded", "loaded", "loaded"}) {
						t.Errorf("modules: %v", row)
					}
				case "speed":
					if row[1] != "" || row[2] != "" || row[5] != "" {
						t.Errorf("speed tells a time on the emulated device: %v", row)
					}
				}
			}
		}
	}
	t.Run("faults", func(t *testing.T) { failures(t, folder) })
}

// failures: a device that fails makes its parts fail, one by one, and the report says so.
func failures(t *testing.T, folder string) {
	out, dir, err := elsewhere(t, folder, []string{"LATHE_EMU_FAIL=cuLaunchKernel=700"}, "--emulator", "--only", "suite,kernels")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	r, text := readReport(t, dir)
	if len(r.Parts) != 3 || r.Parts[1].Status != failed || r.Parts[2].Status != failed || !strings.Contains(text, "FAILED: ") || !strings.Contains(text, "CUDA_ERROR_ILLEGAL_ADDRESS") {
		t.Errorf("%s\n%s", out, text)
	}
	out, dir, err = elsewhere(t, folder, []string{"LATHE_CUDA_DRIVER=/nowhere/libcuda.so.1"}, "--only", "quant")
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "/nowhere/libcuda.so.1") {
		t.Errorf("without a driver: %v\n%s", err, out)
	}
	if _, text := readReport(t, dir); !strings.HasPrefix(text, "# no GPU\n") {
		t.Errorf("without a driver the report begins with %q", firstLine(text))
	}
}

func TestLimits(t *testing.T) {
	var sum time.Duration
	for _, p := range parts {
		if !p.onDemand {
			sum += p.limit
		}
	}
	if sum > 9*time.Minute {
		t.Errorf("the parts may take %v", sum)
	}
}

func TestRefusals(t *testing.T) {
	for want, args := range map[string][]string{
		"--out":      {"pack"},
		"no part":    {"run", "--only", "suite,nothing"},
		"no flag":    {"run", "suite"},
		"no lathe":   {"run"},
		"no command": {"check"},
		"itself":     {"part"},
	} {
		if err := dispatch(args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

func TestParseTests(t *testing.T) {
	text := strings.Join([]string{
		"=== RUN   Suite", "=== RUN   Suite/Add", "=== RUN   Suite/Add/1", "    suite.go:7: Y[0] is 2, want 3", "=== RUN   Suite/Cast", "=== RUN   Suite/RoPE",
		"    suite.go:9: lost", "--- FAIL: Suite (0.02s)", "    --- FAIL: Suite/Add (0.01s)", "        --- FAIL: Suite/Add/1 (0.00s)",
		"        --- PASS: Suite/Add/63 (0.00s)", "    --- PASS: Suite/Cast (1.50s)", "",
	}, "\n")
	var got []outcome
	for _, o := range parseTests(text) {
		got = append(got, *o)
	}
	want := []outcome{
		{"Add", true, .01, 2, []string{"suite.go:7: Y[0] is 2, want 3"}},
		{"Cast", false, 1.5, 0, []string{}},
		{"RoPE", true, 0, 0, []string{"the process ended in it", "suite.go:9: lost"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDifferences(t *testing.T) {
	if n := differentNibbles([]byte{0x12, 0x34, 0x56}, []byte{0x12, 0x44, 0x65}); n != 3 {
		t.Errorf("%d nibbles, want 3", n)
	}
	if n, far := differentBytes([]byte{1, 2, 3}, []byte{1, 3, 5}); n != 2 || far != 1 {
		t.Errorf("%d bytes, %d of them far, want 2 and 1", n, far)
	}
	if got := oneZero([]byte{0x88, 0x80, 0x08, 0x98, 0x7f}); !bytes.Equal(got, []byte{0, 0, 0, 0x90, 0x7f}) {
		t.Errorf("% x", got)
	}
	if d := apart([]float64{1, 2.2}, []float64{1, 2}); d < .0999 || d > .1001 {
		t.Errorf("apart by %v, want 0.1", d)
	}
	if d := apart([]float64{1}, []float64{1, 2}); !(d > 1) {
		t.Errorf("lists of other lengths are %v apart", d)
	}
}

func TestReportWords(t *testing.T) {
	r := report{Date: "2026-12-01"}
	for want, g := range map[string]gpu{
		"2026-12-01-nvidia-h100-80gb-hbm3":      {Name: "NVIDIA H100 80GB HBM3"},
		"2026-12-01-lathe-emulated-cuda-device": {Name: "lathe emulated CUDA device", Rehearsal: "EMULATED"},
		"2026-12-01-cpu-amd-epyc":               {Name: "AMD EPYC", Rehearsal: "CPU"},
		"2026-12-01-no-gpu":                     {},
	} {
		if got := r.name(g); got != want {
			t.Errorf("%+v: %s, want %s", g, got, want)
		}
	}
	for want, x := range map[string]any{"12": 12.0, "0.001235": .00123456, "a\\|b": "a|b", "NaN": "NaN"} {
		if got := number(x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
	if !regexp.MustCompile(`^\d+\.\d`).MatchString(number(3.25)) {
		t.Error(number(3.25))
	}
}

// A weight's bytes are the pool's, from a place of its own, for as many as it wants.
func TestCut(t *testing.T) {
	pool := make([]byte, 1000)
	for i := range pool {
		pool[i] = byte(i % 251)
	}
	a, b := cut(pool, 0, 2500), cut(pool, 3, 10)
	if len(a) != 2500 || a[999] != pool[999] || a[1000] != pool[0] || a[2499] != pool[499] {
		t.Error("the pool is not repeated")
	}
	if at := 3 * 2 * 104729 % 1000; !bytes.Equal(b, pool[at:at+10]) {
		t.Errorf("% x is not the pool from %d", b, at)
	}
}
