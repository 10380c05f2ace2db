package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"lathe/compute"
	"lathe/cuda/driver"
	"lathe/cuda/nvml"
	"lathe/model"
	"lathe/trainer"
)

// meter reads the driver's own account of the device's memory, of all processes, and NVML's of the other processes.
type meter struct {
	ctx    *driver.Context // nil on the CPU device
	nvml   *nvml.Library   // nil where there is none
	device string          // its UUID
	lowest atomic.Int64    // of free bytes since watch began
	others atomic.Int64    // the most that other processes held since then
	stop   chan struct{}
	ended  chan struct{}
}

func (c *check) meter() (*meter, error) {
	if c.Device == "cpu" {
		return &meter{}, nil
	}
	lib, err := driver.Open("")
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(c.Device, "cuda:"))
	if err != nil {
		return nil, err
	}
	m := &meter{}
	if c.Known.Rehearsal == "" {
		m.nvml, _ = nvml.Open() // without it nobody tells how much others hold
	}
	devices, err := lib.Devices()
	if err != nil {
		return nil, err
	}
	m.device = devices[n].UUID
	before := m.used()
	if m.ctx, err = lib.NewContext(n); err != nil {
		return nil, err
	}
	if after := m.used(); before >= 0 && after >= 0 {
		c.fact("a context", "%.0f MiB by NVML, before anything is loaded or allocated: plans begin behind it", mib(after-before))
	}
	return m, nil
}

// reading is what NVML says of the device.
func (m *meter) reading() (nvml.Reading, bool) {
	if m.nvml == nil {
		return nvml.Reading{}, false
	}
	return nvml.Find(m.nvml.Read(), m.device)
}

// used is all memory in use by NVML, or negative.
func (m *meter) used() int64 {
	if r, ok := m.reading(); ok {
		return r.MemoryUsed
	}
	return nvml.Unknown
}

// strangers is what processes other than this one hold. In a container NVML does not tell which of them this is: then it is all but the
// largest, for a run is larger than a test.
func (m *meter) strangers() (sum int64) {
	r, ok := m.reading()
	if !ok {
		return 0
	}
	known := slices.ContainsFunc(r.Processes, func(p nvml.Process) bool { return p.Self })
	for i, p := range r.Processes { // most first
		if p.Memory > 0 && !p.Self && (known || i > 0) {
			sum += p.Memory
		}
	}
	return sum
}

// free is how many bytes no process has.
func (m *meter) free() int64 {
	if m.ctx == nil {
		return 0
	}
	free, _, err := m.ctx.MemInfo()
	if err != nil {
		return 0
	}
	return free
}

