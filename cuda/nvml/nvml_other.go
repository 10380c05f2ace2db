//go:build !linux

package nvml

import "errors"

// Library is NVML, which lathe reads on Linux only.
type Library struct{}

// Open says that there is none.
func Open() (*Library, error) { return nil, errors.New("open NVML: GPU gauges are read on Linux only") }

// Close does nothing.
func (*Library) Close() error { return nil }

// Driver is empty.
func (*Library) Driver() string { return "" }

// Read has nothing to read.
func (*Library) Read() []Reading { return nil }
