package model

import (
	"math"
	"testing"

	"lathe/compute"
)

// masked is a batch of which only ends of sequences are trained, and one sequence not at all.
func masked() Input {
	in := randomInput(20, 7, 30, 9)
	for i := range in.Labels {
		if i < 14 || i >= 20 && i < 25 || i >= 27 && i < 45 || i >= 57 {
			in.Labels[i] = Ignore
		}
	}
	return in
}

// gradientsOf is a step's log-probabilities and gradients from zero.
func gradientsOf(t *testing.T, m *Model, in Input, o StepOptions) (out [][]float32) {
	t.Helper()
	for _, p := range m.Trainable() {
		m.dev.Zero(p.Grad)
	}
	logprobs, err := m.step(in, &o)
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, logprobs)
	for _, p := range m.Trainable() {
		out = append(out, compute.Download[float32](m.dev, p.Grad))
	}
	return out
}

// Rows that are left out of the last block change no more than the order of sums, take no more memory, and a checkpoint changes nothing.
func TestRowsWithoutLossAreLeftOut(t *testing.T) {
	check := func(t *testing.T, m *Model) {
		t.Helper()
		m.rule = divided{m.rule, 1024}
		in, err := m.check(masked(), true)
		if err != nil {
			t.Fatal(err)
		}
		want := gradientsOf(t, m, in, StepOptions{GradScale: 1, whole: true})
		for _, checkpoint := range []bool{false, true} {
			got := gradientsOf(t, m, in, StepOptions{GradScale: 1, Checkpoint: checkpoint})
			for i := range want {
				scale := 0.0
				for _, w := range want[i] {
					scale = max(scale, math.Abs(float64(w)))
				}
				for j, w := range want[i] {
					if d := math.Abs(float64(w - got[i][j])); !(d <= 2e-5*max(scale, 1e-3)) {
						t.Fatalf("result %d[%d] is %g, with all rows %g (checkpoint %v)", i, j, got[i][j], w, checkpoint)
					}
				}
			}
		}
		for _, checkpoint := range []bool{false, true} {
			less := m.measureStep(in, &StepOptions{Checkpoint: checkpoint})
			whole := m.measureStep(in, &StepOptions{Checkpoint: checkpoint, whole: true})
			if less.max(whole) != whole {
				t.Errorf("with rows left out a step takes %+v, with all rows %+v (checkpoint %v)", less, whole, checkpoint)
			}
			if !m.cfg.Parallel && !checkpoint && less == whole {
				t.Error("no rows were left out")
			}
		}
	}
	eachFamily(t, func(t *testing.T, m *Model) {
		check(t, randomLoRA(t, m, LoRAConfig{R: 2, Alpha: 4, TargetModules: TargetModules{Regex: AllLinear}}))
	})
	t.Run("full", func(t *testing.T) {
		m := randomModel(t, openDevice(t), LoadOptions{})
		if err := m.TrainAll(); err != nil {
			t.Fatal(err)
		}
		check(t, m)
	})
}
