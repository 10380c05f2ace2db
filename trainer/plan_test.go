package trainer

import (
	"strings"
	"testing"
)

// planWithin plans on a device that has so many bytes free.
func planWithin(t *testing.T, c Config, free int64) Plan {
	t.Helper()
	env := Environment{Device: newDevice(t).Info()}
	env.Device.MemoryFree, env.Device.WorkspaceHeld = free, 0
	p, err := MakePlan(t.Context(), c, env, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// set changes a configuration as a line of run.yaml would.
func set(t *testing.T, c *Config, key string, value any) {
	t.Helper()
	switch key {
	case "gradient_checkpointing":
		c.GradCheckpointing = value.(bool)
	case "per_device_train_batch_size":
		c.BatchSize = value.(int)
	case "gradient_accumulation_steps":
		c.GradAccum = value.(int)
	case "optim":
		c.Optim = value.(string)
	case "load_in_4bit":
		c.LoadIn4bit = value.(bool)
	case "method":
		c.Method = value.(Method)
	case "max_seq_length":
		c.MaxSeqLength = value.(int)
	case "lora.r":
		c.LoRA.R = value.(int)
	default:
		t.Fatalf("an offer sets %s", key)
	}
}

// offeredConfigs are runs with something to save.
func offeredConfigs(t *testing.T) map[string]Config {
	lora := tinyConfig(t)
	lora.Packing, lora.BatchSize, lora.MaxSeqLength = false, 8, 48
	full := lora
	full.Method = MethodFull
	ordered := lora
	ordered.Shuffle = false
	packed := lora
	packed.Packing = true
	evaluated := lora
	evaluated.ValidationSplit, evaluated.EvalStrategy = 0.2, StrategyEpoch
	return map[string]Config{"lora": lora, "full": full, "ordered": ordered, "packed": packed, "evaluated": evaluated}
}

// Every offer is what the run takes when run.yaml is changed so, to the byte; and the largest batch is the largest that fits.
func TestOffersArePlans(t *testing.T) {
	for name, c := range offeredConfigs(t) {
		t.Run(name, func(t *testing.T) {
			free := planWithin(t, c, 1<<40).Memory.Peak() * 3 / 2
			p := planWithin(t, c, free)
			if !p.Fits || len(p.Offers) < 3 || !strings.HasPrefix(p.Verdict, "fits: ") {
				t.Fatalf("fits %v, %d offers, %q", p.Fits, len(p.Offers), p.Verdict)
			}
			largest(t, c, p.LargestBatch, p.Rows, free)
			for _, o := range p.Offers {
				changed := c
				for key, value := range o.Set {
					set(t, &changed, key, value)
				}
				q := planWithin(t, changed, free)
				if q.Memory.Peak() != o.Total || q.Fits != o.Fits || q.LargestBatch != o.LargestBatch || p.Memory.Peak()-o.Total != o.Saves {
					t.Errorf("%s: offered %+v, planned %d bytes, largest batch %d", o.Text(), o, q.Memory.Peak(), q.LargestBatch)
				}
				if o.Saves <= 0 || o.Cost == "" || o.LargestBatch < p.LargestBatch {
					t.Errorf("%s saves %d bytes for a batch of %d (before %d) at the cost of %q", o.Text(), o.Saves, o.LargestBatch, p.LargestBatch, o.Cost)
				}
			}
		})
	}
}

// largest checks that a batch fits and one more row does not, unless there are no more rows.
func largest(t *testing.T, c Config, batch, rows int, free int64) {
	t.Helper()
	c.BatchSize = batch
	if !planWithin(t, c, free).Fits {
		t.Errorf("a batch of %d does not fit", batch)
	}
	c.BatchSize++
	if batch < rows && !c.Packing && planWithin(t, c, free).Fits {
		t.Errorf("a batch of %d fits, %d was said to be the largest", c.BatchSize, batch)
	}
}

// A run that does not fit hears first what makes it fit; the run then does.
func TestVerdictOfARunThatDoesNotFit(t *testing.T) {
	for name, c := range offeredConfigs(t) {
		t.Run(name, func(t *testing.T) {
			whole := planWithin(t, c, 1<<40)
			for _, share := range []int64{90, 60, 30} {
				free := whole.Memory.Peak() * share / 100
				p := planWithin(t, c, free)
				if p.Fits || !strings.HasPrefix(p.Verdict, "it will not fit: ") {
					t.Fatalf("%d bytes of %d are enough: %s", free, whole.Memory.Peak(), p.Verdict)
				}
				fit := false
				for _, o := range p.Offers {
					if !o.Fits {
						continue
					}
					if !fit && !strings.Contains(p.Verdict, o.Text()) {
						t.Errorf("%q does not name %s", p.Verdict, o.Text())
					}
					fit = true
					changed := c
					for key, value := range o.Set {
						set(t, &changed, key, value)
					}
					if !planWithin(t, changed, free).Fits {
						t.Errorf("%s does not fit", o.Text())
					}
					if changed.BatchSize*changed.GradAccum != c.BatchSize*c.GradAccum {
						t.Errorf("%s changes the rows of a step", o.Text())
					}
				}
				if !fit && !strings.Contains(p.Verdict, "take a smaller model") {
					t.Errorf("nothing is offered: %s", p.Verdict)
				}
			}
			if p := planWithin(t, c, 1000); !strings.Contains(p.Verdict, "take a smaller model") || p.LargestBatch != 0 {
				t.Errorf("a thousand bytes: %s, largest batch %d", p.Verdict, p.LargestBatch)
			}
		})
	}
}

// A device that does not say what it has gets the savings, but no batch.
func TestOffersWithoutABound(t *testing.T) {
	c := tinyConfig(t)
	c.BatchSize = 4
	p := planWithin(t, c, 0)
	if !p.Fits || p.LargestBatch != 0 || len(p.Offers) == 0 || p.Offers[0].Saves <= 0 || !strings.Contains(p.Verdict, "does not say") {
		t.Errorf("%+v", p)
	}
}

// What an earlier run's operations left the device holding is there for the next one.
func TestHeldWorkspaceCountsAsFree(t *testing.T) {
	c := tinyConfig(t)
	env := Environment{Device: newDevice(t).Info()}
	whole, err := MakePlan(t.Context(), c, env, Options{})
	if err != nil {
		t.Fatal(err)
	}
	env.Device.WorkspaceHeld = whole.Memory.Workspace
	env.Device.MemoryFree = whole.Memory.Peak() - whole.Memory.Workspace
	p, err := MakePlan(t.Context(), c, env, Options{})
	if err != nil || !p.Fits {
		t.Errorf("%s, %v", p.Verdict, err)
	}
	dev := newDevice(t)
	r, err := Prepare(t.Context(), dev, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if held := dev.Info().WorkspaceHeld; held <= 0 || held != dev.Memory().Used {
		t.Errorf("the device says that it holds %d bytes of workspace, in use are %d", held, dev.Memory().Used)
	}
}

// A checkpoint that is quantised already is trained on as it is.
func TestPrequantizedRuns(t *testing.T) {
	c := tinyConfig(t)
	c.ModelNameOrPath = absolute(t, "../testdata/ref/llama-gqa-nf4")
	c.MaxSteps = 3
	plain := c
	plain.ModelNameOrPath, plain.Method, plain.LoadIn4bit = absolute(t, "../testdata/ref/llama-gqa"), MethodQLoRA, true
	want := only[StepDone](train(t, plain, Options{}))
	for name, edit := range map[string]func(*Config){
		"qlora": func(c *Config) { c.Method, c.LoadIn4bit = MethodQLoRA, true },
		"lora":  func(c *Config) { c.Method, c.LoadIn4bit = MethodLoRA, false },
		"other options": func(c *Config) {
			c.Method, c.LoadIn4bit, c.DoubleQuant = MethodQLoRA, true, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := c
			edit(&run)
			run.OutputDir = t.TempDir()
			got := only[StepDone](train(t, run, Options{}))
			for i := range want {
				if got[i].Loss != want[i].Loss || got[i].GradNorm != want[i].GradNorm { // the same bytes give the same bits
					t.Errorf("step %d: loss %v, norm %v; quantised while loading %v, %v", i+1, got[i].Loss, got[i].GradNorm, want[i].Loss, want[i].GradNorm)
				}
			}
			p := planWithin(t, run, 1<<40)
			notice := strings.Contains(strings.Join(p.Notices, "\n"), "quantised already (bitsandbytes nf4, double quantised)")
			if notice != (name != "qlora") {
				t.Errorf("notices %q", p.Notices)
			}
			for _, o := range p.Offers {
				if o.Set["load_in_4bit"] != nil {
					t.Errorf("offers to quantise what is quantised: %s", o.Text())
				}
			}
		})
	}
	c.Method = MethodFull
	if _, err := MakePlan(t.Context(), c, Environment{}, Options{}); err == nil || !strings.Contains(err.Error(), "method: full trains every weight, but the checkpoint holds nf4 weights") {
		t.Errorf("full fine-tuning of 4-bit weights: %v", err)
	}
}
