package trainer

import "math"

// course is the number of steps of a run and the learning rate of each, as transformers computes them.
type course struct {
	schedule Schedule
	peak     float64
	warmup   int
	steps    int
}

// newCourse takes the number of optimiser steps of an epoch; the last of them may be a partial accumulation.
func newCourse(c Config, stepsPerEpoch int) course {
	steps := c.MaxSteps
	if steps == 0 {
		steps = int(math.Ceil(c.Epochs * float64(stepsPerEpoch)))
	}
	warmup := c.WarmupSteps
	if warmup == 0 { // TrainingArguments.get_warmup_steps: the number wins over the ratio
		warmup = int(math.Ceil(c.WarmupRatio * float64(steps)))
	}
	return course{schedule: c.Schedule, peak: c.LearningRate, warmup: warmup, steps: steps}
}

// rate is the learning rate of a step, counted from 0: with warm-up, step 0 trains at rate 0.
func (c course) rate(step int) float64 { return c.peak * c.factor(step) }

// factor is the lambda of transformers' optimization.py.
func (c course) factor(step int) float64 {
	if c.schedule == ScheduleConstant {
		return 1
	}
	if step < c.warmup {
		return float64(step) / float64(max(1, c.warmup))
	}
	left := float64(max(1, c.steps-c.warmup))
	switch c.schedule {
	case ScheduleLinear:
		return max(0, float64(c.steps-step)/left)
	case ScheduleCosine:
		progress := float64(step-c.warmup) / left
		return max(0, 0.5*(1+math.Cos(math.Pi*0.5*2*progress)))
	default: // constant_with_warmup
		return 1
	}
}
