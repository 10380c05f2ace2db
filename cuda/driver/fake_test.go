package driver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// fakePath is the fake libcuda, built once for all tests.
var fakePath string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fakecuda")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fakePath = filepath.Join(dir, "libfakecuda.so")
	out, err := exec.Command("gcc", "-O1", "-shared", "-fPIC", "-pthread", "-o", fakePath, "testdata/fakecuda.c").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build the fake libcuda: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// fake sets the fake library's behaviour: fake(t, "fake_fail", "cuInit", 100).
func fake(t testing.TB, name string, args ...any) uintptr {
	t.Helper()
	lib, err := purego.Dlopen(fakePath, purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	fn, err := purego.Dlsym(lib, name)
	if err != nil {
		t.Fatal(err)
	}
	var a [2]uintptr
	var keep [2][]byte
	for i, v := range args {
		switch v := v.(type) {
		case int:
			a[i] = uintptr(v)
		case string:
			keep[i] = append([]byte(v), 0)
		}
	}
	var r uintptr
	if keep[0] != nil {
		r, _, _ = purego.SyscallN(fn, uintptr(unsafe.Pointer(&keep[0][0])), a[1])
	} else {
		r, _, _ = purego.SyscallN(fn, a[0], a[1])
	}
	return r
}

// openFake opens the fake library as it is after a reset, with the failures given as name, code, name, code.
func openFake(t testing.TB, fails ...any) *Driver {
	t.Helper()
	fake(t, "fake_reset")
	t.Cleanup(func() { fake(t, "fake_reset") })
	d, err := Open(fakePath)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fails); i += 2 {
		fake(t, "fake_fail", fails[i], fails[i+1])
	}
	return d
}

func fakeContext(t testing.TB) *Context {
	t.Helper()
	c, err := openFake(t).NewContext(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		fake(t, "fake_reset")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

var fakePTX = []byte(".version 8.4\n.target sm_80\n")

func fakeFunction(t testing.TB, c *Context, name string) Function {
	t.Helper()
	m, err := c.Load(fakePTX)
	if err != nil {
		t.Fatal(err)
	}
	f, err := m.Function(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
