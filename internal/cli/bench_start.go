package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"lathe/internal/performance"
)

// startBench chooses the work.
type startBench struct {
	size, method string
	keep         string
}

func benchStartCommand(e *env) *cobra.Command {
	var f startBench
	cmd := benchLeaf(e, "start", "From the start of `lathe train` to the end of step 1, less a steady step", func(ctx context.Context, _ []string) (report, error) {
		return e.benchStart(ctx, f)
	})
	sizeFlag(cmd, &f.size, "60m")
	cmd.Flags().StringVar(&f.method, "method", "qlora", "full, lora or qlora")
	cmd.Flags().StringVar(&f.keep, "keep", "", "write model, rows and run.yaml into this folder, and leave them there")
	return cmd
}

// startSteps are trained by each process: steps 2 and on are steady.
const startSteps = 4

func (e *env) benchStart(ctx context.Context, f startBench) (report, error) {
	b, err := e.newHostBencher()
	if err != nil {
		return report{}, err
	}
	defer b.close()
	dir, remove, err := benchFolder(f.keep)
	if err != nil {
		return report{}, err
	}
	defer remove()
	work := trainBench{size: f.size, method: f.method, dtype: performance.Float32, trains: rowsFull, batch: 1, length: 256, steps: 0, r: 16, keep: dir}
	if err := work.check(); err != nil {
		return report{}, err
	}
	cfg, _, err := b.prepare(dir, work)
	if err != nil {
		return report{}, err
	}
	model, err := benchConfig(f.size)
	if err != nil {
		return report{}, err
	}
	r := performance.Start{Method: f.method, Parameters: model.Parameters()}
	for i := range 2 { // the second finds what the first may have left beside the run
		if err := os.RemoveAll(cfg.OutputDir); err != nil {
			return report{}, err
		}
		first, steady, err := timeStart(ctx, filepath.Join(dir, "run.yaml"))
		if err != nil {
			return report{}, err
		}
		if i == 0 {
			r.FirstStep, r.SteadyStep, r.Seconds = first, steady, first-steady
		}
		r.AgainSeconds = first - steady
	}
	if r.VersionSecond, err = median3(func() (float64, error) {
		start := time.Now()
		cmd, err := selfCommand(ctx, "--version")
		if err == nil {
			err = cmd.Run()
		}
		return time.Since(start).Seconds(), err
	}); err != nil {
		return report{}, err
	}
	if r.Head, err = b.head(performance.WhatStart); err != nil {
		return report{}, err
	}
	return report{json: r, rows: append([][]string{
		headRow(r.Head),
		{"work", fmt.Sprintf("%s of %s parameters, one row of 256 tokens a step", r.Method, count(r.Parameters))},
		{"start", fmt.Sprintf("%.2f s to the end of step 1, %.2f s a steady step: %.2f s, %.2f s the second time", r.FirstStep, r.SteadyStep, r.Seconds, r.AgainSeconds)},
		{"nothing", fmt.Sprintf("%.3f s for lathe --version", r.VersionSecond)},
	}, peakRows(r.Peak)...)}, nil
}

// selfCommand is this program once more.
func selfCommand(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's file: %w", err)
	}
	return exec.CommandContext(ctx, self, args...), nil
}

// timeStart trains in a process of its own and returns the seconds from its start to the event of step 1, and the median step
// after that.
func timeStart(ctx context.Context, runYAML string) (first, steady float64, err error) {
	cmd, err := selfCommand(ctx, "train", "-c", runYAML, "--json", "--device", "cpu", "--max-steps", fmt.Sprint(startSteps))
	if err != nil {
		return 0, 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	var ends []float64
	var last string
	for s := bufio.NewScanner(out); s.Scan(); {
		var event struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(s.Bytes(), &event); err == nil && event.Event == "step" {
			ends = append(ends, time.Since(start).Seconds())
		}
		last = s.Text()
	}
	if err := cmd.Wait(); err != nil {
		return 0, 0, fmt.Errorf("lathe train -c %s: %w; its last line was %s", runYAML, err, last)
	}
	if len(ends) < 2 {
		return 0, 0, fmt.Errorf("lathe train -c %s gave %d steps: its last line was %s", runYAML, len(ends), last)
	}
	var steps []float64
	for i := range ends[1:] {
		steps = append(steps, ends[i+1]-ends[i])
	}
	return ends[0], performance.Median(steps), nil
}
