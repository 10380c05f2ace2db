package trainer

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"
)

// testdata/ref/schedules.json holds the lambdas of transformers' schedules over 20 steps, without and with 3 steps of
// warm-up. Tolerance: the last bits of float64, cos included.
func TestSchedulesAreTransformers(t *testing.T) {
	data, err := os.ReadFile("../testdata/ref/schedules.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref map[Schedule]map[string][]float64
	if err := json.Unmarshal(data, &ref); err != nil {
		t.Fatal(err)
	}
	if len(ref) != 4 {
		t.Fatalf("%d schedules in the reference, want 4", len(ref))
	}
	for schedule, byWarmup := range ref {
		for text, want := range byWarmup {
			warmup, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			c := course{schedule: schedule, peak: 1, warmup: warmup, steps: len(want)}
			for step, w := range want {
				if got := c.rate(step); math.Abs(got-w) > 1e-15 {
					t.Errorf("%s, warm-up %d, step %d: %v, want %v", schedule, warmup, step, got, w)
				}
			}
		}
	}
}

func TestCourseCountsStepsAsTransformers(t *testing.T) {
	for _, test := range []struct {
		name                  string
		epochs                float64
		maxSteps, warmup      int
		ratio                 float64
		perEpoch              int
		wantSteps, wantWarmup int
	}{
		{"whole epochs", 3, 0, 0, 0, 6, 18, 0},
		{"part of an epoch", 0.5, 0, 0, 0, 5, 3, 0},
		{"max_steps wins", 3, 20, 0, 0, 6, 20, 0},
		{"ratio, rounded up", 1, 0, 0, 0.1, 11, 11, 2},
		{"warmup_steps wins over the ratio", 1, 0, 5, 0.1, 11, 11, 5},
	} {
		c := newCourse(Config{Epochs: test.epochs, MaxSteps: test.maxSteps, WarmupSteps: test.warmup, WarmupRatio: test.ratio}, test.perEpoch)
		if c.steps != test.wantSteps || c.warmup != test.wantWarmup {
			t.Errorf("%s: %d steps, %d warm-up; want %d, %d", test.name, c.steps, c.warmup, test.wantSteps, test.wantWarmup)
		}
	}
}

func TestClipIsTorch(t *testing.T) {
	for _, test := range []struct{ norm, limit, want float64 }{
		{0.5, 1, 1}, {2, 1, 1 / (2 + 1e-6)}, {2, 0, 1}, {0, 1, 1},
	} {
		if got := clip(test.norm, test.limit); got != float32(test.want) {
			t.Errorf("clip(%v, %v) = %v, want %v", test.norm, test.limit, got, test.want)
		}
	}
}
