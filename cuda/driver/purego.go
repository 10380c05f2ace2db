package driver

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// pure calls libcuda through purego's SyscallN: no cgo, no header, nothing to link.
//
// A pointer becomes a uintptr only inside the argument list of call, which is marked go:uintptrescapes: the compiler then
// puts what it points to on the heap, where Go moves nothing, and keeps it alive for the call. Converted one line earlier,
// it would point into the goroutine's old stack after the stack has grown.
type pure struct {
	handle uintptr

	cuInit, cuDriverGetVersion, cuGetErrorName                                          uintptr
	cuDeviceGetCount, cuDeviceGet, cuDeviceGetName, cuDeviceGetUuid, cuDeviceTotalMem   uintptr
	cuDeviceGetAttribute, cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRelease           uintptr
	cuCtxSetCurrent, cuCtxSynchronize                                                   uintptr
	cuMemGetInfo, cuMemAlloc, cuMemFree, cuMemHostAlloc, cuMemFreeHost                  uintptr
	cuMemcpyHtoDAsync, cuMemcpyDtoHAsync, cuMemcpyDtoDAsync, cuMemsetD8Async            uintptr
	cuModuleLoadDataEx, cuModuleLoadData, cuModuleUnload, cuModuleGetFunction           uintptr
	cuFuncGetAttribute, cuFuncSetAttribute, cuOccupancyMaxActiveBlocksPerMultiprocessor uintptr
	cuLaunchKernel                                                                      uintptr
	cuStreamCreate, cuStreamDestroy, cuStreamSynchronize, cuStreamWaitEvent             uintptr
	cuEventCreate, cuEventDestroy, cuEventRecord, cuEventSynchronize                    uintptr
	cuEventElapsedTime                                                                  uintptr
	cuStreamBeginCapture, cuStreamEndCapture, cuGraphInstantiateWithFlags               uintptr
	cuGraphLaunch, cuGraphExecDestroy, cuGraphDestroy                                   uintptr
}

// symbol is one exported name of libcuda, with the suffix that cuda.h gives it, and the field it goes to.
type symbol struct {
	name     string
	at       *uintptr
	optional bool // a call that the trainer can do without: it answers CUDA_ERROR_NOT_SUPPORTED
}

func (p *pure) symbols() []symbol {
	return []symbol{
		{"cuInit", &p.cuInit, false},
		{"cuDriverGetVersion", &p.cuDriverGetVersion, false},
		{"cuGetErrorName", &p.cuGetErrorName, true},
		{"cuDeviceGetCount", &p.cuDeviceGetCount, false},
		{"cuDeviceGet", &p.cuDeviceGet, false},
		{"cuDeviceGetName", &p.cuDeviceGetName, false},
		{"cuDeviceGetUuid_v2", &p.cuDeviceGetUuid, true},
		{"cuDeviceTotalMem_v2", &p.cuDeviceTotalMem, false},
		{"cuDeviceGetAttribute", &p.cuDeviceGetAttribute, false},
		{"cuDevicePrimaryCtxRetain", &p.cuDevicePrimaryCtxRetain, false},
		{"cuDevicePrimaryCtxRelease_v2", &p.cuDevicePrimaryCtxRelease, false},
		{"cuCtxSetCurrent", &p.cuCtxSetCurrent, false},
		{"cuCtxSynchronize", &p.cuCtxSynchronize, false},
		{"cuMemGetInfo_v2", &p.cuMemGetInfo, false},
		{"cuMemAlloc_v2", &p.cuMemAlloc, false},
		{"cuMemFree_v2", &p.cuMemFree, false},
		{"cuMemHostAlloc", &p.cuMemHostAlloc, true},
		{"cuMemFreeHost", &p.cuMemFreeHost, true},
		{"cuMemcpyHtoDAsync_v2", &p.cuMemcpyHtoDAsync, false},
		{"cuMemcpyDtoHAsync_v2", &p.cuMemcpyDtoHAsync, false},
		{"cuMemcpyDtoDAsync_v2", &p.cuMemcpyDtoDAsync, false},
		{"cuMemsetD8Async", &p.cuMemsetD8Async, false},
		{"cuModuleLoadDataEx", &p.cuModuleLoadDataEx, true},
		{"cuModuleLoadData", &p.cuModuleLoadData, false},
		{"cuModuleUnload", &p.cuModuleUnload, false},
		{"cuModuleGetFunction", &p.cuModuleGetFunction, false},
		{"cuFuncGetAttribute", &p.cuFuncGetAttribute, true},
		{"cuFuncSetAttribute", &p.cuFuncSetAttribute, false},
		{"cuOccupancyMaxActiveBlocksPerMultiprocessor", &p.cuOccupancyMaxActiveBlocksPerMultiprocessor, true},
		{"cuLaunchKernel", &p.cuLaunchKernel, false},
		{"cuStreamCreate", &p.cuStreamCreate, false},
		{"cuStreamDestroy_v2", &p.cuStreamDestroy, false},
		{"cuStreamSynchronize", &p.cuStreamSynchronize, false},
		{"cuStreamWaitEvent", &p.cuStreamWaitEvent, false},
		{"cuEventCreate", &p.cuEventCreate, false},
		{"cuEventDestroy_v2", &p.cuEventDestroy, false},
		{"cuEventRecord", &p.cuEventRecord, false},
		{"cuEventSynchronize", &p.cuEventSynchronize, false},
		{"cuEventElapsedTime", &p.cuEventElapsedTime, false},
		{"cuStreamBeginCapture_v2", &p.cuStreamBeginCapture, true},
		{"cuStreamEndCapture", &p.cuStreamEndCapture, true},
		{"cuGraphInstantiateWithFlags", &p.cuGraphInstantiateWithFlags, true},
		{"cuGraphLaunch", &p.cuGraphLaunch, true},
		{"cuGraphExecDestroy", &p.cuGraphExecDestroy, true},
		{"cuGraphDestroy", &p.cuGraphDestroy, true},
	}
}

