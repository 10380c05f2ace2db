package driver

import (
	"errors"
	"fmt"
	"strings"
)

// Why a call failed, for callers that decide by it (errors.Is). Those that say so wrap a wider one.
var (
	ErrNoDriver     = errors.New("no NVIDIA driver")
	ErrTooOld       = errors.New("the NVIDIA driver is too old")
	ErrMismatch     = errors.New("the driver library does not fit its kernel module or device")
	ErrNotReady     = errors.New("the GPU system is not ready")
	ErrNoDevice     = errors.New("no CUDA device")
	ErrHidden       = fmt.Errorf("%w: hidden by CUDA_VISIBLE_DEVICES", ErrNoDevice)
	ErrPermission   = fmt.Errorf("%w: no permission on /dev/nvidia*", ErrNoDevice)
	ErrMIG          = fmt.Errorf("%w: MIG is on without an instance", ErrNoDevice)
	ErrBusy         = errors.New("the GPU is in use")
	ErrOutOfMemory  = errors.New("out of GPU memory")
	ErrJIT          = errors.New("the GPU's code could not be loaded")
	ErrNotSupported = errors.New("not supported")
	ErrInvalid      = errors.New("an invalid call") // a fault of the caller
	ErrLost         = errors.New("the GPU context is lost")
	ErrECC          = fmt.Errorf("%w: memory error", ErrLost)
)

// Error is a failed call of libcuda, or a libcuda that cannot be used.
type Error struct {
	Call   string // "cuMemAlloc", "dlopen libcuda.so.1"
	Detail string // what it was called with
	Result Result // Success where no call of libcuda failed
	Name   string // the result's name: CUDA_ERROR_OUT_OF_MEMORY
	Kind   error  // one of the errors above, or nil
	Hint   string // what is the matter and what to do
	Log    string // the JIT's log or the dynamic linker's message
}

// Error is one line: the call, its result and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Call)
	if e.Detail != "" {
		b.WriteString(" " + e.Detail)
	}
	if e.Name != "" {
		b.WriteString(": " + e.Name)
	}
	if line := jitLine(e.Log); line != "" && e.Result != Success {
		b.WriteString(" (" + line + ")")
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

// Unwrap is the kind, for errors.Is.
func (e *Error) Unwrap() error { return e.Kind }

// fail is the error of a call's result.
func (d *Driver) fail(name string, r Result) *Error {
	e := &Error{Call: name, Result: r, Name: r.String(), Kind: r.kind(), Hint: Hint(r)}
	if !r.known() {
		if n := d.api.errorName(r); n != "" {
			e.Name = n
		}
	}
	return e
}

func isLost(err error) bool { return errors.Is(err, ErrLost) }

// jitLine is the first line of the JIT's log that says what is wrong.
func jitLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for _, l := range lines {
		if strings.Contains(l, "error") || strings.Contains(l, "fatal") {
			return oneLine(l)
		}
	}
	return oneLine(lines[0])
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
