// Package cublaslt multiplies matrices with NVIDIA's cuBLASLt where it is installed: found at run time, never linked. Nothing of lathe
// needs it; on GPUs since Hopper its kernels use instructions that kernels in PTX for every GPU cannot.
//
// Only algorithms that compute an element of the result in one block are taken, without workspace: no split of the sum, so that the same
// call gives the same bits.
package cublaslt

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// EnvPath names the library, a folder that holds it (the lib folder of a toolkit, or site-packages), or is "off".
const EnvPath = "LATHE_CUBLASLT"

// ErrNotFound is what Open answers where there is no library, or none that answers here.
var ErrNotFound = errors.New("no cuBLASLt")

// Library is the loaded library with a handle for one device.
type Library struct {
	path   string
	handle uintptr // of cublasLtCreate

	create, destroy, getVersion      uintptr
	descCreate, descDestroy, descSet uintptr
	layoutCreate, layoutDestroy      uintptr
	prefCreate, prefDestroy, prefSet uintptr
	heuristic, matmul                uintptr
}

func (l *Library) symbols() map[string]*uintptr {
	return map[string]*uintptr{
		"cublasLtCreate": &l.create, "cublasLtDestroy": &l.destroy, "cublasLtGetVersion": &l.getVersion,
		"cublasLtMatmulDescCreate": &l.descCreate, "cublasLtMatmulDescDestroy": &l.descDestroy, "cublasLtMatmulDescSetAttribute": &l.descSet,
		"cublasLtMatrixLayoutCreate": &l.layoutCreate, "cublasLtMatrixLayoutDestroy": &l.layoutDestroy,
		"cublasLtMatmulPreferenceCreate": &l.prefCreate, "cublasLtMatmulPreferenceDestroy": &l.prefDestroy,
		"cublasLtMatmulPreferenceSetAttribute": &l.prefSet,
		"cublasLtMatmulAlgoGetHeuristic":       &l.heuristic, "cublasLtMatmul": &l.matmul,
	}
}

// load opens the library at path and looks up its calls, which needs no GPU.
func load(path string) (*Library, error) {
	runtime.LockOSThread() // as in driver: dlopen's reason for a failure is the thread's own
	defer runtime.UnlockOSThread()
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	l := &Library{path: path}
	var missing []string
	for name, at := range l.symbols() {
		if *at, err = purego.Dlsym(h, name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s lacks %s", path, strings.Join(missing, ", "))
	}
	return l, nil
}

// Find is the path of the first of the candidates that can be loaded, for hosts without a GPU too, and its version. It fails with
// ErrNotFound alone.
func Find(candidates []string) (path string, version int, err error) {
	for _, path := range candidates {
		if l, err := load(path); err == nil {
			return path, l.Version(), nil
		}
	}
	return "", 0, ErrNotFound
}

// Open loads the first of the candidates that is there and works on the current context of this thread. It fails with ErrNotFound.
func Open(candidates []string) (*Library, error) {
	tried := ErrNotFound
	for _, path := range candidates {
		l, err := load(path)
		if err == nil {
			err = l.start()
		}
		if err == nil {
			return l, nil
		}
		tried = fmt.Errorf("%w; %w", tried, err)
	}
	return nil, tried
}

// start makes the handle. An installed library that is newer than the driver refuses, and the next candidate is tried.
func (l *Library) start() error {
	if err := status("cublasLtCreate", call(l.create, uintptr(unsafe.Pointer(&l.handle)))); err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	return nil
}

// Close gives the handle back, on a thread whose context is that of Open.
func (l *Library) Close() error { return status("cublasLtDestroy", call(l.destroy, l.handle)) }

// Path is where the library was found.
func (l *Library) Path() string { return l.path }

// Version is the library's version: 130201 is 13.2.1.
func (l *Library) Version() int {
	v, _, _ := purego.SyscallN(l.getVersion)
	return int(v)
}

// call calls one function of the library.
//
//go:uintptrescapes
func call(fn uintptr, args ...uintptr) int32 {
	r, _, _ := purego.SyscallN(fn, args...)
	return int32(r)
}

var statuses = map[int32]string{
	1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED", 7: "CUBLAS_STATUS_INVALID_VALUE", 8: "CUBLAS_STATUS_ARCH_MISMATCH",
	11: "CUBLAS_STATUS_MAPPING_ERROR", 13: "CUBLAS_STATUS_EXECUTION_FAILED", 14: "CUBLAS_STATUS_INTERNAL_ERROR", 15: "CUBLAS_STATUS_NOT_SUPPORTED",
}

// status is a call's error, or nil.
func status(name string, code int32) error {
	if code == 0 {
		return nil
	}
	if s, ok := statuses[code]; ok {
		return fmt.Errorf("%s answers %s", name, s)
	}
	return fmt.Errorf("%s answers %d", name, code)
}
