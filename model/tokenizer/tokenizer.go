package tokenizer

// Tokenizer turns text into token ids and back. It is safe for concurrent use.
type Tokenizer struct {
	tokens   []string         // by id: the vocabulary's spelling
	present  []bool           // by id: whether the id is used at all
	ids      map[string]int32 // of vocabulary and added tokens
	special  map[int32]bool   // special added tokens
	isAdded  map[int32]bool
	raw      addedMatcher // added tokens looked for in the raw text
	normed   addedMatcher // added tokens looked for in the normalised text
	normal   []normalizer
	pre      []preTokenizer
	model    *bpe
	post     postProcessor
	decoders []decoder

	bos, eos, pad int32
	stops         []int32
}

// Encode gives the ids of text. With addSpecial the post-processor's tokens (BOS, EOS) are put around it; special
// tokens spelled out in the text itself are recognised either way. Bytes that are not UTF-8 are kept where the
// vocabulary can spell bytes.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	e := encoder{t: t, ids: make([]int32, 0, len(text)/3+4)}
	e.text(text)
	if addSpecial {
		e.ids, _ = t.post.wrap(e.ids, nil)
	}
	return e.ids
}

// EncodeSpans is Encode with, for each token, the bytes [start, end) of text that it comes from: Hugging Face's
// offsets, in bytes. A token that holds part of a character has the whole character's span; a prefix that a
// normaliser put in shares the span of the first character; a token of the post-processor has an empty span at the
// start or the end.
func (t *Tokenizer) EncodeSpans(text string, addSpecial bool) (ids []int32, spans [][2]int) {
	e := encoder{t: t, track: true}
	e.text(text)
	if t.post.trimOffsets {
		t.trimSpans(text, e.ids, e.spans)
	}
	if addSpecial {
		e.ids, e.spans = t.post.wrap(e.ids, e.spans)
		for i := len(e.spans) - len(t.post.suffix); i < len(e.spans); i++ {
			e.spans[i] = [2]int{len(text), len(text)}
		}
	}
	return e.ids, e.spans
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
	id, ok := t.ids[token]
	return id, ok
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
