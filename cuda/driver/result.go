package driver

import "fmt"

// Result is a CUresult.
type Result int32

// The results that this package and its callers name; String knows all of cuda.h 13.0.
const (
	Success            Result = 0
	InvalidValue       Result = 1
	OutOfMemory        Result = 2
	NotInitialized     Result = 3
	Deinitialized      Result = 4
	StubLibrary        Result = 34
	NewerDriver        Result = 36
	DeviceUnavailable  Result = 46
	NoDevice           Result = 100
	InvalidDevice      Result = 101
	InvalidImage       Result = 200
	InvalidContext     Result = 201
	NoBinaryForGPU     Result = 209
	ECCUncorrectable   Result = 214
	InvalidPTX         Result = 218
	JITNotFound        Result = 221
	UnsupportedPTX     Result = 222
	JITDisabled        Result = 223
	OperatingSystem    Result = 304
	InvalidHandle      Result = 400
	NotFound           Result = 500
	NotReady           Result = 600
	IllegalAddress     Result = 700
	OutOfResources     Result = 701
	LaunchTimeout      Result = 702
	ContextIsDestroyed Result = 709
	MisalignedAddress  Result = 716
	LaunchFailed       Result = 719
	NotPermitted       Result = 800
	NotSupported       Result = 801
	SystemNotReady     Result = 802
	SystemMismatch     Result = 803
	CompatNotSupported Result = 804
	CaptureUnsupported Result = 900
	CaptureInvalidated Result = 901
	Unknown            Result = 999
)

// String is the name that cuGetErrorName gives: CUDA_ERROR_OUT_OF_MEMORY.
func (r Result) String() string {
	if n, ok := resultNames[r]; ok {
		return n
	}
	return fmt.Sprintf("CUresult %d", int32(r))
}

func (r Result) known() bool { _, ok := resultNames[r]; return ok }

func (r Result) kind() error { return hints[r].kind }

// Hint says what a result means for the user and what to do. It is empty only for Success.
func Hint(r Result) string {
	switch h := hints[r]; {
	case h.text != "":
		return h.text
	case r == Success:
		return ""
	default:
		return "an unexpected answer of the driver: look for Xid lines in dmesg, and report it with this line"
	}
}

const (
	restart = "the GPU context is lost: restart, and the run goes on from its last checkpoint"
	locate  = " (CUDA_LAUNCH_BLOCKING=1 names the kernel, compute-sanitizer the address)"
	fault   = "a fault in this program, please report it with this line"
)

