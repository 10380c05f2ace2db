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
	present map[string]bool // functions that this driver's library has
	pids    namespace
}

// device is one GPU with what does not change.
type device struct {
	handle gonvml.Device // nil where the driver did not give one
	fixed  Reading
}

// Open loads the driver's NVML. The error is one line: no driver, no permission, no GPU.
func Open() (*Library, error) { return New(gonvml.New()) }

// New begins with a library that is given, which may be a mock.
func New(lib gonvml.Interface) (*Library, error) {
	if ret := lib.Init(); ret != gonvml.SUCCESS {
		return nil, fmt.Errorf("open NVML: %s", explain(ret))
	}
	l := &Library{lib: lib, present: map[string]bool{}, pids: ownNamespace()}
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
			l.describe(handle, &d.fixed)
		}
		l.devices = append(l.devices, d)
	}
	if !usable {
		return fmt.Errorf("none of %d GPUs can be asked: %s", n, l.devices[0].fixed.Note)
	}
	return nil
}

// describe reads what does not change.
func (l *Library) describe(h gonvml.Device, r *Reading) {
	r.UUID, _ = h.GetUUID()
	r.Name, _ = h.GetName()
	if p, ret := h.GetPciInfo(); ret == gonvml.SUCCESS {
		r.PCIBusID = text(p.BusId[:])
	}
	r.PowerLimit = watts(l.number("nvmlDeviceGetEnforcedPowerLimit", h.GetEnforcedPowerLimit))
	r.SlowdownTemperature = l.number("nvmlDeviceGetTemperatureThreshold", func() (uint32, gonvml.Return) {
		return h.GetTemperatureThreshold(gonvml.TEMPERATURE_THRESHOLD_SLOWDOWN)
	})
	r.ClockSMMax = l.clock("nvmlDeviceGetMaxClockInfo", h.GetMaxClockInfo, gonvml.CLOCK_SM)
	r.ClockMemoryMax = l.clock("nvmlDeviceGetMaxClockInfo", h.GetMaxClockInfo, gonvml.CLOCK_MEM)
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
	if ret := l.memory(h, &r); lost(ret) {
		r.Note = explain(ret)
		return r
	}
	l.gauges(h, &r)
	l.processes(h, &r)
	l.slices(h, &r)
	return r
}

// lost tells that a GPU will not answer other questions either.
func lost(ret gonvml.Return) bool {
	return ret == gonvml.ERROR_GPU_IS_LOST || ret == gonvml.ERROR_RESET_REQUIRED || ret == gonvml.ERROR_UNKNOWN
}

// memory prefers the call that tells what the driver keeps for itself from what is used; older drivers have only the other one.
func (l *Library) memory(h gonvml.Device, r *Reading) gonvml.Return {
	if l.has("nvmlDeviceGetMemoryInfo_v2") {
		m, ret := h.GetMemoryInfo_v2()
		if ret == gonvml.SUCCESS {
			r.MemoryTotal, r.MemoryUsed = int64(m.Total), int64(m.Used+m.Reserved)
			return ret
		}
		if lost(ret) {
			return ret
		}
	}
	m, ret := h.GetMemoryInfo()
	if ret == gonvml.SUCCESS {
		r.MemoryTotal, r.MemoryUsed = int64(m.Total), int64(m.Used)
	}
	return ret
}

func (l *Library) gauges(h gonvml.Device, r *Reading) {
	r.Utilization = l.number("nvmlDeviceGetUtilizationRates", func() (uint32, gonvml.Return) {
		u, ret := h.GetUtilizationRates() // refused where MIG is on
		return u.Gpu, ret
	})
	r.Power = watts(l.number("nvmlDeviceGetPowerUsage", h.GetPowerUsage))
	r.Temperature = l.number("nvmlDeviceGetTemperature", func() (uint32, gonvml.Return) {
		return h.GetTemperature(gonvml.TEMPERATURE_GPU)
	})
	r.ClockSM = l.clock("nvmlDeviceGetClockInfo", h.GetClockInfo, gonvml.CLOCK_SM)
	r.ClockMemory = l.clock("nvmlDeviceGetClockInfo", h.GetClockInfo, gonvml.CLOCK_MEM)
	r.Throttle = l.throttle(h)
}

// number is the answer to a question, Unknown where the driver or the GPU has none.
func (l *Library) number(function string, ask func() (uint32, gonvml.Return)) int {
	if !l.has(function) {
		return Unknown
	}
	v, ret := ask()
	if ret != gonvml.SUCCESS {
		return Unknown
	}
	return int(v)
}

func (l *Library) clock(function string, ask func(gonvml.ClockType) (uint32, gonvml.Return), kind gonvml.ClockType) int {
	return l.number(function, func() (uint32, gonvml.Return) { return ask(kind) })
}

func watts(milliwatts int) float64 {
	if milliwatts == Unknown {
		return Unknown
	}
	return float64(milliwatts) / 1000
}

// has tells whether the driver's library has a function. go-nvml leaves its functions to the dynamic linker, which ends the
// process at the first call of one that is not there: an old driver must not be asked a new question.
func (l *Library) has(function string) bool {
	known, ok := l.present[function]
	if !ok {
		known = l.lib.Extensions().LookupSymbol(function) == nil
		l.present[function] = known
	}
	return known
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
