package driver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// emptyHost is a machine without NVIDIA's files; with adds some, an empty environment and devices that open.
func emptyHost(t *testing.T, files ...string) host {
	t.Helper()
	root := t.TempDir()
	for _, f := range files {
		path := filepath.Join(root, f)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n"), 0o644))
	}
	return host{
		root:   root,
		lookup: func(string) (string, bool) { return "", false },
		open:   func(string) error { return nil },
	}
}

// withHost makes the machine that errors are explained by.
func withHost(t *testing.T, h host) {
	t.Helper()
	old := thisHost
	thisHost = h
	t.Cleanup(func() { thisHost = old })
}

// wantError checks an error's kind and that its one line has all the words.
func wantError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, want an *Error", err)
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("%v is no %q", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error is\n%s\nand does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %q", err)
	}
}

func TestNoDriver(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "libcuda.so.1")
	_, err := Open(missing)
	wantError(t, err, ErrNoDriver, "dlopen "+missing, "no such library", EnvPath)

	t.Setenv(EnvPath, missing)
	_, err = Open("")
	wantError(t, err, ErrNoDriver, missing)

	broken := filepath.Join(t.TempDir(), "libcuda.so.1")
	check(t, os.WriteFile(broken, []byte("no library"), 0o644))
	_, err = Open(broken)
	wantError(t, err, ErrNoDriver, "no usable libcuda", "reinstall")

	old := systemPaths
	t.Cleanup(func() { systemPaths = old })
	t.Setenv(EnvPath, "")
	systemPaths = []string{"liblathe-no-such-driver.so.1"}
	_, err = Open("")
	wantError(t, err, ErrNoDriver, "no NVIDIA driver is installed here", "install driver 550", "--gpus all")
}

// What dlopen says of a failure is the thread's own, and a goroutine can wake up on another one: with many of them at work the reason was
// empty now and then.
func TestNoDriverSaysWhyOnABusyMachine(t *testing.T) {
	var working sync.WaitGroup
	for range 16 {
		working.Go(func() {
			for range 500 {
				_, err := openPure("liblathe-no-such-driver.so.1")
				if err == nil || !strings.Contains(err.Error(), "cannot open shared object file") {
					t.Errorf("the error is %v", err)
					return
				}
				runtime.Gosched()
			}
		})
	}
	working.Wait()
}

func TestNotACUDALibrary(t *testing.T) {
	_, err := Open("libm.so.6")
	wantError(t, err, ErrNoDriver, "lacks cuInit", "no usable libcuda")
}

func TestEnvironmentNamesTheLibrary(t *testing.T) {
	fake(t, "fake_reset")
	t.Setenv(EnvPath, fakePath)
	d, err := Open("")
	check(t, err)
	if d.Path() != fakePath {
		t.Errorf("opened %s, want %s", d.Path(), fakePath)
	}
}

func TestTooOld(t *testing.T) {
	openFake(t)
	fake(t, "fake_version", 11080)
	_, err := Open(fakePath)
	wantError(t, err, ErrTooOld, "CUDA 11.8", "need 12.4", "driver 550 or later")
	fake(t, "fake_version", 13000)
	d, err := Open(fakePath)
	if err != nil || d.Version() != 13000 {
		t.Errorf("version 13.0: %v", err)
	}
}