// hints tells, for each result that can be expected, its kind and what to do.
var hints = map[Result]struct {
	kind error
	text string
}{
	InvalidValue:      {ErrInvalid, fault},
	OutOfMemory:       {ErrOutOfMemory, "the GPU's memory is full: take a shorter sequence, a smaller batch or 4-bit weights, or end what else uses it (nvidia-smi lists it)"},
	NotInitialized:    {ErrNotReady, "the driver is not initialised or is shutting down: restart; if it stays, reload the nvidia kernel module"},
	Deinitialized:     {ErrNotReady, "the driver is shutting down with this process"},
	StubLibrary:       {ErrMismatch, "this libcuda is the toolkit's stub for linking, not a driver: take .../stubs out of LD_LIBRARY_PATH; in a container, start it with --gpus all"},
	NewerDriver:       {ErrTooOld, "the call needs a newer NVIDIA driver: install driver 550 or later and reboot"},
	DeviceUnavailable: {ErrBusy, "another process holds the GPU exclusively (nvidia-smi shows which): end it, choose another with CUDA_VISIBLE_DEVICES, or share it with nvidia-smi -c DEFAULT"},
	NoDevice:          {ErrNoDevice, "the driver finds no GPU: nvidia-smi should list one"},
	InvalidDevice:     {ErrNoDevice, "there is no such device: nvidia-smi -L lists them, CUDA_VISIBLE_DEVICES renumbers them from 0"},
	102:               {ErrNoDevice, "the virtual GPU has no licence: check nvidia-smi -q | grep -i licen"},

	InvalidImage:       {ErrJIT, "the kernels' code is damaged: reinstall this program"},
	InvalidContext:     {ErrInvalid, "no context is current, " + fault},
	ContextIsDestroyed: {ErrInvalid, "the device was closed"},
	NoBinaryForGPU:     {ErrJIT, "the kernels have no code for this GPU: they need compute capability 8.0 (Ampere) or later"},
	InvalidPTX:         {ErrJIT, "the driver's compiler refuses the kernels: they need compute capability 8.0 (Ampere) or later and driver 550 or later"},
	JITNotFound:        {ErrJIT, "libnvidia-ptxjitcompiler.so.1 is missing beside libcuda: reinstall the NVIDIA driver (in a container, NVIDIA_DRIVER_CAPABILITIES=compute,utility)"},
	UnsupportedPTX:     {ErrJIT, "the driver is older than the kernels' PTX: install driver 550 or later and reboot"},
	JITDisabled:        {ErrJIT, "compiling PTX is switched off: unset CUDA_DISABLE_PTX_JIT"},
	300:                {ErrJIT, "the kernels' code is damaged: reinstall this program"},
	InvalidHandle:      {ErrInvalid, fault},
	NotFound:           {ErrInvalid, "the library or the module has no such name: the kernels and this program are of different versions; reinstall it"},
	NotReady:           {nil, "the work has not finished yet"},
	OutOfResources:     {ErrInvalid, "the kernel takes more registers or shared memory than the GPU has, " + fault},

	ECCUncorrectable:  {ErrECC, "the GPU's memory has an uncorrectable error: restart from the last checkpoint; if it returns, reset the GPU (nvidia-smi -r) and have it checked (nvidia-smi -q -d ECC)"},
	220:               {ErrLost, "an NVLink failed: restart from the last checkpoint; nvidia-smi nvlink -e counts the errors"},
	226:               {ErrLost, restart},
	IllegalAddress:    {ErrLost, "a kernel used an address that is not its own; " + restart + locate},
	LaunchTimeout:     {ErrLost, "a kernel ran longer than the display lets it; " + restart + ", on a GPU without a screen"},
	710:               {ErrLost, "a kernel's assertion failed; " + restart + locate},
	714:               {ErrLost, "a kernel's stack failed; " + restart + locate},
	715:               {ErrLost, "a kernel ran an illegal instruction; " + restart + locate},
	MisalignedAddress: {ErrLost, "a kernel used a misaligned address; " + restart + locate},
	717:               {ErrLost, "a kernel used an address of the wrong memory; " + restart + locate},
	718:               {ErrLost, "a kernel's program counter failed; " + restart + locate},
	LaunchFailed:      {ErrLost, "a kernel failed, or the GPU fell off the bus (dmesg | grep Xid tells); " + restart + locate},
	721:               {ErrLost, "a kernel left tensor memory allocated; " + restart},

	OperatingSystem:    {ErrNotReady, "the operating system refused the driver: check nvidia-smi, and dmesg for NVRM lines"},
	NotPermitted:       {ErrInvalid, "not allowed now, " + fault},
	NotSupported:       {ErrNotSupported, "this driver or device does not offer the call"},
	SystemNotReady:     {ErrNotReady, "the GPUs' fabric is not up: start it with systemctl start nvidia-fabricmanager, of the driver's own version, and look at nvidia-smi -q | grep -A2 Fabric"},
	SystemMismatch:     {ErrMismatch, "libcuda and the loaded kernel module are of different versions: reboot after the driver's update; in a container, take cuda-compat out of LD_LIBRARY_PATH or update the host's driver"},
	CompatNotSupported: {ErrMismatch, "this GPU does not take the cuda-compat library: take it out of LD_LIBRARY_PATH, or update the host's driver"},
	805:                {ErrNotReady, "the MPS daemon does not answer: restart it (nvidia-cuda-mps-control -d), or unset CUDA_MPS_PIPE_DIRECTORY"},
	806:                {ErrNotReady, "the MPS daemon failed: restart it (nvidia-cuda-mps-control -d)"},
	807:                {ErrNotReady, "the MPS server restarts: try again in a few seconds"},
	808:                {ErrBusy, "the MPS server has all the clients it takes: end one"},
	809:                {ErrBusy, "the MPS server has all the connections it takes: end a client"},
	810:                {ErrLost, "the MPS server ended this client, since another one failed; restart from the last checkpoint"},

	CaptureUnsupported: {ErrInvalid, "the default stream cannot be captured, nor a call that waits, " + fault},
	CaptureInvalidated: {ErrInvalid, "an earlier call ended the capture, " + fault},
	Unknown:            {ErrNotReady, "the driver failed without saying why: check that nvidia-smi works, reload the nvidia_uvm kernel module (after a suspend it may be stuck) or reboot"},
}
