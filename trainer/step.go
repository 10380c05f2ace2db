package trainer

import (
	"fmt"
	"math"
	"strings"
	"time"

	"lathe/datasets"
	"lathe/model"
)

// trainStep is one optimiser step, counted from 0. All that changes the model's bits happens here, in this order.
func (r *Run) trainStep(step int) (StepDone, error) {
	start := time.Now()
	batches, err := r.loader.Step(step/r.plan.StepsPerEpoch, step%r.plan.StepsPerEpoch)
	if err != nil {
		return StepDone{}, err
	}
	tokens, trained := countTokens(batches)

	// forward and backward: gradients of the micro-batches add up to those of the mean over all trained tokens
	r.optimizer.zeroGrads()
	logprobs := make([][]float32, len(batches))
	for micro, b := range batches {
		logprobs[micro], err = r.model.ForwardBackward(input(b), model.StepOptions{
			GradScale:   float32(1 / float64(trained)),
			DropoutSeed: uint64(r.config.Seed),
			Step:        step,
			Micro:       micro,
			Checkpoint:  r.config.GradCheckpointing,
		})
		if err != nil {
			return StepDone{}, fmt.Errorf("step %d, micro-batch %d: %w", step+1, micro, err)
		}
	}
	loss := meanLoss(batches, logprobs, trained)

	// a number that is none stops the run before it reaches the weights
	norm := r.dev.GlobalNorm(r.optimizer.grads)
	if !finite(loss) || !finite(norm) {
		return StepDone{}, r.nonFinite(step, loss, norm, batches, logprobs)
	}

	// clip, AdamW
	rate := r.course.rate(step)
	r.optimizer.step(r.config, step, rate, clip(norm, r.config.MaxGradNorm))
	if err := r.dev.Sync(); err != nil {
		return StepDone{}, fmt.Errorf("step %d: %w", step+1, err)
	}

	return StepDone{
		Step: step + 1, Epoch: r.epochAfter(step + 1), Loss: loss, LearningRate: rate, GradNorm: norm,
		Tokens: tokens, TrainedTokens: trained, TotalSteps: r.plan.Steps,
		TokensPerSec: float64(tokens) / max(time.Since(start).Seconds(), 1e-9),
	}, nil
}

func input(b datasets.Batch) model.Input {
	return model.Input{Tokens: b.Tokens, Labels: b.Labels, Positions: b.Positions, Seqs: b.Seqs}
}

func countTokens(batches []datasets.Batch) (tokens, trained int) {
	for _, b := range batches {
		tokens += len(b.Tokens)
		trained += b.Trained
	}
	return tokens, max(trained, 1)
}

// meanLoss is the mean of -ln p over the trained tokens of all batches, summed in float64 in order.
func meanLoss(batches []datasets.Batch, logprobs [][]float32, trained int) float64 {
	var sum float64
	for i, b := range batches {
		sum += sumLoss(b.Labels, logprobs[i])
	}
	return sum / float64(trained)
}

func sumLoss(labels []int32, logprobs []float32) float64 {
	var sum float64
	for i, label := range labels {
		if label != datasets.IgnoreIndex {
			sum -= float64(logprobs[i])
		}
	}
	return sum
}

// epochAfter is the part of the data seen after a number of steps, as transformers counts it: in micro-batches.
func (r *Run) epochAfter(steps int) float64 {
	perEpoch := r.plan.StepsPerEpoch
	micro := (r.loader.Rows() + r.config.BatchSize - 1) / r.config.BatchSize
	seen := min(steps%perEpoch*r.config.GradAccum, micro)
	return float64(steps/perEpoch) + float64(seen)/float64(micro)
}

// NonFiniteError stops a run whose loss or gradients are no longer numbers. The weights are those before the step.
type NonFiniteError struct {
	Step   int      // from 1
	Loss   float64  // NaN or an infinity, or finite when only gradients are not
	Tensor string   // the first gradient with such a number; empty when the forward pass already had it
	Index  int      // element in Tensor
	Rows   []string // file:line of the rows at fault, or of all of the step when it cannot be told
}

// Error is one line that says what to try.
func (e *NonFiniteError) Error() string {
	what := fmt.Sprintf("the loss is %v", e.Loss)
	if finite(e.Loss) {
		what = "the loss is finite, a gradient is not"
	}
	if e.Tensor != "" {
		what += fmt.Sprintf("; first in the gradient of %s, element %d", e.Tensor, e.Index)
	}
	return fmt.Sprintf("step %d: %s; rows %s: lower learning_rate or max_grad_norm, look at these rows, or go on from the last checkpoint",
		e.Step, what, strings.Join(e.Rows, ", "))
}

// nonFinite finds out where the first number that is none came from.
func (r *Run) nonFinite(step int, loss, norm float64, batches []datasets.Batch, logprobs [][]float32) error {
	e := &NonFiniteError{Step: step + 1, Loss: loss}
	if tensor, index := r.dev.FirstNonFinite(r.optimizer.grads); tensor >= 0 {
		e.Tensor, e.Index = r.optimizer.params[tensor].Name, index
	} else if finite(loss) {
		e.Tensor, e.Index = fmt.Sprintf("all tensors together (norm %v)", norm), 0
	}
	var all []string
	for i, b := range batches {
		for s, sample := range b.Rows {
			at := r.loader.Sample(sample)
			name := fmt.Sprintf("%s:%d", at.File, at.Line)
			all = append(all, name)
			for _, p := range logprobs[i][b.Seqs[s]:b.Seqs[s+1]] {
				if math.IsNaN(float64(p)) || math.IsInf(float64(p), 0) {
					e.Rows = append(e.Rows, name)
					break
				}
			}
		}
	}
	if len(e.Rows) == 0 {
		e.Rows = all
	}
	if n := len(e.Rows); n > maxNamedRows {
		e.Rows = append(e.Rows[:maxNamedRows:maxNamedRows], fmt.Sprintf("and %d more", n-maxNamedRows))
	}
	if err := r.dev.Sync(); err != nil {
		return fmt.Errorf("%w (%w)", e, err)
	}
	return e
}

const maxNamedRows = 8
