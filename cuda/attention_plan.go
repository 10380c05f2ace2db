package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// attentionTile is the shape of blocks for heads of up to pad elements, as the kernels have it: forward m rows and n keys;
// backward the kernel that owns keys, how many and how many rows it takes at a time, and the one that owns rows.
type attentionTile struct {
	pad, m, n         int
	ownKeys, takeRows int
	ownRows, takeKeys int
	narrow            bool // 16-bit operands
}

// Those of attention_f32_*.cu, and of attention_bf16_*.cu and attention_f16_*.cu.
var (
	wideTiles = []attentionTile{
		{32, 64, 64, 64, 32, 64, 32, false},
		{64, 64, 64, 64, 32, 64, 32, false},
		{96, 64, 32, 32, 32, 32, 32, false},
		{128, 64, 32, 32, 32, 32, 32, false},
		{256, 32, 16, 16, 16, 16, 16, false},
	}
	narrowTiles = []attentionTile{
		{64, 128, 64, 64, 64, 64, 64, true},
		{96, 128, 32, 64, 32, 64, 32, true},
		{128, 128, 32, 64, 32, 64, 32, true},
		{256, 64, 32, 32, 32, 64, 16, true},
	}
)

// attentionHead is the largest head.
const attentionHead = 256

// tileOf is the tile of heads of d elements; larger ones the operation refuses.
func tileOf(d int, t compute.DType) attentionTile {
	tiles := wideTiles
	if t != compute.F32 {
		tiles = narrowTiles
	}
	for _, t := range tiles[:len(tiles)-1] {
		if d <= t.pad {
			return t
		}
	}
	return tiles[len(tiles)-1]
}

// rowBytes is a row of a tile in shared memory, padded against bank conflicts.
func (t attentionTile) rowBytes() int {
	switch {
	case !t.narrow:
		return 4 * (t.pad + 4)
	case t.pad%64 == 0:
		return 2 * t.pad
	}
	return 2 * (t.pad + 8)
}

// results are rows of n results that wait in shared memory to be operands: 16-bit ones stay in registers.
func (t attentionTile) results(rows, n int) int {
	if t.narrow {
		return 0
	}
	return 4 * rows * (n + 8)
}

// stages is how many tiles of what a block walks over the backward pass holds.
func (t attentionTile) stages() int {
	if t.narrow {
		return 2
	}
	return 1
}

// forwardShared is the dynamic shared memory of the forward pass with m rows a block: queries, keys, values, probabilities.
func (t attentionTile) forwardShared(m int) int { return (m+2*t.n)*t.rowBytes() + t.results(m, t.n) }

// keysShared and queriesShared are those of the backward pass: both sides' two matrices, what is between, four numbers a row.
func (t attentionTile) keysShared() int {
	return 2*(t.ownKeys+t.stages()*t.takeRows)*t.rowBytes() + 2*t.results(t.ownKeys, t.takeRows) + t.stages()*16*t.takeRows
}

func (t attentionTile) queriesShared() int {
	return 2*(t.ownRows+t.stages()*t.takeKeys)*t.rowBytes() + t.results(t.ownRows, t.takeKeys)
}

const (
	splitRows   = 16  // rows of a tile where keys are split
	mostSplit   = 128 // rows of a span whose keys are split
	splitFactor = 8   // keys of such a span, at least, for each query
	fewestKeys  = 128 // keys of a chunk
	mostChunks  = 64
)

// keyChunk is attention.h's key_chunk.
func keyChunk(kLen int) int { return max(fewestKeys, blocks(kLen, 64*mostChunks)*64) }

// packRows is how many rows of one key head a block of attention_pack makes.
const packRows = 32

// attentionForward is the work of one forward pass. Spans of few rows and many keys (decoding) go by chunks of their keys, so
// that one sequence fills a GPU, in float32, for they read each key once. Which those are, and their chunks, hangs on the span
// alone: a sequence gets the same bits in any batch.
type attentionForward struct {
	long, split attentionSpans
	joined      attentionSpans // those of split that have several chunks; a tile is a row
	parts       int            // rows of D that the chunks leave
	part, lse   driver.Ptr
	packed      attentionSpans // the keys of long
	k, v        driver.Ptr     // 16-bit
}

func planForward(s compute.AttentionShape) *attentionForward {
	f, group, t := &attentionForward{}, s.H/max(s.KV, 1), tileOf(s.D, s.Compute)
	for _, p := range s.Spans {
		n := p.QLen * group
		if n > mostSplit || p.KLen < splitFactor*p.QLen {
			f.long.add(p, blocks(n, t.m))
			if t.narrow {
				f.packed.add(p, blocks(p.KLen, packRows))
			}
			continue
		}
		chunks := max(1, blocks(p.KLen, keyChunk(p.KLen)))
		f.split.add(p, blocks(n, splitRows)*chunks).keys = int32(f.parts)
		if chunks > 1 {
			f.joined.add(p, n).keys = int32(f.parts)
			f.parts += chunks * n * s.KV
		}
	}
	return f
}

// place lays the lists, the chunks' results and the packed operands out.
func (f *attentionForward) place(w *layout, s compute.AttentionShape) {
	for _, l := range []*attentionSpans{&f.long, &f.split, &f.joined, &f.packed} {
		l.place(w)
	}
	f.part, f.lse = w.take(4*int64(f.parts)*int64(s.D)), w.take(4*int64(f.parts))
	if t := tileOf(s.D, s.Compute); t.narrow {
		bytes := 2 * int64(f.long.keys) * int64(s.KV) * int64(t.pad)
		f.k, f.v = w.take(bytes), w.take(bytes)
	}
}

// attentionBackward is the work of one backward pass.
type attentionBackward struct {
	queries, keys             attentionSpans
	delta                     driver.Ptr // [NQ,H]
	packedQueries, packedKeys attentionSpans
	q, dout, k, v             driver.Ptr // 16-bit
}

func planBackward(s compute.AttentionShape) *attentionBackward {
	b, group, t := &attentionBackward{}, s.H/max(s.KV, 1), tileOf(s.D, s.Compute)
	for _, p := range s.Spans {
		n := p.QLen * group
		b.queries.add(p, blocks(n, t.ownRows))
		b.keys.add(p, blocks(p.KLen, t.ownKeys))
		if t.narrow {
			b.packedQueries.add(p, blocks(n, packRows))
			b.packedKeys.add(p, blocks(p.KLen, packRows))
		}
	}
	return b
}

func (b *attentionBackward) place(w *layout, s compute.AttentionShape) {
	for _, l := range []*attentionSpans{&b.queries, &b.keys, &b.packedQueries, &b.packedKeys} {
		l.place(w)
	}
	b.delta = w.take(4 * int64(s.NQ) * int64(s.H))
	if t := tileOf(s.D, s.Compute); t.narrow {
		queries, keys := 2*int64(b.queries.queries)*int64(s.H)*int64(t.pad), 2*int64(b.queries.keys)*int64(s.KV)*int64(t.pad)
		b.q, b.dout, b.k, b.v = w.take(queries), w.take(queries), w.take(keys), w.take(keys)
	}
}

// attentionWorkspace is what an attention needs, by the layout that it uses.
func attentionWorkspace(s compute.AttentionShape, backward bool) compute.Workspace {
	var w layout
	if backward {
		planBackward(s).place(&w, s)
	} else {
		planForward(s).place(&w, s)
	}
	return compute.Workspace{Simple: w.size}
}
