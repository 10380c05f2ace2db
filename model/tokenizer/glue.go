package tokenizer

import "unicode/utf8"

// glue knows which two characters stand beside one another in some token. Between any others no merge can reach, so a
// text may be cut there: the words become short, the cache works, and texts without spaces stay fast.
type glue struct {
	on    bool
	marks bool                      // cut before marks only
	ascii [2 * utf8.RuneSelf]uint64 // a bit for each pair of ASCII characters
	rest  []uint64                  // a bit for each hash of another pair: a wrong yes only leaves a word longer
}

// build looks at the vocabulary of a model that is otherwise complete.
func (g *glue) build(m *bpe) {
	if m.byteLevel || m.ignoreMerges || !m.mayCut() {
		return
	}
	complete := m.byteFallback
	for _, id := range m.bytes {
		complete = complete && id >= 0
	}
	if !complete && m.unknown < 0 {
		return // what is left out lets its neighbours merge
	}
	g.on, g.marks = true, !complete && m.fuseUnknown
	n := 64
	for n < 8*len(m.vocab.tokens) {
		n *= 2
	}
	g.rest = make([]uint64, n/64)
	for _, token := range m.vocab.tokens {
		before := rune(-1)
		for _, r := range token {
			if before >= 0 {
				g.add(before, r)
			}
			before = r
		}
	}
}

// mayCut says whether merges depend on the characters alone: not on bytes of a fallback or on unknown ones, which stand
// for many characters.
func (m *bpe) mayCut() bool {
	odd := map[int32]bool{m.unknown: true}
	if m.byteFallback {
		for _, id := range m.bytes {
			odd[id] = true
		}
	}
	low, high := int32(noRank), int32(-1)
	for id := range odd {
		if id >= 0 {
			low, high = min(low, id), max(high, id)
		}
	}
	isOdd := func(id int32) bool { return id >= low && id <= high && odd[id] }
	for _, r := range m.merges.rules {
		if isOdd(r.left) || isOdd(r.right) {
			return false
		}
	}
	return true
}

func (g *glue) add(a, b rune) {
	if a < utf8.RuneSelf && b < utf8.RuneSelf {
		g.ascii[2*a|b>>6] |= 1 << (b & 63)
		return
	}
	h := g.hash(a, b)
	g.rest[h>>6] |= 1 << (h & 63)
}

func (g *glue) hash(a, b rune) uint64 {
	h := (uint64(a)<<21 | uint64(b)) * 0x9e3779b97f4a7c15
	return h >> 32 & uint64(64*len(g.rest)-1)
}

// has says whether some token may have b right after a.
func (g *glue) has(a, b rune) bool {
	if g.marks && b != spaceRune && b != ' ' {
		return true
	}
	if a < utf8.RuneSelf && b < utf8.RuneSelf {
		return g.ascii[2*a|b>>6]>>(b&63)&1 != 0
	}
	h := g.hash(a, b)
	return g.rest[h>>6]>>(h&63)&1 != 0
}

// spaceRune is spaceMark as a character.
const spaceRune = '▁'

// end gives the end of the word that begins at s[i].
func (g *glue) end(s string, i int) int {
	if !g.on {
		return len(s)
	}
	before, n := utf8.DecodeRuneInString(s[i:])
	for i += n; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if !g.has(before, r) {
			return i
		}
		before = r
		i += n
	}
	return i
}

// spaces makes a space stand for ▁, for texts whose spaces are marks.
func (g *glue) spaces(tokens []string) {
	if !g.on {
		return
	}
	for _, token := range tokens {
		before := rune(-1)
		for _, r := range token {
			if r == spaceRune {
				r = ' '
			}
			if before == ' ' || r == ' ' && before >= 0 {
				g.add(before, r)
			}
			before = r
		}
	}
}
