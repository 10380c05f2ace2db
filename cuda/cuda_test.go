package cuda_test

import (
	"errors"
	"testing"

	"lathe/compute"
	"lathe/compute/computetest"
	"lathe/cuda"
	"lathe/cuda/emulator"
)

// open opens the emulated device, which runs the kernels' own sources.
func open(t *testing.T) compute.Device {
	t.Helper()
	library, err := emulator.Build()
	if errors.Is(err, emulator.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := cuda.Open(cuda.Options{Driver: library})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The suite that every device passes, on the emulated device. Tolerances are the CPU's: products of float32 operands are
// float32 products, and the emulated arithmetic is IEEE's.
func TestSuite(t *testing.T) { computetest.Run(t, open, computetest.Float32()) }
