package cuda_test

import (
	"testing"

	"lathe/compute"
	"lathe/compute/computetest"
	"lathe/cuda"
	"lathe/cuda/emulator"
)

// library is the emulated driver, which runs the kernels' own sources.
func library(t *testing.T) string {
	t.Helper()
	return emulator.Need(t)
}

// setting changes the emulated device for one test.
func setting(t *testing.T, name, value string) {
	t.Helper()
	if err := emulator.Set(library(t), name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = emulator.Set(library(t), name, "") })
}

// open opens the emulated device.
func open(t *testing.T) compute.Device {
	t.Helper()
	d, err := cuda.Open(cuda.Options{Driver: library(t)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The suite that every device passes, on the emulated device. Tolerances are the CPU's: products of float32 operands are
// float32 products, and the emulated arithmetic is IEEE's.
func TestSuite(t *testing.T) { computetest.Run(t, open, computetest.Float32()) }
