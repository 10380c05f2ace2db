package cuda

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/cuda/cublaslt"
)

// fakeLt builds the cuBLASLt that multiplies on the host.
func fakeLt(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "libcublasLt.so.13")
	args := append([]string{"-shared", "-fPIC", "-O2", "-o", path, "cublaslt/testdata/fake.cpp"}, flags...)
	if out, err := exec.Command("g++", args...).CombinedOutput(); err != nil {
		t.Skipf("the fake cuBLASLt cannot be built: %v %s", err, out)
	}
	return path
}

// withFakeLt is the emulated device with a fake library, to which products of any size go.
func withFakeLt(t *testing.T, flags ...string) *Device {
	t.Helper()
	_, library := openEmulated(t)
	d, err := Open(Options{Driver: library, CublasLt: fakeLt(t, flags...)})
	if err != nil {
		t.Fatal(err)
	}
	least := ltLeast
	ltLeast = 1
	t.Cleanup(func() {
		ltLeast = least
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Layouts, leading dimensions, alignments, biases and extensions as cuBLASLt takes them, with joined sums and in two products.
func TestCublasLt(t *testing.T) {
	d := withFakeLt(t)
	for i, s := range []struct {
		n, in, out, rank, off int
		kind                  string
	}{{33, 64, 72, 8, 0, "nf4"}, {40, 96, 24, 5, 0, "bfloat16"}, {21, 50, 31, 3, 1, "float32"}, {20, 36, 40, 0, 0, "float32"}} {
		for _, operands := range []compute.DType{compute.BF16, compute.F16} {
			p := products{t, d, rand.New(rand.NewPCG(9, uint64(i)))}
			p.linear(s.n, s.in, s.out, s.rank, s.off, s.kind, operands)
			p.weightGradient(s.n, s.in, s.out, s.off, operands)
		}
	}
	if d.lt.library == nil || len(d.lt.plans) < 10 || !strings.Contains(d.Products(), "cuBLASLt 130000") {
		t.Errorf("products went by %s, with %d plans", d.Products(), len(d.lt.plans))
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// The trial of a library takes no memory beyond what the plan holds for the product that it stands before.
func TestCublasLtIsPlanned(t *testing.T) {
	d := withFakeLt(t)
	p := products{t, d, rand.New(rand.NewPCG(9, 8))}
	const n, in, out = 40, 96, 24
	w, _ := p.view(compute.F32, out*in, 0)
	x, _ := p.view(compute.F32, n*in, 0)
	y, _ := p.view(compute.F32, n*out, 0)
	a := compute.Linear{Y: y, X: x, N: n, W: compute.Weight{Out: out, In: in, Data: w}, Compute: compute.BF16}
	if err := d.Reserve(d.Info().Workspace.Workspace(a)); err != nil {
		t.Fatal(err)
	}
	d.ResetPeak()
	planned := d.Memory().Used
	for _, a.Compute = range []compute.DType{compute.BF16, compute.F16} {
		d.Linear(a)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if m := d.Memory(); d.lt.library == nil || m.Peak != planned {
		t.Errorf("%d bytes were held where %d are planned; products go by %s", m.Peak, planned, d.Products())
	}
}

// A library whose results are wrong is found out, and the kernels' own take over.
func TestCublasLtThatIsWrong(t *testing.T) {
	d := withFakeLt(t, "-DBROKEN")
	p := products{t, d, rand.New(rand.NewPCG(9, 9))}
	p.linear(40, 96, 24, 8, 0, "float32", compute.BF16)
	if d.lt.library != nil || !strings.Contains(d.Products(), "are not those of own kernels") {
		t.Errorf("products go by %s", d.Products())
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// A real library knows nothing of an emulated driver's memory: it is not looked for, unless it is named.
func TestCublasLtIsNotForTheEmulatedDriver(t *testing.T) {
	t.Setenv(cublaslt.EnvPath, "")
	if c := (Options{Driver: "libcuda-emulated.so"}).ltCandidates(); c != nil {
		t.Errorf("with an emulated driver %q are tried", c)
	}
	if c := (Options{}).ltCandidates(); len(c) < 3 {
		t.Errorf("without one only %q are tried", c)
	}
	if c := (Options{CublasLt: "off"}).ltCandidates(); c != nil {
		t.Errorf("off tries %q", c)
	}
}
