package cli

import (
	"reflect"
	"testing"

	"lathe/cuda/nvml"
	"lathe/session"
)

func reading(index int, uuid string) nvml.Reading {
	return nvml.Reading{
		Index: index, UUID: uuid, PCIBusID: "00000000:65:00.0", Name: "NVIDIA H200", MemoryTotal: 141 << 30, MemoryUsed: 20 << 30,
		Utilization: 97, Power: 640.4, PowerLimit: 700, Temperature: 64, SlowdownTemperature: nvml.Unknown,
		ClockSM: 1980, ClockSMMax: 1980, ClockMemory: 2619, ClockMemoryMax: 2619, Throttle: []string{"power cap"},
		Processes: []nvml.Process{
			{PID: 4242, Name: "python3", Memory: 11 << 30},
			{PID: 7, Name: "lathe", Memory: 8 << 30, Self: true},
		},
	}
}

// GPUs in use come first, this process's memory stands apart from the others'.
func TestGaugesOf(t *testing.T) {
	all := gaugesOf([]nvml.Reading{reading(0, "GPU-aa"), reading(1, "GPU-bb")}, []string{"GPU-bb"})
	want := session.Gauge{
		Label: "GPU 1", Name: "NVIDIA H200", InUse: true, Total: 141 << 30, Used: 20 << 30, Own: 8 << 30,
		Others: []session.Holder{{Name: "python3 (pid 4242)", Bytes: 11 << 30}},
		Busy:   97, Power: 640, PowerLimit: 700, Temperature: 64, ClockSM: 1980, ClockMemory: 2619, Throttle: []string{"power cap"},
	}
	if len(all) != 2 || !reflect.DeepEqual(all[0], want) || all[1].InUse || all[1].Label != "GPU 0" {
		t.Errorf("gauges\n%+v, want first\n%+v", all, want)
	}
	if one := gaugesOf([]nvml.Reading{reading(0, "GPU-aa")}, nil); !one[0].InUse {
		t.Error("the only GPU of a host is not in use")
	}
	if two := gaugesOf([]nvml.Reading{reading(0, "GPU-aa"), reading(1, "GPU-bb")}, nil); two[0].InUse || two[1].InUse {
		t.Error("a GPU is in use that nobody named")
	}
}

// A MIG slice in use stands for its GPU: its own memory, the GPU's power and clocks.
func TestGaugesOfSlice(t *testing.T) {
	whole := reading(2, "GPU-cc")
	whole.Utilization = nvml.Unknown
	whole.Slices = []nvml.Reading{
		{Index: 0, UUID: "MIG-1111", Name: "H200 MIG 1g.18gb", MemoryTotal: 18 << 30, MemoryUsed: 1 << 30, Utilization: nvml.Unknown},
		{Index: 1, UUID: "MIG-2222", Name: "H200 MIG 1g.18gb", MemoryTotal: 18 << 30, MemoryUsed: 5 << 30, Utilization: nvml.Unknown, Processes: whole.Processes[1:]},
	}
	all := gaugesOf([]nvml.Reading{whole}, []string{"2222"})
	g := all[0]
	if len(all) != 1 || g.Label != "GPU 2:1" || g.Total != 18<<30 || g.Used != 5<<30 || g.Own != 8<<30 || g.Power != 640 || g.Busy != session.Unknown || !g.InUse {
		t.Errorf("gauges %+v", all)
	}
}

// In a container no process is taken for this one nor for a stranger.
func TestGaugesInContainer(t *testing.T) {
	r := reading(0, "GPU-aa")
	for i := range r.Processes {
		r.Processes[i].Name, r.Processes[i].Self = "", false
	}
	g := gaugesOf([]nvml.Reading{r}, nil)[0]
	want := []session.Holder{{Name: "all of 2 processes (a container hides which is this one)", Bytes: 19 << 30}}
	if g.Own != session.Unknown || !reflect.DeepEqual(g.Others, want) {
		t.Errorf("own %d, others %+v", g.Own, g.Others)
	}
}
