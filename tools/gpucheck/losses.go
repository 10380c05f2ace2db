package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/trainer"
)

// Tolerances of the reference runs. In float32 those of the project's tests: the noise between torch's own kernels is up to 7e-7 in
// losses and norms, a mistake as small as another variant of GELU 5e-4. bitsandbytes quantises scales otherwise on CUDA, whose bytes
// the device writes, than on the CPU, where the references were made: one in some hundred is the next value of the map, which moves the
// losses of these models by up to 4.1e-4 (measured on the emulated device, as the following). In bfloat16 two roundings are apart by at
// most three times what PyTorch's own is off from float32, which its dump says; where there is none, losses differ from float32's by
// up to 4e-3 in twenty steps. A wrong operand or a lost adapter moves them by 10% and more.
const (
	lossTolerance   = 2e-4
	normTolerance   = 2e-3
	doubleTolerance = 2e-3   // losses where the scales are quantised here
	bf16Tolerance   = 1.5e-2 // where there is no dump in bfloat16
	bf16Factor      = 3      // measured: 2.0 at most
)

// referenceRun is a folder testdata/ref/MODEL/train-NAME.
type referenceRun struct {
	folder, name string
	base         string // the model, where it is not the folder's own
}

// curve is what a run measured.
type curve struct {
	loss, norm []float64
	rounding   float64 // of a dump in bfloat16: how far its losses are from float32's
}

// losses trains the reference runs on the device, in float32 and in bfloat16, and on the CPU device.
func losses(c *check) error {
	runs, err := c.referenceRuns()
	if err != nil {
		return err
	}
	dev, err := c.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	host, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer host.Close()
	steps := 20
	if c.Quick {
		steps = 2
	}
	t := c.table(fmt.Sprintf("Largest relative difference in %d steps", steps), "run", "loss", "norm", "loss, CPU", "loss, bfloat16")
	t.Note = fmt.Sprintf("Columns: float32 losses and gradient norms against transformers' and PEFT's (at most %.0e and %.0e), float32 losses against the CPU device's (%.0e), bfloat16 losses against PyTorch's under autocast (%d times what those are off from float32), or PEFT's in float32 (%.1e) where there are none. Where scales are quantised on this device float32 losses may be off by %.0e: bitsandbytes does it otherwise on CUDA than on the CPU, where the references were made.", lossTolerance, normTolerance, lossTolerance, bf16Factor, bf16Tolerance, doubleTolerance)
	for i, run := range runs {
		if !c.left(time.Second) {
			c.fail("no time was left for %d of %d runs", len(runs)-i, len(runs))
			break
		}
		if err := c.compareRun(t, run, dev, host, steps); err != nil {
			c.fail("%s: %v", run.name, err)
		}
	}
	return nil
}

