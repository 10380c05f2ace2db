package cpu

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// systemMemory says how many bytes this process can still have and how many the machine has, or its control group where
// that is less; zeros where the system does not say.
func systemMemory() (available, total int64) {
	for _, line := range fileLines("/proc/meminfo") {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "MemTotal":
			total = kib << 10
		case "MemAvailable":
			available = kib << 10
		}
	}
	if limit, used, ok := groupMemory("/proc/self/cgroup", "/sys/fs/cgroup"); ok && limit < total {
		total = limit
		available = min(available, max(0, limit-used))
	}
	return available, total
}

// groupMemory is the tightest limit of the control groups (version 2, else version 1) that hold this process, and what
// that group uses, without the files that it could drop. The groups are listed in a file and lie under a folder.
func groupMemory(list, folder string) (limit, used int64, ok bool) {
	for _, line := range fileLines(list) {
		parts := strings.SplitN(line, ":", 3) // number:controllers:path, with number 0 and no controllers for version 2
		if len(parts) != 3 || parts[1] != "" && !slices.Contains(strings.Split(parts[1], ","), "memory") {
			continue
		}
		root, names := folder, [3]string{"memory.max", "memory.current", "inactive_file"}
		if parts[1] != "" {
			root = filepath.Join(folder, "memory")
			names = [3]string{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
		}
		for dir := filepath.Join(root, parts[2]); len(dir) >= len(root); dir = filepath.Dir(dir) {
			l, err := readInt(filepath.Join(dir, names[0]))
			if err != nil || ok && l >= limit {
				continue // "max", or no limit here
			}
			u, _ := readInt(filepath.Join(dir, names[1]))
			limit, used, ok = l, u-droppable(filepath.Join(dir, "memory.stat"), names[2]), true
		}
	}
	return limit, used, ok
}

func droppable(stat, name string) int64 {
	for _, line := range fileLines(stat) {
		if key, value, _ := strings.Cut(line, " "); key == name {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

func readInt(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

func fileLines(path string) []string {
	b, _ := os.ReadFile(path)
	return strings.Split(string(b), "\n")
}

// cpuinfoName is the processor's own name.
func cpuinfoName() string {
	for _, line := range fileLines("/proc/cpuinfo") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
