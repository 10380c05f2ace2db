package model

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lathe/internal/alloctest"
	"lathe/internal/sparsemodel"
)

const loadChild = "LATHE_LOAD_CHILD"

// TestLoadChild is no test of its own: the process that TestLoadingStreams starts loads a model and prints what it took.
func TestLoadChild(t *testing.T) {
	dir := os.Getenv(loadChild)
	if dir == "" {
		t.Skip("not run: it is the child of TestLoadingStreams")
	}
	dev := openDevice(t)
	f := openFiles(t, dir)
	o := LoadOptions{Quant4: true, DoubleQuant: true, KeepDType: true}
	plan, err := PlanMemory(f.Config, PlanOptions{Load: o, Files: f, MaxTokens: 1, MaxSeqs: 1, MaxLen: 1, Workspace: dev.Info().Workspace})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m, err := Load(dev, f, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	fmt.Printf("loaded %d held %d planned %d peak %d seconds %.3f highwater %d\n", f.Bytes(), plan.Base, plan.Loading, dev.Memory().Peak,
		time.Since(start).Seconds(), highWater(t))
}

// highWater is the most memory that this process has held at once, in bytes: VmHWM.
func highWater(t *testing.T) int64 {
	t.Helper()
	status, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skipf("not run: this system does not say how much memory a process held: %v", err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("/proc/self/status has no VmHWM")
	return 0
}

// A model is never in memory as it is stored: what the whole process holds while it loads 16-bit weights into 4 bits is the 4-bit
// model and a bounded rest. The bound of the real shapes, 1 GB, is tighter for the small one, whose tensors are smaller.
func TestLoadingStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("not run: it quantises half a billion weights, and -short is set")
	}
	if alloctest.Instrumented {
		t.Skip("not run: under the race detector a process holds shadows of its memory too")
	}
	for _, c := range []struct {
		name  string
		shape sparsemodel.Llama
		extra int64 // beyond the model as it is held
		env   string
	}{
		{"500M", sparsemodel.Llama500M, 60e6, ""},
		{"7B", sparsemodel.Llama7B, 1e9, "LATHE_TEST_7B"},
		{"13B", sparsemodel.Llama13B, 1e9, "LATHE_TEST_13B"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" && os.Getenv(c.env) == "" {
				t.Skipf("not run: %s takes a minute and gigabytes of memory; %s=1 runs it", c.name, c.env)
			}
			dir := t.TempDir()
			if err := c.shape.Write(dir); err != nil {
				t.Fatal(err)
			}
			child := exec.Command(os.Args[0], "-test.run=^TestLoadChild$")
			child.Env = append(os.Environ(), loadChild+"="+dir)
			out, err := child.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var stored, held, planned, peak, high int64
			var seconds float64
			line, _, _ := strings.Cut(string(out), "\n")
			if _, err := fmt.Sscanf(line, "loaded %d held %d planned %d peak %d seconds %f highwater %d", &stored, &held, &planned, &peak, &seconds, &high); err != nil {
				t.Fatalf("the child said %q: %v", line, err)
			}
			t.Logf("%.2f GB stored, %.2f GB held: planned peak %.3f GB, the device's %.3f GB, the process's %.3f GB; %.1f s, %.2f GB/s",
				float64(stored)/1e9, float64(held)/1e9, float64(planned)/1e9, float64(peak)/1e9, float64(high)/1e9, seconds, float64(stored)/1e9/seconds)
			if planned != peak {
				t.Errorf("planned %d bytes while loading, the device held %d", planned, peak)
			}
			nf4 := c.shape.Linear()/2 + c.shape.Linear()/64 + 2*c.shape.Other() // codes, 8-bit scales, 16-bit rest
			if high > nf4+c.extra {
				t.Errorf("the process held %d bytes: %d more than the model in 4 bits, allowed are %d", high, high-nf4, c.extra)
			}
		})
	}
}
