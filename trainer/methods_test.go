package trainer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// Each method goes on from its own adapter, whose shape holds, and from no other's.
func TestMethodsGoOn(t *testing.T) {
	for _, test := range methods(t) {
		t.Run(test.name, func(t *testing.T) {
			c := tinyConfig(t)
			test.change(&c)
			if c.Method == MethodFull {
				t.Skip("not tried: a full fine-tuning has no adapter to go on from")
			}
			c.MaxSteps, c.WarmupSteps = 2, 0
			train(t, c, Options{})
			next := c
			next.AdapterNameOrPath, next.OutputDir = c.OutputDir, filepath.Join(t.TempDir(), "next")
			steps := only[StepDone](train(t, next, Options{}))
			before := only[StepDone](train(t, changed(c, func(c *Config) { c.MaxSteps, c.OutputDir = 3, filepath.Join(t.TempDir(), "three") }), Options{}))
			if len(steps) != 2 || steps[0].Loss == before[0].Loss {
				t.Errorf("it started anew: losses %v", steps)
			}
			other := next
			other.OutputDir = filepath.Join(t.TempDir(), "other")
			if other.Method = MethodPrefix; c.Method == MethodPrefix {
				other.Method, other.LoadIn4bit = MethodLoRA, false
			}
			_, err := tryTrain(t, other, Options{}, nil)
			if err == nil || !strings.Contains(err.Error(), "adapter_name_or_path") || !errors.Is(err, ErrConfig) {
				t.Errorf("an adapter of another method: %v", err)
			}
		})
	}
}

func changed(c Config, change func(*Config)) Config {
	change(&c)
	return c
}

// A prefix with its projection against PEFT. PEFT's files hold only the projected prefix, so the run starts from what PEFT's encoder was
// dumped as. Tolerances as for every other run.
func TestPrefixProjectionAgainstPEFT(t *testing.T) {
	for _, base := range []string{"llama-gqa", "gpt-neox"} {
		dir := "../testdata/ref/" + base + "/train-prefix-projection"
		if _, err := os.Stat(dir); err != nil {
			t.Skip("not compared: there is no dump: ", dir)
		}
		t.Run(base, func(t *testing.T) {
			c, err := LoadConfig(filepath.Join(dir, "run.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			first := c.AdapterNameOrPath
			c.AdapterNameOrPath, c.OutputDir = "", t.TempDir()
			dev := newDevice(t)
			r, err := Prepare(context.Background(), dev, c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			set := openSet(t, filepath.Join(first, "prompt_encoder.safetensors"))
			for _, p := range r.model.Trainable() {
				tensor, ok := set.Tensor(strings.TrimPrefix(p.Name, "prompt_encoder.default."))
				values, err := safetensors.Float32s(tensor)
				if !ok || err != nil {
					t.Fatalf("%s: %v", p.Name, err)
				}
				compute.Upload(dev, p.Value, values)
			}
			var steps []StepDone
			err = r.Train(context.Background(), nil, func(e Event) {
				if s, ok := e.(StepDone); ok {
					steps = append(steps, s)
				}
			})
			if err = errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			compareSteps(t, steps, filepath.Join(dir, "losses.json"))
			if _, err := os.Stat(filepath.Join(dir, "final")); err == nil {
				compareFinal(t, c, dir)
			}
		})
	}
}
