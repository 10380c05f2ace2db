//go:build gorgonia

// Package forward stands in for -lcuda, which gorgonia.org/cu links against: its calls jump into the library that the
// program opens at run time. libcuda.a beside this file is an archive without members, there only for the linker to find.
package forward

// #cgo LDFLAGS: -L${SRCDIR} -ldl
// #include "forward.h"
import "C"

// Use sends the calls of gorgonia.org/cu to an opened library, a handle of dlopen.
func Use(library uintptr) { C.forward_use(C.uintptr_t(library)) }
