// Package compute is the border between the model and the machine: a [Device] owns memory ([Buffer]) and runs about
// thirty coarse operations, forward and backward. The model never touches an element; a device never knows a layer.
//
// # Layout
//
// Matrices are row-major. A batch holds N tokens of several sequences one after the other, without padding; the
// sequences' borders are given where an operation needs them ([Span], as flash-attention's cu_seqlens). Activations are
// therefore [N,C] (or [N,H,D] for heads), never [B,T,C].
//
// # Errors
//
// Operations return nothing. The first error (a shape that does not fit, a launch that failed) sticks, as in
// bufio.Writer; later operations do nothing, and [Device.Sync] returns the error. So a forward pass reads like the
// formula it implements. Only a programming error (a slice out of range) panics.
//
// # Determinism
//
// Same inputs, same device, same tier: same bits, whatever the number of threads. No operation adds floats in an order
// that depends on timing.
package compute

import "fmt"

// DType is the type of a buffer's elements.
type DType uint8

// The element types. Gradients, norms and optimiser states are F32; weights may be any float type.
const (
	F32 DType = iota
	BF16
	F16
	I32
	U8
)

var dtypes = [...]struct {
	name string
	size int
}{F32: {"float32", 4}, BF16: {"bfloat16", 2}, F16: {"float16", 2}, I32: {"int32", 4}, U8: {"uint8", 1}}

// Size is the number of bytes of one element.
func (t DType) Size() int { return dtypes[t].size }

// String is PyTorch's name of the type.
func (t DType) String() string {
	if int(t) >= len(dtypes) {
		return fmt.Sprintf("dtype(%d)", uint8(t))
	}
	return dtypes[t].name
}

// Buffer is a run of elements in a device's memory. A view shares its memory; only the buffer that Alloc returned owns
// it. A buffer must not be used with another device.
type Buffer interface {
	DType() DType
	// Len is the number of elements.
	Len() int
	// Slice views n elements from off on; it panics beyond the end.
	Slice(off, n int) Buffer
	// As views the same bytes as another type; it panics where the bytes do not divide evenly.
	As(DType) Buffer
	// Free gives the memory back to the device. Freeing a view does nothing.
	Free()
}

// Info says what a device is.
type Info struct {
	// Name is the processor's or the GPU's own name.
	Name string `json:"name"`
	// Kind is "cpu", "cuda" or "dry".
	Kind string `json:"kind"`
	// Tier names the set of kernels in use: "amx", "avx2", "plain", "sm_90".
	Tier string `json:"tier"`
	// Threads is the number of CPU threads used, 0 for a GPU.
	Threads int `json:"threads,omitempty"`
	// Note is what a user should know about why it is this device, empty for nothing.
	Note string `json:"note,omitempty"`
	// GPUs names the GPUs it computes on, by UUID or PCI bus id: what NVML knows them by. None for the CPU.
	GPUs []string `json:"gpus,omitempty"`
	// MemoryTotal and MemoryFree are in bytes.
	MemoryTotal int64 `json:"memory_total"`
	MemoryFree  int64 `json:"memory_free"`
	// WorkspaceHeld is what operations so far have left the device holding, in bytes: later ones use it again.
	WorkspaceHeld int64 `json:"-"`
	// GroupMemory is what a group of such devices takes of the memory of each, in bytes, beside its buffers.
	GroupMemory int64 `json:"-"`
	// MatMul lists the types of operands that the device multiplies, rounded to them as they are read; F32 is always one of them.
	MatMul []DType `json:"-"`
	// Workspace is what operations need beside their buffers, nil for nothing.
	Workspace WorkspaceRule `json:"-"`
}

// Memory is what a device holds now and at most held since ResetPeak, in bytes, workspace included.
type Memory struct {
	Used, Peak int64
}

