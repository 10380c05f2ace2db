package cli

import (
	"strings"
	"testing"

	"lathe/cuda/nvml"
)

// Without a driver --device cuda says what is missing and what works instead; auto takes the CPU without a word, and doctor
// gives each missing part a line: driver, library, gauges.
func TestNoGPU(t *testing.T) {
	t.Setenv("LATHE_CUDA_DRIVER", "/nowhere/libcuda.so.1")
	t.Setenv("LATHE_CUBLASLT", "/nowhere")
	model := "../../testdata/ref/llama-gqa"
	ids := write(t, t.TempDir(), "ids.jsonl", `{"ids":[1,5,9,12]}`+"\n")
	out := lathe(t, "score", "--device", "cuda", "--model", model, "--ids", ids)
	refusal(t, out, exitFailed, "cuda:0", "/nowhere/libcuda.so.1", "--device cpu")
	if out := lathe(t, "score", "--model", model, "--ids", ids); out.code != 0 || strings.Contains(out.stderr, "GPU") {
		t.Errorf("exit %d, said %q", out.code, out.stderr)
	}
	doctor := lathe(t, "doctor")
	missing := map[string]string{
		"cuda": "training runs on the CPU", "cublaslt": "lathe's own kernels", "gauges": "shows no GPU's load",
	}
	if _, err := nvml.Check(); err == nil { // a host with a GPU: its gauges are there whatever driver the kernels have
		delete(missing, "gauges")
	}
	for line := range strings.Lines(doctor.stdout) {
		name, _, _ := strings.Cut(line, " ")
		if cost, ok := missing[name]; ok && strings.Contains(line, "missing") && strings.Contains(line, cost) {
			delete(missing, name)
		}
	}
	if doctor.code != 0 || len(missing) > 0 {
		t.Errorf("exit %d, no line for %v:\n%s", doctor.code, missing, doctor.stdout)
	}
}
