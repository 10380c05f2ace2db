package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/compute/computetest"
)

// quickTests are what a rehearsal runs of the suite: a kernel of rows, one of elements, copies.
const quickTests = "^(Cast|Embedding|RMSNorm|Add)$"

// runSuite is the process of the suite: `gpucheck suite OPTIONS -test.…`. The tests' names are those of cuda's TestSuite.
func runSuite(args []string) error {
	if len(args) < 1 {
		return errors.New("suite is for gpucheck itself: use gpucheck run --only suite")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var o options
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	tolerances := computetest.GPU()
	if o.Device == "cpu" {
		tolerances = computetest.Float32()
	}
	os.Args = append([]string{os.Args[0]}, args[1:]...)
	testing.Main(func(pattern, name string) (bool, error) { return regexp.MatchString(pattern, name) }, []testing.InternalTest{{
		Name: "Suite",
		F: func(t *testing.T) {
			computetest.Run(t, func(t *testing.T) compute.Device {
				d, err := o.open()
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, tolerances)
		},
	}}, nil, nil)
	return nil // not reached: testing.Main exits
}

// suite runs the compliance suite. Operations that fail run again, each in a process of its own: an operation that breaks the GPU's
// context must not be blamed on those after it.
func suite(c *check) error {
	tests := c.Tests
	if tests == "" && c.Quick {
		tests = quickTests
	}
	all, err := c.suiteProcess(nil, tests)
	t := c.table("Operations", "operation", "result", "s", "cases")
	for _, o := range all {
		if o.failed && c.left(0) {
			alone, aloneErr := c.suiteProcess(nil, "^"+o.name+"$")
			switch {
			case aloneErr == nil && len(alone) == 1 && !alone[0].failed:
				c.fail("%s passes alone and failed after the others: %s", o.name, o.text())
			case len(alone) == 1:
				o = alone[0]
				c.fail("%s: %s", o.name, o.text())
			default: // it takes its process with it
				c.fail("%s: %v", o.name, aloneErr)
			}
		} else if o.failed {
			c.fail("%s: %s", o.name, o.text())
		}
		state := passed
		if o.failed {
			state = failed
		}
		c.row(t, o.name, state, o.seconds, o.cases)
	}
	if len(all) == 0 {
		c.fail("no test of the suite ran: %v", err)
	} else if err != nil && len(c.Failures) == 0 {
		c.fail("the suite's process: %v", err)
	}
	tol := computetest.GPU()
	t.Note = "Tolerances are computetest.GPU's, relative to value and root mean square: elementwise " + number(tol.Elementwise) + ", reductions " +
		number(tol.Reduction) + ", float32 products " + number(tol.Product) + ", attention " + number(tol.Attention) + ", 16-bit products " +
		number(tol.Narrow) + "; log-probabilities absolute " + number(tol.LogProb) + "."
	return nil
}

// outcome is one operation of the suite.
type outcome struct {
	name    string
	failed  bool
	seconds float64
	cases   int
	lines   []string // what its failures said
}

func (o outcome) text() string { return strings.Join(o.lines[:min(4, len(o.lines))], "\n") }

// suiteProcess runs tests of the suite in a process of their own, under a wrapper where one is given.
func (c *check) suiteProcess(wrapper []string, tests string) ([]*outcome, error) {
	data, err := json.Marshal(c.options)
	if err != nil {
		return nil, err
	}
	file := c.path + ".options"
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	args := append(slices.Clone(wrapper), self, "suite", file, "-test.v", "-test.run", "^Suite$/"+tests)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = c.Work
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(&out, os.Stderr)
	cmd.Stderr = cmd.Stdout
	err = cmd.Run()
	list := parseTests(out.String())
	if err != nil && !slices.ContainsFunc(list, func(o *outcome) bool { return o.failed }) {
		err = errors.New(err.Error() + "; its last words: " + lastWords(out.String()))
		return list, err
	}
	return list, nil
}

var (
	verdict = regexp.MustCompile(`^ {4}--- (PASS|FAIL|SKIP): Suite/([^/ ]+) \(([0-9.]+)s\)`)
	subcase = regexp.MustCompile(`^ {8,}--- (PASS|FAIL|SKIP): Suite/([^/ ]+)/\S+ \(`)
	started = regexp.MustCompile(`^=== RUN +Suite/([^/]+)$`)
)

// parseTests reads go test's verbose output. An operation that began and has no verdict took the process with it.
func parseTests(text string) []*outcome {
	var list []*outcome
	find := func(name string) *outcome {
		for _, o := range list {
			if o.name == name {
				return o
			}
		}
		list = append(list, &outcome{name: name, failed: true, lines: []string{"the process ended in it"}})
		return list[len(list)-1]
	}
	var current *outcome
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := started.FindStringSubmatch(line); m != nil {
			current = find(m[1])
		} else if m := verdict.FindStringSubmatch(line); m != nil {
			o := find(m[2])
			o.failed, o.lines = m[1] == "FAIL", o.lines[1:]
			o.seconds, _ = strconv.ParseFloat(m[3], 64)
		} else if m := subcase.FindStringSubmatch(line); m != nil {
			find(m[2]).cases++
		} else if current != nil && strings.Contains(line, ".go:") {
			current.lines = append(current.lines, strings.TrimSpace(line))
		}
	}
	return list
}

// sanitize runs the suite under compute-sanitizer, which sees accesses out of bounds and races that a right result hides.
func sanitize(c *check) error {
	tool, _ := exec.LookPath("compute-sanitizer")
	if tool == "" {
		c.skip("no compute-sanitizer here")
		return nil
	}
	tests := c.Tests
	for _, kind := range []string{"memcheck", "racecheck"} {
		if !c.left(0) {
			c.fail("no time was left for %s", kind)
			break
		}
		list, err := c.suiteProcess([]string{tool, "--tool", kind, "--error-exitcode", "9", "--print-limit", "20"}, tests)
		if err != nil {
			c.fail("%s: %v", kind, err)
		}
		bad := 0
		for _, o := range list {
			if o.failed {
				bad++
				c.fail("%s: %s: %s", kind, o.name, o.text())
			}
		}
		c.fact(kind, "%d operations, %d of them failed", len(list), bad)
	}
	return nil
}
