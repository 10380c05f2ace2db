package emulator

import (
	"os"
	"slices"
	"strings"
	"syscall"
)

// lock waits for another process that makes the same file.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// hasAVX2 tells whether x86-64-v3 runs here.
func hasAVX2() bool {
	data, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(data), "\nflags")
	line, _, _ := strings.Cut(after, "\n")
	flags := strings.Fields(line)
	for _, f := range []string{"avx2", "fma", "f16c", "bmi2", "movbe"} {
		if !slices.Contains(flags, f) {
			return false
		}
	}
	return true
}
