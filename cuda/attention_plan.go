package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// attentionSpan is attention.h's AttentionSpan: one span and where its share of a launch begins.
type attentionSpan struct {
	qStart, qLen, kStart, kLen int32
	tile, rows, keys, spare    int32
}

const attentionSpanBytes = 32

// attentionSpans are the spans of one launch, of so many tiles in all.
type attentionSpans struct {
	list  []attentionSpan
	tiles int
	at    driver.Ptr // in the workspace
}

// add appends a span that takes so many tiles, unless it takes none.
func (l *attentionSpans) add(s compute.Span, tiles int) *attentionSpan {
	if tiles == 0 {
		return &attentionSpan{}
	}
	l.list = append(l.list, attentionSpan{
		qStart: int32(s.QStart), qLen: int32(s.QLen), kStart: int32(s.KStart), kLen: int32(s.KLen), tile: int32(l.tiles),
	})
	l.tiles += tiles
	return &l.list[len(l.list)-1]
}

// spansAtOnce is how many spans one launch of attention_spans writes.
const spansAtOnce = 8

// place takes the list's part of a workspace.
func (l *attentionSpans) place(w *layout) {
	l.at = w.take(attentionSpanBytes * int64((len(l.list)+spansAtOnce-1)/spansAtOnce*spansAtOnce))
}

// put writes the list to its place, by launches: a copy from the host would wait for all that runs.
func (l *attentionSpans) put(c *checked) {
	pair := func(low, high int32) driver.Arg { return driver.U64(uint64(uint32(low)) | uint64(uint32(high))<<32) }
	for from := 0; from < len(l.list); from += spansAtOnce {
		args := []driver.Arg{driver.P(l.at + driver.Ptr(from*attentionSpanBytes))}
		for i := from; i < from+spansAtOnce; i++ {
			var s attentionSpan
			if i < len(l.list) {
				s = l.list[i]
			}
			args = append(args, pair(s.qStart, s.qLen), pair(s.kStart, s.kLen), pair(s.tile, s.rows), pair(s.keys, s.spare))
		}
		c.launch("attention.attention_spans", rows(1, 1), args...)
	}
}

// attentionTile is the shape of blocks for heads of up to pad elements, as in attention_forward_f32.cu and
// attention_backward_f32.cu: forward m rows and n keys; backward own rows or keys, and other of what a block walks over.
type attentionTile struct{ pad, m, n, own, other int }

var attentionTiles = []attentionTile{{32, 64, 64, 64, 32}, {64, 64, 64, 64, 32}, {96, 64, 32, 32, 32}, {128, 64, 32, 32, 32}, {256, 32, 16, 16, 16}}

// attentionHead is the largest head.
const attentionHead = 256

func tileOf(d int) attentionTile {
	for _, t := range attentionTiles {
		if d <= t.pad {
			return t
		}
	}
	return attentionTiles[len(attentionTiles)-1] // which the operation refuses
}

// forwardShared is the dynamic shared memory of the forward pass with m rows a block: queries, keys, values, probabilities.
func (t attentionTile) forwardShared(m int) int { return 4 * ((m+2*t.n)*(t.pad+4) + m*(t.n+8)) }

// keysShared and queriesShared are those of the backward pass: both sides' two tiles, what is between, and numbers of rows.
func (t attentionTile) keysShared() int { return t.queriesShared() + 4*(t.own*(t.other+8)+4*t.other) }

func (t attentionTile) queriesShared() int {
	return 4 * (2*(t.own+t.other)*(t.pad+4) + t.own*(t.other+8))
}

const (
	splitRows   = 16  // rows of a tile where keys are split
	mostSplit   = 128 // rows of a span whose keys are split
	splitFactor = 8   // keys of such a span, at least, for each query
	fewestKeys  = 128 // keys of a chunk
	mostChunks  = 64
)

// keyChunk is attention.h's key_chunk.
func keyChunk(kLen int) int { return max(fewestKeys, ceilDiv(kLen, 64*mostChunks)*64) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// attentionForward is the work of one forward pass. Spans of few rows and many keys (decoding) go by chunks of their keys, so
// that one sequence fills a GPU. Which those are, and their chunks, hangs on the span alone: a sequence gets the same bits in any batch.
type attentionForward struct {
	long, split attentionSpans
	joined      attentionSpans // those of split that have several chunks; a tile is a row
	parts       int            // rows of D that the chunks leave
	part, lse   driver.Ptr
}

func planForward(s compute.AttentionShape) *attentionForward {
	f, group, m := &attentionForward{}, s.H/max(s.KV, 1), tileOf(s.D).m
	for _, p := range s.Spans {
		n := p.QLen * group
		if n > mostSplit || p.KLen < splitFactor*p.QLen {
			f.long.add(p, ceilDiv(n, m))
			continue
		}
		chunks := max(1, ceilDiv(p.KLen, keyChunk(p.KLen)))
		f.split.add(p, ceilDiv(n, splitRows)*chunks).keys = int32(f.parts)
		if chunks > 1 {
			f.joined.add(p, n).keys = int32(f.parts)
			f.parts += chunks * n * s.KV
		}
	}
	return f
}

// place lays the lists and the chunks' results out.
func (f *attentionForward) place(w *layout, d int) {
	for _, l := range []*attentionSpans{&f.long, &f.split, &f.joined} {
		l.place(w)
	}
	f.part, f.lse = w.take(4*int64(f.parts)*int64(d)), w.take(4*int64(f.parts))
}

// attentionBackward is the work of one backward pass.
type attentionBackward struct {
	queries, keys attentionSpans
	delta         driver.Ptr // [NQ,H]
}

func planBackward(s compute.AttentionShape) *attentionBackward {
	b, group, own := &attentionBackward{}, s.H/max(s.KV, 1), tileOf(s.D).own
	for _, p := range s.Spans {
		b.queries.add(p, ceilDiv(p.QLen*group, own))
		b.keys.add(p, ceilDiv(p.KLen, own))
	}
	return b
}

func (b *attentionBackward) place(w *layout, s compute.AttentionShape) {
	b.queries.place(w)
	b.keys.place(w)
	b.delta = w.take(4 * int64(s.NQ) * int64(s.H))
}

// attentionWorkspace is what an attention needs, by the layout that it uses.
func attentionWorkspace(s compute.AttentionShape, backward bool) compute.Workspace {
	var w layout
	if backward {
		planBackward(s).place(&w, s)
	} else {
		planForward(s).place(&w, s.D)
	}
	return compute.Workspace{Simple: w.size}
}
