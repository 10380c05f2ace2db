package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// Span is a run of device memory.
type Span struct {
	At    driver.Ptr
	Bytes int64
}

// Lend lets another library of this process (NCCL) work on buffers: use gets the device's stream, whose order its work has to
// keep, and where the buffers lie. Buffers that are neighbours in one allocation become one span: what lies between them for
// alignment's sake belongs to nobody. The context is current during the call.
func (d *Device) Lend(op string, buffers []compute.Buffer, use func(stream driver.Stream, spans []Span) error) error {
	if err := d.err; err != nil { // stays for Sync
		return err
	}
	c := d.begin(op)
	var spans []Span
	var last *buffer
	for _, b := range buffers {
		at := c.Any("buffer", b)
		if !c.OK {
			return d.Sync()
		}
		v := b.(*buffer)
		n := compute.ByteLen(b)
		switch {
		case n == 0:
			continue
		case last != nil && last.mem == v.mem && isNeighbour(spans[len(spans)-1], at):
			s := &spans[len(spans)-1]
			s.Bytes = int64(at-s.At) + n
		default:
			spans = append(spans, Span{at, n})
		}
		last = v
		d.forgetBuffer(b)
	}
	return d.ctx.Lend(func() error { return use(d.stream, spans) })
}

// isNeighbour tells whether a buffer begins where a span ends, or at the next place that an allocation is cut at.
func isNeighbour(s Span, at driver.Ptr) bool {
	const alignment = 256
	end := s.At + driver.Ptr(s.Bytes)
	return at >= end && at-end < alignment
}
