//go:build !unix

package safetensors

import (
	"io"
	"os"
)

// mapFile reads the whole file where there is no mmap.
func mapFile(f *os.File) ([]byte, error) { return io.ReadAll(f) }

func unmapFile([]byte) error { return nil }
