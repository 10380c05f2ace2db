package cuda

import (
	"math"

	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// floats are the names that kernels give to the float types.
var floats = [...]string{compute.F32: "f32", compute.BF16: "bf16", compute.F16: "f16"}

// cast converts n elements between two float types that are not the same.
func (c *checked) cast(to driver.Ptr, toType compute.DType, from driver.Ptr, fromType compute.DType, n int) {
	c.launch("convert.cast_"+floats[fromType]+"_"+floats[toType], quads(n), driver.P(to), driver.P(from), driver.I64(int64(n)))
}

// Embedding is compute.Operations' Embedding.
func (d *Device) Embedding(a compute.Embedding) {
	c := d.begin("Embedding")
	c.Want(a.C > 0, "C is %d", a.C)
	if !c.OK {
		return
	}
	rows := check.Len(a.Table) / a.C
	y, table := c.F32("Y", a.Y, a.N, a.C), c.Float("Table", a.Table, rows, a.C)
	ids, _ := c.indices("IDs", a.IDs, a.N, rows, math.MinInt32)
	if !c.OK {
		return
	}
	c.launch("convert.embedding_"+floats[a.Table.DType()], tiles(a.N, along(a.C)),
		driver.P(y), driver.P(table), driver.P(ids), driver.I64(int64(a.N)), driver.I32(int32(a.C)), driver.F32(a.Scale))
}

// EmbeddingBackward is compute.Operations' EmbeddingBackward.
func (d *Device) EmbeddingBackward(a compute.EmbeddingBackward) {
	c := d.begin("EmbeddingBackward")
	c.Want(a.C > 0, "C is %d", a.C)
	if !c.OK {
		return
	}
	words := check.Len(a.DTable) / a.C
	dtable, dy := c.F32("DTable", a.DTable, words, a.C), c.F32("DY", a.DY, a.N, a.C)
	ids, _ := c.indices("IDs", a.IDs, a.N, words, math.MinInt32)
	space := layout{at: c.space(scatterBytes(a.N))}
	order, sorted := space.take(4*int64(a.N)), space.take(4*int64(a.N))
	n, width := driver.I32(int32(a.N)), driver.I32(int32(a.C))
	c.launch("convert.sort_ids", rows(blocks(a.N, sortThreads), sortThreads), driver.P(order), driver.P(sorted), driver.P(ids), n)
	const threads = 128 // of a block, each with four columns
	grid := driver.Launch{Grid: [3]int{a.N, blocks(a.C, 4*threads), 1}, Block: [3]int{threads, 1, 1}}
	c.launch("convert.embedding_backward", grid, driver.P(dtable), driver.P(dy), driver.P(order), driver.P(sorted), n, width, driver.F32(a.Scale))
}

// sortThreads is convert.cu's SORT: a block of sort_ids places as many ids.
const sortThreads = 256

// scatterBytes is the workspace of EmbeddingBackward: ids in order, and the rows that they came from.
func scatterBytes(n int) int64 {
	var l layout
	l.take(4 * int64(n))
	l.take(4 * int64(n))
	return l.size
}
