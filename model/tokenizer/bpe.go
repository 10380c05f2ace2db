package tokenizer

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// tok is a token of a word: n bytes of the word, after skip bytes that the vocabulary cannot spell.
type tok struct {
	id   int32
	n    int32
	skip int32
}

// bpe is the merging model. Byte-level models start from the bytes of a word, the others from its characters.
type bpe struct {
	byteLevel    bool
	byteFallback bool
	ignoreMerges bool
	fuseUnknown  bool
	unknown      int32            // -1: what cannot be spelled is left out
	bytes        [256]int32       // ids of single bytes, -1 where the vocabulary has none
	chars        map[string]int32 // ids by text: single characters, and with ignoreMerges whole words
	merges       mergeTable
	glued        map[rune]bool // characters that some token has before a ▁; nil where words are not cut at ▁
	cache        wordCache
}

// maxCachedWord bounds the words that the cache keeps, in bytes.
const maxCachedWord = 48

// encode appends the tokens of a word.
func (m *bpe) encode(w string, out []tok) []tok {
	if len(w) > maxCachedWord {
		return m.whole(w, out)
	}
	slot := m.cache.slot(w)
	if e := slot.Load(); e != nil && e.word == w {
		return append(out, e.toks...)
	}
	start := len(out)
	out = m.whole(w, out)
	slot.Store(&cached{strings.Clone(w), append([]tok(nil), out[start:]...)})
	return out
}

// whole appends the tokens of a word without the cache: the word itself where the vocabulary has it and says so.
func (m *bpe) whole(w string, out []tok) []tok {
	if m.ignoreMerges {
		if id, ok := m.chars[w]; ok {
			return append(out, tok{id: id, n: int32(len(w))})
		}
	}
	return m.merge(w, out)
}

// initial appends one token for each byte or character of a word.
func (m *bpe) initial(w string, out []tok) []tok {
	if m.byteLevel {
		skip := int32(0)
		for i := range len(w) {
			id := m.bytes[w[i]]
			if id < 0 && m.unknown < 0 {
				skip++
				continue
			}
			if id < 0 {
				id = m.unknown
			}
			out = append(out, tok{id: id, n: 1, skip: skip})
			skip = 0
		}
		return out
	}
	skip, fused := int32(0), false
	for i := 0; i < len(w); {
		_, n := utf8.DecodeRuneInString(w[i:])
		c := w[i : i+n]
		i += n
		if id, ok := m.chars[c]; ok {
			out = append(out, tok{id: id, n: int32(n), skip: skip})
			skip, fused = 0, false
			continue
		}
		if m.byteFallback && m.spellable(c) {
			for j := range n {
				out = append(out, tok{id: m.bytes[c[j]], n: 1, skip: skip})
				skip = 0
			}
			fused = false
			continue
		}
		switch {
		case m.unknown < 0:
			skip += int32(n)
		case fused && m.fuseUnknown:
			out[len(out)-1].n += int32(n)
		default:
			out = append(out, tok{id: m.unknown, n: int32(n), skip: skip})
			skip, fused = 0, true
		}
	}
	return out
}

// spellable says whether byte fallback has a token for every byte of c.
func (m *bpe) spellable(c string) bool {
	for j := range len(c) {
		if m.bytes[c[j]] < 0 {
			return false
		}
	}
	return true
}

// merge appends the tokens of a word: at each step the pair of lowest rank, the leftmost of equals, is merged.
func (m *bpe) merge(w string, out []tok) []tok {
	start := len(out)
	out = m.initial(w, out)
	t := out[start:]
	if len(t) > 24 {
		t = m.mergeLong(t)
		return out[:start+len(t)]
	}
	for len(t) > 1 {
		best, at, id := int32(-1), -1, int32(0)
		for i := range len(t) - 1 {
			if r, n := m.merges.find(t[i].id, t[i+1].id); r >= 0 && (best < 0 || r < best) {
				best, at, id = r, i, n
			}
		}
		if at < 0 {
			break
		}
		t[at] = join(t[at], t[at+1], id)
		t = append(t[:at+1], t[at+2:]...)
	}
	return out[:start+len(t)]
}

func join(a, b tok, id int32) tok { return tok{id: id, n: a.n + b.skip + b.n, skip: a.skip} }

// link is a token of a long word in a doubly linked list.
type link struct {
	tok
	prev, next int32
}