// TestWhyNoDevice gives one CUDA_ERROR_NO_DEVICE on different machines.
func TestWhyNoDevice(t *testing.T) {
	const module, gpu = "proc/driver/nvidia/version", "dev/nvidia0"
	visible := func(v string) func(string) (string, bool) {
		return func(name string) (string, bool) { return v, name == "CUDA_VISIBLE_DEVICES" }
	}
	denied := func(string) error { return &fs.PathError{Op: "open", Path: gpu, Err: fs.ErrPermission} }
	for name, c := range map[string]struct {
		files  []string
		lookup func(string) (string, bool)
		open   func(string) error
		kind   error
		words  []string
	}{
		"no module":    {nil, nil, nil, ErrNoDevice, []string{"kernel module is not loaded", "modprobe nvidia"}},
		"no device":    {[]string{module}, nil, nil, ErrNoDevice, []string{"no /dev/nvidia0", "--gpus all"}},
		"hidden":       {[]string{module, gpu}, visible(""), nil, ErrHidden, []string{`CUDA_VISIBLE_DEVICES="" hides every GPU`}},
		"hidden by -1": {[]string{module, gpu}, visible("-1"), nil, ErrHidden, []string{`CUDA_VISIBLE_DEVICES="-1" hides every GPU`}},
		"wrong name":   {[]string{module, gpu}, visible("7"), nil, ErrHidden, []string{`CUDA_VISIBLE_DEVICES="7" names no GPU`}},
		"permission":   {[]string{module, gpu}, nil, denied, ErrPermission, []string{"no permission on", "nvidia0", "group"}},
		"mig": {
			[]string{module, gpu, "proc/driver/nvidia/capabilities/gpu0/mig/monitor"},
			nil, nil,
			ErrMIG,
			[]string{"MIG", "nvidia-smi mig -lgi"},
		},
		"mig with an instance": {
			[]string{module, gpu, "proc/driver/nvidia/capabilities/gpu0/mig/gi1/access"},
			nil, nil,
			ErrNoDevice,
			[]string{"finds no GPU"},
		},
		"wsl": {[]string{"dev/dxg"}, nil, nil, ErrNoDevice, []string{"finds no GPU: nvidia-smi"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := emptyHost(t, c.files...)
			if c.lookup != nil {
				h.lookup = c.lookup
			}
			if c.open != nil {
				h.open = c.open
			}
			withHost(t, h)
			openFake(t, "cuInit", 100)
			_, err := Open(fakePath)
			wantError(t, err, c.kind, append(c.words, "cuInit: CUDA_ERROR_NO_DEVICE: ")...)
			if !errors.Is(err, ErrNoDevice) {
				t.Errorf("%v is no ErrNoDevice", err)
			}
			d := openFake(t)
			fake(t, "fake_devices", 0)
			_, err = d.Devices()
			wantError(t, err, c.kind, append(c.words, "cuDeviceGetCount")...)
		})
	}
}

