package tokenizer

import "unicode/utf8"

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
	unknown      int32      // -1: what cannot be spelled is left out
	bytes        [256]int32 // ids of single bytes, -1 where the vocabulary has none
	ascii        [128]int32 // ids of characters below 0x80, -1 where the vocabulary has none
	vocab        *vocabulary
	merges       mergeTable
	glue         glue
}

// encode appends the tokens of a word: the word itself where the vocabulary has it and says so, else what its bytes or
// characters merge to.
func (m *bpe) encode(w string, x *merger, out []tok) []tok {
	if m.ignoreMerges {
		if id, ok := m.word(w); ok {
			return append(out, tok{id: id, n: int32(len(w))})
		}
	}
	start := len(out)
	if m.byteLevel {
		out = m.fromBytes(w, out)
	} else {
		out = m.fromRunes(w, out)
	}
	return out[:start+len(x.merge(out[start:]))]
}

// word finds a whole word in the vocabulary.
func (m *bpe) word(w string) (int32, bool) {
	if !m.byteLevel {
		return m.vocab.find(w)
	}
	var buffer [2 * maxCachedWord]byte
	spelled := buffer[:0]
	for i := range len(w) {
		spelled = utf8.AppendRune(spelled, byteRunes[w[i]])
	}
	return m.vocab.findBytes(spelled)
}

// fromBytes appends a token for each byte of a word.
func (m *bpe) fromBytes(w string, out []tok) []tok {
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

// fromRunes appends a token for each character of a word, or several where byte fallback spells it.
func (m *bpe) fromRunes(w string, out []tok) []tok {
	skip, fused := int32(0), false
	for i := 0; i < len(w); {
		_, n := utf8.DecodeRuneInString(w[i:])
		c := w[i : i+n]
		i += n
		if id, ok := m.rune(c); ok {
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

// rune finds a single character in the vocabulary.
func (m *bpe) rune(c string) (int32, bool) {
	if c[0] < utf8.RuneSelf {
		id := m.ascii[c[0]]
		return id, id >= 0
	}
	return m.vocab.find(c)
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

// spaceMark is SentencePiece's visible space, U+2581.
const spaceMark = "▁"
