package trainer

import (
	"fmt"
	"time"

	"lathe/datasets"
	"lathe/model"
)

// trainStep is one optimiser step, counted from 0: a [StepDone], or a [StepSkipped] that changed no weight. All that changes
// the model's bits happens here, in this order.
func (r *Run) trainStep(step int) (Event, error) {
	start := time.Now()
	batches, err := r.stepBatches(step)
	if err != nil {
		return nil, err
	}
	tokens, trained := countTokens(batches)
	if tokens == 0 {
		return r.skipEmpty(step), nil
	}

	// forward and backward: gradients of the micro-batches add up to those of the mean over all trained tokens
	r.optimizer.zeroGrads()
	losses, err := r.computeLosses(step, batches, trained)
	if err != nil {
		return nil, err
	}
	if err := r.group.SumAll(r.optimizer.grads); err != nil {
		return nil, fmt.Errorf("step %d: %w", step+1, err)
	}
	loss := meanLoss(losses, trained)

	// a number that is none stops the run before it reaches the weights; with float16 a smaller scale is tried first
	unscale := 1 / r.scaler.scale()
	norm := r.dev.GlobalNorm(r.optimizer.grads) * unscale
	if err := r.group.Err(); err != nil {
		return nil, fmt.Errorf("step %d: %w", step+1, err)
	}
	if !finite(loss) || !finite(norm) && r.scaler == nil {
		return nil, r.nonFinite(step, loss, batches)
	}
	if !r.scaler.update(finite(norm)) {
		return r.skipOverflow(step, loss, tokens, batches)
	}

	// clip, AdamW
	rate := r.rate(step)
	r.optimizer.step(r.config, r.updates(step), rate, clip(norm, r.config.MaxGradNorm)*float32(unscale))
	if err := r.dev.Sync(); err != nil {
		return nil, fmt.Errorf("step %d: %w", step+1, err)
	}
	r.watchLoss(step+1, loss, batches, losses)
	return StepDone{
		Step: step + 1, Epoch: r.epochAfter(step + 1), Loss: loss, LearningRate: rate, GradNorm: norm,
		Tokens: tokens, TrainedTokens: trained, TotalSteps: r.plan.Steps,
		TokensPerSec: float64(tokens) / max(time.Since(start).Seconds(), 1e-9),
	}, nil
}

// computeLosses runs this rank's micro-batches forward and backward, and gives the losses of all.
func (r *Run) computeLosses(step int, batches []datasets.Batch, trained int) ([]microLoss, error) {
	var mine []microLoss
	for micro, b := range batches {
		if len(b.Tokens) == 0 || !r.mine(micro) { // all of its rows are skipped, or it is another rank's
			continue
		}
		logprobs, err := r.model.ForwardBackward(input(b), r.stepOptions(step, micro, trained))
		if err != nil {
			return nil, fmt.Errorf("step %d, micro-batch %d: %w", step+1, micro, err)
		}
		mine = append(mine, newMicroLoss(micro, b, logprobs))
	}
	losses, err := r.shareLosses(len(batches), mine)
	if err != nil {
		return nil, fmt.Errorf("step %d: %w", step+1, err)
	}
	return losses, nil
}

// stepBatches are a step's micro-batches without the rows that are skipped. One whose rows are all skipped stays, empty, so
// that the others keep their numbers, and with them their dropout.
func (r *Run) stepBatches(step int) ([]datasets.Batch, error) {
	batches, err := r.loader.Step(step/r.plan.StepsPerEpoch, step%r.plan.StepsPerEpoch)
	if err != nil {
		return nil, err
	}
	for i := range batches {
		batches[i] = r.skips.without(batches[i])
	}
	return batches, nil
}

// stepOptions name the dropout masks of a micro-batch and scale its gradient; trained counts the tokens of the whole step.
func (r *Run) stepOptions(step, micro, trained int) model.StepOptions {
	return model.StepOptions{
		GradScale:   float32(r.scaler.scale() / float64(trained)),
		DropoutSeed: uint64(r.config.Seed),
		Step:        step,
		Micro:       micro,
		Checkpoint:  r.config.GradCheckpointing,
	}
}

// rate is a step's learning rate: that of the schedule times the scale that a resume may have set. As in transformers with
// accelerate, a step that the loss scaler skipped does not move the schedule.
func (r *Run) rate(step int) float64 {
	return r.course.rate(step-r.scaler.skippedSteps()) * r.state.rateScale()
}

// updates is the number of times that the optimiser has changed the weights before a step: AdamW's bias correction counts
// these.
func (r *Run) updates(step int) int { return step - r.state.Idle }

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

// meanLoss is the mean of -ln p over the trained tokens of all micro-batches, summed in float64 in order.
func meanLoss(losses []microLoss, trained int) float64 {
	var sum float64
	for _, l := range losses {
		sum += l.Sum
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
	seen := min(steps%perEpoch*r.accumulated(), micro)
	return float64(steps/perEpoch) + float64(seen)/float64(micro)
}
