package cli

import (
	"strconv"
	"strings"
)

// deviceList takes --device and --gpus apart: one device, or several GPUs of this host that train together.
func (e *env) deviceList(gpus int) ([]string, error) {
	switch {
	case gpus < 0:
		return nil, usage("--gpus counts GPUs: it cannot be negative")
	case gpus > 0 && e.device != "auto" && e.device != "cuda":
		return nil, usage("--gpus %d and --device %s: give one of them", gpus, e.device)
	case gpus > 0:
		all := make([]string, gpus)
		for i := range all {
			all[i] = "cuda:" + strconv.Itoa(i)
		}
		return all, nil
	}
	return splitDevices(e.device)
}

// splitDevices reads cuda:0,1 (or cuda:0,cuda:1) as a list; any other name is a list of itself.
func splitDevices(spec string) ([]string, error) {
	if !strings.Contains(spec, ",") {
		return []string{spec}, nil
	}
	numbers, ok := strings.CutPrefix(spec, "cuda:")
	var all []string
	seen := map[int]bool{}
	for part := range strings.SplitSeq(numbers, ",") {
		n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(part), "cuda:"))
		if !ok || err != nil || n < 0 {
			return nil, usage("--device %s: several devices are a list of GPUs, such as cuda:0,1", spec)
		}
		if seen[n] {
			return nil, usage("--device %s: GPU %d is named twice", spec, n)
		}
		seen[n] = true
		all = append(all, "cuda:"+strconv.Itoa(n))
	}
	return all, nil
}
