package cli

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// doctor's line of gauges, with a made-up libnvidia-ml.so.1 in the place of a driver's and without one.
func TestDoctorGauges(t *testing.T) {
	for name, want := range map[string]string{
		"fake":   "ok, NVML of driver 550.54.15; Emulated GPU with 8.0 GiB, 4.2 GiB in use",
		"denied": "missing, open NVML: no permission",
	} {
		t.Run(name, func(t *testing.T) {
			cmd := process("doctor")
			cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+fakeNVML(t), "FAKE_NVML="+name)
			out, err := cmd.Output()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// fakeNVML is a folder with a libnvidia-ml.so.1 that knows one made-up GPU.
func fakeNVML(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc to make the fake libnvidia-ml.so.1 with")
	}
	folder := t.TempDir()
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", filepath.Join(folder, "libnvidia-ml.so.1"), "../../cuda/nvml/testdata/fakenvml/fakenvml.c").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return folder
}
