// Package tokenizer reads Hugging Face tokenizer.json files: byte-level BPE and SentencePiece-style BPE.
package tokenizer

import (
	"errors"
	"iter"
)

var errUnbuilt = errors.New("tokenizer: not built yet")

// Tokenizer turns text into token ids and back. It is safe for concurrent use.
type Tokenizer struct{}

// Load reads a model folder.
func Load(dir string) (*Tokenizer, error) { return nil, errUnbuilt }

// Parse reads a tokenizer.json.
func Parse(data []byte) (*Tokenizer, error) { return nil, errUnbuilt }

// Encode gives the ids of a text.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 { return nil }

// EncodeSpans gives the ids and the byte range of text that each comes from.
func (t *Tokenizer) EncodeSpans(text string, addSpecial bool) (ids []int32, spans [][2]int) {
	return nil, nil
}

// Decode gives the text of ids.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string { return "" }

// Token gives the vocabulary's spelling of an id, "" when it has none.
func (t *Tokenizer) Token(id int32) string { return "" }

// ID gives the id of a vocabulary entry or an added token.
func (t *Tokenizer) ID(token string) (int32, bool) { return 0, false }

// VocabSize is the largest id plus one.
func (t *Tokenizer) VocabSize() int { return 0 }

// EOS is the end-of-sequence id, -1 when there is none.
func (t *Tokenizer) EOS() int32 { return -1 }

// BOS is the beginning-of-sequence id, -1 when there is none.
func (t *Tokenizer) BOS() int32 { return -1 }

// PAD is the padding id, -1 when there is none.
func (t *Tokenizer) PAD() int32 { return -1 }

// IsSpecial says whether id is a special added token.
func (t *Tokenizer) IsSpecial(id int32) bool { return false }

// Stream decodes one token at a time.
type Stream struct{}

// NewStream starts a streaming decode.
func (t *Tokenizer) NewStream() *Stream { return &Stream{} }

// Push adds a token and gives the text that is now certain, whole runes only.
func (s *Stream) Push(id int32) string { return "" }

// Flush gives what is left.
func (s *Stream) Flush() string { return "" }

// Train learns a byte-level BPE and gives its tokenizer.json.
func Train(texts iter.Seq[string], vocabSize int, specials []string) ([]byte, error) {
	return nil, errUnbuilt
}