// watch samples until least is asked for.
func (m *meter) watch() {
	m.lowest.Store(m.free())
	m.others.Store(m.strangers())
	m.stop, m.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(m.ended)
		for i := 1; ; i++ {
			m.lowest.Store(min(m.lowest.Load(), m.free()))
			if i%50 == 0 { // which takes milliseconds
				m.others.Store(max(m.others.Load(), m.strangers()))
			}
			select {
			case <-m.stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
}

// least ends the watch and is the least that was free.
func (m *meter) least() int64 {
	close(m.stop)
	<-m.ended
	return m.lowest.Load()
}

func (m *meter) close() {
	if m.ctx != nil {
		_ = m.ctx.Close()
	}
	if m.nvml != nil {
		_ = m.nvml.Close()
	}
}

// job is a run on a random model.
type job struct {
	what          string
	method        trainer.Method
	optim         string
	checkpointing bool
	batch, length int
	steps         int
}

// config is the job's run.yaml, with output_dir out.
func (j job) config(base, rows, out string) (trainer.Config, error) {
	cfg := trainer.DefaultConfig()
	cfg.ModelNameOrPath, cfg.TrainFile, cfg.OutputDir = base, trainer.StringList{rows}, out
	cfg.Method, cfg.LoadIn4bit, cfg.BF16 = j.method, j.method == trainer.MethodQLoRA, true
	cfg.LoRA.R, cfg.LoRA.Alpha, cfg.LoRA.TargetModules, cfg.LoRA.Dropout = 16, 32, model.TargetModules{Regex: model.AllLinear}, 0.05
	if j.optim != "" {
		cfg.Optim = j.optim
	}
	cfg.BatchSize, cfg.GradAccum, cfg.MaxSteps, cfg.MaxSeqLength = j.batch, 1, j.steps, j.length
	cfg.GradCheckpointing, cfg.EvalStrategy, cfg.SaveStrategy = j.checkpointing, trainer.StrategyNo, trainer.StrategyNo
	return cfg, cfg.Validate()
}

// midModel writes a model that is large enough for memory to show, and rows for it.
func (c *check) midModel(length int) (base, rows string, err error) {
	s := shape1B
	if c.Quick {
		s = shapeTiny
	}
	dir, err := c.scratch(s.bytes())
	if err != nil {
		return "", "", err
	}
	base, rows = filepath.Join(dir, "model"), filepath.Join(dir, "rows.jsonl")
	if _, err := writeModel(base, s); err != nil {
		return "", "", err
	}
	return base, rows, writeRows(rows, s.vocab, 16, length)
}

// ownMost is what the driver may take of a device for itself beside the context, whatever the run's size: the code of kernels and of
// cuBLASLt, local memory. pagesMost is what it may take for a run's allocations beyond their bytes, for pages of 2 MiB that they do not
// fill. An H100 took 2 and 12 MiB of plans from 3 to 12 GiB (docs/gpu): there is room for another driver, and none in which one layer's
// weights could stay or be held twice, which are 116 MiB of shape1B in bfloat16.
const (
	ownMost     = 64 << 20
	pagesShared = 200 // of the plan one part in so many, and
	pagesLeast  = 32 << 20
)

func pagesMost(plan int64) int64 { return plan/pagesShared + pagesLeast }

// ownBytes is what a device holds for itself: a GPU's record of errors.
const ownBytes = 256

// planned holds the plan against the device's own account and the driver's.
func planned(c *check) error {
	length, steps := 1024, 3
	if c.Quick {
		length, steps = 24, 2
	}
	base, rows, err := c.midModel(length)
	if err != nil {
		return err
	}
	m, err := c.meter()
	if err != nil {
		return err
	}
	defer m.close()
	jobs := []job{
		{what: "qlora", method: trainer.MethodQLoRA},
		{what: "lora", method: trainer.MethodLoRA},
		{what: "lora, checkpointing", method: trainer.MethodLoRA, checkpointing: true},
		{what: "full, adamw_8bit, checkpointing", method: trainer.MethodFull, optim: "adamw_8bit", checkpointing: true},
	}
	t := c.table("Memory of a run in MiB", "run", "planned", "device's peak", "driver's peak", "of that stays", "pages", "other processes")
	t.Note = "The device's peak is its own account of what it allocated. The driver's is the fall of cuMemGetInfo's free memory, which is of all processes, from before the run was prepared, in an empty context, sampled every millisecond. What stays of it when the run has freed all is the driver's own: kernels' code, cuBLASLt's. Pages are what is left over the plan: allocations do not fill the pages that the driver gives them. Other processes are the most that NVML saw them hold; what they took meanwhile is in the driver's peak, and is allowed for."
	for _, j := range jobs {
		if !c.left(0) {
			c.fail("no time was left for %s", j.what)
			break
		}
		j.batch, j.length, j.steps = 2, length, steps
		if err := c.plannedRun(t, j, base, rows, m); err != nil {
			c.fail("%s: %v", j.what, err)
		}
	}
	return nil
}

func (c *check) plannedRun(t *table, j job, base, rows string, m *meter) error {
	dev, err := c.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	out := filepath.Join(c.Work, "planned")
	defer os.RemoveAll(out)
	cfg, err := j.config(base, rows, out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	before := m.free()
	m.watch()
	run, err := trainer.Prepare(ctx, dev, cfg, trainer.Options{})
	if errors.Is(err, trainer.ErrMemory) {
		m.least()
		c.row(t, j.what, "does not fit here", "", "", "", "", "")
		return nil
	}
	if err != nil {
		m.least()
		return err
	}
	err = run.Train(ctx, nil, func(trainer.Event) {})
	least := m.least()
	peak, plan := dev.Memory().Peak, run.Plan().Memory.Peak()
	if err := errors.Join(err, run.Close(), dev.Close()); err != nil {
		return err
	}
	stays := before - m.free() // the meter's context keeps what the driver took for itself
	taken, others := before-least, m.others.Load()
	pages := taken - plan - stays
	c.row(t, j.what, mib(plan), mib(peak), mib(taken), mib(stays), mib(pages), mib(others))
	if peak > plan+ownBytes {
		c.fail("%s: the device held %.1f MiB, %d bytes more than are planned", j.what, mib(peak), peak-plan)
	}
	if stays > ownMost+others {
		c.fail("%s: the driver took %.1f MiB for itself", j.what, mib(stays))
	}
	if pages > pagesMost(plan)+others {
		c.fail("%s: the driver counts %.1f MiB, %.1f are planned and %.1f are its own", j.what, mib(taken), mib(plan), mib(stays))
	}
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// release pauses a run, gives the memory back, lets another job have it, goes on and compares with a run that was left alone.
func release(c *check) error {
	length, steps := 512, 6
	if c.Quick {
		length, steps = 24, 3
	}
	base, rows, err := c.midModel(length)
	if err != nil {
		return err
	}
	m, err := c.meter()
	if err != nil {
		return err
	}
	defer m.close()
	j := job{method: trainer.MethodQLoRA, batch: 2, length: length, steps: steps}
	var ends [2]string
	var curves [2][]trainer.StepDone
	for i, interrupted := range []bool{false, true} {
		ends[i] = filepath.Join(c.Work, fmt.Sprintf("release-%v", interrupted))
		if curves[i], err = c.releasedRun(j, base, rows, ends[i], interrupted, m); err != nil {
			return err
		}
	}
	if len(curves[0]) != steps || len(curves[1]) != steps {
		return fmt.Errorf("%d and %d steps were told, %d wanted", len(curves[0]), len(curves[1]), steps)
	}
	for i, s := range curves[0] {
		if a := curves[1][i]; a.Loss != s.Loss || a.GradNorm != s.GradNorm {
			c.fail("step %d: loss %v and norm %v after the pause, %v and %v without", s.Step, a.Loss, a.GradNorm, s.Loss, s.GradNorm)
		}
	}
	c.sameFiles("released and not", ends[0], ends[1])
	c.fact("steps", "%d, released after step 1; losses %v to %v, equal with and without", steps, curves[0][0].Loss, curves[0][steps-1].Loss)
	return nil
}

func (c *check) releasedRun(j job, base, rows, out string, interrupted bool, m *meter) (steps []trainer.StepDone, err error) {
	dev, err := c.open()
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	cfg, err := j.config(base, rows, out)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.until)
	defer cancel()
	run, err := trainer.Prepare(ctx, dev, cfg, trainer.Options{})
	if err != nil {
		return nil, err
	}
	control := trainer.NewControl()
	if interrupted {
		control.Release()
	}
	busy, paused := m.free(), false
	err = run.Train(ctx, control, func(e trainer.Event) {
		switch e := e.(type) {
		case trainer.StepDone:
			steps = append(steps, e)
		case trainer.Paused:
			if e.Released > 0 {
				paused = true
				c.whilePaused(dev, m, busy, e.Released)
				control.Resume()
			}
		}
	})
	if interrupted && !paused && err == nil {
		c.fail("the run was asked to give its memory back and did not pause for it")
	}
	return steps, errors.Join(err, run.Close())
}

// whilePaused looks whether the memory is there for somebody else.
func (c *check) whilePaused(dev compute.Device, m *meter, busy, released int64) {
	c.fact("released", "%.1f MiB by the run's account; the device holds %.1f MiB", mib(released), mib(dev.Memory().Used))
	if m.ctx == nil {
		return
	}
	idle := m.free()
	c.fact("free by cuMemGetInfo", "%.1f MiB while it ran, %.1f MiB while paused", mib(busy), mib(idle))
	if idle-busy < released*95/100 {
		c.fail("the run says that it gave %.1f MiB back; the driver has %.1f MiB more free", mib(released), mib(idle-busy))
	}
	p, err := m.ctx.Alloc(released * 95 / 100)
	if err != nil {
		c.fail("another job cannot have the memory that was given back: %v", err)
		return
	}
	if err := m.ctx.Free(p); err != nil {
		c.fail("free the other job's memory: %v", err)
	}
}
