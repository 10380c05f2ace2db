package trainer

import (
	"errors"
	"fmt"

	"lathe/compute"
	"lathe/datasets"
	"lathe/model"
)

// bounds are those of the largest micro-batch, in training and in evaluation.
func (r *Run) bounds() (maxTokens, maxSeqs, maxLen int) {
	b := r.rowBounds()
	return b.batch(r.config.BatchSize)
}

// rowBounds are the bounds of a micro-batch of any size.
type rowBounds struct {
	training, evaluation datasets.Bounds
	evalSize             int // per_device_eval_batch_size, 0 for that of training
}

func (r *Run) rowBounds() rowBounds {
	b := rowBounds{training: r.loader.Bounds(), evalSize: r.config.EvalBatchSize}
	if r.evaluation != nil {
		b.evaluation = r.evaluation.Bounds()
	}
	return b
}

// batch bounds a micro-batch of size rows in training, and what evaluation makes of that.
func (b *rowBounds) batch(size int) (maxTokens, maxSeqs, maxLen int) {
	maxTokens, maxSeqs, maxLen = b.training.Batch(size)
	if b.evaluation.Rows() > 0 {
		if b.evalSize > 0 {
			size = b.evalSize
		}
		tokens, seqs, length := b.evaluation.Batch(size)
		maxTokens, maxSeqs, maxLen = max(maxTokens, tokens), max(maxSeqs, seqs), max(maxLen, length)
	}
	return maxTokens, maxSeqs, maxLen
}

// holdings tell what a run's configuration takes, for any batch size.
type holdings struct {
	planner   *model.Planner
	rows      rowBounds
	trainable int64 // parameters
	known     map[int]MemoryPlan
	group     func(gradients int64) int64 // the memory of a group's sums
}

// holdings makes the run's model, adapter and optimiser on a dry device.
func (r *Run) holdings(device compute.Info) (*holdings, error) {
	options := model.PlanOptions{
		Load:       r.loadOptions(device),
		Files:      r.files,
		Full:       r.config.Method == MethodFull,
		Checkpoint: r.config.GradCheckpointing,
		Workspace:  device.Workspace,
		Optimizer: func(dev compute.Device, params []*model.Param) error {
			_, err := newOptimizer(dev, params, r.config)
			return err
		},
	}
	var err error
	if options.Adapter, err = r.config.planned(r.resuming); err != nil {
		return nil, err
	}
	planner, err := model.NewPlanner(r.files.Config, options)
	if errors.Is(err, model.ErrAdapter) && r.config.AdapterNameOrPath != "" {
		return nil, fmt.Errorf("adapter_name_or_path: %s: %w", r.config.AdapterNameOrPath, err)
	}
	if errors.Is(err, model.ErrAdapter) {
		return nil, faultf(0, "%s.%v", r.config.Method.section(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("plan memory: %w", err)
	}
	return &holdings{planner: planner, rows: r.rowBounds(), known: map[int]MemoryPlan{}, group: r.groupMemory(device)}, nil
}

// groupMemory is what summing gradients over several devices takes of each. GPUs sum in place; what NCCL has is the device's to
// say. CPUs hold a copy that travels.
func (r *Run) groupMemory(device compute.Info) func(gradients int64) int64 {
	return func(gradients int64) int64 {
		switch {
		case r.ranks <= 1:
			return 0
		case device.Kind == "cpu":
			return device.GroupMemory + gradients
		}
		return device.GroupMemory
	}
}

// batch is the memory of the run with so many rows in a micro-batch.
func (h *holdings) batch(size int) (MemoryPlan, error) {
	if p, ok := h.known[size]; ok {
		return p, nil
	}
	m, err := h.planner.Batch(h.rows.batch(size))
	if err != nil {
		return MemoryPlan{}, err
	}
	h.trainable = m.Trainable
	p := MemoryPlan{
		Base: m.Base, Adapters: m.Adapters, Gradients: m.Gradients, Optimizer: m.Optimizer,
		Activations: m.Activations, KV: m.KV, Workspace: m.Workspace, Loading: m.Loading,
		Group: h.group(m.Gradients),
	}
	h.known[size] = p
	return p, nil
}

// maxBatch bounds the search for the largest batch, beyond which no run goes.
const maxBatch = 1 << 16

// largestBatch is the largest number of rows in a micro-batch whose memory is within available, 0 where one row is too many. It
// guesses along a line between the largest that is known to fit and the smallest that is known not to: activations grow with
// the rows, the rest does not.
func (h *holdings) largestBatch(available int64) (int, error) {
	peak := func(size int) (int64, error) {
		m, err := h.batch(size)
		return m.Peak(), err
	}
	low, high := 1, min(h.rows.training.Rows(), maxBatch)
	atLow, err := peak(low)
	if err != nil || atLow > available {
		return 0, err
	}
	atHigh, err := peak(high)
	if err != nil || atHigh <= available {
		return high, err
	}
	for guesses := 0; high-low > 1; guesses++ {
		middle := (low + high) / 2
		if guesses%3 != 2 && atHigh > atLow { // else halve, lest a bent line makes many small steps
			middle = low + int(float64(high-low)*float64(available-atLow)/float64(atHigh-atLow))
			middle = min(max(middle, low+1), high-1)
		}
		at, err := peak(middle)
		if err != nil {
			return 0, err
		}
		if at <= available {
			low, atLow = middle, at
		} else {
			high, atHigh = middle, at
		}
	}
	return low, nil
}