// openPure loads the library at path and looks up its calls.
func openPure(path string) (*pure, error) {
	runtime.LockOSThread() // dlopen's reason for a failure is asked for in a second call, and is the thread's own
	defer runtime.UnlockOSThread()
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	p := &pure{handle: handle}
	var missing []string
	for _, s := range p.symbols() {
		at, err := purego.Dlsym(handle, s.name)
		if err != nil && !s.optional {
			missing = append(missing, s.name)
		}
		*s.at = at
	}
	// A driver older than the calls is told by its version, which says more than the names do.
	if v, r := p.version(); len(missing) > 0 && (r != Success || v >= MinVersion) {
		return nil, fmt.Errorf("it lacks %s", strings.Join(missing, ", "))
	}
	return p, nil
}

// call calls one function of libcuda; a call that the library does not have is not supported.
//
//go:uintptrescapes
func call(fn uintptr, args ...uintptr) Result {
	if fn == 0 {
		return NotSupported
	}
	r, _, _ := purego.SyscallN(fn, args...)
	return Result(int32(r))
}

func (p *pure) init() Result { return call(p.cuInit, 0) }

func (p *pure) version() (int, Result) {
	var v int32
	r := call(p.cuDriverGetVersion, uintptr(unsafe.Pointer(&v)))
	return int(v), r
}

func (p *pure) errorName(code Result) string {
	var s *byte
	if call(p.cuGetErrorName, uintptr(code), uintptr(unsafe.Pointer(&s))) != Success || s == nil {
		return ""
	}
	return cString(unsafe.Slice(s, 256))
}

func (p *pure) deviceCount() (int, Result) {
	var n int32
	r := call(p.cuDeviceGetCount, uintptr(unsafe.Pointer(&n)))
	return int(n), r
}

func (p *pure) deviceGet(ordinal int) (int32, Result) {
	var dev int32
	r := call(p.cuDeviceGet, uintptr(unsafe.Pointer(&dev)), uintptr(ordinal))
	return dev, r
}

func (p *pure) deviceName(dev int32) (string, Result) {
	var b [256]byte
	r := call(p.cuDeviceGetName, uintptr(unsafe.Pointer(&b)), unsafe.Sizeof(b), uintptr(dev))
	return cString(b[:]), r
}

