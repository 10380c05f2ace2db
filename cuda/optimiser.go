package cuda

import (
	"encoding/binary"
	"fmt"
	"math"

	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// tensorList is what tensors.h's kernels read: a row of 8-byte words for each tensor, and how many chunks all have.
type tensorList struct {
	rows   []byte
	count  int
	chunks int
}

// add appends a tensor of n elements: its words, and at the end the number of its first chunk with 32 more bits.
func (l *tensorList) add(n, chunk int, more uint32, words ...uint64) {
	for _, w := range words {
		l.rows = binary.LittleEndian.AppendUint64(l.rows, w)
	}
	l.rows = binary.LittleEndian.AppendUint64(l.rows, uint64(uint32(l.chunks))|uint64(more)<<32)
	l.count++
	l.chunks += blocks(n, chunk)
}

// The kernels' chunks, and the bytes of a tensor in their lists.
const (
	stepChunk  = 4096
	adamWSize  = 48
	adamW8Size = 64
	numberSize = 32
)

// stepSizes are the scalars that AdamW and AdamW8 share, computed in float64 and rounded once, as PyTorch hands Python's floats to
// float32 kernels.
func stepSizes(lr, beta1, beta2, eps float64, step int, gradScale float32) []driver.Arg {
	return []driver.Arg{
		driver.F32(float32(1 - beta1)), driver.F32(float32(beta2)), driver.F32(float32(1 - beta2)),
		driver.F32(float32(lr / (1 - math.Pow(beta1, float64(step))))),
		driver.F32(float32(math.Sqrt(1 - math.Pow(beta2, float64(step))))),
		driver.F32(float32(eps)), driver.F32(gradScale),
	}
}

// AdamW is compute.Operations' AdamW.
func (d *Device) AdamW(a compute.AdamW) {
	c := d.begin("AdamW")
	c.Step(a.Step)
	var l tensorList
	for i, t := range a.Tensors {
		name := func(field string) string { return fmt.Sprintf("Tensors[%d].%s", i, field) }
		n := check.Len(t.Param)
		param, grad := c.F32(name("Param"), t.Param, n), c.F32(name("Grad"), t.Grad, n)
		m, v := c.F32(name("M"), t.M, n), c.F32(name("V"), t.V, n)
		l.add(n, stepChunk, math.Float32bits(float32(1-a.LR*t.WeightDecay)), uint64(param), uint64(grad), uint64(m), uint64(v), uint64(n))
	}
	if !c.OK || l.chunks == 0 {
		return
	}
	list := c.space(adamWSize * int64(l.count))
	c.copyIn(list, l.rows)
	args := append([]driver.Arg{driver.P(list), driver.I32(int32(l.count))}, stepSizes(a.LR, a.Beta1, a.Beta2, a.Eps, a.Step, a.GradScale)...)
	c.launch("adamw.adamw", rows(l.chunks, blockThreads), args...)
}

// codeTables is the size of AdamW8's tables: 65536 codes of each map.
const codeTables = 2 << 16

// AdamW8 is compute.Operations' AdamW8, scalars as AdamW's.
func (d *Device) AdamW8(a compute.AdamW8) {
	c := d.begin("AdamW8")
	c.Step(a.Step)
	signed, unsigned := c.F32("Signed", a.Signed, 256), c.F32("Unsigned", a.Unsigned, 256)
	var l tensorList
	for i, t := range a.Tensors {
		name := func(field string) string { return fmt.Sprintf("Tensors[%d].%s", i, field) }
		n := check.Len(t.Param)
		scales := blocks(n, compute.AdamW8Block)
		param, grad := c.F32(name("Param"), t.Param, n), c.F32(name("Grad"), t.Grad, n)
		m, v := c.Typed(name("M"), t.M, compute.U8, n), c.Typed(name("V"), t.V, compute.U8, n)
		mScale, vScale := c.F32(name("MAbsmax"), t.MAbsmax, scales), c.F32(name("VAbsmax"), t.VAbsmax, scales)
		l.add(n, stepChunk, math.Float32bits(float32(1-a.LR*t.WeightDecay)),
			uint64(param), uint64(grad), uint64(m), uint64(v), uint64(mScale), uint64(vScale), uint64(n))
	}
	if !c.OK || l.chunks == 0 {
		return
	}
	space := layout{at: c.space(adamW8Bytes(l.count))}
	tables, list := space.take(codeTables), space.take(adamW8Size*int64(l.count))
	c.copyIn(list, l.rows)
	c.launch("adamw.adamw8_tables", rows(codeTables/blockThreads, blockThreads), driver.P(tables), driver.P(signed), driver.P(unsigned))
	args := []driver.Arg{
		driver.P(list), driver.I32(int32(l.count)), driver.P(signed), driver.P(unsigned), driver.P(tables), driver.F32(float32(a.Beta1)),
	}
	args = append(args, stepSizes(a.LR, a.Beta1, a.Beta2, a.Eps, a.Step, a.GradScale)...)
	c.launch("adamw.adamw8", rows(l.chunks, blockThreads), args...)
}

// adamW8Bytes is the workspace of AdamW8 over so many tensors.
func adamW8Bytes(count int) int64 {
	var l layout
	l.take(codeTables)
	l.take(adamW8Size * int64(count))
	return l.size
}

// numbers lists the buffers of GlobalNorm and FirstNonFinite, in chunks of a size that makes few of them: at most normChunks whole ones.
func (c *checked) numbers(buffers []compute.Buffer) (l tensorList, chunk int) {
	const least, most = 16384, normChunks
	total := 0
	for _, b := range buffers {
		total += check.Len(b)
	}
	chunk = least * max(1, blocks(total, least*most))
	place := 0
	for i, b := range buffers {
		n := check.Len(b)
		l.add(n, chunk, 0, uint64(c.F32(fmt.Sprintf("buffer %d", i), b, n)), uint64(n), uint64(place))
		place += n
	}
	return l, chunk
}

const normChunks = 8192

// normBytes is the workspace of GlobalNorm over so many buffers: their list, and a sum for each chunk.
func normBytes(count int) int64 {
	var l layout
	l.take(numberSize * int64(count))
	l.take(8 * int64(normChunks+count))
	return l.size
}

// GlobalNorm is compute.Operations' GlobalNorm: squares summed in float64, chunks' sums added here in their order.
func (d *Device) GlobalNorm(buffers []compute.Buffer) float64 {
	c := d.begin("GlobalNorm")
	l, chunk := c.numbers(buffers)
	if !c.OK || l.chunks == 0 {
		return 0
	}
	space := layout{at: c.space(normBytes(l.count))}
	list, partial := space.take(numberSize*int64(l.count)), space.take(8*int64(l.chunks))
	c.copyIn(list, l.rows)
	c.launch("reduce.square_sums", rows(l.chunks, blockThreads), driver.P(partial), driver.P(list), driver.I32(int32(l.count)), driver.I64(int64(chunk)))
	sum := 0.0
	for _, w := range c.words(partial, l.chunks) {
		sum += math.Float64frombits(w)
	}
	return math.Sqrt(sum)
}

// words downloads 8-byte words of the workspace, none where something failed.
func (c *checked) words(from driver.Ptr, n int) []uint64 {
	if !c.OK {
		return nil
	}
	raw, out := make([]byte, 8*n), make([]uint64, n)
	if err := c.d.ctx.CopyOut(raw, from, c.d.stream); err != nil {
		c.Fail("%w", err)
		return nil
	}
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return out
}

// FirstNonFinite is compute.Operations' FirstNonFinite.
func (d *Device) FirstNonFinite(buffers []compute.Buffer) (buffer, index int) {
	c := d.begin("FirstNonFinite")
	l, chunk := c.numbers(buffers)
	if !c.OK || l.chunks == 0 {
		return -1, -1
	}
	space := layout{at: c.space(normBytes(l.count))}
	list, lowest := space.take(numberSize*int64(l.count)), space.take(8)
	c.copyIn(list, l.rows)
	c.set(lowest, 0xff, 8)
	c.launch("reduce.first_non_finite", rows(l.chunks, blockThreads), driver.P(lowest), driver.P(list), driver.I32(int32(l.count)),
		driver.I64(int64(chunk)))
	found := c.words(lowest, 1)
	if len(found) == 0 || found[0] == math.MaxUint64 {
		return -1, -1
	}
	at := int(found[0])
	for i, b := range buffers {
		if at < b.Len() {
			return i, at
		}
		at -= b.Len()
	}
	return -1, -1
}

// set fills bytes of the workspace.
func (c *checked) set(p driver.Ptr, value byte, bytes int64) {
	if !c.OK {
		return
	}
	if err := c.d.ctx.Set(p, value, bytes, c.d.stream); err != nil {
		c.Fail("%w", err)
	}
}