// mergeLong does what merge does with a priority queue, for words of any length, and packs the result into t.
func (m *bpe) mergeLong(t []tok) []tok {
	l := make([]link, len(t))
	for i := range t {
		l[i] = link{t[i], int32(i - 1), int32(i + 1)}
	}
	l[len(l)-1].next = -1
	var q candidates
	push := func(p int32) {
		n := l[p].next
		if p < 0 || n < 0 {
			return
		}
		if r, id := m.merges.find(l[p].id, l[n].id); r >= 0 {
			q.push(candidate{r, p, l[p].id, l[n].id, id})
		}
	}
	for i := range l {
		push(int32(i))
	}
	for len(q) > 0 {
		c := q.pop()
		if l[c.at].id != c.left {
			continue
		}
		n := l[c.at].next
		if n < 0 || l[n].id != c.right {
			continue
		}
		l[c.at].tok = join(l[c.at].tok, l[n].tok, c.merged)
		l[c.at].next = l[n].next
		if after := l[n].next; after >= 0 {
			l[after].prev = c.at
		}
		l[n].id = -1
		push(c.at)
		if before := l[c.at].prev; before >= 0 {
			push(before)
		}
	}
	t = t[:0]
	for p := int32(0); p >= 0; p = l[p].next {
		t = append(t, l[p].tok)
	}
	return t
}

// words cuts a piece where no token of the vocabulary can reach across, before a ▁, so that the cache works and
// long texts stay fast.
func (m *bpe) words(p piece, word func(piece)) {
	if m.glued == nil {
		word(p)
		return
	}
	start := 0
	for i := 0; i < len(p.s); {
		j := strings.Index(p.s[i:], spaceMark)
		if j < 0 {
			break
		}
		i += j
		if i > start {
			if c, _ := utf8.DecodeLastRuneInString(p.s[start:i]); !m.glued[c] {
				word(p.cut(start, i))
				start = i
			}
		}
		for strings.HasPrefix(p.s[i:], spaceMark) {
			i += len(spaceMark)
		}
	}
	word(p.cut(start, len(p.s)))
}

// spaceMark is SentencePiece's visible space, U+2581.
const spaceMark = "▁"

// candidate is a merge that was possible when it was queued.
type candidate struct{ rank, at, left, right, merged int32 }

// candidates is a heap, lowest rank first, then leftmost.
type candidates []candidate

func (q candidates) less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}

func (q *candidates) push(c candidate) {
	h := append(*q, c)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	*q = h
}

func (q *candidates) pop() candidate {
	h := *q
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*q = h
	return top
}

// mergeTable finds the rank and the result of a merge: open addressing on the pair of ids.
type mergeTable struct {
	slots []mergeSlot
	shift uint8
}

type mergeSlot struct {
	left, right  int32 // left is -1 in an empty slot
	rank, merged int32
}

func newMergeTable(n int) mergeTable {
	bits := uint8(4)
	for 1<<bits < 2*n {
		bits++
	}
	t := mergeTable{make([]mergeSlot, 1<<bits), 64 - bits}
	for i := range t.slots {
		t.slots[i].left = -1
	}
	return t
}

func (t *mergeTable) at(left, right int32) int {
	key := uint64(uint32(left))<<32 | uint64(uint32(right))
	return int(key * 0x9e3779b97f4a7c15 >> t.shift) // Fibonacci hashing
}

// add keeps the first of two equal pairs, which has the lower rank.
func (t *mergeTable) add(left, right, rank, merged int32) {
	i := t.at(left, right)
	for ; t.slots[i].left >= 0; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].left == left && t.slots[i].right == right {
			return
		}
	}
	t.slots[i] = mergeSlot{left, right, rank, merged}
}

// find gives the rank of a pair, -1 when it does not merge, and the id that it becomes.
func (t *mergeTable) find(left, right int32) (rank, merged int32) {
	for i := t.at(left, right); ; i = (i + 1) & (len(t.slots) - 1) {
		s := &t.slots[i]
		if s.left == left && s.right == right {
			return s.rank, s.merged
		}
		if s.left < 0 {
			return -1, 0
		}
	}
}

// wordCache remembers the tokens of recent words: one word a slot, the last one wins. It is bounded and needs no lock.
type wordCache struct {
	slots []atomic.Pointer[cached]
	seed  maphash.Seed
}

type cached struct {
	word string
	toks []tok
}

const cacheSlots = 1 << 14

func newWordCache() wordCache {
	return wordCache{make([]atomic.Pointer[cached], cacheSlots), maphash.MakeSeed()}
}

func (c *wordCache) slot(w string) *atomic.Pointer[cached] {
	return &c.slots[maphash.String(c.seed, w)&(cacheSlots-1)]
}
