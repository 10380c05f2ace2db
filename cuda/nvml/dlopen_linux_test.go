package nvml

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a child process does instead of the tests: open NVML as lathe does and say what it finds.
func TestMain(m *testing.M) {
	if os.Getenv("LATHE_NVML_CHILD") == "" {
		os.Exit(m.Run())
	}
	l, err := Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	r := l.Read()[0]
	fmt.Println(Describe(l.Driver(), []Reading{r}))
	fmt.Println(r.PCIBusID, r.Power, r.SlowdownTemperature, r.Throttle, len(r.Processes), r.Processes[1].Memory>>20)
}

// child runs this test binary as a process that finds the libraries of a folder.
func child(t *testing.T, folder string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "LATHE_NVML_CHILD=1", "LD_LIBRARY_PATH="+folder), env...)
	return cmd
}

// fake compiles the made-up libnvidia-ml.so.1.
func fake(t *testing.T, flags ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc to make the fake libnvidia-ml.so.1 with")
	}
	folder := t.TempDir()
	args := append(flags, "-shared", "-fPIC", "-o", filepath.Join(folder, "libnvidia-ml.so.1"), "testdata/fakenvml/fakenvml.c")
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return folder
}

// The library is opened as a driver's is, by name, and asked through go-nvml's bindings, and what an
// old one lacks is no end of the process.
func TestDlopen(t *testing.T) {
	for name, flags := range map[string][]string{"new": nil, "old": {"-DOLD"}} {
		t.Run(name, func(t *testing.T) {
			out, err := child(t, fake(t, flags...)).CombinedOutput()
			want := "NVML of driver 550.54.15; Emulated GPU with 8.0 GiB, 4.2 GiB in use\n00000000:01:00.0 188.4 96 [power cap] 2 907\n"
			if err != nil || string(out) != want {
				t.Errorf("%v\n%swant\n%s", err, out, want)
			}
		})
	}
}

func TestDlopenDenied(t *testing.T) {
	out, err := child(t, fake(t), "FAKE_NVML=denied").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "open NVML: no permission: ") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// A host without a driver gets one line; the process starts, for nothing links to NVML.
func TestDlopenMissing(t *testing.T) {
	out, err := child(t, t.TempDir()).CombinedOutput()
	if strings.HasPrefix(string(out), "NVML of driver") {
		t.Skip("this host has a driver")
	}
	if err != nil || !strings.HasPrefix(string(out), "open NVML: libnvidia-ml.so.1 is not here: ") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The fake that is to hang does: the tests of those who poll rely on it.
func TestDlopenHang(t *testing.T) {
	cmd := child(t, fake(t), "FAKE_NVML=hang")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		t.Errorf("the process ended: %v", err)
	case <-time.After(300 * time.Millisecond):
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-ended
	}
}

// Every function of NVML is forwarded: one that is not would be left to lazy binding, and a program linked with -z now would not
// start without a driver.
func TestForwarded(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skipf("%s has no forwarders", runtime.GOARCH)
	}
	f, err := elf.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if strings.HasPrefix(s.Name, "nvml") {
			t.Errorf("functions.h lacks %s", s.Name)
		}
	}
}
