package trainer

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Noise around a level, of every shape and size that runs have, raises no alarm; a loss of five times the level does.
func TestSpikesInNoise(t *testing.T) {
	shapes := map[string]func(r *rand.Rand, step int) float64{
		"normal":    func(r *rand.Rand, _ int) float64 { return max(1+0.2*r.NormFloat64(), 0.01) },
		"lognormal": func(r *rand.Rand, _ int) float64 { return math.Exp(0.25 * r.NormFloat64()) },
		"uniform":   func(r *rand.Rand, _ int) float64 { return 0.5 + r.Float64() },
		"still":     func(*rand.Rand, int) float64 { return 1 },
		"falling": func(r *rand.Rand, s int) float64 {
			return (1 + 9*math.Exp(-float64(s)/50)) * math.Exp(0.1*r.NormFloat64())
		},
		"two levels": func(r *rand.Rand, s int) float64 { return float64(1+s%2) * math.Exp(0.1*r.NormFloat64()) },
	}
	const runs, steps = 8, 1200
	for name, shape := range shapes {
		for run := range runs {
			random := rand.New(rand.NewPCG(uint64(run), 7))
			var w spikeWatch
			for step := 1; step <= steps; step++ {
				if s, spike := w.add(step, shape(random, step)); spike {
					t.Errorf("%s, run %d: false alarm %+v", name, run, s)
				}
			}
			jump := 5.0
			if name == "two levels" {
				jump = 10
			}
			if s, spike := w.add(steps+1, jump); !spike {
				t.Errorf("%s, run %d: five times the level is no spike: %+v", name, run, s)
			}
		}
	}
}

// A loss that stays high is one spike, and the next one is told after it has come back.
func TestLongSpikeIsOne(t *testing.T) {
	var w spikeWatch
	var at []int
	for step := 1; step <= 300; step++ {
		loss := 2 + 0.1*math.Sin(float64(step))
		if step >= 100 && step < 110 || step == 200 {
			loss = 12
		}
		if _, spike := w.add(step, loss); spike {
			at = append(at, step)
		}
	}
	if len(at) != 2 || at[0] != 100 || at[1] != 200 {
		t.Errorf("spikes at %v", at)
	}
	if !w.at[105] || w.at[110] {
		t.Errorf("steps of the spikes: %v", w.at)
	}
}

// A short run whose loss falls all the time: the window is wide by what it has fallen, and a leap is seen nevertheless.
func TestSpikeWhileTheLossFalls(t *testing.T) {
	var w spikeWatch
	for step := 1; step <= 41; step++ {
		if s, spike := w.add(step, 9.5*math.Exp(-float64(step)/8)); spike {
			t.Fatalf("false alarm %+v", s)
		}
	}
	if s, spike := w.add(42, 12); !spike {
		t.Errorf("from 0.06 to 12 is no spike: %+v", s)
	}
	if _, spike := w.add(43, 0.05); spike || w.inside {
		t.Error("the loss has come back, the spike has not ended")
	}
}

func TestNoAlarmInWarmUp(t *testing.T) {
	var w spikeWatch
	for step := 1; step <= spikeWarmup; step++ {
		loss := 1.0
		if step%10 == 0 {
			loss = 50
		}
		if _, spike := w.add(step, loss); spike {
			t.Errorf("alarm at step %d", step)
		}
	}
}

// A run's spike names the rows of its step, the worst first, and the run goes on.
func TestSpikeEvent(t *testing.T) {
	easy := strings.Repeat(`{"input_ids":[1,5,9,5,9,5,9,5,9]}`+"\n", 80)
	hard := `{"input_ids":[1,5,9,5,9,5,9,5,9]}` + "\n" + `{"input_ids":[1,40,2,33,17,60,21,8,50]}` + "\n"
	c := tinyConfig(t)
	c.Method, c.LearningRate, c.WarmupSteps, c.Schedule = MethodFull, 5e-3, 0, ScheduleConstant
	c.TrainFile = writeRows(t, easy+hard+easy)
	c.Shuffle, c.Packing, c.MaxSteps, c.BatchSize, c.GradAccum = false, false, 60, 2, 1
	events := train(t, c, Options{})
	spikes := only[Spike](events)
	if len(spikes) != 1 {
		t.Fatalf("%+v", spikes)
	}
	s := spikes[0]
	if s.Step != 41 || len(s.Rows) != 2 || !strings.HasSuffix(s.Rows[0], ":82") || s.Loss < 2*s.Median {
		t.Errorf("%+v", s)
	}
	if done := only[Done](events); len(done) != 1 || done[0].Step != 60 {
		t.Errorf("%+v", done)
	}
}
