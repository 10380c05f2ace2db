package cpu_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/compute/computetest"
	"lathe/compute/cpu"
)

var allTiers = []string{"plain", "avx2", "avx512", "avx512bf16", "amx"}

// eachTier runs a test on every tier of this processor, and says which ones it does not have.
func eachTier(t *testing.T, f func(t *testing.T, tier string)) {
	for _, tier := range allTiers {
		t.Run(tier, func(t *testing.T) {
			if !slices.Contains(cpu.Tiers(), tier) {
				t.Skipf("not run: this processor (%s) has no %s", runtime.GOARCH, tier)
			}
			f(t, tier)
		})
	}
}

func open(t *testing.T, threads int, tier string) *cpu.Device {
	t.Helper()
	d, err := cpu.New(cpu.Options{Threads: threads, Tier: tier})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSuite(t *testing.T) {
	eachTier(t, func(t *testing.T, tier string) {
		computetest.Run(t, func(t *testing.T) compute.Device { return open(t, 2, tier) }, computetest.Float32())
	})
}

// The number of threads must not change a bit.
func TestThreads(t *testing.T) {
	eachTier(t, func(t *testing.T, tier string) {
		one := open(t, 1, tier)
		want := computetest.Digest(t, one)
		for _, n := range []int{2, 3, 7} {
			d := open(t, n, tier)
			for name, sum := range computetest.Digest(t, d) {
				if sum != want[name] {
					t.Errorf("%s: other bits with %d threads than with one", name, n)
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := one.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		o    cpu.Options
		env  map[string]string
		want string
	}{
		{o: cpu.Options{Threads: -1}, want: "-1 threads"},
		{o: cpu.Options{Tier: "sse9"}, want: `unknown tier "sse9"`},
		{env: map[string]string{"LATHE_THREADS": "many"}, want: `LATHE_THREADS is "many"`},
		{env: map[string]string{"LATHE_CPU_TIER": "fast"}, want: `unknown tier "fast"`},
	} {
		t.Run(c.want, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			if _, err := cpu.New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
	t.Setenv("LATHE_THREADS", "1")
	t.Setenv("LATHE_CPU_TIER", "plain")
	d := open(t, 0, "")
	if i := d.Info(); i.Threads != 1 || i.Tier != "plain" || i.Kind != "cpu" || i.Name == "" {
		t.Errorf("the environment was not obeyed: %+v", i)
	}
}

// A buffer of another device is refused, as is one that was freed.
func TestForeignBuffers(t *testing.T) {
	d, other := open(t, 1, "plain"), open(t, 1, "plain")
	x, _ := d.Alloc(compute.F32, 4)
	y, _ := other.Alloc(compute.F32, 4)
	for want, b := range map[string]compute.Buffer{"another device": y, "freed": x} {
		if b == x {
			x.Free()
			x.Free() // a second time does nothing
		}
		d.Zero(b)
		if err := d.Sync(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	if used := d.Memory().Used; used != 0 {
		t.Errorf("%d bytes in use after everything was freed", used)
	}
	if err := other.Close(); err != nil || other.Memory().Used != 0 {
		t.Errorf("close: %v, %d bytes left", err, other.Memory().Used)
	}
}

func Example() {
	d, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	x, _ := compute.From(d, []float32{1, 2, 3})
	d.Add(compute.Add{Y: x, A: x, B: x, Scale: 1})
	fmt.Println(compute.Download[float32](d, x), d.Close())
	// Output: [2 4 6] <nil>
}
