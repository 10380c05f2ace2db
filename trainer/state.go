package trainer

import (
	"math"
	"time"
)

// stateVersion is that of state.json; a newer one is refused.
const stateVersion = 1

// state is what a checkpoint remembers beside its tensors: state.json. The order of the data and the dropout masks are
// functions of the seeds and the step, so no random generator's state is among it.
type state struct {
	Version       int          `json:"version"`
	Step          int          `json:"step"`
	Epoch         float64      `json:"epoch"`
	Steps         int          `json:"steps"` // of the whole run
	StepsPerEpoch int          `json:"steps_per_epoch"`
	Tokens        int64        `json:"tokens"` // of all steps so far
	Config        Config       `json:"config"`
	Fingerprints  fingerprints `json:"fingerprints"`
	Device        string       `json:"device"` // name and tier: others compute other last bits
	Saved         time.Time    `json:"saved"`
	// Ranks is the number of devices that trained together, left out where it was one.
	Ranks   int       `json:"ranks,omitempty"`
	History History   `json:"history"`
	Best    *BestEval `json:"best,omitempty"`
	// Waited is the number of evaluations since the best one: early stopping's patience.
	Waited int `json:"waited,omitempty"`
	// Idle counts the steps that changed no weight: AdamW's own count is Step - Idle.
	Idle int `json:"idle,omitempty"`
	// SkipRows are left out of later steps; RateScale is the factor on the schedule's rate, 0 for 1.
	SkipRows  []SkippedRow `json:"skip_rows,omitempty"`
	RateScale float64      `json:"learning_rate_scale,omitempty"`
	// Scaler is fp16's.
	Scaler *lossScaler `json:"scaler,omitempty"`
}

// noteRanks is what a checkpoint holds of the number of ranks.
func noteRanks(n int) int {
	if n == 1 {
		return 0
	}
	return n
}

func (s *state) rateScale() float64 {
	if s.RateScale == 0 {
		return 1
	}
	return s.RateScale
}

// History is what a run has measured so far, in every process that worked on it.
type History struct {
	Steps []StepPoint `json:"steps"`
	Evals []EvalPoint `json:"evals,omitempty"`
}

// StepPoint is what stays of a StepDone.
type StepPoint struct {
	Step         int     `json:"step"`
	Epoch        float64 `json:"epoch"`
	Loss         float64 `json:"loss"`
	LearningRate float64 `json:"learning_rate"`
	GradNorm     float64 `json:"grad_norm"`
}

// EvalPoint is what stays of an EvalDone.
type EvalPoint struct {
	Step     int     `json:"step"`
	Epoch    float64 `json:"epoch"`
	EvalLoss float64 `json:"eval_loss"`
}

// BestEval is the evaluation with the lowest loss.
type BestEval struct {
	Step     int     `json:"step"`
	EvalLoss float64 `json:"eval_loss"`
}

// recordStep notes a step and completes its event.
func (r *Run) recordStep(e *StepDone, seconds float64) {
	s := &r.state
	s.Step, s.Epoch = e.Step, e.Epoch
	s.Tokens += int64(e.Tokens)
	s.History.Steps = append(s.History.Steps, StepPoint{e.Step, e.Epoch, e.Loss, e.LearningRate, e.GradNorm})
	r.clock.step(seconds)
	e.TotalTokens = s.Tokens
	e.SecondsLeft = r.clock.left(r.plan.Steps - e.Step)
	e.MemoryPeak = r.dev.Memory().Peak
}

// recordSkipped notes a step that changed no weight.
func (r *Run) recordSkipped(e StepSkipped) {
	r.state.Step, r.state.Epoch = e.Step, r.epochAfter(e.Step)
	r.state.Tokens += int64(e.Tokens)
	r.state.Idle++
}

// recordEval notes an evaluation and reports whether it is the best so far, as transformers' EarlyStoppingCallback does.
func (s *state) recordEval(loss float64) (best bool) {
	s.History.Evals = append(s.History.Evals, EvalPoint{s.Step, s.Epoch, loss})
	if s.Best == nil || loss < s.Best.EvalLoss {
		s.Best = &BestEval{Step: s.Step, EvalLoss: loss}
		s.Waited = 0
		return true
	}
	s.Waited++
	return false
}

// clock forecasts the time left from the recent steps.
type clock struct {
	mean float64 // seconds a step, exponentially weighted
	n    int
}

func (c *clock) step(seconds float64) {
	c.n++
	weight := max(0.05, 1/float64(c.n))
	c.mean += weight * (seconds - c.mean)
}

func (c *clock) left(steps int) float64 { return c.mean * float64(max(0, steps)) }

// perplexity is exp of a mean loss, kept within what JSON can write.
func perplexity(loss float64) float64 { return min(math.Exp(loss), math.MaxFloat64) }
