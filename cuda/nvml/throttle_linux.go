package nvml

import gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

// reasons are what may hold the clocks down, the worst first. That the GPU is idle is no reason to name.
var reasons = []struct {
	bit  uint64
	name string
}{
	{gonvml.ClocksThrottleReasonHwThermalSlowdown, "too hot (hardware)"},
	{gonvml.ClocksEventReasonSwThermalSlowdown, "too hot"},
	{gonvml.ClocksThrottleReasonHwPowerBrakeSlowdown, "power brake"},
	{gonvml.ClocksThrottleReasonHwSlowdown, "hardware slowdown"},
	{gonvml.ClocksEventReasonSwPowerCap, "power cap"},
	{gonvml.ClocksEventReasonBoardLimit, "board limit"},
	{gonvml.ClocksEventReasonReliability, "reliability limit"},
	{gonvml.ClocksEventReasonSyncBoost, "sync boost"},
	{gonvml.ClocksEventReasonApplicationsClocksSetting, "clocks set by hand"},
	{gonvml.ClocksEventReasonDisplayClockSetting, "display clocks"},
}

// throttle asks under the name that drivers from 535 on have, else under the older one.
func throttle(h gonvml.Device) []string {
	bits, ret := h.GetCurrentClocksEventReasons()
	if ret == gonvml.ERROR_FUNCTION_NOT_FOUND {
		bits, ret = h.GetCurrentClocksThrottleReasons() //nolint:staticcheck // older drivers have no other
	}
	if ret != gonvml.SUCCESS {
		return nil
	}
	var names []string
	for _, r := range reasons {
		if bits&r.bit != 0 {
			names = append(names, r.name)
		}
	}
	return names
}
