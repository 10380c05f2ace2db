package cli

import "testing"

// The workbench on the emulated GPU with a made-up NVML beside it: a run is started, watched with the GPU's gauges, paused with its
// memory given back, resumed, stopped.
func TestWorkbenchOnCUDA(t *testing.T) {
	emulated(t)
	t.Setenv("LD_LIBRARY_PATH", fakeNVML(t))
	dir := t.TempDir()
	yaml := tiny(t, dir, config{"max_steps": 10000, "method": "qlora"}).save(t, dir, "run.yaml")
	x := startTerminal(t, 120, 40, "--device", "cuda", dir)
	eventually(t, "the workbench", func() bool { return x.says("Train") })
	x.press(":train " + yaml + "\r")
	eventually(t, "the first step", func() bool { return x.says("tok/s") })
	eventually(t, "the gauges", func() bool { return x.says("by NVML") && x.says("SM 1,920 MHz") })
	x.press(":release\r")
	eventually(t, "the release", func() bool { return x.says("of memory given back") })
	x.press(" ")
	eventually(t, "the run going on", func() bool { return x.says("resumed") })
	x.press(":stop\r")
	eventually(t, "the end of the run", func() bool { return x.says("stopped") })
	x.press("q")
	if code := x.exits(); code != exitDone {
		t.Errorf("exit %d", code)
	}
}
