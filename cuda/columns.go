package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// columnSums are sums over the n rows of a matrix, added to one number a column: weights[c] += Σ dy·(x-mean)·rstd and
// biases[c] += Σ dy. Either may be 0, for not wanted; mean and rstd [n] too, for 0 and 1.
type columnSums struct {
	weights, biases   driver.Ptr
	dy, x, mean, rstd driver.Ptr
	n, c              int
}

// columnSums sums in two stages, chunks of rows and then their sums, through the task's workspace.
func (c *checked) columnSums(s columnSums) {
	if !c.OK || s.n == 0 || s.c == 0 || s.weights == 0 && s.biases == 0 {
		return
	}
	chunks, high := columnChunks(s.n)
	space := layout{at: c.space(columnBytes(s.n, s.c))}
	var weights, biases driver.Ptr
	if s.weights != 0 {
		weights = space.take(chunkBytes(s.n, s.c))
	}
	if s.biases != 0 {
		biases = space.take(chunkBytes(s.n, s.c))
	}
	const threads, wide = 256, 128 // of a block, and columns of it in the first stage
	width := driver.I32(int32(s.c))
	grid := driver.Launch{Grid: [3]int{blocks(s.c, wide), chunks, 1}, Block: [3]int{threads, 1, 1}}
	c.launch("columns.column_sums", grid, driver.P(weights), driver.P(biases), driver.P(s.dy), driver.P(s.x), driver.P(s.mean), driver.P(s.rstd),
		driver.I64(int64(s.n)), driver.I32(int32(high)), width)
	for _, sum := range [][2]driver.Ptr{{s.weights, weights}, {s.biases, biases}} {
		if sum[0] != 0 {
			c.launch("columns.add_chunks", rows(blocks(s.c, 32), threads), driver.P(sum[0]), driver.P(sum[1]), driver.I32(int32(chunks)), width)
		}
	}
}

// columnChunks divides n rows, the same on every GPU: 64 to a chunk, more where that would be over 512 chunks.
func columnChunks(n int) (chunks, high int) {
	high = max(64, (blocks(n, 512)+7)/8*8)
	return blocks(n, high), high
}

func chunkBytes(n, c int) int64 {
	chunks, _ := columnChunks(n)
	return 4 * int64(chunks) * int64(c)
}

// columnBytes is the workspace of columnSums of both kinds.
func columnBytes(n, c int) int64 {
	var l layout
	l.take(chunkBytes(n, c))
	l.take(chunkBytes(n, c))
	return l.size
}

// columnWorkspace is that of an operation whose gradients of columns are wanted or not.
func columnWorkspace(n, c int, wanted bool) compute.Workspace {
	if !wanted {
		return compute.Workspace{}
	}
	return compute.Workspace{Simple: columnBytes(n, c)}
}

// CopyBlocks is compute.Operations' CopyBlocks.
func (d *Device) CopyBlocks(a compute.CopyBlocks) {
	c := d.begin("CopyBlocks")
	c.Columns(a)
	dst, src := c.F32("Dst", a.Dst, a.N, a.Groups, a.DstWidth), c.F32("Src", a.Src, a.N, a.Groups, a.SrcWidth)
	if !c.OK || a.Width == 0 {
		return
	}
	dst, src = dst+driver.Ptr(4*a.DstAt), src+driver.Ptr(4*a.SrcAt)
	n := a.N * a.Groups
	c.launch("columns.copy_columns", tiles(n, along(a.Width)), driver.P(dst), driver.P(src), driver.I64(int64(n)),
		driver.I32(int32(a.Width)), driver.I32(int32(a.DstWidth)), driver.I32(int32(a.SrcWidth)))
}

// ScaleColumns is compute.Operations' ScaleColumns.
func (d *Device) ScaleColumns(a compute.ScaleColumns) {
	c := d.begin("ScaleColumns")
	y, x, s := c.F32("Y", a.Y, a.N, a.C), c.F32("X", a.X, a.N, a.C), c.F32("S", a.S, a.C)
	c.scaleColumns(y, x, s, a.N, a.C, a.Accumulate)
}

func (c *checked) scaleColumns(y, x, s driver.Ptr, n, width int, accumulate bool) {
	c.launch("columns.scale_columns", tiles(n, along(width)), driver.P(y), driver.P(x), driver.P(s), driver.I64(int64(n)),
		driver.I32(int32(width)), flag(accumulate))
}

// ScaleColumnsBackward is compute.Operations' ScaleColumnsBackward.
func (d *Device) ScaleColumnsBackward(a compute.ScaleColumnsBackward) {
	c := d.begin("ScaleColumnsBackward")
	dx, ds, dy := c.Optional("DX", a.DX, a.N, a.C), c.Optional("DS", a.DS, a.C), c.F32("DY", a.DY, a.N, a.C)
	var s, x driver.Ptr
	if a.DX != nil {
		s = c.F32("S", a.S, a.C)
	}
	if a.DS != nil {
		x = c.F32("X", a.X, a.N, a.C)
	}
	c.columnSums(columnSums{weights: ds, dy: dy, x: x, n: a.N, c: a.C}) // first: dx may overwrite dy
	if a.DX != nil {
		c.scaleColumns(dx, dy, s, a.N, a.C, false)
	}
}
