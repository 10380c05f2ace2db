package cli

import (
	"strings"
	"testing"
)

// Without a driver --device cuda says what is missing and what works instead; auto takes the CPU without a word, and doctor
// gives each missing part a line.
func TestNoGPU(t *testing.T) {
	t.Setenv("LATHE_CUDA_DRIVER", "/nowhere/libcuda.so.1")
	model := "../../testdata/ref/llama-gqa"
	ids := write(t, t.TempDir(), "ids.jsonl", `{"ids":[1,5,9,12]}`+"\n")
	out := lathe(t, "score", "--device", "cuda", "--model", model, "--ids", ids)
	refusal(t, out, exitFailed, "cuda:0", "/nowhere/libcuda.so.1", "--device cpu")
	if out := lathe(t, "score", "--model", model, "--ids", ids); out.code != 0 || strings.Contains(out.stderr, "GPU") {
		t.Errorf("exit %d, said %q", out.code, out.stderr)
	}
	doctor := lathe(t, "doctor")
	for line := range strings.Lines(doctor.stdout) {
		if strings.HasPrefix(line, "cuda") && !(strings.Contains(line, "missing") && strings.Contains(line, "training runs on the CPU")) {
			t.Errorf("doctor says %q", line)
		}
	}
	if doctor.code != 0 || !strings.Contains(doctor.stdout, "\ncuda ") {
		t.Errorf("exit %d, said\n%s", doctor.code, doctor.stdout)
	}
}
