package nvml

import (
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

const gibi = 1 << 30

// busy gives go-nvml's mock of a GPU the gauges that it lacks: a GPU at work.
func busy(d *server.Device) {
	d.GetMemoryInfo_v2Func = func() (gonvml.Memory_v2, gonvml.Return) {
		return gonvml.Memory_v2{Total: d.MemoryInfo.Total, Reserved: gibi / 2, Used: 12 * gibi}, gonvml.SUCCESS
	}
	d.GetPciInfoFunc = func() (p gonvml.PciInfo, ret gonvml.Return) {
		for i, c := range "0000" + d.PciBusID {
			p.BusId[i] = int8(c)
		}
		return p, gonvml.SUCCESS
	}
	d.GetUtilizationRatesFunc = func() (gonvml.Utilization, gonvml.Return) {
		return gonvml.Utilization{Gpu: 97, Memory: 61}, gonvml.SUCCESS
	}
	value := func(v uint32) func() (uint32, gonvml.Return) {
		return func() (uint32, gonvml.Return) { return v, gonvml.SUCCESS }
	}
	d.GetPowerUsageFunc, d.GetEnforcedPowerLimitFunc = value(391_250), value(400_000)
	d.GetTemperatureFunc = func(gonvml.TemperatureSensors) (uint32, gonvml.Return) { return 64, gonvml.SUCCESS }
	d.GetTemperatureThresholdFunc = func(gonvml.TemperatureThresholds) (uint32, gonvml.Return) { return 0, gonvml.ERROR_NOT_SUPPORTED }
	clock := func(sm, memory uint32) func(gonvml.ClockType) (uint32, gonvml.Return) {
		return func(kind gonvml.ClockType) (uint32, gonvml.Return) {
			return map[gonvml.ClockType]uint32{gonvml.CLOCK_SM: sm, gonvml.CLOCK_MEM: memory}[kind], gonvml.SUCCESS
		}
	}
	d.GetClockInfoFunc, d.GetMaxClockInfoFunc = clock(1275, 1215), clock(1410, 1215)
	d.GetCurrentClocksEventReasonsFunc = func() (uint64, gonvml.Return) {
		return gonvml.ClocksEventReasonSwPowerCap | gonvml.ClocksEventReasonGpuIdle, gonvml.SUCCESS
	}
	d.GetComputeRunningProcessesFunc = holding(holder{1, 9 * gibi}, holder{os.Getpid(), 2 * gibi})
	d.GetGraphicsRunningProcessesFunc = holding(holder{1, 9 * gibi})
}

type holder struct {
	pid    int
	memory uint64
}

func holding(list ...holder) func() ([]gonvml.ProcessInfo, gonvml.Return) {
	return func() (all []gonvml.ProcessInfo, ret gonvml.Return) {
		for _, h := range list {
			all = append(all, gonvml.ProcessInfo{Pid: uint32(h.pid), UsedGpuMemory: h.memory})
		}
		return all, gonvml.SUCCESS
	}
}

// host is a mock of a server whose GPUs are at work.
func host(t *testing.T, s *server.Server) *Library {
	t.Helper()
	for _, d := range s.Devices {
		if d.(*server.Device).GetPowerUsageFunc == nil {
			busy(d.(*server.Device))
		}
	}
	l, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	l.pids.host = true // a test may run in a container
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func gpu(s *server.Server, i int) *server.Device { return s.Devices[i].(*server.Device) }

func TestRead(t *testing.T) {
	s := dgxa100.New()
	l := host(t, s)
	all := l.Read()
	if len(all) != 8 || l.Driver() != "550.54.15" {
		t.Fatalf("%d GPUs of driver %s, want 8 of 550.54.15", len(all), l.Driver())
	}
	name, _ := os.ReadFile("/proc/1/comm")
	want := Reading{
		Index: 3, UUID: gpu(s, 3).UUID, PCIBusID: "00000000:03:00.0", Name: "Mock NVIDIA A100-SXM4-40GB",
		MemoryTotal: 40 * gibi, MemoryUsed: 12*gibi + gibi/2, Utilization: 97, Power: 391.25, PowerLimit: 400,
		Temperature: 64, SlowdownTemperature: Unknown, ClockSM: 1275, ClockSMMax: 1410, ClockMemory: 1215, ClockMemoryMax: 1215,
		Throttle: []string{"power cap"},
		Processes: []Process{
			{PID: 1, Name: strings.TrimSpace(string(name)), Memory: 9 * gibi},
			{PID: os.Getpid(), Name: comm(t), Memory: 2 * gibi, Self: true},
		},
	}
	if !reflect.DeepEqual(all[3], want) {
		t.Errorf("GPU 3 reads\n%+v, want\n%+v", all[3], want)
	}
}

func comm(t *testing.T) string {
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

// In a container NVML's process numbers are those of the host: none of them is taken for this process.
func TestContainer(t *testing.T) {
	l := host(t, dgxa100.New())
	l.pids.host = false
	for _, p := range l.Read()[0].Processes {
		if p.Self || p.Name != "" {
			t.Errorf("process %d is known as %q, itself %v", p.PID, p.Name, p.Self)
		}
	}
}

// A GPU that does not tell a thing, and memory that NVML does not know, are Unknown, never 0 or 2^64.
func TestUnknown(t *testing.T) {
	s := dgxa100.New()
	d := gpu(s, 0)
	busy(d)
	refuse := func() (uint32, gonvml.Return) { return 0, gonvml.ERROR_NOT_SUPPORTED }
	d.GetPowerUsageFunc, d.GetEnforcedPowerLimitFunc = refuse, refuse
	d.GetUtilizationRatesFunc = func() (gonvml.Utilization, gonvml.Return) { return gonvml.Utilization{}, gonvml.ERROR_NOT_SUPPORTED }
	d.GetCurrentClocksEventReasonsFunc = func() (uint64, gonvml.Return) { return math.MaxUint64, gonvml.ERROR_NOT_SUPPORTED }
	d.GetComputeRunningProcessesFunc = holding(holder{7, math.MaxUint64})
	d.GetGraphicsRunningProcessesFunc = holding()
	r := host(t, s).Read()[0]
	if r.Power != Unknown || r.PowerLimit != Unknown || r.Utilization != Unknown || r.Throttle != nil || r.Processes[0].Memory != Unknown {
		t.Errorf("what the GPU does not tell reads %+v", r)
	}
}

// A driver that lacks the newer functions is asked the older ones.
func TestOldDriver(t *testing.T) {
	const lacks = gonvml.ERROR_FUNCTION_NOT_FOUND
	s := dgxa100.New()
	d := gpu(s, 0)
	busy(d)
	d.GetMemoryInfo_v2Func = func() (gonvml.Memory_v2, gonvml.Return) { return gonvml.Memory_v2{}, lacks }
	d.GetCurrentClocksEventReasonsFunc = func() (uint64, gonvml.Return) { return 0, lacks }
	d.GetMigModeFunc = func() (int, int, gonvml.Return) { return 0, 0, lacks }
	d.MemoryInfo.Used = 5 * gibi
	d.GetCurrentClocksThrottleReasonsFunc = func() (uint64, gonvml.Return) { return gonvml.ClocksThrottleReasonHwSlowdown, gonvml.SUCCESS }
	r := host(t, s).Read()[0]
	if r.MemoryUsed != 5*gibi || !reflect.DeepEqual(r.Throttle, []string{"hardware slowdown"}) || r.Note != "" {
		t.Errorf("an old driver reads %+v", r)
	}
}

// What keeps NVML from being opened is one line that says what to do.
func TestOpenErrors(t *testing.T) {
	for ret, want := range map[gonvml.Return]string{
		gonvml.ERROR_LIBRARY_NOT_FOUND:       "comes with NVIDIA's driver",
		gonvml.ERROR_DRIVER_NOT_LOADED:       "modprobe nvidia",
		gonvml.ERROR_NO_PERMISSION:           "/dev/nvidiactl",
		gonvml.ERROR_LIB_RM_VERSION_MISMATCH: "restart the machine",
		gonvml.Return(77):                    "answer 77",
	} {
		_, err := New(&mock.Interface{InitFunc: func() gonvml.Return { return ret }})
		checkLine(t, err, want)
	}
	s := dgxa100.New()
	s.Devices = nil
	_, err := New(s)
	checkLine(t, err, "sees no GPU")
	s = dgxa100.New()
	s.DeviceGetHandleByIndexFunc = func(int) (gonvml.Device, gonvml.Return) { return nil, gonvml.ERROR_NO_PERMISSION }
	_, err = New(s)
	checkLine(t, err, "none of 8 GPUs can be asked: no permission")
}

func checkLine(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line with %q", err, want)
	}
}

// One GPU that is lost, or that may not be asked, does not take the others' gauges with it.
func TestOneGPULost(t *testing.T) {
	s := dgxh200.New()
	hidden := s.Devices[2]
	s.DeviceGetHandleByIndexFunc = func(i int) (gonvml.Device, gonvml.Return) {
		if s.Devices[i] == hidden {
			return nil, gonvml.ERROR_NO_PERMISSION
		}
		return s.Devices[i], gonvml.SUCCESS
	}
	l := host(t, s)
	gpu(s, 1).GetMemoryInfo_v2Func = func() (gonvml.Memory_v2, gonvml.Return) { return gonvml.Memory_v2{}, gonvml.ERROR_GPU_IS_LOST }
	all := l.Read()
	if !strings.Contains(all[1].Note, "lost") || !strings.Contains(all[2].Note, "no permission") || all[7].Utilization != 97 {
		t.Errorf("notes %q and %q; the last GPU is at %d%%", all[1].Note, all[2].Note, all[7].Utilization)
	}
	text := Describe(l.Driver(), all)
	for _, want := range []string{"NVML of driver 550.54.15; ", "5 × ", "H200", "with 141.0 GiB, 62.5 GiB in use", "(the GPU is lost", "GPU 2 (no permission"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}

// cut puts MIG on with slices of 5 GiB.
func cut(d *server.Device, slices ...string) {
	d.SetMigMode(gonvml.DEVICE_MIG_ENABLE)
	d.GetUtilizationRatesFunc = func() (gonvml.Utilization, gonvml.Return) { return gonvml.Utilization{}, gonvml.ERROR_NOT_SUPPORTED }
	d.GetMaxMigDeviceCountFunc = func() (int, gonvml.Return) { return 7, gonvml.SUCCESS }
	d.GetMigDeviceHandleByIndexFunc = func(i int) (gonvml.Device, gonvml.Return) {
		if i >= len(slices) {
			return nil, gonvml.ERROR_NOT_FOUND
		}
		part := server.NewDeviceFromConfig(d.Config, i)
		part.UUID, part.Config.Name = slices[i], d.Config.Name+" MIG 1g.5gb"
		part.GetMemoryInfo_v2Func = func() (gonvml.Memory_v2, gonvml.Return) {
			return gonvml.Memory_v2{Total: 5 * gibi, Used: uint64(i) * gibi}, gonvml.SUCCESS
		}
		part.GetComputeRunningProcessesFunc, part.GetGraphicsRunningProcessesFunc = holding(holder{os.Getpid(), gibi}), holding()
		return part, gonvml.SUCCESS
	}
}

func TestMIG(t *testing.T) {
	s := dgxa100.New()
	l := host(t, s)
	cut(gpu(s, 0), "MIG-5f0c5d0e-0000-1111-2222-333344445555", "MIG-5f0c5d0e-0000-1111-2222-333344446666")
	cut(gpu(s, 1))
	all := l.Read()
	if n := len(all[0].Slices); n != 2 || all[0].Utilization != Unknown {
		t.Fatalf("%d slices, utilisation %d", n, all[0].Utilization)
	}
	got := all[0].Slices[1]
	if got.MemoryTotal != 5*gibi || got.MemoryUsed != gibi || got.Power != Unknown || !got.Processes[0].Self || got.PCIBusID != all[0].PCIBusID {
		t.Errorf("a slice reads %+v", got)
	}
	if !strings.Contains(all[1].Note, "nvidia-smi mig -cgi 0 -C") || len(all[2].Slices) != 0 || all[2].Note != "" {
		t.Errorf("MIG without slices: %q; without MIG: %q", all[1].Note, all[2].Note)
	}
	if text := Describe("550", all); !strings.Contains(text, "in 2 MIG slices, 12.5 GiB in use; ") || !strings.Contains(text, "6 × ") {
		t.Errorf("described as %q", text)
	}
	// CUDA names a slice by bare digits; the bus id alone is the whole GPU's.
	if r, ok := Find(all, "5F0C5D0E-0000-1111-2222-333344446666", "0000:00:00.0"); !ok || r.UUID != got.UUID {
		t.Errorf("found %+v, want the second slice", r)
	}
	if r, _ := Find(all, "0000:00:00.0"); r.UUID != all[0].UUID {
		t.Errorf("a bus id finds %s, want GPU 0", r.UUID)
	}
}
