package trainer

import "slices"

// unsignedDynamicMap is bitsandbytes' map of second moments (create_dynamic_map(signed=False)), ascending: seven decades, each
// twice as finely cut as the one below, zero and one.
func unsignedDynamicMap() [256]float32 {
	var m []float32
	for i, scale := range []float32{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1} {
		n := 2 << i
		for j := range n {
			low, high := linspace(0.1, 1, n+1, j), linspace(0.1, 1, n+1, j+1)
			m = append(m, scale*((low+high)/2))
		}
	}
	m = append(m, 0, 1)
	slices.Sort(m)
	return [256]float32(m)
}

// linspace is element j of torch.linspace(start, end, n) in float32: counted from the nearer end, with one rounding.
func linspace(start, end float32, n, j int) float32 {
	step := float64((end - start) / float32(n-1))
	if j < n/2 {
		return float32(float64(start) + step*float64(j))
	}
	return float32(float64(end) - step*float64(n-1-j))
}
