package cli

import (
	"strings"

	"lathe/compute"
	"lathe/compute/cpu"
)

// openDevice opens what --device names. It is the one place that knows which devices exist.
func openDevice(spec string) (compute.Device, error) {
	switch {
	case spec == "auto" || spec == "cpu":
		return cpu.New(cpu.Options{})
	case spec == "cuda" || strings.HasPrefix(spec, "cuda:"):
		return nil, usage("--device %s: this version trains on the CPU alone; use --device cpu", spec)
	}
	return nil, usage("--device %s: unknown device; use auto, cpu, cuda or cuda:N", spec)
}
