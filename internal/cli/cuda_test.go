package cli

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lathe/cuda/emulator"
	"lathe/internal/reftest"
)

// emulated lets --device cuda find the emulated GPU, and returns its library.
func emulated(t *testing.T) string {
	t.Helper()
	library := emulator.Need(t)
	t.Setenv("LATHE_CUDA_DRIVER", library)
	return library
}

// cudaRuns are the reference runs that train on the emulated GPU too: every method, and families whose operations differ.
var cudaRuns = []string{
	"llama-gqa/train-full", "llama-gqa/train-lora", "llama-gqa/train-qlora-fp4-single", "llama-gqa/train-qdora",
	"llama-gqa/train-lora-adamw8", "llama-gqa/train-prefix", "llama-gqa/train-houlsby", "gemma2/train-qlora", "gpt-neox/train-lora-bias-all",
	"falcon-rw/train-lora", "phi3/train-lora",
}

// Steps on the emulated GPU, in float32, have the losses and norms of transformers, PEFT and bitsandbytes, within the same tolerance as
// on the CPU: all twenty of the last run, and of the others the first eight, in which the rate rises and begins to fall.
func TestTrainOnCUDA(t *testing.T) {
	emulated(t)
	for _, name := range cudaRuns {
		t.Run(name, func(t *testing.T) {
			folder := refDir(t, name)
			steps := trainReference(t, folder, nil, "--device", "cuda", "--stop-after", "8")
			compareLosses(t, steps, 8, reftest.ReadLosses(t, folder))
		})
	}
	// Double quantisation differs between bitsandbytes' own devices (its CUDA kernel takes the nearest 8-bit scale, its CPU library one
	// from a table), so that this run reads the bytes that the CPU library wrote.
	t.Run("llama-gqa-nf4/train-qlora", func(t *testing.T) {
		folder := refDir(t, "llama-gqa", "train-qlora")
		steps := trainReference(t, folder, config{"model_name_or_path": refDir(t, "llama-gqa-nf4")}, "--device", "cuda")
		compareLosses(t, steps, 20, reftest.ReadLosses(t, folder))
	})
}

// The same in bfloat16, against PyTorch's under autocast; a 4-bit base's compute dtype alone asks for it. Losses move from float32's, whose
// noise is 2e-7 here, else nothing was rounded.
func TestTrainOnCUDAInBF16(t *testing.T) {
	emulated(t)
	for name, changes := range map[string]config{
		"llama-gqa/train-full": {"bf16": true}, "llama-gqa/train-lora": {"bf16": true}, "gemma2/train-lora": {"bf16": true},
		"falcon-rw/train-lora": {"bf16": true}, "llama-gqa/train-qlora-fp4-single": {"bnb_4bit_compute_dtype": "bfloat16"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := refDir(t, name)
			steps := trainReference(t, folder, changes, "--device", "cuda", "--stop-after", "8")
			compareLosses(t, steps, 8, reftest.ReadRounded(t, folder))
			moved := 0.0
			for i, want := range reftest.ReadLosses(t, folder).Steps[:8] {
				moved = max(moved, reftest.Relative(steps[i]["loss"].(float64), want.Loss))
			}
			if moved < 1e-5 {
				t.Errorf("losses are off from float32's by %.1e: nothing was rounded", moved)
			}
		})
	}
}

// Four steps, and four more of another device that takes threads and blocks in another order, end with the bits of eight.
func TestResumeOnCUDA(t *testing.T) {
	library := emulated(t)
	shuffle := func(seed string) {
		if err := emulator.Set(library, "LATHE_EMU_SHUFFLE", seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { shuffle("") })
	for method, changes := range map[string]config{
		"lora":  {"bf16": true},
		"qlora": {"bnb_4bit_compute_dtype": "bfloat16", "optim": "adamw_8bit"},
		"full":  {"learning_rate": 1e-3},
	} {
		t.Run(method, func(t *testing.T) {
			dir := t.TempDir()
			c := tiny(t, dir, changes)
			c["method"], c["max_steps"], c["shuffle"] = method, 8, true
			shuffle("")
			straight := train(t, dir, c.save(t, dir, "straight.yaml"), "--device", "cuda")
			c["output_dir"] = filepath.Join(dir, "halves")
			yaml := c.save(t, dir, "halves.yaml")
			first := train(t, dir, yaml, "--stop-after", "4", "--device", "cuda")
			shuffle("7")
			second := train(t, dir, yaml, "--resume", c["output_dir"].(string), "--device", "cuda")
			halves := append(measured(first), measured(second)...)
			if want := measured(straight); len(want) != 8 || !reflect.DeepEqual(halves, want) {
				t.Errorf("straight:\n%s\nin halves:\n%s", strings.Join(want, "\n"), strings.Join(halves, "\n"))
			}
			sameState(t, method, filepath.Join(dir, "out"), filepath.Join(dir, "halves"))
		})
	}
}

// What transformers scores and generates greedily, the emulated GPU does: whole, in 4 bits, and with an adapter.
func TestScoreAndGenerateOnCUDA(t *testing.T) {
	emulated(t)
	const name = "llama-gqa"
	f := readForward(t, name)
	out := ok(t, "score", "--model", refDir(t, name), "--ids", f.idsFile(t), "--json", "--device", "cuda")
	compareScores(t, out, f, nextTokens(t, name, f))
	out = ok(t, "score", "--model", refDir(t, "llama-gqa-nf4"), "--ids", f.idsFile(t), "--adapter", refDir(t, name, "adapters", "lora-random"), "--device", "cuda")
	var want []float64
	for _, x := range floats(t, openSet(t, refDir(t, name, "dump", "scores.safetensors")), "nf4_double+lora") {
		want = append(want, float64(x))
	}
	compareScores(t, out, f, want)
	ids := strings.Trim(strings.ReplaceAll(fmt.Sprint(f.PromptIDs), " ", ","), "[]")
	out = ok(t, "generate", "--model", refDir(t, name), "--prompt-ids", ids, "--max-new-tokens", fmt.Sprint(len(f.Generated)), "--ignore-eos", "--json", "--device", "cuda")
	if got := decodeLines[generateResult](t, out.stdout); len(got) != 1 || !reflect.DeepEqual(got[0].IDs, f.Generated) {
		t.Errorf("got  %+v\nwant %v", got, f.Generated)
	}
}

// doctor shows the device and its self-test.
func TestDoctorOnCUDA(t *testing.T) {
	emulated(t)
	out := ok(t, "doctor")
	for _, want := range []string{"cuda      ok", "cuda:0    ok", "sm_80", "self-test passed"} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out.stdout)
		}
	}
}
