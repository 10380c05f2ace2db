package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// attentionSpan is attention.h's AttentionSpan: one span and where its share of a launch begins.
type attentionSpan struct {
	qStart, qLen, kStart, kLen int32
	tile, queries, keys, spare int32
}

const attentionSpanBytes = 32

// attentionSpans are the spans of one launch, of so many tiles, queries and keys in all.
type attentionSpans struct {
	list                 []attentionSpan
	tiles, queries, keys int
	at                   driver.Ptr // in the workspace
}

// add appends a span that takes so many tiles; one that takes none is only counted, so that all lists of the same spans count alike.
func (l *attentionSpans) add(s compute.Span, tiles int) *attentionSpan {
	n := attentionSpan{
		qStart: int32(s.QStart), qLen: int32(s.QLen), kStart: int32(s.KStart), kLen: int32(s.KLen),
		tile: int32(l.tiles), queries: int32(l.queries), keys: int32(l.keys),
	}
	l.tiles, l.queries, l.keys = l.tiles+tiles, l.queries+s.QLen, l.keys+s.KLen
	if tiles == 0 {
		return &n
	}
	l.list = append(l.list, n)
	return &l.list[len(l.list)-1]
}

// place takes the list's part of a workspace.
func (l *attentionSpans) place(w *layout) { l.at = w.take(attentionSpanBytes * int64(len(l.list))) }

// put copies the list to its place.
func (l *attentionSpans) put(c *checked) {
	words := make([]int32, 0, attentionSpanBytes/4*len(l.list))
	for _, s := range l.list {
		words = append(words, s.qStart, s.qLen, s.kStart, s.kLen, s.tile, s.queries, s.keys, s.spare)
	}
	c.copyIn(l.at, compute.Bytes(words))
}
