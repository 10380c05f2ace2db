package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/cuda"
)

// part is one of the things that are checked, in a process of its own.
type part struct {
	name  string
	limit time.Duration
	what  string
	run   func(*check) error
	// onDemand parts run only where --only names them.
	onDemand bool
}

// parts in the order in which they run. The limits come to at most nine minutes.
var parts []part

func init() { // not in the declaration: the parts' functions look the table up
	parts = []part{
		{name: "doctor", limit: 50 * time.Second, what: "lathe doctor, the driver, NVML, the host, Python's packages", run: doctor},
		{name: "modules", limit: 70 * time.Second, what: "how long the driver takes to compile the kernels' modules", run: modules},
		{name: "suite", limit: 60 * time.Second, what: "the compliance suite of all operations on this device", run: suite},
		{name: "quant", limit: 45 * time.Second, what: "4-bit bytes of large matrices against the CPU device and bitsandbytes", run: quant},
		{name: "losses", limit: 40 * time.Second, what: "20-step losses of the reference runs against PEFT's and the CPU device's", run: losses},
		{name: "resume", limit: 15 * time.Second, what: "20 steps are 10, a checkpoint, a new process and 10, byte for byte", run: resume},
		{name: "release", limit: 20 * time.Second, what: "a paused run gives the GPU's memory back and goes on with the same bits", run: release},
		{name: "plan", limit: 45 * time.Second, what: "planned memory against what the device and the driver measured", run: planned},
		{name: "kernels", limit: 35 * time.Second, what: "each operation's time at an 8B model's shapes against the device's measured peaks", run: kernels},
		{name: "speed", limit: 150 * time.Second, what: "tokens/s and memory of a fine-tuning step of an 8B model, alternately with PEFT", run: speed},
		{name: "sanitize", limit: 400 * time.Second, what: "the compliance suite under compute-sanitizer", run: sanitize, onDemand: true},
	}
}

// options are what a part has to know.
type options struct {
	Home    string        `json:"home"`    // folder of the binaries
	Work    string        `json:"work"`    // for its files, removed at the end
	Scratch string        `json:"scratch"` // for large files; empty: the roomiest that is found
	Device  string        `json:"device"`  // cuda:N, or cpu for a rehearsal
	Python  string        `json:"python"`  // empty: none
	Quick   bool          `json:"quick"`   // small sizes: a rehearsal
	Tests   string        `json:"tests"`   // operations of the suite, a regular expression
	Limit   time.Duration `json:"limit"`
	Known   gpu           `json:"known"` // what doctor found
}

func (o options) lathe() string { return filepath.Join(o.Home, "lathe") }

func (o options) testdata(names ...string) string {
	return filepath.Join(append([]string{o.Home, "testdata", "ref"}, names...)...)
}

// open opens the device that is checked.
func (o options) open() (compute.Device, error) {
	if o.Device == "cpu" {
		return cpu.New(cpu.Options{})
	}
	n, err := strconv.Atoi(strings.TrimPrefix(o.Device, "cuda:"))
	if err != nil {
		return nil, fmt.Errorf("--device %s: use cuda:N", o.Device)
	}
	return cuda.Open(cuda.Options{Ordinal: n})
}

// runPart is the process of one part: `gpucheck part NAME OPTIONS RESULT`.
func runPart(args []string) error {
	if len(args) != 3 {
		return errors.New("part is for gpucheck itself: use gpucheck run --only PART")
	}
	p, err := findPart(args[0])
	if err != nil {
		return err
	}
	data, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	c := &check{path: args[2], result: result{Name: p.name, What: p.what}}
	if err := json.Unmarshal(data, &c.options); err != nil {
		return err
	}
	began := time.Now()
	c.until = began.Add(c.Limit)
	if err := guarded(p.run, c); err != nil {
		c.fail("%v", err)
	}
	c.Seconds = time.Since(began).Seconds()
	switch {
	case len(c.Failures) > 0:
		c.Status = failed
	case c.Status == "":
		c.Status = passed
	}
	c.save()
	return nil
}

// guarded makes a panic an error, with its place in the log.
func guarded(run func(*check) error, c *check) (err error) {
	defer func() {
		if p := recover(); p != nil {
			debug.PrintStack()
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return run(c)
}

func findPart(name string) (part, error) {
	for _, p := range parts {
		if p.name == name {
			return p, nil
		}
	}
	return part{}, fmt.Errorf("%q is no part: gpucheck list names them", name)
}
