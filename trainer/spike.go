package trainer

import (
	"cmp"
	"math"
	"slices"

	"lathe/datasets"
)

// The numbers of [Spike].
const (
	spikeWindow    = 200  // losses that are looked back on
	spikeWarmup    = 32   // losses before the first alarm can be
	spikeThreshold = 5.0  // of z, for a long window
	spikeRatio     = 2.0  // of the median, that a loss has to reach at least
	spikeLeap      = 3.0  // of the largest loss of the last spikeWarmup steps: far above them whatever came before
	spikeFloor     = 0.05 // of the deviation: losses that hardly move are no reason for alarm at small moves
	spikeTiny      = 0.02 // losses below count as this one: nothing that is learnt by heart is alarming
)

// spikeWatch finds losses far above those before them. Losses are positive and their noise is a matter of proportion, so it
// looks at x = ln loss: over the last 200 steps, with m their median and q their 95th percentile,
//
//	s = (q - m) / 1.645, at least 0.05
//	z = (x - m) / s
//
// and calls a loss a spike where z ≥ 5·(1 + 8/n), n being the steps looked at (few of them tell s badly), and the loss is at
// least twice the median; or where it is three times the largest of the last 32 losses, for while a loss falls steeply the window
// is wider than its noise. s is the deviation of normal noise, measured on the side where spikes are, and one loss in twenty
// may be anything without moving it. There is no alarm in the first 32 steps. A loss that stays high is one spike, until z is
// below half of the threshold again. The zero value has seen nothing.
type spikeWatch struct {
	window []float64    // ln of the last losses
	inside bool         // the last losses were one spike
	at     map[int]bool // steps whose loss was far above, all of those of a long spike
}

// add looks at the loss of a step and then remembers it.
func (w *spikeWatch) add(step int, loss float64) (s Spike, spike bool) {
	x := math.Log(max(loss, spikeTiny))
	if n := len(w.window); n >= spikeWarmup {
		sorted := slices.Sorted(slices.Values(w.window))
		m := quantile(sorted, 0.5)
		z := (x - m) / max((quantile(sorted, 0.95)-m)/1.645, spikeFloor)
		limit := spikeThreshold * (1 + 8/float64(n))
		s = Spike{Step: step, Loss: loss, Median: math.Exp(m), Z: z}
		leap := x >= slices.Max(w.window[n-spikeWarmup:])+math.Log(spikeLeap)
		far := z >= limit && x >= m+math.Log(spikeRatio) || leap
		spike = far && !w.inside
		w.inside = far || w.inside && z >= limit/2
	}
	if w.inside {
		if w.at == nil {
			w.at = map[int]bool{}
		}
		w.at[step] = true
	}
	if len(w.window) == spikeWindow {
		w.window = w.window[1:]
	}
	w.window = append(w.window, x)
	return s, spike
}

// quantile of sorted values, between two of them by proportion, as numpy's default.
func quantile(sorted []float64, part float64) float64 {
	at := part * float64(len(sorted)-1)
	i := int(at)
	next := sorted[min(i+1, len(sorted)-1)]
	return sorted[i] + (at-float64(i))*(next-sorted[i])
}

// replaySpikes is the watch of a run with this history: what a resume goes on with.
func replaySpikes(steps []StepPoint) (w spikeWatch) {
	for _, s := range steps {
		w.add(s.Step, s.Loss)
	}
	return w
}

// watchLoss tells of a spike, with the rows of the step.
func (r *Run) watchLoss(step int, loss float64, batches []datasets.Batch, losses []microLoss) {
	spike, found := r.spikes.add(step, loss)
	if !found {
		return
	}
	type rowLoss struct {
		name string
		mean float64
	}
	var rows []rowLoss
	for i, b := range batches {
		for s, sample := range b.Rows {
			rows = append(rows, rowLoss{rowName(r.loader.Sample(sample)), losses[i].Rows[s]})
		}
	}
	slices.SortStableFunc(rows, func(a, b rowLoss) int { return cmp.Compare(b.mean, a.mean) })
	for _, row := range rows[:min(len(rows), maxNamedRows)] {
		spike.Rows = append(spike.Rows, row.name)
	}
	r.emit(spike)
}