func (p *pure) deviceUUID(dev int32) ([16]byte, Result) {
	var b [16]byte
	r := call(p.cuDeviceGetUuid, uintptr(unsafe.Pointer(&b)), uintptr(dev))
	return b, r
}

func (p *pure) deviceMemory(dev int32) (int64, Result) {
	var n uint64
	r := call(p.cuDeviceTotalMem, uintptr(unsafe.Pointer(&n)), uintptr(dev))
	return int64(n), r
}

func (p *pure) deviceAttribute(attr int, dev int32) (int, Result) {
	var v int32
	r := call(p.cuDeviceGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(attr), uintptr(dev))
	return int(v), r
}

func (p *pure) retain(dev int32) (uintptr, Result) {
	var ctx uintptr
	r := call(p.cuDevicePrimaryCtxRetain, uintptr(unsafe.Pointer(&ctx)), uintptr(dev))
	return ctx, r
}

func (p *pure) release(dev int32) Result { return call(p.cuDevicePrimaryCtxRelease, uintptr(dev)) }

func (p *pure) setCurrent(ctx []uintptr) Result {
	r, _, _ := purego.SyscallN(p.cuCtxSetCurrent, ctx...)
	return Result(int32(r))
}

func (p *pure) synchronize() Result { return call(p.cuCtxSynchronize) }

func (p *pure) memInfo() (free, total int64, r Result) {
	var f, t uint64
	r = call(p.cuMemGetInfo, uintptr(unsafe.Pointer(&f)), uintptr(unsafe.Pointer(&t)))
	return int64(f), int64(t), r
}

func (p *pure) alloc(bytes int64) (Ptr, Result) {
	var at Ptr
	r := call(p.cuMemAlloc, uintptr(unsafe.Pointer(&at)), uintptr(bytes))
	return at, r
}

func (p *pure) free(at Ptr) Result { return call(p.cuMemFree, uintptr(at)) }

func (p *pure) hostAlloc(bytes int64) (unsafe.Pointer, Result) {
	var at unsafe.Pointer
	r := call(p.cuMemHostAlloc, uintptr(unsafe.Pointer(&at)), uintptr(bytes), 0)
	return at, r
}

func (p *pure) hostFree(at unsafe.Pointer) Result { return call(p.cuMemFreeHost, uintptr(at)) }

func (p *pure) copyIn(dst Ptr, src unsafe.Pointer, bytes int64, s Stream) Result {
	return call(p.cuMemcpyHtoDAsync, uintptr(dst), uintptr(src), uintptr(bytes), uintptr(s))
}

func (p *pure) copyOut(dst unsafe.Pointer, src Ptr, bytes int64, s Stream) Result {
	return call(p.cuMemcpyDtoHAsync, uintptr(dst), uintptr(src), uintptr(bytes), uintptr(s))
}

func (p *pure) copy(dst, src Ptr, bytes int64, s Stream) Result {
	return call(p.cuMemcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(bytes), uintptr(s))
}

func (p *pure) set(dst Ptr, value byte, bytes int64, s Stream) Result {
	return call(p.cuMemsetD8Async, uintptr(dst), uintptr(value), uintptr(bytes), uintptr(s))
}

func (p *pure) load(image []byte) (uintptr, string, Result) {
	var module uintptr
	if p.cuModuleLoadDataEx == 0 {
		r := call(p.cuModuleLoadData, uintptr(unsafe.Pointer(&module)), uintptr(unsafe.Pointer(&image[0])))
		return module, "", r
	}
	log := make([]byte, 16<<10)
	var pin runtime.Pinner // the log's address travels inside values, where the compiler does not see it
	defer pin.Unpin()
	pin.Pin(&log[0])
	options := [2]int32{jitErrorLog, jitErrorLogBytes}
	values := [2]uintptr{uintptr(unsafe.Pointer(&log[0])), uintptr(len(log))}
	r := call(p.cuModuleLoadDataEx, uintptr(unsafe.Pointer(&module)), uintptr(unsafe.Pointer(&image[0])),
		uintptr(len(options)), uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&values)))
	return module, cString(log), r
}

