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
	return r.evaluateWith(ctx, m, part{0, 1}, func() {})
}

// part is one rank's of so many; {0, 1} is all of it.
type part struct{ rank, of int }

// evaluateWith calls between before each batch. It computes a part of the batches; ranks that share them all get the whole.
func (r *Run) evaluateWith(ctx context.Context, m *model.Model, p part, between func()) (loss float64, tokens int64, err error) {
	if r.evaluation == nil {
		return 0, 0, nil
	}
	var sums []float64 // of the batches
	var first []int    // sample of each
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
			sums, first = append(sums, 0), append(first, b.Rows[0])
			tokens += int64(b.Trained)
			if (len(sums)-1)%p.of != p.rank {
				continue
			}
			logprobs, err := m.LogProbs(input(b))
			if err != nil {
				return 0, 0, fmt.Errorf("evaluate: %w", err)
			}
			sums[len(sums)-1] = sumLoss(b.Labels, logprobs)
			if p.of == 1 && !finite(sums[len(sums)-1]) {
				return 0, 0, r.badEvaluation(sums[len(sums)-1], b.Rows[0])
			}
		}
	}
	if p.of > 1 {
		if sums, err = r.shareSums(sums); err != nil {
			return 0, 0, fmt.Errorf("evaluate: %w", err)
		}
	}
	for i, s := range sums {
		if !finite(s) {
			r.agreed = p.of > 1
			return 0, 0, r.badEvaluation(s, first[i])
		}
		loss += s
	}
	return loss / float64(max(tokens, 1)), tokens, nil
}

func (r *Run) badEvaluation(loss float64, sample int) error {
	return &NonFiniteError{
		Step: r.state.Step, What: fmt.Sprintf("eval_loss is %v: the weights are no longer sound", loss), Layer: -1,
		Where: "validation row " + rowName(r.evaluation.Sample(sample)), RateScale: r.state.rateScale(),
	}
}

// shareSums puts the ranks' parts of a list together.
func (r *Run) shareSums(mine []float64) ([]float64, error) {
	all, err := gather(r.group, mine)
	if err != nil {
		return nil, err
	}
	for i := range mine {
		theirs := all[i%len(all)]
		if len(theirs) != len(mine) {
			return nil, fmt.Errorf("rank %d has %d batches, this one %d", i%len(all), len(theirs), len(mine))
		}
		mine[i] = theirs[i]
	}
	return mine, nil
}

// evaluateStep evaluates, records and tells.
func (r *Run) evaluateStep(ctx context.Context) (best bool, err error) {
	start := time.Now()
	loss, tokens, err := r.evaluateWith(ctx, r.model, part{r.group.Rank(), r.group.Size()}, r.doWaiting)
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
