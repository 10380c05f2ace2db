package cli

import (
	"fmt"
	"math"
	"os"

	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/cuda"
	"lathe/cuda/cublaslt"
	"lathe/cuda/driver"
	"lathe/cuda/nvml"
)

// checkup is one line of `lathe doctor`.
type checkup struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Text says what is there; Cost, where something is missing, what that costs.
	Text string `json:"text"`
	Cost string `json:"cost,omitempty"`
}

func doctorCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Device, kernels and terminal: what is there, what is missing and what that costs",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks := diagnose(e)
			failed := false
			for _, c := range checks {
				failed = failed || !c.OK && c.Cost == ""
			}
			if e.json {
				if err := writeJSON(e.stdout, struct {
					Version string    `json:"version"`
					Checks  []checkup `json:"checks"`
				}{version(), checks}); err != nil {
					return err
				}
			} else {
				printChecks(e, checks)
			}
			if failed {
				return errQuiet
			}
			return nil
		},
	}
}

func printChecks(e *env, checks []checkup) {
	rows := [][]string{{"lathe", version()}}
	for _, c := range checks {
		mark := "ok"
		if !c.OK {
			mark = "missing"
		}
		text := c.Text
		if c.Cost != "" {
			text += ": " + c.Cost
		}
		rows = append(rows, []string{c.Name, mark + ", " + text})
	}
	table(e.stdout, rows)
}

func diagnose(e *env) []checkup {
	checks := []checkup{}
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		checks = append(checks, checkup{Name: "cpu", Text: err.Error()})
	} else {
		defer dev.Close()
		info := dev.Info()
		checks = append(checks,
			checkup{Name: "cpu", OK: true, Text: fmt.Sprintf("%s, %d threads, kernels %s", info.Name, info.Threads, info.Tier)},
			checkup{Name: "memory", OK: true, Text: fmt.Sprintf("%s free of %s", bytesText(info.MemoryFree), bytesText(info.MemoryTotal))},
			selfTest(dev),
		)
	}
	checks = append(checks, gpuChecks()...)
	return append(checks, productsCheck(), gaugeCheck(), cacheCheck(), terminalCheck(e))
}

// gpuChecks are a line for the driver and one for each GPU that it has, with the self-test of the first.
func gpuChecks() []checkup {
	lib, err := driver.Open("")
	if err != nil {
		return []checkup{{Name: "cuda", Text: err.Error(), Cost: "training runs on the CPU"}}
	}
	devices, err := lib.Devices()
	if err != nil {
		return []checkup{{Name: "cuda", Text: err.Error(), Cost: "training runs on the CPU"}}
	}
	checks := []checkup{{Name: "cuda", OK: true, Text: fmt.Sprintf("driver for CUDA %d.%d (%s), GPUs: %d", lib.Version()/1000, lib.Version()%1000/10, lib.Path(), len(devices))}}
	for _, g := range devices {
		checks = append(checks, gpuCheck(g))
	}
	return checks
}

func gpuCheck(g driver.Info) checkup {
	c := checkup{Name: fmt.Sprintf("cuda:%d", g.Ordinal)}
	text := fmt.Sprintf("%s, sm_%d, %d multiprocessors, %s", g.Name, g.Capability(), g.SMs, bytesText(g.Memory))
	dev, err := cuda.Open(cuda.Options{Ordinal: g.Ordinal})
	if err != nil {
		c.Text, c.Cost = err.Error(), "this GPU cannot train"
		return c
	}
	defer dev.Close()
	if test := selfTest(dev); !test.OK {
		c.Text = text + "; " + test.Text
		return c
	}
	c.OK, c.Text = true, text+", kernels' self-test passed"
	return c
}

// productsCheck looks for cuBLASLt, which large products on a GPU take where it is installed.
func productsCheck() checkup {
	path, version, err := cublaslt.Find(cublaslt.Candidates(os.Getenv))
	if err != nil {
		return checkup{Name: "cublaslt", Text: err.Error(), Cost: "large products on a GPU run on lathe's own kernels"}
	}
	return checkup{Name: "cublaslt", OK: true, Text: fmt.Sprintf("%d.%d.%d (%s)", version/10000, version/100%100, version%100, path)}
}

// selfTest multiplies whole numbers, whose product has one right answer on every tier.
func selfTest(dev compute.Device) checkup {
	const n, in, out = 5, 128, 65
	c := checkup{Name: "kernels"}
	x, w := make([]float32, n*in), make([]float32, out*in)
	for i := range x {
		x[i] = float32(i%7 - 3)
	}
	for i := range w {
		w[i] = float32(i%5 - 2)
	}
	got, err := multiply(dev, x, w, n, in, out)
	if err != nil {
		c.Text = err.Error()
		return c
	}
	for i := range n {
		for j := range out {
			var want float64
			for k := range in {
				want += float64(x[i*in+k]) * float64(w[j*in+k])
			}
			if math.Abs(float64(got[i*out+j])-want) != 0 {
				c.Text = fmt.Sprintf("a product of whole numbers is %g, not %g: do not trust this device's %s kernels", got[i*out+j], want, dev.Info().Tier)
				return c
			}
		}
	}
	c.OK, c.Text = true, "self-test passed"
	return c
}

func multiply(dev compute.Device, x, w []float32, n, in, out int) ([]float32, error) {
	bx, err := compute.From(dev, x)
	if err != nil {
		return nil, err
	}
	defer bx.Free()
	bw, err := compute.From(dev, w)
	if err != nil {
		return nil, err
	}
	defer bw.Free()
	y, err := dev.Alloc(compute.F32, n*out)
	if err != nil {
		return nil, err
	}
	defer y.Free()
	dev.Linear(compute.Linear{Y: y, X: bx, N: n, W: compute.Weight{Out: out, In: in, Data: bw}})
	got := compute.Download[float32](dev, y)
	return got, dev.Sync()
}

// gaugeCheck tells what NVML says of the host's GPUs.
func gaugeCheck() checkup {
	text, err := nvml.Check()
	if err != nil {
		return checkup{Name: "gauges", Text: err.Error(), Cost: "the Memory pane shows no GPU's load, power and other processes"}
	}
	return checkup{Name: "gauges", OK: true, Text: text}
}

func terminalCheck(e *env) checkup {
	c := checkup{Name: "terminal", OK: true}
	if !isTerminal(e.stdout) {
		c.Text = "none here: commands print plain lines"
		return c
	}
	f, _ := e.stdout.w.(*os.File)
	c.Text = fmt.Sprintf("%s, %s", os.Getenv("TERM"), colorprofile.Detect(f, os.Environ()))
	return c
}
