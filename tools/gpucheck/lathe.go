package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"lathe/trainer"
)

// said are the events of a `lathe train --json`, and when the process began its first step.
type said struct {
	steps   []trainer.StepDone
	plan    trainer.Plan
	loading time.Duration
}

// latheTrain runs the program that users get, in a workspace of its own.
func (c *check) latheTrain(config string, args ...string) (s said, err error) {
	workspace, err := os.MkdirTemp(c.Work, "workspace-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(workspace)
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.lathe(), append([]string{"train", "-c", config, "--workspace", workspace, "--json", "--device", c.Device}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = io.MultiWriter(&stderr, os.Stderr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return s, err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	var parseErr error
	for lines.Scan() {
		event, err := trainer.UnmarshalEvent(lines.Bytes())
		if err != nil {
			parseErr = errors.Join(parseErr, err)
			continue
		}
		switch e := event.(type) {
		case trainer.Started:
			s.plan, s.loading = e.Plan, time.Since(began)
		case trainer.StepDone:
			s.steps = append(s.steps, e)
		}
	}
	if err := cmd.Wait(); err != nil {
		return s, fmt.Errorf("lathe train: %w: %s", err, lastLine(stderr.String()))
	}
	return s, errors.Join(parseErr, lines.Err())
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// sameFiles compares what two runs ended with, byte by byte: the weights and the optimiser's moments.
func (c *check) sameFiles(what, a, b string) {
	compared := 0
	for _, name := range []string{"adapter_model.safetensors", "model.safetensors", filepath.Join("trainer_state", "optimizer.safetensors")} {
		x, errX := os.ReadFile(filepath.Join(a, name))
		y, errY := os.ReadFile(filepath.Join(b, name))
		switch {
		case os.IsNotExist(errX) && os.IsNotExist(errY):
		case errX != nil || errY != nil:
			c.fail("%s: %v", what, errors.Join(errX, errY))
		case !bytes.Equal(x, y):
			c.fail("%s: %s differs (%d and %d bytes, first at byte %d)", what, name, len(x), len(y), firstDifference(x, y))
		default:
			compared++
		}
	}
	if compared == 0 && len(c.Failures) == 0 {
		c.fail("%s: no file to compare in %s", what, a)
	}
}

func firstDifference(x, y []byte) int {
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i
		}
	}
	return min(len(x), len(y))
}
