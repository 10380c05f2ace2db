package driver

import "unsafe"

// api is the seam: the calls of libcuda that this package makes, one method a call, with C's types in Go's clothes. Handles
// are what libcuda gave out. A method does no checking and keeps no pointer after it returned. All calls below setCurrent
// need a context that is current on the calling OS thread.
type api interface {
	init() Result
	version() (int, Result)
	errorName(r Result) string
	deviceCount() (int, Result)
	deviceGet(ordinal int) (int32, Result)
	deviceName(dev int32) (string, Result)
	deviceUUID(dev int32) ([16]byte, Result)
	deviceMemory(dev int32) (int64, Result)
	deviceAttribute(attr int, dev int32) (int, Result)
	retain(dev int32) (uintptr, Result)
	release(dev int32) Result

	// setCurrent takes the handle in a slice of one that the caller keeps: a slice made for the call is on the heap.
	setCurrent(ctx []uintptr) Result
	synchronize() Result
	memInfo() (free, total int64, r Result)
	alloc(bytes int64) (Ptr, Result)
	free(p Ptr) Result
	hostAlloc(bytes int64) (unsafe.Pointer, Result)
	hostFree(p unsafe.Pointer) Result
	copyIn(dst Ptr, src unsafe.Pointer, bytes int64, s Stream) Result
	copyOut(dst unsafe.Pointer, src Ptr, bytes int64, s Stream) Result
	copy(dst, src Ptr, bytes int64, s Stream) Result
	set(dst Ptr, value byte, bytes int64, s Stream) Result

	// load loads an image that ends in a zero byte; log is the JIT's log of errors.
	load(image []byte) (module uintptr, log string, r Result)
	unload(module uintptr) Result
	function(module uintptr, name string) (uintptr, Result)
	functionAttribute(attr int, f uintptr) (int, Result)
	setFunctionAttribute(f uintptr, attr, value int) Result
	occupancy(f uintptr, block, shared int) (int, Result)
	launch(f uintptr, l Launch, args *argBlock) Result

	streamCreate() (Stream, Result)
	streamDestroy(s Stream) Result
	streamSync(s Stream) Result
	streamWait(s Stream, e Event) Result
	eventCreate() (Event, Result)
	eventDestroy(e Event) Result
	eventRecord(e Event, s Stream) Result
	eventSync(e Event) Result
	eventElapsed(a, b Event) (milliseconds float32, r Result)

	beginCapture(s Stream) Result
	endCapture(s Stream) (graph uintptr, r Result)
	instantiate(graph uintptr) (exec uintptr, r Result)
	graphLaunch(exec uintptr, s Stream) Result
	graphDestroy(graph uintptr) Result
	execDestroy(exec uintptr) Result
}

// CUdevice_attribute of cuda.h.
const (
	attrMaxThreadsPerBlock = 1
	attrClockRate          = 13 // kHz
	attrSMs                = 16
	attrIntegrated         = 18
	attrComputeMode        = 20
	attrECC                = 32
	attrPCIBus             = 33
	attrPCIDevice          = 34
	attrMemoryClockRate    = 36 // kHz
	attrBusWidth           = 37 // bits
	attrL2                 = 38
	attrMaxThreadsPerSM    = 39
	attrPCIDomain          = 50
	attrMajor              = 75
	attrMinor              = 76
	attrSharedPerSM        = 81
	attrRegistersPerSM     = 82
	attrSharedOptin        = 97
)

// CUfunction_attribute of cuda.h.
const (
	funcMaxThreads       = 0
	funcStaticShared     = 1
	funcLocalBytes       = 3
	funcRegisters        = 4
	funcBinaryVersion    = 6
	funcMaxDynamicShared = 8
)

const (
	streamNonBlocking = 1 // CU_STREAM_NON_BLOCKING: no hidden order with the default stream
	captureRelaxed    = 2 // CU_STREAM_CAPTURE_MODE_RELAXED: begin and end may come from different OS threads
	computeProhibited = 2 // CU_COMPUTEMODE_PROHIBITED
	computeExclusive  = 3 // CU_COMPUTEMODE_EXCLUSIVE_PROCESS
	jitErrorLog       = 5 // CU_JIT_ERROR_LOG_BUFFER
	jitErrorLogBytes  = 6 // CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES
)
