package trainer

import (
	"context"
	"fmt"
	"time"

	"lathe/model"
)

// evaluate is the mean of -ln p over all trained tokens of the validation rows, and their number, 0 without such
// rows. It changes nothing.
func (r *Run) evaluate(ctx context.Context, m *model.Model) (loss float64, tokens int64, err error) {
	return r.evaluateWith(ctx, m, func() {})
}

// evaluateWith calls between before each batch.
func (r *Run) evaluateWith(ctx context.Context, m *model.Model, between func()) (loss float64, tokens int64, err error) {
	if r.evaluation == nil {
		return 0, 0, nil
	}
	var sum float64
	for i := range r.evaluation.StepsPerEpoch() {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		between()
		batches, err := r.evaluation.Step(0, i)
		if err != nil {
			return 0, 0, err
		}
		for _, b := range batches {
			logprobs, err := m.LogProbs(input(b))
			if err != nil {
				return 0, 0, fmt.Errorf("evaluate: %w", err)
			}
			part := sumLoss(b.Labels, logprobs)
			if !finite(part) {
				return 0, 0, &NonFiniteError{
					Step: r.state.Step, What: fmt.Sprintf("eval_loss is %v: the weights are no longer sound", part), Layer: -1,
					Where: "validation row " + rowName(r.evaluation.Sample(b.Rows[0])), RateScale: r.state.rateScale(),
				}
			}
			sum += part
			tokens += int64(b.Trained)
		}
	}
	return sum / float64(max(tokens, 1)), tokens, nil
}

// evaluateStep evaluates, records and tells.
func (r *Run) evaluateStep(ctx context.Context) (best bool, err error) {
	start := time.Now()
	loss, tokens, err := r.evaluateWith(ctx, r.model, r.doWaiting)
	if err != nil {
		return false, err
	}
	best = r.state.recordEval(loss)
	r.emit(EvalDone{
		Step: r.state.Step, Epoch: r.state.Epoch, EvalLoss: loss, Perplexity: perplexity(loss), Best: best,
		Tokens: tokens, Seconds: time.Since(start).Seconds(),
	})
	return best, nil
}