// referenceRuns are those that the folder holds; those of the plain llama, which name what broke best, come first.
func (c *check) referenceRuns() ([]referenceRun, error) {
	paths, err := filepath.Glob(c.testdata("*", "train-*", "losses.json"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no reference runs in %s: make the folder with gpucheck pack", c.testdata())
	}
	var first, rest []referenceRun
	for _, p := range paths {
		folder := filepath.Dir(p)
		r := referenceRun{folder: folder, name: filepath.Base(filepath.Dir(folder)) + "/" + strings.TrimPrefix(filepath.Base(folder), "train-")}
		if r.name == "llama-gqa/qlora" { // with the bytes that bitsandbytes wrote on the CPU, too
			first = append(first, referenceRun{folder: folder, name: "llama-gqa-nf4/qlora", base: c.testdata("llama-gqa-nf4")})
		}
		if strings.HasPrefix(r.name, "llama-gqa/") {
			first = append(first, r)
		} else {
			rest = append(rest, r)
		}
	}
	if c.Quick {
		return slices.DeleteFunc(first, func(r referenceRun) bool { return r.name != "llama-gqa/qlora" }), nil
	}
	return append(first, rest...), nil
}

func (c *check) compareRun(t *table, run referenceRun, dev, host compute.Device, steps int) error {
	want, err := readCurve(filepath.Join(run.folder, "losses.json"), steps)
	if err != nil {
		return err
	}
	cfg, err := c.referenceConfig(run)
	if err != nil {
		return err
	}
	got, err := c.train(cfg, dev, steps)
	if err != nil {
		return fmt.Errorf("float32: %w", err)
	}
	onCPU, err := c.train(cfg, host, steps)
	if err != nil {
		return fmt.Errorf("on the CPU: %w", err)
	}
	loss, norm, cpuLoss := apart(got.loss, want.loss), apart(got.norm, want.norm), apart(got.loss, onCPU.loss)
	narrow := any("none")
	if slices.Contains(dev.Info().MatMul, compute.BF16) {
		worst, err := c.compareRounded(run, cfg, dev, want, steps)
		if err != nil {
			return fmt.Errorf("bfloat16: %w", err)
		}
		narrow = worst
	}
	c.row(t, run.name, loss, norm, cpuLoss, narrow)
	allowed := lossTolerance
	if run.base == "" && cfg.LoadIn4bit && cfg.DoubleQuant {
		allowed = doubleTolerance
	}
	if !(loss <= allowed && norm <= normTolerance && cpuLoss <= allowed) {
		c.fail("%s: losses are off by %.2g, norms by %.2g, losses from the CPU's by %.2g", run.name, loss, norm, cpuLoss)
	}
	return nil
}

// compareRounded trains a run in bfloat16 and gives the largest relative difference of its losses to PyTorch's; want are those in float32.
func (c *check) compareRounded(run referenceRun, cfg trainer.Config, dev compute.Device, want curve, steps int) (worst float64, err error) {
	cfg.BF16, cfg.QuantComputeDType = true, "bfloat16"
	got, err := c.train(cfg, dev, steps)
	if err != nil {
		return 0, err
	}
	allowed := bf16Tolerance
	if own, err := readCurve(filepath.Join(run.folder, "losses-bf16.json"), steps); err == nil {
		want, allowed = own, bf16Factor*own.rounding
	} else if !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	if worst = apart(got.loss, want.loss); !(worst <= allowed) {
		c.fail("%s: bfloat16 losses are off by %.2g, at most %.1e is allowed", run.name, worst, allowed)
	}
	return worst, nil
}

func readCurve(path string, steps int) (w curve, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return w, err
	}
	var ref struct {
		Steps []struct {
			Loss     float64
			GradNorm float64 `json:"grad_norm"`
		}
		Rounding struct{ Loss float64 } `json:"difference_to_float32"`
	}
	if err := json.Unmarshal(data, &ref); err != nil {
		return w, err
	}
	if len(ref.Steps) < steps {
		return w, fmt.Errorf("%s has %d steps", filepath.Base(path), len(ref.Steps))
	}
	w.rounding = ref.Rounding.Loss
	for _, s := range ref.Steps[:steps] {
		w.loss, w.norm = append(w.loss, s.Loss), append(w.norm, s.GradNorm)
	}
	return w, nil
}

// referenceConfig is a reference run's own run.yaml.
func (c *check) referenceConfig(run referenceRun) (trainer.Config, error) {
	cfg, err := trainer.LoadConfig(filepath.Join(run.folder, "run.yaml"))
	if run.base != "" {
		cfg.ModelNameOrPath = run.base
	}
	cfg.OutputDir = filepath.Join(c.Work, "losses-out")
	return cfg, err
}

// train trains so many steps and leaves nothing behind.
func (c *check) train(cfg trainer.Config, dev compute.Device, steps int) (got curve, err error) {
	defer os.RemoveAll(cfg.OutputDir)
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	r, err := trainer.Prepare(ctx, dev, cfg, trainer.Options{StopAfter: steps})
	if err != nil {
		return got, err
	}
	err = r.Train(ctx, nil, func(e trainer.Event) {
		if s, ok := e.(trainer.StepDone); ok {
			got.loss, got.norm = append(got.loss, s.Loss), append(got.norm, s.GradNorm)
		}
	})
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err == nil && len(got.loss) != steps {
		err = fmt.Errorf("%d steps were told, %d wanted", len(got.loss), steps)
	}
	return got, err
}

// apart is the largest relative difference; NaN stays NaN.
func apart(got, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst := 0.0
	for i := range want {
		d := math.Abs(got[i]/want[i] - 1)
		if math.IsNaN(d) {
			return d
		}
		worst = max(worst, d)
	}
	return worst
}
