package model

import (
	"lathe/compute"
	"lathe/model/tape"
)

// cache holds the keys and values of sequences that are being generated: each slot is a run of rows.
type cache struct {
	k, v   []compute.Buffer // by layer [slots·rows, KV·D]
	slots  int
	rows   int     // of a slot: the longest sequence it can hold
	width  int     // KV·D
	pieces []piece // what the present pass computes
}

// piece is a run of new tokens of one sequence: rows at … at+n of the pass, positions from … from+n of the sequence.
type piece struct{ slot, at, from, n int }

// cacheBytes is the size of a cache for so many tokens.
func (c *Config) cacheBytes(tokens int) int64 {
	return int64(c.Layers) * 2 * int64(tokens) * int64(c.KVHeads*c.HeadDim) * int64(compute.F32.Size())
}

func newCache(c *Config, arena *compute.Arena, slots, rows int) *cache {
	kv := &cache{slots: slots, rows: rows, width: c.KVHeads * c.HeadDim}
	for range c.Layers {
		kv.k = append(kv.k, arena.Alloc(compute.F32, slots*rows*kv.width))
		kv.v = append(kv.v, arena.Alloc(compute.F32, slots*rows*kv.width))
	}
	return kv
}

func (c *cache) slice(b compute.Buffer, p piece) compute.Buffer {
	return b.Slice((p.slot*c.rows+p.from)*c.width, p.n*c.width)
}

// rowsOf gives the cache's own rows of a pass over one sequence, so that keys and values are computed in place; nil when
// the pass serves several sequences.
func (c *cache) rowsOf(layer int) (k, v *tape.Tensor) {
	if c == nil || len(c.pieces) != 1 {
		return nil, nil
	}
	return &tape.Tensor{Value: c.slice(c.k[layer], c.pieces[0])}, &tape.Tensor{Value: c.slice(c.v[layer], c.pieces[0])}
}

// store puts new keys and values into the cache, and gives all of it.
func (c *cache) store(t *tape.Tape, layer int, k, v *tape.Tensor) (allK, allV *tape.Tensor) {
	if len(c.pieces) != 1 {
		for _, p := range c.pieces {
			t.Copy(c.slice(c.k[layer], p), k.Value.Slice(p.at*c.width, p.n*c.width))
			t.Copy(c.slice(c.v[layer], p), v.Value.Slice(p.at*c.width, p.n*c.width))
		}
	}
	return &tape.Tensor{Value: c.k[layer]}, &tape.Tensor{Value: c.v[layer]}
}

// copyRows gives a piece of one slot the same tokens' keys and values from another.
func (c *cache) copyRows(dev compute.Device, to piece, slot int) {
	of := to
	of.slot = slot
	for layer := range c.k {
		dev.Copy(c.slice(c.k[layer], to), c.slice(c.k[layer], of))
		dev.Copy(c.slice(c.v[layer], to), c.slice(c.v[layer], of))
	}
}

// spans are the queries of each piece over all of its sequence so far.
func (c *cache) spans() []compute.Span {
	spans := make([]compute.Span, len(c.pieces))
	for i, p := range c.pieces {
		spans[i] = compute.Span{QStart: p.at, QLen: p.n, KStart: p.slot * c.rows, KLen: p.from + p.n}
	}
	return spans
}