func (p *pure) unload(module uintptr) Result { return call(p.cuModuleUnload, module) }

func (p *pure) function(module uintptr, name string) (uintptr, Result) {
	var f uintptr
	c := append([]byte(name), 0)
	r := call(p.cuModuleGetFunction, uintptr(unsafe.Pointer(&f)), module, uintptr(unsafe.Pointer(&c[0])))
	return f, r
}

func (p *pure) functionAttribute(attr int, f uintptr) (int, Result) {
	var v int32
	r := call(p.cuFuncGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(attr), f)
	return int(v), r
}

func (p *pure) setFunctionAttribute(f uintptr, attr, value int) Result {
	return call(p.cuFuncSetAttribute, f, uintptr(attr), uintptr(value))
}

func (p *pure) occupancy(f uintptr, block, shared int) (int, Result) {
	var n int32
	r := call(p.cuOccupancyMaxActiveBlocksPerMultiprocessor, uintptr(unsafe.Pointer(&n)), f, uintptr(block), uintptr(shared))
	return int(n), r
}

func (p *pure) launch(f uintptr, l Launch, args *argBlock) Result {
	args.frame = [11]uintptr{
		f, uintptr(l.Grid[0]), uintptr(l.Grid[1]), uintptr(l.Grid[2]),
		uintptr(l.Block[0]), uintptr(l.Block[1]), uintptr(l.Block[2]), uintptr(l.Shared), uintptr(l.Stream),
		uintptr(unsafe.Pointer(unsafe.SliceData(args.params))),
	}
	r, _, _ := purego.SyscallN(p.cuLaunchKernel, args.frame[:]...)
	runtime.KeepAlive(args)
	return Result(int32(r))
}

func (p *pure) streamCreate() (Stream, Result) {
	var s Stream
	r := call(p.cuStreamCreate, uintptr(unsafe.Pointer(&s)), streamNonBlocking)
	return s, r
}

func (p *pure) streamDestroy(s Stream) Result { return call(p.cuStreamDestroy, uintptr(s)) }
func (p *pure) streamSync(s Stream) Result    { return call(p.cuStreamSynchronize, uintptr(s)) }

func (p *pure) streamWait(s Stream, e Event) Result {
	return call(p.cuStreamWaitEvent, uintptr(s), uintptr(e), 0)
}

func (p *pure) eventCreate() (Event, Result) {
	var e Event
	r := call(p.cuEventCreate, uintptr(unsafe.Pointer(&e)), 0)
	return e, r
}

func (p *pure) eventDestroy(e Event) Result { return call(p.cuEventDestroy, uintptr(e)) }
func (p *pure) eventRecord(e Event, s Stream) Result {
	return call(p.cuEventRecord, uintptr(e), uintptr(s))
}

func (p *pure) eventSync(e Event) Result { return call(p.cuEventSynchronize, uintptr(e)) }

func (p *pure) eventElapsed(a, b Event) (float32, Result) {
	var ms float32
	r := call(p.cuEventElapsedTime, uintptr(unsafe.Pointer(&ms)), uintptr(a), uintptr(b))
	return ms, r
}

func (p *pure) beginCapture(s Stream) Result {
	return call(p.cuStreamBeginCapture, uintptr(s), captureRelaxed)
}

func (p *pure) endCapture(s Stream) (uintptr, Result) {
	var graph uintptr
	r := call(p.cuStreamEndCapture, uintptr(s), uintptr(unsafe.Pointer(&graph)))
	return graph, r
}

func (p *pure) instantiate(graph uintptr) (uintptr, Result) {
	var exec uintptr
	r := call(p.cuGraphInstantiateWithFlags, uintptr(unsafe.Pointer(&exec)), graph, 0)
	return exec, r
}

func (p *pure) graphLaunch(exec uintptr, s Stream) Result {
	return call(p.cuGraphLaunch, exec, uintptr(s))
}

func (p *pure) graphDestroy(graph uintptr) Result { return call(p.cuGraphDestroy, graph) }
func (p *pure) execDestroy(exec uintptr) Result   { return call(p.cuGraphExecDestroy, exec) }

// cString is a C string in a buffer, up to its zero byte.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