// Device runs operations on buffers of its own. It is used by one goroutine at a time.
type Device interface {
	Info() Info
	// Memory reports the device's own account of what Alloc gave and has not got back.
	Memory() Memory
	ResetPeak()
	// Reserve makes the device's workspace at least so large: operations that need no more allocate nothing afterwards.
	Reserve(Workspace) error

	// Alloc returns n zeroed elements, or an error that states what was asked, what is free and how to ask for less.
	Alloc(t DType, n int) (Buffer, error)
	// Upload copies host bytes (little-endian elements) to dst; the sizes must be equal.
	Upload(dst Buffer, src []byte)
	// Download waits for all operations and copies src to host bytes.
	Download(dst []byte, src Buffer)
	// Copy copies elements between buffers of the same type and length, Cast between types.
	Copy(dst, src Buffer)
	Cast(dst, src Buffer)
	Zero(Buffer)
	// Sync waits for all operations and returns the first error since the last Sync, which it clears.
	Sync() error
	// Close releases everything.
	Close() error

	Operations
}

// Offloader is a device whose memory is not the host's: it can give all of it back for a while.
type Offloader interface {
	// Offload moves the content of all buffers to the host's memory and gives the device's back; it returns how many bytes
	// those were. Until Reload no operation runs. Buffers stay valid, and Freeing them is allowed.
	Offload() (int64, error)
	// Reload takes the memory again and brings the content back, bit for bit. An error leaves everything on the host.
	Reload() error
}

// HostMemory is a device whose memory is the host's. Its methods work on the calling goroutine, and several at once, while no operation
// runs or waits to: after a Sync.
type HostMemory interface {
	// HostBytes are a buffer's own bytes, until it is freed: to be written while no operation uses them. It is nil for a buffer of another
	// device.
	HostBytes(Buffer) []byte
	// FillPart gives the elements of dst from at on the values of src (F32, BF16 or F16): as Cast does, or as Quantize4, for which at is a
	// multiple of the block. The scales of a weight that is doubly quantised go to scales (F32, one for each block of dst; else nil), for
	// FillScales.
	FillPart(dst Weight, scales Buffer, at int, src Buffer) error
	// FillScales quantises the scales of a doubly quantised weight all parts of which are filled.
	FillScales(dst Weight, scales Buffer) error
	// Touch has the system give a buffer its memory now, by all threads of the device at once, where it would else give each page at the
	// first write, amid an operation. The content stays. Unlike the others it is called by the goroutine that owns the device.
	Touch(Buffer)
}

// HostOf is the device as a HostMemory, or the device behind it that is one and owns the same buffers; nil where there is none.
func HostOf(d Device) HostMemory {
	switch d := d.(type) {
	case HostMemory:
		return d
	case interface{ Unwrap() Device }:
		return HostOf(d.Unwrap())
	}
	return nil
}

// Operations are what a device computes; each method's argument documents it.
type Operations interface {
	Embedding(Embedding)
	EmbeddingBackward(EmbeddingBackward)
	RMSNorm(RMSNorm)
	RMSNormBackward(RMSNormBackward)
	LayerNorm(LayerNorm)
	LayerNormBackward(LayerNormBackward)
	RoPE(RoPE)
	Linear(Linear)
	LinearBackwardInput(LinearBackwardInput)
	LinearBackwardWeight(LinearBackwardWeight)
	Attention(Attention)
	AttentionBackward(AttentionBackward)
	GatedActivation(GatedActivation)
	GatedActivationBackward(GatedActivationBackward)
	Activation(Activation)
	ActivationBackward(ActivationBackward)
	Dropout(Dropout)
	Add(Add)
	CopyBlocks(CopyBlocks)
	RowNorm(RowNorm)
	ScaleColumns(ScaleColumns)
	ScaleColumnsBackward(ScaleColumnsBackward)
	LinearCrossEntropy(LinearCrossEntropy)
	Quantize4(dst Weight, src Buffer)
	Dequantize4(dst Buffer, src Weight)
	AdamW(AdamW)
	AdamW8(AdamW8)

	// GlobalNorm is √Σx² over all elements of F32 buffers, summed in float64 in a fixed order. It waits.
	GlobalNorm([]Buffer) float64
	// FirstNonFinite finds the first NaN or infinity in F32 buffers: which buffer and which element, or -1, -1. It waits.
	FirstNonFinite([]Buffer) (buffer, index int)
}
