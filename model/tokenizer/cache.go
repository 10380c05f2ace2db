package tokenizer

import (
	"math/bits"
	"strings"
)

// The cache holds 2·shortSets words of at most shortBytes bytes and shortIDs tokens, and longSlots others of at most
// maxCachedWord bytes. It belongs to one encoder, so it needs neither locks nor atomic loads.
const (
	shortBytes    = 16
	shortIDs      = 3
	shortSets     = 1 << 13
	longSlots     = 1 << 12
	maxCachedWord = 128
)

// shortWord is a word and its tokens in half a cache line; the two words of a set share a whole one.
type shortWord struct {
	low, high uint64 // the word's bytes, then zeros
	ids       [shortIDs]int32
	widths    [shortIDs]uint8 // bytes of the word behind each token
	size      uint8           // the word's length << 2 | how many tokens; 0 in an empty slot
}

func (w *shortWord) count() int { return int(w.size & 3) }

// longWord is a word that does not fit there.
type longWord struct {
	word string
	toks []tok
}

type wordCache struct {
	short [shortSets][2]shortWord
	long  [longSlots]longWord
}

// load8 reads eight bytes of s, which has them.
func load8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// wordKey gives the bytes of s[a:b], at most shortBytes, in two numbers.
func wordKey(s string, a, b int) (low, high uint64) {
	n := uint(b - a)
	if a+shortBytes > len(s) { // near the end of the text: byte by byte
		for i := b - 1; i >= a; i-- {
			high = high<<8 | low>>56
			low = low<<8 | uint64(s[i])
		}
		return low, high
	}
	low = load8(s[a:])
	if n <= 8 {
		return low & (^uint64(0) >> (64 - 8*n)), 0
	}
	return low, load8(s[a+8:]) & (^uint64(0) >> (128 - 8*n))
}

// set gives where a word of these bytes would be. Its two multipliers are odd constants without structure.
func (c *wordCache) set(low, high uint64, n int) *[2]shortWord {
	h, l := bits.Mul64(low^0x9e3779b97f4a7c15, (high^uint64(n))*0xd6e8feb86659fd93^0xa0761d6478bd642f)
	return &c.short[(h^l)%shortSets]
}

// find gives the entry of a short word, or nil.
func (c *wordCache) find(low, high uint64, n int) *shortWord {
	set := c.set(low, high, n)
	for i := range set {
		if w := &set[i]; w.low == low && w.high == high && int(w.size>>2) == n {
			return w
		}
	}
	return nil
}

// keep remembers the tokens of a word; of a full set the older word goes.
func (c *wordCache) keep(word string, toks []tok) {
	if len(word) > shortBytes || !isPlain(toks) {
		*c.longSlot(word) = longWord{strings.Clone(word), append([]tok(nil), toks...)}
		return
	}
	low, high := wordKey(word, 0, len(word))
	set := c.set(low, high, len(word))
	set[1] = set[0]
	w := shortWord{low: low, high: high, size: uint8(len(word)<<2 | len(toks))}
	for i, t := range toks {
		w.ids[i], w.widths[i] = t.id, uint8(t.n)
	}
	set[0] = w
}

// isPlain says whether a short word's tokens fit in a shortWord: few, and with nothing left out between them.
func isPlain(toks []tok) bool {
	if len(toks) > shortIDs {
		return false
	}
	for _, t := range toks {
		if t.skip > 0 {
			return false
		}
	}
	return true
}

// findLong gives the tokens of a word that keep did not put among the short ones.
func (c *wordCache) findLong(word string) ([]tok, bool) {
	e := c.longSlot(word)
	return e.toks, e.word == word
}

// longSlot finds the slot of a word, by a hash of its bytes.
func (c *wordCache) longSlot(word string) *longWord {
	h := uint64(len(word))
	for i := 0; i < len(word); i += 8 {
		var chunk uint64
		if i+8 <= len(word) {
			chunk = load8(word[i:])
		} else {
			chunk, _ = wordKey(word, i, len(word))
		}
		h = (h ^ chunk) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return &c.long[h%longSlots]
}
