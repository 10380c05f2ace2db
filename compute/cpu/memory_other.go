//go:build !linux

package cpu

// systemMemory does not know on this system: allocations fail when the system refuses them.
func systemMemory() (available, total int64) { return 0, 0 }

func cpuinfoName() string { return "" }
