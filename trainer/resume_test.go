package trainer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lathe/model"
)

const (
	tinyModel = "../testdata/ref/llama-gqa"
	tinyRows  = tinyModel + "/train-lora/rows.jsonl"
)

// tinyConfig is a short run with everything on that has a random side: dropout, shuffling, packing.
func tinyConfig(t testing.TB) Config {
	t.Helper()
	c := DefaultConfig()
	c.ModelNameOrPath, c.TrainFile = absolute(t, tinyModel), StringList{absolute(t, tinyRows)}
	c.OutputDir = filepath.Join(t.TempDir(), "out")
	c.Method, c.LoadIn4bit = MethodLoRA, false
	c.LoRA.R, c.LoRA.Dropout = 4, 0.1
	c.LoRA.TargetModules = model.TargetModules{Regex: model.AllLinear}
	c.BatchSize, c.GradAccum, c.MaxSteps, c.LearningRate, c.WarmupSteps = 1, 2, 20, 5e-3, 3
	c.WeightDecay, c.MaxSeqLength, c.Packing = 0.01, 64, true
	c.EvalStrategy, c.SaveStrategy = StrategyNo, StrategyNo
	return c
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// outcome is all that must be the same bit by bit: every file of tensors of the final state, and the measured numbers of the
// steps.
type outcome struct {
	tensors map[string][]byte // by the file's name in output_dir
	steps   []StepPoint
}

func outcomeOf(t *testing.T, c Config) outcome {
	t.Helper()
	h, err := ReadHistory(c.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	o := outcome{tensors: map[string][]byte{}, steps: h.Steps}
	for _, pattern := range []string{"*.safetensors", stateDir + "/*.safetensors"} {
		names, err := fs.Glob(os.DirFS(c.OutputDir), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			o.tensors[name] = readFile(t, c.OutputDir, name)
		}
	}
	return o
}

func readFile(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (o outcome) compare(t *testing.T, want outcome) {
	t.Helper()
	if len(o.tensors) < 2 { // weights and moments
		t.Errorf("only %d files of tensors: %v", len(o.tensors), slices.Sorted(maps.Keys(o.tensors)))
	}
	for name, data := range want.tensors {
		if !bytes.Equal(o.tensors[name], data) {
			t.Errorf("%s differs", name)
		}
	}
	if len(o.tensors) != len(want.tensors) {
		t.Errorf("files of tensors: %v, want %v", slices.Sorted(maps.Keys(o.tensors)), slices.Sorted(maps.Keys(want.tensors)))
	}
	if !reflect.DeepEqual(o.steps, want.steps) {
		t.Errorf("the steps differ:\n%v\n%v", o.steps, want.steps)
	}
}

// method is a way to train, as a change of tinyConfig.
type method struct {
	name   string
	change func(*Config)
}

// methods are all ways to train whose state a checkpoint has to hold.
func methods(t testing.TB) []method {
	biased := absolute(t, "../testdata/ref/llama-bias-tied")
	return []method{
		{"lora", func(*Config) {}},
		{"lora rslora", func(c *Config) { c.LoRA.UseRSLoRA = true }},
		{"lora bias all", func(c *Config) { c.ModelNameOrPath, c.LoRA.Bias = biased, model.BiasAll }},
		{"lora bias lora_only", func(c *Config) { c.ModelNameOrPath, c.LoRA.Bias = biased, model.BiasLoRA }},
		{"lora modules_to_save", func(c *Config) { c.LoRA.ModulesToSave = StringList{"embed_tokens", "lm_head"} }},
		{"dora", func(c *Config) { c.LoRA.UseDoRA = true }},
		{"qlora nf4", func(c *Config) { c.Method, c.LoadIn4bit = MethodQLoRA, true }},
		{"qlora fp4", func(c *Config) { c.Method, c.LoadIn4bit, c.QuantType, c.DoubleQuant = MethodQLoRA, true, "fp4", false }},
		{"qdora", func(c *Config) { c.Method, c.LoadIn4bit, c.LoRA.UseDoRA = MethodQLoRA, true, true }},
		{"houlsby", func(c *Config) { c.Method = MethodAdapter }},
		{"pfeiffer", func(c *Config) { c.Method, c.Adapter.Config, c.Adapter.Dropout = MethodAdapter, "pfeiffer", 0.1 }},
		{"prefix", func(c *Config) { c.Method = MethodPrefix }},
		{"prefix projection", func(c *Config) { c.Method, c.Prefix.Projection, c.Prefix.EncoderHiddenSize = MethodPrefix, true, 24 }},
		{"full", func(c *Config) { c.Method, c.LearningRate = MethodFull, 1e-3 }},
		{"full, stored in bf16", func(c *Config) {
			c.Method, c.LearningRate, c.ModelNameOrPath = MethodFull, 1e-3, absolute(t, "../testdata/ref/llama-gqa-bf16")
		}},
		{"gradient checkpointing", func(c *Config) { c.GradCheckpointing = true }},
		{"fp16", func(c *Config) { c.FP16 = true }},
		{"bf16", func(c *Config) { c.BF16 = true }},
		{"full adamw_8bit", func(c *Config) { c.Method, c.LearningRate, c.Optim = MethodFull, 1e-3, "adamw_8bit" }},
		{"lora adamw_8bit", func(c *Config) { c.Optim, c.LoRA.R = "adamw_8bit", 64 }},
	}
}

// Twenty steps are ten, and ten more in another process: same weights, same moments, same losses, bit for bit.
func TestResumeIsBitEqual(t *testing.T) {
	for _, test := range methods(t) {
		t.Run(test.name, func(t *testing.T) {
			c := tinyConfig(t)
			test.change(&c)
			straight, halves := c, c
			straight.OutputDir, halves.OutputDir = filepath.Join(t.TempDir(), "straight"), filepath.Join(t.TempDir(), "halves")
			all := only[StepDone](train(t, straight, Options{}))
			first := only[StepDone](train(t, halves, Options{StopAfter: 10}))

			// the second half in a new process, told by the events that the first checkpoint has its history
			process := startChild(t, childTask{Config: halves, Resume: halves.OutputDir})
			events, stderr, err := process.wait(t)
			if err != nil {
				t.Fatalf("%v: %s", err, stderr)
			}
			second := only[StepDone](events)
			if len(all) != 20 || len(first) != 10 || len(second) != 10 {
				t.Fatalf("%d steps, and %d + %d", len(all), len(first), len(second))
			}
			for i, e := range append(first, second...) {
				if e.Step != all[i].Step || e.Loss != all[i].Loss || e.GradNorm != all[i].GradNorm || e.LearningRate != all[i].LearningRate || e.TotalTokens != all[i].TotalTokens {
					t.Errorf("step %d: %+v, straight %+v", i+1, e, all[i])
				}
			}
			outcomeOf(t, halves).compare(t, outcomeOf(t, straight))
		})
	}
}

// A pause, and what is asked of the model in it and between steps, does not change a bit.
func TestPauseAndJobsDoNotChangeTheRun(t *testing.T) {
	straight := tinyConfig(t)
	train(t, straight, Options{})

	c := tinyConfig(t)
	control := NewControl()
	control.Pause()
	asked := make(chan error, 1)
	events, err := tryTrainHeard(t, c, Options{}, control, func(e Event) {
		if _, ok := e.(Paused); ok {
			go func() { asked <- askAround(t.Context(), control) }()
		}
	})
	if err := errors.Join(err, <-asked); err != nil {
		t.Fatal(err)
	}
	if len(only[Paused](events)) == 0 || len(only[Resumed](events)) == 0 {
		t.Errorf("no pause among the events")
	}
	outcomeOf(t, c).compare(t, outcomeOf(t, straight))
}

// askAround uses the model as a playground does: while paused, then once more at a border of the running training.
func askAround(ctx context.Context, control *Control) error {
	use := func(l *Live) error {
		for _, m := range []*model.Model{l.Model, l.Model.With(nil)} {
			if _, err := m.Generate(ctx, []int32{1, 5, 9}, model.GenerateOptions{MaxNewTokens: 8, Temperature: 1, IgnoreEOS: true}, nil); err != nil {
				return err
			}
			if _, err := m.LogProbs(model.Input{Tokens: []int32{1, 5, 9, 11}, Labels: []int32{5, 9, 11, -100}}); err != nil {
				return err
			}
		}
		l.Model.Release()
		return nil
	}
	if err := control.Do(ctx, use); err != nil {
		return err
	}
	control.Resume()
	if err := control.Do(ctx, use); err != nil && !errors.Is(err, ErrEnded) {
		return err
	}
	return nil
}

func TestResumeRefusesAnotherRun(t *testing.T) {
	c := tinyConfig(t)
	train(t, c, Options{StopAfter: 2})
	other := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(other, append(readFile(t, tinyRows), "{\"input_ids\":[1,2,3]}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"rate", func(c *Config) { c.LearningRate = 1 }, "learning_rate is 1, but the checkpoint was trained with 0.005"},
		{"rank", func(c *Config) { c.LoRA.R = 8 }, "lora.r is 8"},
		{"targets", func(c *Config) { c.LoRA.TargetModules = model.TargetModules{Names: []string{"q_proj"}} }, "lora.target_modules"},
		{"seed", func(c *Config) { c.Seed = 1 }, "seed is 1"},
		{"order", func(c *Config) { c.Shuffle = false }, "shuffle is false"},
		{"batch", func(c *Config) { c.BatchSize = 3 }, "per_device_train_batch_size is 3"},
		{"method", func(c *Config) { c.Method = MethodFull }, `method is "full"`},
		{"steps", func(c *Config) { c.MaxSteps = 30 }, "max_steps: the run now has 30 steps"},
		{"warm-up", func(c *Config) { c.WarmupSteps = 1 }, "warmup_steps: 1 now, 3"},
		{"data", func(c *Config) { c.TrainFile = StringList{other} }, "train_file: its rows"},
		{"model", func(c *Config) { c.ModelNameOrPath = absolute(t, "../testdata/ref/llama-gqa-bf16") }, "model_name_or_path: another model"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := c
			test.change(&changed)
			_, err := Prepare(t.Context(), newDevice(t), changed, Options{Resume: c.OutputDir})
			if !errors.Is(err, ErrResume) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}

	// what does not touch the bits may change
	free := c
	free.LoggingSteps, free.SaveStrategy, free.SaveSteps, free.SaveTotalLimit = 2, StrategySteps, 5, 1
	if err := os.Rename(c.OutputDir, c.OutputDir+"-moved"); err != nil {
		t.Fatal(err)
	}
	free.OutputDir = c.OutputDir + "-moved"
	events := train(t, free, Options{Resume: free.OutputDir})
	if done := only[Done](events); len(done) != 1 || done[0].Step != 20 {
		t.Errorf("%+v", done)
	}
}

// A constant rate does not depend on the number of steps: such a run may be made longer.
func TestResumeMayBeLongerAtConstantRate(t *testing.T) {
	c := tinyConfig(t)
	c.Schedule, c.WarmupSteps, c.MaxSteps = ScheduleConstant, 0, 4
	train(t, c, Options{})
	c.MaxSteps = 6
	events := train(t, c, Options{Resume: c.OutputDir})
	if steps := only[StepDone](events); len(steps) != 2 || steps[0].Step != 5 {
		t.Errorf("%+v", steps)
	}
}
