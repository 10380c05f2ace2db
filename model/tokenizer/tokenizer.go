package tokenizer

import "sync"

// Tokenizer turns text into token ids and back. It is safe for concurrent use.
type Tokenizer struct {
	tokens   []string // by id: the vocabulary's spelling
	present  []bool   // by id: whether the id is used at all
	vocab    *vocabulary
	added    map[string]int32 // ids of added tokens
	special  map[int32]bool   // special added tokens
	isAdded  map[int32]bool
	raw      addedMatcher // added tokens looked for in the raw text
	normed   addedMatcher // added tokens looked for in the normalised text
	normal   []normalizer
	pre      []preTokenizer
	model    *bpe
	post     postProcessor
	decoders []decoder

	// Shortcuts, where the stages allow them (takeShortcuts).
	scan   scanner // all that pre does
	spaced bool    // spaces become ▁, and that is all that normal and pre do
	prefix prefix

	encoders sync.Pool // of *encoder

	bos, eos, pad int32
	stops         []int32
}

// Encode gives the ids of text. With addSpecial the post-processor's tokens (BOS, EOS) are put around it; special
// tokens spelled out in the text itself are recognised either way. Bytes that are not UTF-8 are kept where the
// vocabulary can spell bytes.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	e := t.encoders.Get().(*encoder)
	defer e.free()
	e.track = false
	e.text(text)
	if addSpecial {
		return t.post.wrap(e.ids)
	}
	return append(make([]int32, 0, len(e.ids)), e.ids...)
}

// EncodeSpans is Encode with, for each token, the bytes [start, end) of text that it comes from: Hugging Face's
// offsets, in bytes. A token that holds part of a character has the whole character's span; a prefix that a
// normaliser put in shares the span of the first character; a token of the post-processor has an empty span at the
// start or the end.
func (t *Tokenizer) EncodeSpans(text string, addSpecial bool) (ids []int32, spans [][2]int) {
	e := t.encoders.Get().(*encoder)
	defer e.free()
	e.track = true
	e.text(text)
	if t.post.trimOffsets {
		t.trimSpans(text, e.ids, e.spans)
	}
	if addSpecial {
		return t.post.wrap(e.ids), t.post.wrapSpans(e.spans, len(text))
	}
	return append(make([]int32, 0, len(e.ids)), e.ids...), append(make([][2]int, 0, len(e.spans)), e.spans...)
}

// Token gives the vocabulary's spelling of an id, "" when the id is not used. Byte-level vocabularies spell a
// space as Ġ; use [Tokenizer.Decode] for the text.
func (t *Tokenizer) Token(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// ID gives the id of a vocabulary entry or an added token by its spelling.
func (t *Tokenizer) ID(token string) (int32, bool) {
	if id, ok := t.added[token]; ok {
		return id, true
	}
	return t.vocab.find(token)
}

// VocabSize is the largest id plus one. Embeddings may have more rows, never fewer.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// EOS is the end-of-sequence id, -1 when there is none.
func (t *Tokenizer) EOS() int32 { return t.eos }

// BOS is the beginning-of-sequence id, -1 when there is none.
func (t *Tokenizer) BOS() int32 { return t.bos }

// PAD is the padding id, -1 when there is none.
func (t *Tokenizer) PAD() int32 { return t.pad }

// StopIDs are the ids that end a generation: EOS and those of generation_config.json, each once.
func (t *Tokenizer) StopIDs() []int32 { return t.stops }

// IsSpecial says whether id is an added token that is marked special (BOS, end of turn, role headers).
func (t *Tokenizer) IsSpecial(id int32) bool { return t.special[id] }
