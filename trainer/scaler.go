package trainer

import (
	"fmt"
	"math"

	"lathe/datasets"
)

// The constants of torch.amp.GradScaler (torch/amp/grad_scaler.py).
const (
	scalerInit     = 65536
	scalerGrowth   = 2.0
	scalerBackoff  = 0.5
	scalerInterval = 2000
	// scalerPatience steps skipped in a row, or a scale below 1, end a run: torch's own documentation says that something is
	// likely wrong then.
	scalerPatience = 20
)

// lossScaler is torch.amp.GradScaler: the loss is multiplied by a scale so that small gradients do not vanish in float16;
// a step whose scaled gradients overflow is skipped, and the scale halved. nil scales by 1 and skips nothing.
type lossScaler struct {
	// Scale is the factor of the next step, Tracker the clean steps since it changed.
	Scale   float64 `json:"scale"`
	Tracker int     `json:"growth_tracker"`
	// Skipped counts the skipped steps of the whole run, Streak those since the last clean one.
	Skipped int `json:"skipped"`
	Streak  int `json:"streak"`
}

func newLossScaler() *lossScaler { return &lossScaler{Scale: scalerInit} }

func (s *lossScaler) scale() float64 {
	if s == nil {
		return 1
	}
	return s.Scale
}

func (s *lossScaler) skippedSteps() int {
	if s == nil {
		return 0
	}
	return s.Skipped
}

// update is GradScaler.update (torch's _amp_update_scale_) after a step; it reports whether the optimiser may step.
func (s *lossScaler) update(clean bool) bool {
	switch {
	case s == nil:
	case !clean:
		s.Scale *= scalerBackoff
		s.Tracker = 0
		s.Skipped++
		s.Streak++
	default:
		s.Streak = 0
		s.Tracker++
		if s.Tracker == scalerInterval {
			s.Tracker = 0
			if grown := s.Scale * scalerGrowth; grown <= math.MaxFloat32 {
				s.Scale = grown
			}
		}
	}
	return clean
}

// exhausted says that smaller scales do not help.
func (s *lossScaler) exhausted() bool { return s.Scale < 1 || s.Streak >= scalerPatience }

// skipOverflow tells of a step whose gradients overflowed; the scaler has been updated. It is the guard's case where the
// scale cannot fall any more.
func (r *Run) skipOverflow(step int, loss float64, tokens int, batches []datasets.Batch) (Event, error) {
	s := r.scaler
	if s.exhausted() {
		s.Scale /= scalerBackoff // the pass to repeat is that of the scale that overflowed
		err := r.nonFinite(step, loss, batches)
		s.Scale *= scalerBackoff
		return nil, err
	}
	return StepSkipped{
		Step: step + 1, Reason: SkippedOverflow, Loss: &loss, Tokens: tokens, Scale: s.Scale / scalerBackoff, NextScale: s.Scale,
		InARow: s.Streak, Total: s.Skipped,
		Message: fmt.Sprintf("gradients overflow at a loss scale of %g: skipped, the next step has %g", s.Scale/scalerBackoff, s.Scale),
	}, nil
}
