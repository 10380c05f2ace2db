package trainer

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lathe/internal/reftest"
	"lathe/model"
)

// The evaluation's loss is the mean over all trained tokens: that of scoring the rows one by one, whatever the batch. The
// tolerance is that of float32 sums in another order.
func TestEvaluationIsTokenWeighted(t *testing.T) {
	c := tinyConfig(t)
	c.ValidationFile, c.EvalStrategy, c.EvalBatchSize = c.TrainFile, StrategyEpoch, 4
	r, err := Prepare(t.Context(), newDevice(t), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	live := r.Live()
	loss, tokens, err := live.Evaluate(t.Context(), live.Model.With(nil))
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	var count int64
	for _, s := range r.corpus.validation {
		labels := append(slices.Clone(s.Labels[1:]), -100)
		logprobs, err := live.Model.With(nil).LogProbs(model.Input{Tokens: s.Tokens, Labels: labels})
		if err != nil {
			t.Fatal(err)
		}
		sum += sumLoss(labels, logprobs)
		count += int64(s.Trained())
	}
	if tokens != count || reftest.Relative(loss, sum/float64(count)) > 1e-6 {
		t.Errorf("loss %v over %d tokens, want %v over %d", loss, tokens, sum/float64(count), count)
	}
}

func TestEvaluationsAndEpochCheckpoints(t *testing.T) {
	c := tinyConfig(t)
	c.Packing, c.MaxSteps, c.Epochs, c.BatchSize = false, 0, 2, 4
	c.ValidationSplit, c.EvalStrategy, c.SaveStrategy = 0.2, StrategyEpoch, StrategyEpoch // 16 and 5 rows: 2 steps an epoch
	events := train(t, c, Options{})
	evals := only[EvalDone](events)
	if len(evals) != 2 || evals[0].Step != 2 || evals[1].Step != 4 {
		t.Fatalf("%+v", evals)
	}
	for _, e := range evals {
		if reftest.Relative(e.Perplexity, math.Exp(e.EvalLoss)) > 1e-12 {
			t.Errorf("%+v: perplexity is not exp of the loss", e)
		}
	}
	var steps []int
	list, err := ListCheckpoints(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Problem != "" || c.EvalLoss == nil {
			t.Errorf("%+v", c)
		}
		steps = append(steps, c.Step)
	}
	if !slices.Equal(steps, []int{2, 4, 4}) || !list[2].Final {
		t.Errorf("checkpoints %v, want 2, 4 and the final state", steps)
	}
}

// At rate 0 no evaluation is lower than the first: with patience 2 the third is the last.
func TestEarlyStopping(t *testing.T) {
	c := tinyConfig(t)
	c.LearningRate, c.ValidationFile = 0, c.TrainFile
	c.EvalStrategy, c.EvalSteps, c.SaveStrategy, c.SaveSteps = StrategySteps, 2, StrategySteps, 4
	c.Patience, c.SaveTotalLimit = 2, 1
	events := train(t, c, Options{})
	evals := only[EvalDone](events)
	if len(evals) != 3 || !evals[0].Best || evals[1].Best || evals[2].Best {
		t.Errorf("%+v", evals)
	}
	done := only[Done](events)[0]
	if done.Reason != ReasonEarlyStopping || done.Step != 6 || done.BestStep != 2 || done.BestPath != checkpointPath(c.OutputDir, 2) {
		t.Errorf("%+v", done)
	}
	// patience is part of the state: a resume does not start waiting anew
	c.OutputDir = filepath.Join(t.TempDir(), "halves")
	train(t, c, Options{StopAfter: 5})
	again := only[Done](train(t, c, Options{Resume: c.OutputDir}))[0]
	if again.Reason != ReasonEarlyStopping || again.Step != 6 || again.BestStep != 2 {
		t.Errorf("after a resume: %+v", again)
	}
}

func TestSaveTotalLimitKeepsBestAndNewest(t *testing.T) {
	c := tinyConfig(t)
	c.LearningRate, c.ValidationFile = 0, c.TrainFile // the first evaluation stays the best
	c.EvalStrategy, c.EvalSteps, c.SaveStrategy, c.SaveSteps, c.SaveTotalLimit = StrategySteps, 2, StrategySteps, 2, 2
	c.MaxSteps = 10
	events := train(t, c, Options{})
	entries, err := os.ReadDir(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"adapter_config.json", "adapter_model.safetensors", "checkpoint-10", "checkpoint-2", "trainer_state"}
	if !slices.Equal(names, want) {
		t.Errorf("output_dir holds %v, want %v", names, want)
	}
	removed := 0
	for _, e := range only[Saved](events) {
		removed += len(e.Removed)
	}
	if removed != 3 {
		t.Errorf("the events name %d removed checkpoints, want 3", removed)
	}
}