// TestInit is what cuInit can answer beside it.
func TestInit(t *testing.T) {
	withHost(t, emptyHost(t, "proc/driver/nvidia/version", "dev/nvidia0"))
	for _, c := range []struct {
		code  int
		kind  error
		words []string
	}{
		{34, ErrMismatch, []string{"CUDA_ERROR_STUB_LIBRARY", "stub for linking", "LD_LIBRARY_PATH", "container"}},
		{802, ErrNotReady, []string{"CUDA_ERROR_SYSTEM_NOT_READY", "nvidia-fabricmanager"}},
		{803, ErrMismatch, []string{"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "kernel module is 550.54.15", "reboot"}},
		{804, ErrMismatch, []string{"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "cuda-compat"}},
		{999, ErrNotReady, []string{"CUDA_ERROR_UNKNOWN", "nvidia_uvm"}},
		{4242, nil, []string{"cuInit: CUDA_ERROR_OF_TOMORROW: an unexpected answer", "report it"}},
		{4243, nil, []string{"cuInit: CUresult 4243: an unexpected answer"}},
	} {
		openFake(t, "cuInit", c.code)
		_, err := Open(fakePath)
		wantError(t, err, c.kind, c.words...)
	}
}

func TestBusy(t *testing.T) {
	d := openFake(t, "cuDevicePrimaryCtxRetain", 46)
	_, err := d.NewContext(0)
	wantError(t, err, ErrBusy, "cuDevicePrimaryCtxRetain device 0 (Fake GPU): CUDA_ERROR_DEVICE_UNAVAILABLE", "exclusively", "nvidia-smi -c DEFAULT")
	_, err = openFake(t).NewContext(3)
	wantError(t, err, ErrNoDevice, "cuDeviceGet device 3: CUDA_ERROR_INVALID_DEVICE", "nvidia-smi -L")
}

func TestOutOfMemory(t *testing.T) {
	c := fakeContext(t)
	_, err := c.Alloc(20 << 30)
	wantError(t, err, ErrOutOfMemory, "cuMemAlloc of 20.0 GiB with 1024.0 MiB of 1024.0 MiB free", "CUDA_ERROR_OUT_OF_MEMORY", "smaller batch")
	_, err = c.Alloc(0)
	wantError(t, err, ErrInvalid, "of 0 bytes")
}

func TestLost(t *testing.T) {
	c := fakeContext(t)
	f := fakeFunction(t, c, "none")
	fake(t, "fake_fail", "cuStreamSynchronize", 700)
	fake(t, "fake_fail", "cuLaunchKernel", 700)
	wantError(t, c.Sync(0), ErrLost, "cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS", "restart", "last checkpoint", "CUDA_LAUNCH_BLOCKING=1")
	wantError(t, c.Launch(f, Launch{Grid: [3]int{5}, Block: [3]int{64}}), ErrLost,
		"cuLaunchKernel none with grid [5 1 1], block [64 1 1], 0 bytes shared (after cuStreamSynchronize)")
	for code, words := range map[int]string{
		214: "CUDA_ERROR_ECC_UNCORRECTABLE: the GPU's memory has an uncorrectable error",
		719: "CUDA_ERROR_LAUNCH_FAILED: a kernel failed",
		716: "CUDA_ERROR_MISALIGNED_ADDRESS",
	} {
		fake(t, "fake_fail", "cuCtxSynchronize", code)
		wantError(t, c.SyncAll(), ErrLost, words, "checkpoint")
	}
	fake(t, "fake_fail", "cuCtxSynchronize", 214)
	wantError(t, c.SyncAll(), ErrECC)
}

func TestJITErrors(t *testing.T) {
	c := fakeContext(t)
	log := "ptxas application ptx input, line 9; fatal   : Unsupported .version 9.9; current version is '8.4'\nptxas fatal : aborted\n"
	fake(t, "fake_log", log)
	for code, words := range map[int]string{
		209: "compute capability 8.0 (Ampere) or later",
		218: "the driver's compiler refuses the kernels",
		221: "libnvidia-ptxjitcompiler.so.1 is missing",
		222: "older than the kernels' PTX",
		223: "unset CUDA_DISABLE_PTX_JIT",
	} {
		fake(t, "fake_fail", "cuModuleLoadDataEx", code)
		_, err := c.Load(fakePTX)
		wantError(t, err, ErrJIT, words, "for compute capability 9.0 (Fake GPU)", "(ptxas application ptx input, line 9; fatal : Unsupported .version 9.9")
		if e := (*Error)(nil); errors.As(err, &e) && e.Log != log {
			t.Errorf("the log is %q", e.Log)
		}
	}
	fake(t, "fake_fail", "cuModuleLoadDataEx", 0)
	m, err := c.Load(fakePTX)
	check(t, err)
	_, err = m.Function("no_such_kernel")
	wantError(t, err, ErrInvalid, "cuModuleGetFunction no_such_kernel: CUDA_ERROR_NOT_FOUND", "different versions")
	check(t, m.Unload())
}

func TestLaunchErrors(t *testing.T) {
	c := fakeContext(t)
	wantError(t, c.Launch(Function{}, Launch{}), ErrInvalid, "cuLaunchKernel")
	f := fakeFunction(t, c, "none")
	wantError(t, c.Launch(f, Launch{Block: [3]int{2048}}), ErrInvalid, "none with grid [1 1 1], block [2048 1 1]", "CUDA_ERROR_INVALID_VALUE")
	wantError(t, c.BeginCapture(0), ErrInvalid, "cuStreamBeginCapture: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "default stream")
	fake(t, "fake_fail", "cuCtxSetCurrent", 201)
	wantError(t, c.Launch(f, Launch{}), ErrInvalid, "cuCtxSetCurrent none with")
}

// TestEveryResultHasALine holds the tables: a hint for every result, on one line, without a name that String lacks.
func TestEveryResultHasALine(t *testing.T) {
	for r := range hints {
		if !r.known() {
			t.Errorf("there is a hint for %d, which cuda.h does not have", r)
		}
	}
	for r := range resultNames {
		if h := Hint(r); (h == "") != (r == Success) || strings.Contains(h, "\n") {
			t.Errorf("%v: the hint is %q", r, h)
		}
	}
}
