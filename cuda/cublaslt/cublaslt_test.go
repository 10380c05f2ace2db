package cublaslt

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func TestHeuristicResultHasTheLibrarysSize(t *testing.T) {
	if size := unsafe.Sizeof(heuristicResult{}); size != 96 {
		t.Errorf("a result is %d bytes, cublasLt.h has 96", size)
	}
}

func touch(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCandidates(t *testing.T) {
	dir := t.TempDir()
	wheel := touch(t, filepath.Join(dir, "env/lib/python3.12/site-packages/nvidia/cublas/lib/libcublasLt.so.12"))
	newer := touch(t, filepath.Join(dir, "env/lib/python3.12/site-packages/nvidia/cu13/lib/libcublasLt.so.13"))
	toolkit := touch(t, filepath.Join(dir, "cuda/lib64/libcublasLt.so.11"))
	for _, c := range []struct {
		name      string
		env       map[string]string
		want, not []string
	}{
		{"the loader's names first", nil, []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"}, []string{wheel}},
		{"a virtual environment", map[string]string{"VIRTUAL_ENV": filepath.Join(dir, "env")}, []string{"libcublasLt.so.13", newer, wheel}, nil},
		{"a toolkit", map[string]string{"CUDA_HOME": filepath.Join(dir, "cuda")}, []string{"libcublasLt.so.11", toolkit}, nil},
		{"a library that is named", map[string]string{EnvPath: wheel}, []string{wheel}, []string{"libcublasLt.so.13"}},
		{"a folder that is named", map[string]string{EnvPath: filepath.Join(dir, "env/lib/python3.12/site-packages")}, []string{newer, wheel}, []string{"libcublasLt.so.13"}},
		{"off", map[string]string{EnvPath: "off"}, nil, []string{"libcublasLt.so.13"}},
	} {
		got := Candidates(func(name string) string { return c.env[name] })
		at := -1
		for _, w := range c.want {
			i := slices.Index(got, w)
			if i <= at {
				t.Errorf("%s: %q is at %d of %q, want it behind place %d", c.name, w, i, got, at)
			}
			at = i
		}
		for _, n := range c.not {
			if slices.Contains(got, n) {
				t.Errorf("%s: %q is among %q", c.name, n, got)
			}
		}
	}
}

func TestOpenSaysWhyThereIsNone(t *testing.T) {
	broken := touch(t, filepath.Join(t.TempDir(), "libcublasLt.so.13"))
	_, err := Open([]string{broken})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), broken) {
		t.Errorf("an empty file gives %v", err)
	}
	if _, err := Open(nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("no candidates give %v", err)
	}
}

// The installed library, without a GPU: it has every call, its descriptors take the attributes that plans set, and what needs a GPU fails
// in words.
func TestInstalledLibrary(t *testing.T) {
	var l *Library
	for _, path := range Candidates(os.Getenv) {
		if found, err := load(path); err == nil {
			l = found
			break
		}
	}
	if l == nil {
		t.Skip("no libcublasLt is installed here: pip install nvidia-cublas and " + EnvPath + "=…/site-packages let this test run")
	}
	t.Logf("%s, version %d", l.Path(), l.Version())
	if l.Version() < 11000 {
		t.Errorf("version %d", l.Version())
	}
	if err := l.start(); err == nil {
		t.Cleanup(func() { _ = l.Close() })
	} else if !strings.Contains(err.Error(), "cublasLtCreate answers CUBLAS_STATUS_") {
		t.Errorf("no handle: %v", err)
	}
	for _, p := range []Product{
		{M: 64, N: 128, K: 96, BAlong: true, LdA: 96, LdB: 96, LdC: 128, Type: BF16, Bias: true, AlignC: 256},
		{M: 64, N: 128, K: 96, LdA: 96, LdB: 128, LdC: 128, Type: F16, AlignC: 4},
		{M: 64, N: 128, K: 96, AAcross: true, LdA: 64, LdB: 128, LdC: 128, Type: BF16, AlignC: 16},
	} {
		plan, err := l.Plan(p)
		switch {
		case l.handle != 0 && err == nil:
			plan.Close()
		case err == nil:
			t.Errorf("a plan without a handle for %+v", p)
		case !strings.Contains(err.Error(), "cublasLtMatmulAlgoGetHeuristic"):
			t.Errorf("the descriptors of %+v: %v", p, err)
		}
	}
}
