package nvml

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// namespace is how this process sees process numbers. NVML tells the host's; a container's own are others.
type namespace struct {
	self int  // this process's number
	host bool // it is the host's
}

// hostNamespace is the number of the first PID namespace, the same on every Linux (PROC_PID_INIT_INO).
const hostNamespace = "pid:[4026531836]"

func ownNamespace() namespace {
	link, err := os.Readlink("/proc/self/ns/pid")
	return namespace{self: os.Getpid(), host: err == nil && link == hostNamespace}
}

// processes lists who holds memory, most first.
func (l *Library) processes(h gonvml.Device, r *Reading) {
	compute, ret := h.GetComputeRunningProcesses()
	graphics, other := h.GetGraphicsRunningProcesses()
	if ret == gonvml.ERROR_NO_PERMISSION {
		r.Note = "NVML shows other users' processes to nobody but root here"
	}
	if ret != gonvml.SUCCESS && other != gonvml.SUCCESS {
		return
	}
	held := map[uint32]int64{}
	for _, p := range append(slices.Clone(compute), graphics...) {
		before, twice := held[p.Pid]
		held[p.Pid] = memoryOf(p)
		if twice { // one that computes and draws is in both lists with the same number
			held[p.Pid] = max(before, memoryOf(p))
		}
	}
	for pid, memory := range held {
		r.Processes = append(r.Processes, l.pids.process(int(pid), memory))
	}
	slices.SortFunc(r.Processes, func(a, b Process) int {
		return cmp.Or(cmp.Compare(b.Memory, a.Memory), cmp.Compare(a.PID, b.PID))
	})
}

func memoryOf(p gonvml.ProcessInfo) int64 {
	if p.UsedGpuMemory > math.MaxInt64 { // NVML_VALUE_NOT_AVAILABLE, as under WSL
		return Unknown
	}
	return int64(p.UsedGpuMemory)
}

func (n namespace) process(pid int, memory int64) Process {
	p := Process{PID: pid, Memory: memory}
	if n.host {
		p.Self = pid == n.self
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			p.Name = strings.TrimSpace(string(name))
		}
	}
	return p
}

// slices reads the MIG slices of a GPU that is cut.
func (l *Library) slices(h gonvml.Device, r *Reading) {
	mode, pending, ret := h.GetMigMode()
	if ret != gonvml.SUCCESS || mode != gonvml.DEVICE_MIG_ENABLE {
		if ret == gonvml.SUCCESS && pending == gonvml.DEVICE_MIG_ENABLE {
			r.Note = "MIG comes on at the next reset of this GPU"
		}
		return
	}
	n, ret := h.GetMaxMigDeviceCount()
	if ret != gonvml.SUCCESS {
		r.Note = "MIG is on and its slices cannot be listed: " + explain(ret)
		return
	}
	for i := range n {
		slice, ret := h.GetMigDeviceHandleByIndex(i)
		if ret == gonvml.SUCCESS { // other places are free
			r.Slices = append(r.Slices, l.slice(slice, i, r))
		}
	}
	switch {
	case len(r.Slices) > 0:
	case ret == gonvml.ERROR_NO_PERMISSION:
		r.Note = "MIG is on and no slice may be seen: " + explain(ret)
	default:
		r.Note = "MIG is on and has no slice to compute on: sudo nvidia-smi mig -cgi 0 -C makes one of the whole GPU"
	}
}

func (l *Library) slice(h gonvml.Device, index int, whole *Reading) Reading {
	s := unknown()
	s.Index, s.PCIBusID = index, whole.PCIBusID
	s.UUID, _ = h.GetUUID()
	s.Name, _ = h.GetName()
	if ret := memory(h, &s); ret != gonvml.SUCCESS {
		s.Note = explain(ret)
	}
	l.processes(h, &s)
	return s
}
