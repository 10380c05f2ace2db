package compute

import "fmt"

// View is what the buffers of every device share: the type and the number of elements, and where they begin within an
// allocation. A device embeds it and adds whose memory it is.
type View struct {
	t   DType
	n   int
	off int64
}

// NewView is a view of n elements from off bytes on.
func NewView(t DType, n int, off int64) View { return View{t: t, n: n, off: off} }

// DType is the elements' type.
func (v View) DType() DType { return v.t }

// Len is the number of elements.
func (v View) Len() int { return v.n }

// Offset is the place of the first element in the allocation, in bytes.
func (v View) Offset() int64 { return v.off }

// Part views n elements from off on, as Buffer.Slice wants it: it panics beyond the end.
func (v View) Part(off, n int) View {
	if off < 0 || n < 0 || off+n > v.n {
		panic(fmt.Sprintf("slice [%d:%d] of a buffer of %d elements", off, off+n, v.n))
	}
	return View{t: v.t, n: n, off: v.off + int64(off*v.t.Size())}
}

// Retyped views the same bytes as another type, as Buffer.As wants it: it panics where they do not divide evenly.
func (v View) Retyped(t DType) View {
	bytes := v.n * v.t.Size()
	if bytes%t.Size() != 0 {
		panic(fmt.Sprintf("%d bytes are no whole number of %s", bytes, t))
	}
	return View{t: t, n: bytes / t.Size(), off: v.off}
}
