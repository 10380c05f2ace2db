package nvml

import (
	"errors"
	"fmt"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// Library is NVML, open. It is used by one goroutine at a time.
type Library struct {
	lib     gonvml.Interface
	driver  string
	devices []device
	pids    namespace
}

// device is one GPU with what does not change.
type device struct {
	handle gonvml.Device // nil where the driver did not give one
	fixed  Reading
}

// Open loads the driver's NVML. The error is one line: no driver, no permission, no GPU.
func Open() (*Library, error) {
	bind()
	return New(gonvml.New())
}

// New begins with a library that is given, which may be a mock.
func New(lib gonvml.Interface) (*Library, error) {
	if ret := lib.Init(); ret != gonvml.SUCCESS {
		return nil, fmt.Errorf("open NVML: %s", explain(ret))
	}
	l := &Library{lib: lib, pids: ownNamespace()}
	if err := l.list(); err != nil {
		l.Close()
		return nil, fmt.Errorf("open NVML: %w", err)
	}
	return l, nil
}

// Close lets go of the library.
func (l *Library) Close() error {
	if ret := l.lib.Shutdown(); ret != gonvml.SUCCESS {
		return fmt.Errorf("close NVML: %s", explain(ret))
	}
	return nil
}

// Driver is the driver's version, such as 550.54.15.
func (l *Library) Driver() string { return l.driver }

// list finds the GPUs.
func (l *Library) list() error {
	l.driver, _ = l.lib.SystemGetDriverVersion()
	n, ret := l.lib.DeviceGetCount()
	if ret != gonvml.SUCCESS {
		return errors.New(explain(ret))
	}
	if n == 0 {
		return errors.New("the driver sees no GPU: look at lspci and at CUDA's own view with nvidia-smi -L")
	}
	usable := false
	for i := range n {
		handle, ret := l.lib.DeviceGetHandleByIndex(i)
		d := device{fixed: unknown()}
		d.fixed.Index = i
		if ret != gonvml.SUCCESS {
			d.fixed.Note = explain(ret)
		} else {
			usable, d.handle = true, handle
			describe(handle, &d.fixed)
		}
		l.devices = append(l.devices, d)
	}
	if !usable {
		return fmt.Errorf("none of %d GPUs can be asked: %s", n, l.devices[0].fixed.Note)
	}
	return nil
}

// describe reads what does not change.
func describe(h gonvml.Device, r *Reading) {
	r.UUID, _ = h.GetUUID()
	r.Name, _ = h.GetName()
	if p, ret := h.GetPciInfo(); ret == gonvml.SUCCESS {
		r.PCIBusID = text(p.BusId[:])
	}
	r.PowerLimit = watts(number(h.GetEnforcedPowerLimit))
	r.SlowdownTemperature = number(func() (uint32, gonvml.Return) {
		return h.GetTemperatureThreshold(gonvml.TEMPERATURE_THRESHOLD_SLOWDOWN)
	})
	r.ClockSMMax = clock(h.GetMaxClockInfo, gonvml.CLOCK_SM)
	r.ClockMemoryMax = clock(h.GetMaxClockInfo, gonvml.CLOCK_MEM)
}

// Read asks every GPU. What one does not tell is Unknown, and what needs words is in its Note.
func (l *Library) Read() []Reading {
	all := make([]Reading, len(l.devices))
	for i, d := range l.devices {
		all[i] = l.read(d)
	}
	return all
}

func (l *Library) read(d device) Reading {
	r, h := d.fixed, d.handle
	if h == nil {
		return r
	}
	if ret := memory(h, &r); lost(ret) {
		r.Note = explain(ret)
		return r
	}
	gauges(h, &r)
	l.processes(h, &r)
	l.slices(h, &r)
	return r
}

// lost tells that a GPU will not answer other questions either.
func lost(ret gonvml.Return) bool {
	return ret == gonvml.ERROR_GPU_IS_LOST || ret == gonvml.ERROR_RESET_REQUIRED || ret == gonvml.ERROR_UNKNOWN
}

// memory prefers the call that tells what the driver keeps for itself from what is used; older drivers have only the other one.
func memory(h gonvml.Device, r *Reading) gonvml.Return {
	v2, ret := h.GetMemoryInfo_v2()
	if ret == gonvml.SUCCESS {
		r.MemoryTotal, r.MemoryUsed = int64(v2.Total), int64(v2.Used+v2.Reserved)
	}
	if ret == gonvml.SUCCESS || lost(ret) {
		return ret
	}
	m, ret := h.GetMemoryInfo()
	if ret == gonvml.SUCCESS {
		r.MemoryTotal, r.MemoryUsed = int64(m.Total), int64(m.Used)
	}
	return ret
}

func gauges(h gonvml.Device, r *Reading) {
	r.Utilization = number(func() (uint32, gonvml.Return) {
		u, ret := h.GetUtilizationRates() // refused where MIG is on
		return u.Gpu, ret
	})
	r.Power = watts(number(h.GetPowerUsage))
	r.Temperature = number(func() (uint32, gonvml.Return) {
		return h.GetTemperature(gonvml.TEMPERATURE_GPU)
	})
	r.ClockSM = clock(h.GetClockInfo, gonvml.CLOCK_SM)
	r.ClockMemory = clock(h.GetClockInfo, gonvml.CLOCK_MEM)
	r.Throttle = throttle(h)
}

// number is the answer to a question, Unknown where the driver or the GPU has none.
func number(ask func() (uint32, gonvml.Return)) int {
	v, ret := ask()
	if ret != gonvml.SUCCESS {
		return Unknown
	}
	return int(v)
}

func clock(ask func(gonvml.ClockType) (uint32, gonvml.Return), kind gonvml.ClockType) int {
	return number(func() (uint32, gonvml.Return) { return ask(kind) })
}

func watts(milliwatts int) float64 {
	if milliwatts == Unknown {
		return Unknown
	}
	return float64(milliwatts) / 1000
}

// text is a C string.
func text[T int8 | uint8](c []T) string {
	var b []byte
	for _, v := range c {
		if v == 0 {
			break
		}
		b = append(b, byte(v))
	}
	return string(b)
}
