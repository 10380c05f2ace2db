package cli

import (
	"math"
	"path/filepath"
	"testing"
)

// In bfloat16 a step's loss moves by the rounding of its operands, 2⁻⁹ each, averaged over a product: 1% bounds twenty steps of it
// on this model (a wrong operand moves it by 10% and more), and something has to move, else nothing was rounded.
func testBF16(t *testing.T, device string, steps int, methods map[string]config) {
	t.Helper()
	dir := t.TempDir()
	run := func(name string, changes config, args ...string) []object {
		c := tiny(t, dir, changes)
		c["output_dir"], c["max_steps"] = filepath.Join(dir, name), steps
		return events(train(t, dir, c.save(t, dir, name+".yaml"), args...), "step")
	}
	for method, changes := range methods {
		exact := config{}
		for k, v := range changes {
			exact[k] = v
		}
		exact["bf16"], exact["bnb_4bit_compute_dtype"] = false, "float32"
		want, got := run(method+"-exact", exact, "--device", "cpu"), run(method, changes, "--device", device)
		worst := 0.0
		for i := range want {
			worst = max(worst, math.Abs(got[i]["loss"].(float64)/want[i]["loss"].(float64)-1))
		}
		if !(worst <= 1e-2) || worst < 1e-6 {
			t.Errorf("%s: losses in bfloat16 are off by %.2g", method, worst)
		}
		t.Logf("%s: losses in bfloat16 are off by %.1e", method, worst)
	}
}

func TestBF16OnCUDA(t *testing.T) {
	emulated(t)
	testBF16(t, "cuda", 8, map[string]config{
		"lora":  {"bf16": true},
		"qlora": {"method": "qlora", "bnb_4bit_compute_dtype": "bfloat16"},
	})
}

func TestBF16OnCPU(t *testing.T) {
	testBF16(t, "cpu", 20, map[string]config{
		"lora":  {"bf16": true},
		"qlora": {"method": "qlora", "bf16": true},
		"full":  {"method": "full", "learning_rate": 1e-3, "bf16": true},
	})
}
