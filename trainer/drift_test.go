package trainer

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"lathe/internal/reftest"
)

// driftVariable asks for the demo's two runs: LATHE_DRIFT=1 go test ./trainer -run Drift -v
const driftVariable = "LATHE_DRIFT"

// What 8-bit moments cost: the same runs with exact and with 8-bit AdamW. The bounds are four times what was measured when
// this was written (docs/GUARDS.md has the figures); go test ./trainer -run Drift -v prints them anew.
func TestDriftOf8BitMoments(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		bound  float64 // of the largest relative difference of a step's loss
	}{
		{"full, 20 steps", func(c *Config) { c.Method, c.LearningRate = MethodFull, 1e-3 }, 0.02},
		{"full, 100 steps", func(c *Config) { c.Method, c.LearningRate, c.MaxSteps = MethodFull, 1e-3, 100 }, 0.2},
		{"lora of rank 64, 100 steps", func(c *Config) { c.LoRA.R, c.MaxSteps = 64, 100 }, 0.2},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := tinyConfig(t)
			test.change(&c)
			exact := only[StepDone](train(t, c, Options{}))
			c.Optim, c.OutputDir = "adamw_8bit", filepath.Join(t.TempDir(), "8bit")
			coarse := only[StepDone](train(t, c, Options{}))
			worst, sum := 0.0, 0.0
			for i, e := range exact {
				d := reftest.Relative(coarse[i].Loss, e.Loss)
				worst, sum = max(worst, d), sum+d
			}
			n := len(exact)
			t.Logf("losses differ by %.2e at most and %.2e on average; the last are %.4f and %.4f", worst, sum/float64(n), exact[n-1].Loss, coarse[n-1].Loss)
			if worst > test.bound {
				t.Errorf("the largest difference is %v", worst)
			}
			if worst == 0 {
				t.Error("nothing differs: the moments were not in 8 bits")
			}
		})
	}
}

// The demo's own run on its own data, exact and with 8-bit moments: perplexity on the held-out rows.
func TestDriftOnTheDemo(t *testing.T) {
	if os.Getenv(driftVariable) == "" {
		t.Skipf("skipped: two runs of the demo take half a minute; %s=1 asks for them", driftVariable)
	}
	perplexities := map[string]float64{}
	for _, optim := range []string{"adamw", "adamw_8bit"} {
		c, err := LoadConfig("../internal/demo/assets/run.yaml")
		if err != nil {
			t.Fatal(err)
		}
		c.SaveStrategy = StrategyNo
		c.Optim, c.OutputDir = optim, filepath.Join(t.TempDir(), optim)
		evals := only[EvalDone](train(t, c, Options{}))
		perplexities[optim] = evals[len(evals)-1].Perplexity
	}
	line, err := json.Marshal(perplexities)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("perplexity after the demo's run: %s", line)
	if d := reftest.Relative(perplexities["adamw_8bit"], perplexities["adamw"]); d > 0.05 || math.IsNaN(d) {
		t.Errorf("perplexities differ by %v", d)
	}
}
