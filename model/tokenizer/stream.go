package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Stream decodes a generation token by token, without special tokens. It never gives half a character: bytes wait
// until they are whole. A stream belongs to one goroutine.
type Stream struct {
	t     *Tokenizer
	bytes bool   // byte-level vocabularies go straight from bytes to text
	rest  []byte // bytes of an unfinished character

	// The others decode a window that begins with the tokens given out last, since the text of a token depends on
	// what stands before it.
	window []int32
	given  int // tokens of the window whose text has been given out
}

// patience is how many tokens a stream waits for a character to become whole: no character has more bytes.
const patience = 4

// NewStream starts a streaming decode.
func (t *Tokenizer) NewStream() *Stream {
	s := &Stream{t: t}
	if len(t.decoders) == 1 {
		_, s.bytes = t.decoders[0].(byteLevelDecoder)
	}
	return s
}

// Push adds a token and gives the text that has become certain, often one word, sometimes none.
func (s *Stream) Push(id int32) string {
	t := s.t
	if id < 0 || int(id) >= len(t.tokens) || !t.present[id] || t.special[id] {
		return ""
	}
	if s.bytes {
		var text string
		text, s.rest = lossy(unspellBytes(s.rest, t.tokens[id]), true)
		return text
	}
	s.window = append(s.window, id)
	before, all := s.texts()
	if len(all) <= len(before) && len(s.window)-s.given <= patience {
		return ""
	}
	if strings.HasSuffix(all, "\uFFFD") && len(s.window)-s.given < patience {
		return ""
	}
	s.window = append(s.window[:0], s.window[s.given:]...)
	s.given = len(s.window)
	return cutPrefix(all, before)
}

// Flush gives what was still waiting and leaves the stream as new.
func (s *Stream) Flush() string {
	text, _ := lossy(s.rest, false)
	if !s.bytes {
		before, all := s.texts()
		text = cutPrefix(all, before)
	}
	s.rest, s.window, s.given = nil, nil, 0
	return text
}

func (s *Stream) texts() (before, all string) {
	return s.t.Decode(s.window[:s.given], true), s.t.Decode(s.window, true)
}

// cutPrefix takes what was given out already off the front. Where a decoder changed its mind about it (bytes that
// turned out to be no character), the difference begins at the first change.
func cutPrefix(all, before string) string {
	if rest, ok := strings.CutPrefix(all, before); ok {
		return rest
	}
	i := 0
	for i < len(all) && i < len(before) && all[i] == before[i] {
		i++
	}
	for i > 0 && i < len(all) && !utf8.RuneStart(all[i]) {
		i--
	}
	return all[i:]
}
