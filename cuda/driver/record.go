package driver

import (
	"bytes"
	"slices"
	"unsafe"
)

// Call is work that a context was asked for: a kernel's launch, or a fill ("memset") or copy ("memcpy", within the device) of memory.
type Call struct {
	Kernel string
	Launch Launch
	Args   []uint64 // a launch's arguments as libcuda gets them; where a fill or a copy goes, and where a copy comes from
	Bytes  int64    // of a fill or a copy
}

// NewRecorder is a context without a GPU, which tells each call instead of doing it. Memory is addresses without storage: what is
// read back is 0xff. A kernel that its module's PTX has not is an error, as everywhere.
func NewRecorder(info Info, tell func(Call)) *Context {
	r := &recorder{info: info, tell: tell, next: 1 << 32}
	return &Context{d: &Driver{api: r, path: "recorder", version: MinVersion, host: thisHost}, api: r, info: info, handle: []uintptr{1}}
}

// recorder is the api of NewRecorder. Handles count from 1.
type recorder struct {
	info    Info
	tell    func(Call)
	next    Ptr
	images  [][]byte
	kernels []string
	pinned  [][]byte
}

const recorderAlign = 256

func (r *recorder) alloc(n int64) (Ptr, Result) {
	p := r.next
	r.next += Ptr((n + recorderAlign - 1) / recorderAlign * recorderAlign)
	return p, Success
}

func (r *recorder) hostAlloc(n int64) (unsafe.Pointer, Result) {
	b := make([]byte, n)
	r.pinned = append(r.pinned, b)
	return unsafe.Pointer(&b[0]), Success
}

func (r *recorder) copyOut(dst unsafe.Pointer, _ Ptr, n int64, _ Stream) Result {
	for i := range unsafe.Slice((*byte)(dst), n) {
		*(*byte)(unsafe.Add(dst, i)) = 0xff
	}
	return Success
}

func (r *recorder) copy(dst, src Ptr, n int64, _ Stream) Result {
	r.tell(Call{Kernel: "memcpy", Args: []uint64{uint64(dst), uint64(src)}, Bytes: n})
	return Success
}

func (r *recorder) set(dst Ptr, _ byte, n int64, _ Stream) Result {
	r.tell(Call{Kernel: "memset", Args: []uint64{uint64(dst)}, Bytes: n})
	return Success
}

func (r *recorder) load(image []byte) (module uintptr, log string, res Result) {
	r.images = append(r.images, image)
	return uintptr(len(r.images)), "", Success
}

func (r *recorder) function(module uintptr, name string) (uintptr, Result) {
	if !bytes.Contains(r.images[module-1], []byte(".entry "+name+"(")) {
		return 0, NotFound
	}
	r.kernels = append(r.kernels, name)
	return uintptr(len(r.kernels)), Success
}

func (r *recorder) launch(f uintptr, l Launch, args *argBlock) Result {
	r.tell(Call{Kernel: r.kernels[f-1], Launch: l, Args: slices.Clone(args.values[:args.n])})
	return Success
}

func (r *recorder) memInfo() (free, total int64, res Result) {
	return r.info.Memory, r.info.Memory, Success
}

func (r *recorder) deviceName(int32) (string, Result)  { return r.info.Name, Success }
func (r *recorder) deviceMemory(int32) (int64, Result) { return r.info.Memory, Success }

// The rest does nothing, and succeeds.

func (*recorder) init() Result                                       { return Success }
func (*recorder) version() (int, Result)                             { return MinVersion, Success }
func (*recorder) errorName(Result) string                            { return "" }
func (*recorder) deviceCount() (int, Result)                         { return 1, Success }
func (*recorder) deviceGet(int) (int32, Result)                      { return 0, Success }
func (*recorder) deviceUUID(int32) ([16]byte, Result)                { return [16]byte{}, Success }
func (*recorder) deviceAttribute(int, int32) (int, Result)           { return 0, Success }
func (*recorder) retain(int32) (uintptr, Result)                     { return 1, Success }
func (*recorder) release(int32) Result                               { return Success }
func (*recorder) setCurrent([]uintptr) Result                        { return Success }
func (*recorder) synchronize() Result                                { return Success }
func (*recorder) free(Ptr) Result                                    { return Success }
func (*recorder) hostFree(unsafe.Pointer) Result                     { return Success }
func (*recorder) copyIn(Ptr, unsafe.Pointer, int64, Stream) Result   { return Success }
func (*recorder) unload(uintptr) Result                              { return Success }
func (*recorder) functionAttribute(int, uintptr) (int, Result)       { return 0, Success }
func (*recorder) setFunctionAttribute(uintptr, int, int) Result      { return Success }
func (*recorder) occupancy(uintptr, int, int) (int, Result)          { return 0, Success }
func (*recorder) streamCreate() (Stream, Result)                     { return 1, Success }
func (*recorder) streamDestroy(Stream) Result                        { return Success }
func (*recorder) streamSync(Stream) Result                           { return Success }
func (*recorder) streamWait(Stream, Event) Result                    { return Success }
func (*recorder) eventCreate() (Event, Result)                       { return 1, Success }
func (*recorder) eventDestroy(Event) Result                          { return Success }
func (*recorder) eventRecord(Event, Stream) Result                   { return Success }
func (*recorder) eventSync(Event) Result                             { return Success }
func (*recorder) eventElapsed(Event, Event) (ms float32, res Result) { return 0, Success }
func (*recorder) beginCapture(Stream) Result                         { return Success }
func (*recorder) endCapture(Stream) (graph uintptr, res Result)      { return 1, Success }
func (*recorder) instantiate(uintptr) (exec uintptr, res Result)     { return 1, Success }
func (*recorder) graphLaunch(uintptr, Stream) Result                 { return Success }
func (*recorder) graphDestroy(uintptr) Result                        { return Success }
func (*recorder) execDestroy(uintptr) Result                         { return Success }

var _ api = (*recorder)(nil)
