//go:build linux

package emulator

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// device is the least of a driver that the tests need: functions by name, one thread, one context.
type device struct {
	t         testing.TB
	library   uintptr
	functions map[string]uintptr
	modules   map[string]uintptr
}

// open loads the emulated driver with the kernels of the repository and of testdata/kernels, and makes its first device current.
func open(t testing.TB, settings ...string) *device {
	t.Helper()
	path := Need(t, "testdata/kernels")
	library, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	d := &device{t: t, library: library, functions: map[string]uintptr{}, modules: map[string]uintptr{}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		d.set(name, value)
		t.Cleanup(func() { d.set(name, "") })
	}
	d.must("cuInit", 0)
	var context uintptr
	d.must("cuDevicePrimaryCtxRetain", address(&context), 0)
	d.must("cuCtxSetCurrent", context)
	t.Cleanup(func() { d.must("cuDevicePrimaryCtxRelease_v2", 0) })
	return d
}

// kept holds what address was given last: it is on the heap then, so that no growing stack moves it, and stays there.
var (
	kept [64]unsafe.Pointer
	next int
)

func address[T any](p *T) uintptr {
	kept[next%len(kept)] = unsafe.Pointer(p)
	next++
	return uintptr(unsafe.Pointer(p))
}

func cString(s string) *byte { return &append([]byte(s), 0)[0] }

func (d *device) call(name string, args ...uintptr) int {
	f, ok := d.functions[name]
	if !ok {
		var err error
		if f, err = purego.Dlsym(d.library, name); err != nil {
			d.t.Fatal(err)
		}
		d.functions[name] = f
	}
	r, _, _ := purego.SyscallN(f, args...)
	return int(int32(r))
}

func (d *device) must(name string, args ...uintptr) {
	d.t.Helper()
	if r := d.call(name, args...); r != 0 {
		d.t.Fatalf("%s answers %d", name, r)
	}
}

func (d *device) set(name, value string) {
	d.call("lathe_emu_set", address(cString(name)), address(cString(value)))
}

func (d *device) alloc(bytes int) uint64 {
	d.t.Helper()
	var p uint64
	d.must("cuMemAlloc_v2", address(&p), uintptr(bytes))
	return p
}

func (d *device) free(p uint64) {
	d.t.Helper()
	d.must("cuMemFree_v2", uintptr(p))
}

func upload[T any](d *device, s []T) uint64 {
	d.t.Helper()
	n := uintptr(len(s)) * unsafe.Sizeof(s[0])
	p := d.alloc(int(n))
	d.must("cuMemcpyHtoD_v2", uintptr(p), address(&s[0]), n)
	return p
}

func download[T any](d *device, p uint64, n int) []T {
	d.t.Helper()
	s := make([]T, n)
	d.must("cuMemcpyDtoH_v2", address(&s[0]), uintptr(p), uintptr(n)*unsafe.Sizeof(s[0]))
	return s
}

// function returns a kernel of the repository, or one of testdata/kernels, for which a PTX is made up.
func (d *device) function(module, name string) uintptr {
	d.t.Helper()
	m, ok := d.modules[module]
	if !ok {
		ptx, err := os.ReadFile(filepath.Join("..", "kernels", "ptx", module+".ptx"))
		if err != nil {
			source, err := os.ReadFile(filepath.Join("testdata", "kernels", module+".cu"))
			if err != nil {
				d.t.Fatal(err)
			}
			ptx = []byte(ptxFor(string(source)))
		}
		d.must("cuModuleLoadData", address(&m), address(cString(string(ptx))))
		d.modules[module] = m
	}
	var f uintptr
	d.must("cuModuleGetFunction", address(&f), m, address(cString(name)))
	return f
}

var kernelHead = regexp.MustCompile(`KERNEL\((\w+)((?:, [^)]*)?)\)`)

// ptxFor writes the head of the PTX that the kernels of a source would have.
func ptxFor(source string) string {
	var b strings.Builder
	b.WriteString(".version 8.0\n.target sm_80\n.address_size 64\n")
	for _, m := range kernelHead.FindAllStringSubmatch(source, -1) {
		fmt.Fprintf(&b, ".visible .entry %s(\n", m[1])
		for i, arg := range strings.Split(m[2], ", ")[1:] {
			bits := "32"
			if strings.ContainsAny(arg, "*") || strings.Contains(arg, "long") || strings.Contains(arg, "double") {
				bits = "64"
			}
			fmt.Fprintf(&b, "\t.param .u%s %s_param_%d\n", bits, m[1], i)
		}
		b.WriteString(")\n{\n\tret;\n}\n")
	}
	return b.String()
}

// shape is a launch: blocks, threads of a block and bytes of dynamic shared memory.
type shape struct{ blocks, threads, shared int }

func (d *device) launch(f uintptr, s shape, args ...any) {
	d.t.Helper()
	d.launchOn(0, f, s, args...)
}

func (d *device) launchOn(stream, f uintptr, s shape, args ...any) {
	d.t.Helper()
	values := make([]uint64, len(args)+1)
	pointers := make([]unsafe.Pointer, len(args)+1)
	for i, a := range args {
		switch v := a.(type) {
		case uint64:
			values[i] = v
		case int:
			values[i] = uint64(v)
		case int32:
			values[i] = uint64(uint32(v))
		case float32:
			values[i] = uint64(math.Float32bits(v))
		default:
			d.t.Fatalf("argument of type %T", a)
		}
		pointers[i] = unsafe.Pointer(&values[i])
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&values[0])
	d.must("cuLaunchKernel", f, uintptr(s.blocks), 1, 1, uintptr(s.threads), 1, 1, uintptr(s.shared), stream, address(&pointers[0]), 0)
	clear(values) // what was launched or captured has its own copy
}

// readFloat reads memory of the host that the driver gave out.
func readFloat(p uintptr) float32 { return **(**float32)(unsafe.Pointer(&p)) }

func goString(p uintptr) string {
	var b []byte
	for at := *(**byte)(unsafe.Pointer(&p)); *at != 0; at = (*byte)(unsafe.Add(unsafe.Pointer(at), 1)) {
		b = append(b, *at)
	}
	return string(b)
}
