package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/cuda"
	"lathe/cuda/driver"
)

// openDevice opens what --device names. It is the one place that knows which devices exist.
func openDevice(spec string) (compute.Device, error) {
	switch {
	case spec == "auto":
		return openBest()
	case spec == "cpu":
		return cpu.New(cpu.Options{})
	case spec == "cuda":
		return openGPU(0)
	}
	if number, ok := strings.CutPrefix(spec, "cuda:"); ok {
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			return openGPU(n)
		}
	}
	if strings.Contains(spec, ",") {
		return nil, usage("--device %s: several GPUs train together, and this command takes one; use cuda:N", spec)
	}
	return nil, usage("--device %s: unknown device; use auto, cpu, cuda or cuda:N", spec)
}

func openGPU(ordinal int) (compute.Device, error) {
	d, err := cuda.Open(cuda.Options{Ordinal: ordinal})
	if err != nil {
		return nil, fmt.Errorf("%w; --device cpu trains without a GPU", err)
	}
	return d, nil
}

// openBest opens the first GPU, and the CPU where there is none. A GPU that is there and cannot be used is said: nobody should
// train on the CPU for a night because a driver is too old.
func openBest() (compute.Device, error) {
	gpu, reason := cuda.Open(cuda.Options{})
	if reason == nil {
		return gpu, nil
	}
	d, err := cpu.New(cpu.Options{})
	if err != nil || missingGPU(reason) {
		return d, err
	}
	return noted{d, fmt.Sprintf("the GPU is not used, training on the CPU: %v", reason)}, nil
}

// missingGPU tells hosts without a GPU from those that have one which cannot be used.
func missingGPU(err error) bool {
	return errors.Is(err, driver.ErrNoDriver) || errors.Is(err, driver.ErrNoDevice) && !errors.Is(err, driver.ErrPermission) && !errors.Is(err, driver.ErrMIG)
}

// noted is a device with something to say about itself.
type noted struct {
	compute.Device
	note string
}

func (n noted) Info() compute.Info {
	info := n.Device.Info()
	info.Note = n.note
	return info
}
