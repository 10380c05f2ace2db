package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// vocabulary finds the ids of a model's tokens by their spelling: open addressing on a hash of it.
type vocabulary struct {
	tokens []string // in the order of the file
	ids    []int32  // of tokens
	slots  []vocabSlot
	seed   maphash.Seed
}

type vocabSlot struct {
	tag uint32
	at  int32 // in tokens, plus one; 0 in an empty slot
}

// readVocabulary reads {"token": id, …}, which has to be valid JSON. Of a name given twice the last one counts.
func readVocabulary(raw []byte) (*vocabulary, error) {
	v := &vocabulary{seed: maphash.MakeSeed()}
	if len(raw) == 0 || raw[0] != '{' {
		return v, nil
	}
	spelled := make([]byte, 0, len(raw)/2)
	n := min(bytes.Count(raw, []byte{':'}), len(raw)/5) // at least one for each token, and "":0, around it
	ends := make([]int32, 0, n)
	v.ids = make([]int32, 0, n)
	s := rawScanner{raw: raw, at: 1}
	for s.more() {
		spelled = s.appendString(spelled)
		ends = append(ends, int32(len(spelled)))
		id, err := s.int32()
		if err != nil {
			return nil, fmt.Errorf("vocabulary: token %d: %w", len(v.ids), err)
		}
		v.ids = append(v.ids, id)
	}
	v.index(string(spelled), ends)
	return v, nil
}

// index cuts text into the tokens that end at ends, and makes the table.
func (v *vocabulary) index(text string, ends []int32) {
	v.tokens = make([]string, 0, len(ends))
	size := 16
	for size < len(ends)+len(ends)/2 {
		size *= 2
	}
	v.slots = make([]vocabSlot, size)
	start := int32(0)
	for i, end := range ends {
		token, id := text[start:end], v.ids[i]
		start = end
		at, tag := v.slot(maphash.String(v.seed, token), func(s string) bool { return s == token })
		if found := v.slots[at].at; found > 0 {
			v.ids[found-1] = id
			continue
		}
		v.ids[len(v.tokens)] = id
		v.tokens = append(v.tokens, token)
		v.slots[at] = vocabSlot{tag, int32(len(v.tokens))}
	}
	v.ids = v.ids[:len(v.tokens)]
}

// slot gives where a token of this hash is or would be.
func (v *vocabulary) slot(hash uint64, same func(string) bool) (at int, tag uint32) {
	tag = uint32(hash >> 32)
	for i := int(hash) & (len(v.slots) - 1); ; i = (i + 1) & (len(v.slots) - 1) {
		if s := v.slots[i]; s.at == 0 || s.tag == tag && same(v.tokens[s.at-1]) {
			return i, tag
		}
	}
}

func (v *vocabulary) find(token string) (int32, bool) {
	if len(v.tokens) == 0 {
		return 0, false
	}
	at, _ := v.slot(maphash.String(v.seed, token), func(s string) bool { return s == token })
	return v.id(at)
}

func (v *vocabulary) findBytes(token []byte) (int32, bool) {
	if len(v.tokens) == 0 {
		return 0, false
	}
	at, _ := v.slotOfBytes(token)
	return v.id(at)
}

func (v *vocabulary) slotOfBytes(token []byte) (at int, tag uint32) {
	return v.slot(maphash.Bytes(v.seed, token), func(s string) bool { return s == string(token) })
}

func (v *vocabulary) id(slot int) (int32, bool) {
	if at := v.slots[slot].at; at > 0 {
		return v.ids[at-1], true
	}
	return 0, false
}

// rawScanner walks over the elements of a list or an object whose JSON is known to be valid.
type rawScanner struct {
	raw []byte
	at  int
}

// more goes to the next element and says whether there is one.
func (s *rawScanner) more() bool {
	s.skip()
	return s.raw[s.at] != ']' && s.raw[s.at] != '}'
}

// skip goes over white space, commas and colons.
func (s *rawScanner) skip() {
	for {
		switch s.raw[s.at] {
		case ' ', '\t', '\r', '\n', ',', ':':
			s.at++
		default:
			return
		}
	}
}

// appendString appends the text of the string here.
func (s *rawScanner) appendString(dst []byte) []byte {
	start := s.at
	s.at++
	escaped := false
	for ; s.raw[s.at] != '"'; s.at++ {
		if s.raw[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	s.at++
	if !escaped {
		return append(dst, s.raw[start+1:s.at-1]...)
	}
	dst, _ = jsontext.AppendUnquote(dst, s.raw[start:s.at]) // its error was the reader's already
	return dst
}

// int32 reads the number here.
func (s *rawScanner) int32() (int32, error) {
	s.skip()
	start := s.at
	for s.at < len(s.raw) && (s.raw[s.at] == '-' || s.raw[s.at] >= '0' && s.raw[s.at] <= '9') {
		s.at++
	}
	id, err := strconv.ParseInt(string(s.raw[start:s.at]), 10, 32)
	if err == nil && s.at < len(s.raw) && bytes.IndexByte([]byte(" \t\r\n,}"), s.raw[s.at]) >= 0 {
		return int32(id), nil
	}
	return 0, errors.New("its id is no whole number below 2^31")
}
