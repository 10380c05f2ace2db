//go:build linux

package emulator

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// fault is a kernel that has to end the process, and what its last words have to name.
type fault struct {
	name     string
	settings []string
	run      func(d *device)
	words    []string
}

func one(kernel string, s shape, args ...any) func(*device) {
	return func(d *device) {
		p := d.alloc(4096)
		d.launch(d.function("wrong", kernel), s, append([]any{p}, args...)...)
	}
}

var faults = []fault{
	{"two barriers", nil, one("two_barriers", shape{1, 64, 0}), []string{"kernel two_barriers of wrong.cu, block (0,0,0), thread (40,0,0)", "barrier divergence", "wrong.cu:8", "wrong.cu:6"}},
	{"an exited thread", nil, one("early_exit", shape{2, 64, 0}), []string{"kernel early_exit", "barrier divergence", "thread (5,0,0) has exited", "waits at __syncthreads, wrong.cu:14"}},
	{"an exited thread, shuffled", []string{"LATHE_EMU_SHUFFLE=3"}, one("early_exit", shape{2, 64, 0}), []string{"barrier divergence", "thread (5,0,0) has exited"}},
	{"an exited lane", nil, one("lane_exit", shape{1, 64, 0}), []string{"kernel lane_exit", "a shuffle", "waits at a shuffle"}},
	{"two operations", nil, one("two_operations", shape{1, 32, 0}), []string{"thread (1,0,0)", "this one at a shuffle, others at __syncwarp"}},
	{"no whole warp", nil, one("lane_exit", shape{1, 16, 0}), []string{"do not exist", "live: 0000ffff"}},
	{"a write behind", nil, one("write_at", shape{1, 1, 0}, 1030), []string{"wrote 24 bytes behind an allocation of 4096 bytes", "kernel: write_at"}},
	{"a write before", nil, one("write_at", shape{1, 1, 0}, -2), []string{"wrote 8 bytes before an allocation of 4096 bytes", "kernel: write_at"}},
	{"a read behind, guarded", []string{"LATHE_EMU_GUARD=1"}, one("read_at", shape{3, 1, 0}, 1024), []string{"kernel read_at", "block (0,0,0), thread (0,0,0)", "just behind an allocation"}},
	{"a read far behind", nil, one("read_at", shape{3, 1, 0}, 1<<44), []string{"kernel read_at", "in no memory"}},
	{"a freed argument", nil, func(d *device) {
		p := d.alloc(64)
		d.free(p)
		d.launch(d.function("wrong", "write_at"), shape{1, 1, 0}, p, 0)
	}, []string{"argument 0 of kernel write_at", "no memory of the device"}},
	{"an index outside of an array", nil, one("array_index", shape{1, 1, 0}, int32(32)), []string{"kernel array_index", "index outside of its array"}},
	{"an index outside of dynamic shared memory", nil, one("dynamic_index", shape{1, 1, 128}, int32(32)), []string{"kernel dynamic_index", "in no memory"}},
	{"the rest of a line of dynamic shared memory", nil, one("dynamic_index", shape{1, 1, 100}, int32(26)), []string{"kernel dynamic_index", "behind its 100 bytes of dynamic shared memory"}},
	{"not aligned", nil, one("unaligned", shape{1, 1, 0}), []string{"kernel unaligned", "not aligned"}},
	{"a copy that is not aligned", nil, one("unaligned_copy", shape{1, 1, 0}), []string{"kernel unaligned_copy", "cp.async of 16 bytes"}},
	{"a stack that is too small", nil, one("big_frame", shape{1, 1, 0}, int32(40000)), []string{"kernel big_frame", "stack of a thread"}},
	{"PTX with other arguments", nil, func(d *device) {
		ptx := ".version 8.0\n.target sm_80\n.visible .entry write_at(\n\t.param .u64 write_at_param_0\n)\n{\n}\n"
		var m, f uintptr
		d.must("cuModuleLoadData", address(&m), address(cString(ptx)))
		d.must("cuModuleGetFunction", address(&f), m, address(cString("write_at")))
	}, []string{"arguments of kernel write_at", "go run ./tools/kernels"}},
}

const faultVariable = "LATHE_TEST_FAULT"

// TestFaultsAreNamed runs each fault in a process of its own, which has to die with the right words.
func TestFaultsAreNamed(t *testing.T) {
	if name := os.Getenv(faultVariable); name != "" {
		for _, f := range faults {
			if f.name == name {
				f.run(open(t, f.settings...))
			}
		}
		return
	}
	open(t) // skips, or builds once for all
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestFaultsAreNamed$", "-test.count=1")
			cmd.Env = append(os.Environ(), faultVariable+"="+f.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the process lived:\n%s", out)
			}
			for _, w := range f.words {
				if !strings.Contains(string(out), w) {
					t.Fatalf("no %q in what it said:\n%s", w, out[:min(len(out), 1500)])
				}
			}
		})
	}
}
