//go:build linux

package emulator

import "testing"

func TestAddRunsForAnySize(t *testing.T) {
	d := open(t)
	add := d.function("elementwise", "add_f32")
	for _, n := range []int{1, 31, 1000} {
		a, b := make([]float32, n), make([]float32, n)
		for i := range a {
			a[i], b[i] = float32(i), float32(2*i)
		}
		da, db, dy := upload(d, a), upload(d, b), d.alloc(4*n)
		d.launch(add, shape{blocks: 3, threads: 64}, dy, da, db, float32(0.5), n)
		for i, y := range download[float32](d, dy, n) {
			if y != float32(2*i) {
				t.Fatalf("n=%d: y[%d] = %v, not %v", n, i, y, 2*i)
			}
		}
		d.free(da)
		d.free(db)
		d.free(dy)
	}
}
