//go:build gorgonia

package driver

import (
	"errors"
	"reflect"
	"runtime"
	"sync"
	"unsafe"

	"lathe/cuda/driver/internal/forward"

	"gorgonia.org/cu"
)

const backend = "gorgonia.org/cu"

// gorgonia calls libcuda through gorgonia.org/cu. What cu v0.9.6 does not offer stays with purego, in the same library:
// opening and initialising (cu does it before main and ends the process where there is no driver), the names of errors,
// UUIDs of MIG instances, setting a function's attributes, pinned host memory, and capturing and running graphs.
type gorgonia struct{ *pure }

var (
	forwarding sync.Mutex
	forwarded  uintptr // the library that cu's calls go to
)

func newAPI(path string) (api, error) {
	p, err := openPure(path)
	if err != nil {
		return nil, err
	}
	forwarding.Lock()
	defer forwarding.Unlock()
	if forwarded != 0 && forwarded != p.handle {
		return nil, errors.New("gorgonia.org/cu has another library open: one process can use one")
	}
	forwarded = p.handle
	forward.Use(p.handle)
	return gorgonia{p}, nil
}

// resultOf is the CUresult in an error of cu, whose type is an int that cu does not export.
func resultOf(err error) Result {
	if err == nil {
		return Success
	}
	if v := reflect.ValueOf(err); v.Kind() == reflect.Int {
		return Result(v.Int())
	}
	return Unknown
}

// Handles of cu are structs of one C pointer.
func cuStream(s Stream) cu.Stream      { return *(*cu.Stream)(unsafe.Pointer(&s)) }
func cuEvent(e Event) cu.Event         { return *(*cu.Event)(unsafe.Pointer(&e)) }
func cuFunction(f uintptr) cu.Function { return *(*cu.Function)(unsafe.Pointer(&f)) }
func cuModule(m uintptr) cu.Module     { return *(*cu.Module)(unsafe.Pointer(&m)) }

func handle[T cu.CUContext | cu.Module | cu.Function | cu.Stream | cu.Event](h T) uintptr {
	return *(*uintptr)(unsafe.Pointer(&h))
}

func (g gorgonia) deviceCount() (int, Result) {
	n, err := cu.NumDevices()
	return n, resultOf(err)
}

func (g gorgonia) deviceGet(ordinal int) (int32, Result) {
	d, err := cu.GetDevice(ordinal)
	return int32(d), resultOf(err)
}

func (g gorgonia) deviceName(dev int32) (string, Result) {
	s, err := cu.Device(dev).Name()
	return s, resultOf(err)
}

func (g gorgonia) deviceMemory(dev int32) (int64, Result) {
	n, err := cu.Device(dev).TotalMem()
	return n, resultOf(err)
}

func (g gorgonia) deviceAttribute(attr int, dev int32) (int, Result) {
	v, err := cu.Device(dev).Attribute(cu.DeviceAttribute(attr))
	return v, resultOf(err)
}

func (g gorgonia) retain(dev int32) (uintptr, Result) {
	ctx, err := cu.Device(dev).RetainPrimaryCtx()
	return handle(ctx), resultOf(err)
}

func (g gorgonia) release(dev int32) Result { return resultOf(cu.Device(dev).ReleasePrimaryCtx()) }

func (g gorgonia) setCurrent(ctx []uintptr) Result {
	return resultOf(cu.SetCurrentContext(*(*cu.CUContext)(unsafe.Pointer(&ctx[0]))))
}

func (g gorgonia) synchronize() Result { return resultOf(cu.Synchronize()) }

func (g gorgonia) memInfo() (free, total int64, r Result) {
	free, total, err := cu.MemInfo()
	return free, total, resultOf(err)
}

func (g gorgonia) alloc(bytes int64) (Ptr, Result) {
	p, err := cu.MemAlloc(bytes)
	return Ptr(p), resultOf(err)
}

func (g gorgonia) free(p Ptr) Result { return resultOf(cu.MemFree(cu.DevicePtr(p))) }

func (g gorgonia) copyIn(dst Ptr, src unsafe.Pointer, bytes int64, s Stream) Result {
	return resultOf(cu.MemcpyHtoDAsync(cu.DevicePtr(dst), src, bytes, cuStream(s)))
}

func (g gorgonia) copyOut(dst unsafe.Pointer, src Ptr, bytes int64, s Stream) Result {
	return resultOf(cu.MemcpyDtoHAsync(dst, cu.DevicePtr(src), bytes, cuStream(s)))
}

func (g gorgonia) copy(dst, src Ptr, bytes int64, s Stream) Result {
	return resultOf(cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), bytes, cuStream(s)))
}

func (g gorgonia) set(dst Ptr, value byte, bytes int64, s Stream) Result {
	return resultOf(cu.MemsetD8Async(cu.DevicePtr(dst), value, bytes, cuStream(s)))
}

func (g gorgonia) load(image []byte) (uintptr, string, Result) {
	log := &cu.JITErrorLogBuffer{Buffer: make([]byte, 16<<10)}
	m, err := cu.LoadDataEx(string(image), log)
	text := cString(log.Buffer)
	runtime.KeepAlive(log)
	return handle(m), text, resultOf(err)
}

func (g gorgonia) unload(module uintptr) Result { return resultOf(cuModule(module).Unload()) }

func (g gorgonia) function(module uintptr, name string) (uintptr, Result) {
	f, err := cuModule(module).Function(name)
	return handle(f), resultOf(err)
}

func (g gorgonia) functionAttribute(attr int, f uintptr) (int, Result) {
	v, err := cuFunction(f).Attribute(cu.FunctionAttribute(attr))
	return v, resultOf(err)
}

func (g gorgonia) occupancy(f uintptr, block, shared int) (int, Result) {
	n, err := cuFunction(f).MaxActiveBlocksPerMultiProcessor(block, int64(shared))
	return n, resultOf(err)
}

func (g gorgonia) launch(f uintptr, l Launch, args *argBlock) Result {
	return resultOf(cuFunction(f).Launch(l.Grid[0], l.Grid[1], l.Grid[2], l.Block[0], l.Block[1], l.Block[2],
		l.Shared, cuStream(l.Stream), args.params[:args.n]))
}

func (g gorgonia) streamCreate() (Stream, Result) {
	s, err := cu.MakeStream(cu.NonBlocking)
	return Stream(handle(s)), resultOf(err)
}

func (g gorgonia) streamDestroy(s Stream) Result {
	h := cuStream(s)
	return resultOf(h.Destroy())
}

func (g gorgonia) streamSync(s Stream) Result { return resultOf(cuStream(s).Synchronize()) }

func (g gorgonia) streamWait(s Stream, e Event) Result {
	return resultOf(cuStream(s).Wait(cuEvent(e), 0))
}

func (g gorgonia) eventCreate() (Event, Result) {
	e, err := cu.MakeEvent(cu.DefaultEvent)
	return Event(handle(e)), resultOf(err)
}

func (g gorgonia) eventDestroy(e Event) Result {
	h := cuEvent(e)
	return resultOf(cu.DestroyEvent(&h))
}

func (g gorgonia) eventRecord(e Event, s Stream) Result {
	return resultOf(cuEvent(e).Record(cuStream(s)))
}

func (g gorgonia) eventSync(e Event) Result { return resultOf(cuEvent(e).Synchronize()) }

func (g gorgonia) eventElapsed(a, b Event) (float32, Result) {
	ms, err := cuEvent(a).Elapsed(cuEvent(b))
	return float32(ms), resultOf(err)
}
