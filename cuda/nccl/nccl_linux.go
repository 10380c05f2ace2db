package nccl

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "nccl_linux.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"

	"lathe/cuda"
	"lathe/cuda/driver"
)

// load finds and opens the library once.
var load = sync.OnceValues(func() (version int, err error) {
	if err := find(candidates(os.Getenv), open); err != nil {
		return 0, err
	}
	var v C.int
	if r := C.lathe_nccl_version(&v); r != 0 {
		return 0, explain("ncclGetVersion", r, nil)
	}
	if v < minVersion {
		return 0, fmt.Errorf("NCCL %s is too old: %s", versionText(int(v)), install)
	}
	return int(v), nil
})

func open(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	text := C.lathe_nccl_open(name)
	if text == nil {
		return nil
	}
	message := C.GoString(text)
	if strings.HasPrefix(message, "nccl") {
		message = "it has no " + message
	}
	return errors.New(message)
}

// id names a communicator that is to be made.
type id [C.LATHE_NCCL_ID_BYTES]byte

func newID() (i id, err error) {
	if r := C.lathe_nccl_unique_id((*C.char)(unsafe.Pointer(&i[0]))); r != 0 {
		err = explain("ncclGetUniqueId", r, nil)
	}
	return i, err
}

// comm is this rank's end of a communicator.
type comm struct{ handle unsafe.Pointer }

// newComm waits for all ranks. The device's context has to be current.
func newComm(ranks int, i id, rank int) (comm, error) {
	var c comm
	if r := C.lathe_nccl_init(&c.handle, C.int(ranks), (*C.char)(unsafe.Pointer(&i[0])), C.int(rank)); r != 0 {
		return comm{}, explain("ncclCommInitRank", r, nil)
	}
	return c, nil
}

func (c comm) isNil() bool { return c.handle == nil }

// collect queues one call for each span, as one operation of NCCL's.
func (c comm) collect(name string, spans []cuda.Span, call func(s cuda.Span) C.int) error {
	if r := C.lathe_nccl_group_start(); r != 0 {
		return explain("ncclGroupStart", r, c.handle)
	}
	var first error
	for _, s := range spans {
		if r := call(s); r != 0 && first == nil {
			first = explain(name, r, c.handle)
		}
	}
	if r := C.lathe_nccl_group_end(); r != 0 && first == nil {
		first = explain("ncclGroupEnd", r, c.handle)
	}
	return first
}

func (c comm) sum(spans []cuda.Span, s driver.Stream) error {
	return c.collect("ncclAllReduce", spans, func(at cuda.Span) C.int {
		return C.lathe_nccl_sum_float32(address(uintptr(at.At)), C.size_t(at.Bytes/4), c.handle, address(uintptr(s)))
	})
}

func (c comm) broadcast(spans []cuda.Span, s driver.Stream) error {
	return c.collect("ncclBroadcast", spans, func(at cuda.Span) C.int {
		return C.lathe_nccl_broadcast_bytes(address(uintptr(at.At)), C.size_t(at.Bytes), 0, c.handle, address(uintptr(s)))
	})
}

// address is a device's address, which is no memory of Go's.
func address(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// inProgress is ncclInProgress: no error.
const inProgress = 7

// failure is what NCCL has noticed by itself.
func (c comm) failure() error {
	var e C.int
	if r := C.lathe_nccl_async_error(c.handle, &e); r != 0 {
		return explain("ncclCommGetAsyncError", r, c.handle)
	}
	if e == 0 || e == inProgress {
		return nil
	}
	return explain("NCCL", e, c.handle)
}

func (c comm) destroy() error {
	if r := C.lathe_nccl_destroy(c.handle); r != 0 {
		return explain("ncclCommDestroy", r, nil)
	}
	return nil
}

// abort ends what the communicator waits for; it cannot be used any more.
func (c comm) abort() { C.lathe_nccl_abort(c.handle) }

// explain is the error of a call: its name, NCCL's words and what to do.
func explain(call string, r C.int, handle unsafe.Pointer) error {
	text := C.GoString(C.lathe_nccl_error(r))
	if last := oneLine(C.GoString(C.lathe_nccl_last_error(handle))); last != "" && last != text {
		text += " (" + last + ")"
	}
	return fmt.Errorf("%s: %s: %s", call, text, hint(int(r)))
}
