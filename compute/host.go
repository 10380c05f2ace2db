package compute

import (
	"fmt"
	"unsafe"
)

// Element is a Go type that a buffer may hold as it is.
type Element interface {
	~float32 | ~int32 | ~uint8 | ~uint16
}

// Bytes views a slice's memory as little-endian bytes, without a copy.
func Bytes[T Element](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// Upload copies a host slice to a buffer of the same length.
func Upload[T Element](d Device, dst Buffer, src []T) { d.Upload(dst, Bytes(src)) }

// Download waits and copies a buffer to a new host slice.
func Download[T Element](d Device, src Buffer) []T {
	out := make([]T, src.Len())
	d.Download(Bytes(out), src)
	return out
}

// From allocates a buffer with a host slice's content: F32 for float32, I32 for int32, U8 for bytes.
func From[T Element](d Device, src []T) (Buffer, error) {
	t := F32
	switch any(src).(type) {
	case []int32:
		t = I32
	case []uint8:
		t = U8
	case []float32:
	default:
		return nil, fmt.Errorf("compute.From: %T has no dtype of its own: use Alloc and Upload", src)
	}
	b, err := d.Alloc(t, len(src))
	if err != nil {
		return nil, err
	}
	Upload(d, b, src)
	return b, nil
}

// Touch is HostMemory's on a device that has it; others need none.
func Touch(d Device, b Buffer) {
	if host := HostOf(d); host != nil {
		host.Touch(b)
	}
}

// ByteLen is a buffer's size in bytes.
func ByteLen(b Buffer) int64 { return int64(b.Len()) * int64(b.DType().Size()) }

// Gib is a size for messages: 1.50 GiB, 12.0 MiB.
func Gib(bytes int64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(bytes)/(1<<30))
}
