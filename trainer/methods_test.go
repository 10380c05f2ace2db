package trainer

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
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
