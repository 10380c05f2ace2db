// Package nvml reads a GPU's own gauges through NVIDIA's management library: memory, processes, utilisation, power, temperature,
// clocks and what holds them down, of every GPU and every MIG slice of the host. NVML comes with the driver and is opened at run
// time; a host without it, or one that refuses, gives one line that says so.
//
// Calls take from microseconds to a few milliseconds on a healthy host, and may hang on a sick one (a GPU that has fallen off the
// bus): whoever polls does so on a goroutine of its own and never waits for it.
package nvml

import (
	"slices"
	"strconv"
	"strings"
)

// Unknown is a number that the device does not tell.
const Unknown = -1

// Reading is what NVML says of one GPU, or of one MIG slice of it, at one moment.
type Reading struct {
	// Index counts in PCI order, as nvidia-smi does; CUDA counts otherwise (CUDA_VISIBLE_DEVICES, fastest first), so that a device
	// of CUDA's is found with [Find].
	Index int
	// UUID is "GPU-…" or "MIG-…", PCIBusID as "00000000:65:00.0"; a slice has the bus id of its GPU.
	UUID, PCIBusID, Name string
	// MemoryTotal and MemoryUsed are in bytes. Used is of all processes and of the driver itself.
	MemoryTotal, MemoryUsed int64
	// Utilization is the percentage of the last sample period in which a kernel ran, not how well it filled the GPU.
	Utilization int
	// Power and PowerLimit are in watts.
	Power, PowerLimit float64
	// Temperature and the one at which the GPU slows down are in °C.
	Temperature, SlowdownTemperature int
	// The clocks are in MHz.
	ClockSM, ClockSMMax, ClockMemory, ClockMemoryMax int
	// Throttle says what holds the clocks down now; an idle GPU's low clocks are not in it.
	Throttle  []string
	Processes []Process
	// Slices are the MIG slices, whose power, temperature and clocks are those of the whole GPU and not told again.
	Slices []Reading
	// Note is a state that needs words: MIG without slices, a GPU that is lost, processes that may not be seen.
	Note string
}

// Process is one that holds memory of a GPU.
type Process struct {
	PID int
	// Name is empty where the process cannot be seen, as from within a container.
	Name string
	// Memory is in bytes.
	Memory int64
	// Self is the process that asks.
	Self bool
}

func unknown() Reading {
	return Reading{
		MemoryTotal: Unknown, MemoryUsed: Unknown, Utilization: Unknown, Power: Unknown, PowerLimit: Unknown,
		Temperature: Unknown, SlowdownTemperature: Unknown,
		ClockSM: Unknown, ClockSMMax: Unknown, ClockMemory: Unknown, ClockMemoryMax: Unknown,
	}
}

// Is tells whether an identifier names this device: a UUID as NVML writes it or as CUDA's bare hex digits, or a PCI bus id with a
// domain of four or eight digits.
func (r Reading) Is(id string) bool {
	return same(bare(id), bare(r.UUID)) || same(pci(id), pci(r.PCIBusID))
}

// Find is the GPU or the slice that one of the identifiers names. A slice is found by its UUID alone: all slices of a GPU have
// that GPU's bus id.
func Find(readings []Reading, ids ...string) (Reading, bool) {
	for _, r := range readings {
		for _, s := range r.Slices {
			if slices.ContainsFunc(ids, func(id string) bool { return same(bare(id), bare(s.UUID)) }) {
				return s, true
			}
		}
		if slices.ContainsFunc(ids, r.Is) {
			return r, true
		}
	}
	return Reading{}, false
}

func same(a, b string) bool { return a != "" && a == b }

// bare is a UUID without what stands before it and between its digits.
func bare(uuid string) string {
	uuid = strings.ToLower(uuid)
	for _, prefix := range []string{"gpu-", "mig-"} {
		uuid = strings.TrimPrefix(uuid, prefix)
	}
	uuid = strings.ReplaceAll(uuid, "-", "")
	if strings.Contains(uuid, ":") { // a PCI bus id
		return ""
	}
	return uuid
}

// pci is a bus id with a domain of no more digits than it needs, "" for what is none.
func pci(id string) string {
	domain, rest, ok := strings.Cut(strings.ToLower(id), ":")
	if !ok || strings.Count(rest, ":") != 1 {
		return ""
	}
	n, err := strconv.ParseUint(domain, 16, 32)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 16) + ":" + rest
}
