package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"lathe/compute"
	"lathe/cuda/nvml"
	"lathe/session"
)

// openGauges opens NVML for a device that computes on GPUs; the CPU has no gauges.
func openGauges(info compute.Info) (session.GaugeReader, error) {
	if info.Kind != "cuda" {
		return nil, nil
	}
	library, err := nvml.Open()
	if err != nil {
		return nil, err
	}
	return &gpuGauges{library, info.GPUs}, nil
}

// gpuGauges are what the workbench shows of the host's GPUs, those first that the run's device computes on.
type gpuGauges struct {
	library *nvml.Library
	inUse   []string // UUIDs or PCI bus ids
}

// Read asks all GPUs.
func (g *gpuGauges) Read() ([]session.Gauge, error) {
	all := gaugesOf(g.library.Read(), g.inUse)
	if len(all) == 0 {
		return nil, errors.New("NVML lists no GPU")
	}
	return all, nil
}

// Close lets go of NVML.
func (g *gpuGauges) Close() error { return g.library.Close() }

// gaugesOf has a gauge for each GPU, and for each MIG slice that is in use in its GPU's place. Where the device does not say what
// it computes on, a host's only GPU is it.
func gaugesOf(readings []nvml.Reading, inUse []string) []session.Gauge {
	var first, rest []session.Gauge
	for _, r := range readings {
		own := gauge(r, r)
		own.InUse = slices.ContainsFunc(inUse, r.Is) || len(inUse) == 0 && len(readings) == 1
		var parts []session.Gauge
		for _, s := range r.Slices {
			if slices.ContainsFunc(inUse, func(id string) bool { _, ok := nvml.Find([]nvml.Reading{{Slices: []nvml.Reading{s}}}, id); return ok }) {
				part := gauge(s, r)
				part.Label, part.InUse = fmt.Sprintf("%s:%d", own.Label, s.Index), true
				parts = append(parts, part)
			}
		}
		switch {
		case len(parts) > 0:
			first = append(first, parts...)
		case own.InUse:
			first = append(first, own)
		default:
			rest = append(rest, own)
		}
	}
	return append(first, rest...)
}

// gauge shows a GPU or a slice; what a slice does not tell by itself is its GPU's.
func gauge(r, whole nvml.Reading) session.Gauge {
	g := session.Gauge{
		Label: fmt.Sprintf("GPU %d", whole.Index), Name: r.Name, Total: r.MemoryTotal, Used: r.MemoryUsed,
		Busy: r.Utilization, Power: int(whole.Power), PowerLimit: int(whole.PowerLimit), Temperature: whole.Temperature,
		ClockSM: whole.ClockSM, ClockMemory: whole.ClockMemory, Throttle: whole.Throttle, Note: cmp.Or(r.Note, whole.Note),
	}
	g.Own = session.Unknown
	if hidden := holders(r.Processes, &g); hidden.Bytes != 0 {
		g.Others = []session.Holder{hidden}
	}
	return g
}

// holders tells this process from others. In a container, where process numbers are not the host's, it cannot be told which is
// this one: they are one holder then.
func holders(processes []nvml.Process, g *session.Gauge) (hidden session.Holder) {
	unnamed := 0
	for _, p := range processes {
		switch {
		case p.Self:
			g.Own = p.Memory
		case p.Name != "":
			g.Others = append(g.Others, session.Holder{Name: fmt.Sprintf("%s (pid %d)", p.Name, p.PID), Bytes: p.Memory})
		default:
			unnamed++
			hidden.Bytes += max(p.Memory, 0)
			g.Others = append(g.Others, session.Holder{Name: fmt.Sprintf("pid %d", p.PID), Bytes: p.Memory})
		}
	}
	if unnamed < len(processes) {
		return session.Holder{}
	}
	hidden.Name = fmt.Sprintf("all of %d processes (a container hides which is this one)", unnamed)
	return hidden
}
