package nvml

import "testing"

func TestIs(t *testing.T) {
	r := Reading{UUID: "GPU-0a1b2c3d-1111-2222-3333-444455556666", PCIBusID: "00000000:65:00.0"}
	for id, want := range map[string]bool{
		"GPU-0a1b2c3d-1111-2222-3333-444455556666": true,
		"0A1B2C3D111122223333444455556666":         true,
		"0000:65:00.0":                             true,
		"00000000:65:00.0":                         true,
		"0001:65:00.0":                             false,
		"0000:66:00.0":                             false,
		"GPU-0a1b2c3d":                             false,
		"":                                         false,
		":":                                        false,
	} {
		if r.Is(id) != want {
			t.Errorf("%q names the GPU: %v, want %v", id, !want, want)
		}
	}
	if (Reading{}).Is("") || (Reading{}).Is("zz:00:00.0") || (Reading{}).Is("GPU-") {
		t.Error("a GPU without a UUID is named")
	}
	if _, ok := Find([]Reading{{Index: 0}, {Index: 1}}, "", "0000:01:00.0"); ok {
		t.Error("a GPU without a UUID is found")
	}
}
