package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lathe/cuda/driver"
)

// emulatedDriver is what pack --emulator adds.
const emulatedDriver = "libcuda-emulated.so"

// runner is one `gpucheck run`.
type runner struct {
	options
	out    string // folder of the report
	only   []string
	until  time.Time
	stdout io.Writer
	log    *os.File // of all parts
	report report
}

func run(args []string, stdout io.Writer) error {
	r := &runner{stdout: stdout}
	emulated, err := r.parse(args)
	if err != nil {
		return err
	}
	if emulated {
		if err := os.Setenv(driver.EnvPath, filepath.Join(r.Home, emulatedDriver)); err != nil {
			return err
		}
		r.Quick = true
	}
	if r.Work, err = os.MkdirTemp("", "gpucheck-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.Work)
	if os.Getenv("CUDA_CACHE_PATH") == "" { // what the driver compiles for this GPU, for all parts, on hosts without a home too
		if err := os.Setenv("CUDA_CACHE_PATH", filepath.Join(r.Work, "cuda-cache")); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.log, err = os.Create(filepath.Join(r.out, "gpucheck.log")); err != nil {
		return err
	}
	defer r.log.Close()
	r.report = newReport()
	for _, p := range parts {
		if err := r.part(p); err != nil {
			return err
		}
	}
	return r.finish()
}

func (r *runner) parse(args []string) (emulated bool, err error) {
	f := flag.NewFlagSet("gpucheck run", flag.ContinueOnError)
	f.StringVar(&r.out, "out", "report", "folder for the report: DATE-GPU.md, DATE-GPU.json and gpucheck.log")
	only := f.String("only", "", "parts to run, by comma; doctor runs always (default: all but those on demand)")
	limit := f.Duration("limit", 9*time.Minute, "of all parts together")
	f.StringVar(&r.Device, "device", "cuda:0", "cuda:N, or cpu for a rehearsal on the CPU device")
	f.StringVar(&r.Scratch, "scratch", "", "folder for the random 8B model, 16 GB (default: /dev/shm or the temporary folder, where there is room)")
	f.StringVar(&r.Python, "python", "", "Python with torch (default: python3 of the PATH); none is none")
	f.BoolVar(&r.Quick, "quick", false, "small sizes and few steps: a rehearsal, not a report")
	f.BoolVar(&emulated, "emulator", false, "on the emulated driver of pack --emulator; it implies --quick")
	f.StringVar(&r.Tests, "tests", "", "operations of the suite to run, a regular expression (default: all)")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if f.NArg() > 0 {
		return false, fmt.Errorf("%q is no flag: gpucheck run -h lists them", f.Arg(0))
	}
	for name := range strings.SplitSeq(*only, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if _, err := findPart(name); err != nil {
			return false, err
		}
		r.only = append(r.only, name)
	}
	binary, err := os.Executable()
	if err != nil {
		return false, err
	}
	r.Home = filepath.Dir(binary)
	if _, err := os.Stat(r.lathe()); err != nil {
		return false, errors.New("there is no lathe beside gpucheck: run it from the folder that gpucheck pack made")
	}
	if _, err := os.Stat(filepath.Join(r.Home, emulatedDriver)); emulated && err != nil {
		return false, errors.New("--emulator: this folder holds no emulated driver: make it with gpucheck pack --emulator")
	}
	switch r.Python {
	case "":
		r.Python, _ = exec.LookPath("python3")
	case "none":
		r.Python = ""
	}
	r.until = time.Now().Add(*limit)
	return emulated, nil
}

// wanted: the first part always runs, for it names the device.
func (r *runner) wanted(p part) bool {
	return p.name == "doctor" || slices.Contains(r.only, p.name) || len(r.only) == 0 && !p.onDemand
}

// part runs one part and adds its result to the report. Only what makes the rest senseless is an error.
func (r *runner) part(p part) error {
	if !r.wanted(p) {
		return nil
	}
	res := result{Name: p.name, What: p.what}
	r.Limit = min(p.limit, time.Until(r.until))
	if r.Limit < 2*time.Second {
		res.Status, res.Reason = skipped, "no time was left: give --limit or --only"
	} else if err := r.process(p, &res); err != nil {
		return err
	}
	if res.GPU != nil {
		r.Known = *res.GPU
	}
	r.report.Parts = append(r.report.Parts, res)
	r.say(res)
	return r.write()
}

func (r *runner) say(res result) {
	fmt.Fprintf(r.stdout, "%-9s %s (%.0f s)", res.Name, res.Status, res.Seconds)
	if res.Reason != "" {
		fmt.Fprintf(r.stdout, ": %s", res.Reason)
	}
	fmt.Fprintln(r.stdout)
	for i, f := range res.Failures {
		if i == 5 {
			fmt.Fprintf(r.stdout, "    and %d more in the report\n", len(res.Failures)-i)
			break
		}
		fmt.Fprintf(r.stdout, "    %s\n", firstLine(f))
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// process runs a part in a process of its own and reads its result, whatever became of the process.
func (r *runner) process(p part, res *result) error {
	data, err := json.Marshal(r.options)
	if err != nil {
		return err
	}
	optionsFile, resultFile := filepath.Join(r.Work, p.name+".options"), filepath.Join(r.Work, p.name+".json")
	if err := os.WriteFile(optionsFile, data, 0o644); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Fprintf(r.log, "\n===== %s\n", p.name)
	ctx, cancel := context.WithTimeout(context.Background(), r.Limit)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "part", p.name, optionsFile, resultFile)
	cmd.Dir = r.Work
	cmd.Stdout = io.MultiWriter(&said, r.log)
	cmd.Stderr = cmd.Stdout
	ownGroup(cmd)
	began := time.Now()
	err = cmd.Run()
	r.clear()
	if text, readErr := os.ReadFile(resultFile); readErr == nil {
		_ = json.Unmarshal(text, res)
	}
	if err == nil {
		return nil
	}
	res.Seconds = time.Since(began).Seconds()
	if ctx.Err() != nil {
		res.Status, res.Reason = late, fmt.Sprintf("stopped after %.0f s", r.Limit.Seconds())
		return nil
	}
	res.Status = failed
	res.Failures = append(res.Failures, fmt.Sprintf("its process ended: %v; its last words: %s", err, lastWords(said.String())))
	return nil
}

// clear removes the large files that a part has noted.
func (r *runner) clear() {
	notes, _ := filepath.Glob(filepath.Join(r.Work, "*.scratch-*"))
	for _, n := range notes {
		if dir, err := os.ReadFile(n); err == nil && len(dir) > 0 {
			_ = os.RemoveAll(string(dir))
		}
		_ = os.Remove(n)
	}
}

// lastWords are the ends of a process's output: the line that says what happened is among the first of a trace.
func lastWords(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if i := slices.IndexFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") || strings.Contains(l, "emulat")
	}); i >= 0 {
		lines = lines[i:]
	}
	return strings.Join(lines[:min(3, len(lines))], " | ")
}

// finish writes the report a last time and says where it is.
func (r *runner) finish() error {
	r.report.Seconds = time.Since(r.report.began).Seconds()
	if err := r.write(); err != nil {
		return err
	}
	fmt.Fprintf(r.stdout, "report: %s.md and .json\n", filepath.Join(r.out, r.report.name(r.Known)))
	for _, p := range r.report.Parts {
		if p.Status == failed || p.Status == late {
			return errFailed
		}
	}
	return nil
}
