package trainer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model"
	"lathe/model/safetensors"
)

// everyMethod is each method in run.yaml's words, with dropout where it has one.
var everyMethod = []struct {
	name   string
	change func(*Config)
}{
	{"lora with biases", func(c *Config) { c.ModelNameOrPath, c.LoRA.Bias = tiedModel, "all" }},
	{"lora with modules", func(c *Config) { c.LoRA.ModulesToSave = StringList{"embed_tokens", "lm_head", "norm"} }},
	{"rslora of some blocks", func(c *Config) {
		c.LoRA.UseRSLoRA, c.LoRA.LayersToTransform, c.LoRA.RankPattern = true, IntList{1}, model.Pattern{{Module: "down_proj", Value: 2}}
	}},
	{"dora", func(c *Config) { c.LoRA.UseDoRA = true }},
	{"qdora", func(c *Config) { c.LoRA.UseDoRA, c.Method, c.LoadIn4bit = true, MethodQLoRA, true }},
	{"fp4", func(c *Config) { c.QuantType, c.Method, c.LoadIn4bit, c.DoubleQuant = "fp4", MethodQLoRA, true, false }},
	{"prefix", func(c *Config) { c.Method = MethodPrefix }},
	{"projected prefix", func(c *Config) {
		c.Method, c.Prefix.Projection, c.Prefix.EncoderHiddenSize, c.GradCheckpointing = MethodPrefix, true, 24, true
	}},
	{"houlsby", func(c *Config) { c.Method, c.Adapter.Dropout = MethodAdapter, 0.1 }},
	{"pfeiffer in 4 bits", func(c *Config) { c.Method, c.Adapter.Config, c.LoadIn4bit = MethodAdapter, "pfeiffer", true }},
}

const tiedModel = "../testdata/ref/llama-bias-tied"

// Twenty steps are ten, and ten more in another process, for every method: every file but the state's clock, byte for byte.
func TestMethodsResumeBitEqual(t *testing.T) {
	for _, test := range everyMethod {
		t.Run(test.name, func(t *testing.T) {
			c := tinyConfig(t)
			test.change(&c)
			c.ModelNameOrPath = absolute(t, c.ModelNameOrPath)
			straight, halves := c, c
			straight.OutputDir, halves.OutputDir = filepath.Join(t.TempDir(), "straight"), filepath.Join(t.TempDir(), "halves")
			train(t, straight, Options{})
			train(t, halves, Options{StopAfter: 10})
			process := startChild(t, childTask{Config: halves, Resume: halves.OutputDir})
			if _, stderr, err := process.wait(t); err != nil {
				t.Fatalf("%v: %s", err, stderr)
			}
			sameFolders(t, halves.OutputDir, straight.OutputDir)
			a, errA := ReadHistory(halves.OutputDir)
			b, errB := ReadHistory(straight.OutputDir)
			if err := errors.Join(errA, errB); err != nil || !reflect.DeepEqual(a.Steps, b.Steps) || len(a.Steps) != 20 {
				t.Errorf("the steps differ (%v):\n%v\n%v", err, a.Steps, b.Steps)
			}
		})
	}
}

// sameFolders compares all files of two final states but those that hold times and paths.
func sameFolders(t *testing.T, got, want string) {
	t.Helper()
	compared := 0
	err := filepath.WalkDir(want, func(path string, e fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(want, path)
		if err = errors.Join(err, relErr); err != nil || e.IsDir() {
			if e != nil && strings.HasPrefix(e.Name(), checkpointName) {
				return fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(name, ".safetensors") && name != model.AdapterConfigFile {
			return nil
		}
		compared++
		if string(readFile(t, got, name)) != string(readFile(t, want, name)) {
			t.Errorf("%s differs", name)
		}
		return nil
	})
	if err != nil || compared < 3 {
		t.Errorf("%d files were compared (%v)", compared, err)
	}
}

// Each method goes on from its own adapter, whose shape holds, and from no other's.
func TestMethodsGoOn(t *testing.T) {
	for _, test := range everyMethod {
		t.Run(test.name, func(t *testing.T) {
			c := tinyConfig(t)
			test.change(&c)
			c.ModelNameOrPath, c.MaxSteps, c.WarmupSteps = absolute(t, c.ModelNameOrPath), 2, 0
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
