package tokenizer

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// file is a tokenizer.json.
type file struct {
	AddedTokens   []addedToken `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
	Model         modelFile    `json:"model"`
}

// component holds the fields of every normaliser, pre-tokenizer, post-processor and decoder.
type component struct {
	Type           string       `json:"type"`
	Normalizers    []component  `json:"normalizers"`
	Pretokenizers  []component  `json:"pretokenizers"`
	Processors     []component  `json:"processors"`
	Decoders       []component  `json:"decoders"`
	Pattern        *patternFile `json:"pattern"`
	Content        string       `json:"content"`
	Prepend        string       `json:"prepend"`
	Behavior       string       `json:"behavior"`
	Invert         bool         `json:"invert"`
	AddPrefixSpace *bool        `json:"add_prefix_space"`
	UseRegex       *bool        `json:"use_regex"`
	TrimOffsets    *bool        `json:"trim_offsets"`

	IndividualDigits bool   `json:"individual_digits"`
	Replacement      string `json:"replacement"`
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool  `json:"split"`
	StripLeft        *bool  `json:"strip_left"`
	StripRight       *bool  `json:"strip_right"`
	Start            int    `json:"start"`
	Stop             int    `json:"stop"`
	Delimiter        string `json:"delimiter"`

	Single        []templateItem            `json:"single"`
	SpecialTokens map[string]templateTokens `json:"special_tokens"`
	Cls           jsontext.Value            `json:"cls"`
	Sep           jsontext.Value            `json:"sep"`
}

type patternFile struct {
	String *string
	Regex  *string
}

type templateTokens struct {
	IDs []int32 `json:"ids"`
}

type modelFile struct {
	Type                    string    `json:"type"`
	Vocab                   rawMember `json:"vocab"`
	Merges                  rawMember `json:"merges"`
	Dropout                 *float64  `json:"dropout"`
	UnkToken                *string   `json:"unk_token"`
	ContinuingSubwordPrefix *string   `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string   `json:"end_of_word_suffix"`
	FuseUnk                 bool      `json:"fuse_unk"`
	ByteFallback            bool      `json:"byte_fallback"`
	IgnoreMerges            bool      `json:"ignore_merges"`
}

// rawMember is where a value lies in the file. The vocabulary and the merges are nearly all of it, and are read by scanners of
// their own once the JSON is known to be valid.
type rawMember struct{ start, end int64 }

// UnmarshalJSONFrom steps over the value.
func (m *rawMember) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	m.end = dec.InputOffset()
	m.start = m.end - int64(len(v))
	return err
}

// Parse reads a tokenizer.json. BOS, EOS and PAD are what the post-processor shows; [Load] knows more.
func Parse(data []byte) (*Tokenizer, error) {
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer.json: %w", err)
	}
	return t, nil
}

func parse(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, err
	}
	t := &Tokenizer{added: map[string]int32{}, special: map[int32]bool{}, isAdded: map[int32]bool{}, bos: -1, eos: -1, pad: -1}
	t.encoders.New = func() any { return newEncoder(t) }
	vocab, err := readVocabulary(data[f.Model.Vocab.start:f.Model.Vocab.end])
	if err != nil {
		return nil, err
	}
	if err := t.buildVocabulary(&f, vocab); err != nil {
		return nil, err
	}
	if t.normal, err = buildNormalizers(f.Normalizer); err != nil {
		return nil, err
	}
	var byteLevel bool
	if t.pre, byteLevel, err = buildPreTokenizers(f.PreTokenizer); err != nil {
		return nil, err
	}
	if t.model, err = buildBPE(&f.Model, byteLevel, vocab, data[f.Model.Merges.start:f.Model.Merges.end]); err != nil {
		return nil, err
	}
	if t.decoders, err = buildDecoders(f.Decoder); err != nil {
		return nil, err
	}
	if err := t.post.build(f.PostProcessor); err != nil {
		return nil, err
	}
	for _, id := range append(append([]int32{}, t.post.prefix...), t.post.suffix...) {
		if t.Token(id) == "" {
			return nil, fmt.Errorf("post-processor adds id %d, which the vocabulary does not have", id)
		}
	}
	if len(t.post.prefix) > 0 {
		t.bos = t.post.prefix[0]
	}
	if len(t.post.suffix) > 0 {
		t.setEOS(t.post.suffix[0])
	}
	for _, a := range f.AddedTokens {
		t.matchAdded(a)
	}
	t.takeShortcuts()
	return t, nil
}

// matchAdded has an added token looked for in texts, in its normalised form where it says so.
func (t *Tokenizer) matchAdded(a addedToken) {
	if !a.Normalized {
		t.raw.add(a.Content, a)
		return
	}
	p := piece{s: a.Content}
	for _, n := range t.normal {
		p = n.apply(p, false)
	}
	t.normed.add(p.s, a)
	t.tokens[a.ID] = p.s // what Hugging Face decodes it to
}

// buildVocabulary fills the tables of ids and spellings.
func (t *Tokenizer) buildVocabulary(f *file, v *vocabulary) error {
	if f.Model.Type != "" && f.Model.Type != "BPE" {
		return fmt.Errorf("model %q is not supported, only BPE", f.Model.Type)
	}
	// A table by id must not be blown up by one absurd id: real vocabularies have hardly any holes.
	limit := int32(2*(len(v.tokens)+len(f.AddedTokens)) + 1<<16)
	size := int32(0)
	check := func(token string, id int32) error {
		if id < 0 || id >= limit {
			return fmt.Errorf("token %q has id %d, outside 0 to %d that a vocabulary of this size can use", token, id, limit-1)
		}
		size = max(size, id+1)
		return nil
	}
	for i, token := range v.tokens {
		if err := check(token, v.ids[i]); err != nil {
			return err
		}
	}
	for _, a := range f.AddedTokens {
		if err := check(a.Content, a.ID); err != nil {
			return err
		}
	}
	if size == 0 {
		return fmt.Errorf("the vocabulary is empty")
	}
	t.vocab, t.tokens, t.present = v, make([]string, size), make([]bool, size)
	for i, token := range v.tokens {
		id := v.ids[i]
		if t.present[id] {
			return fmt.Errorf("id %d belongs to two tokens, %q and %q", id, min(token, t.tokens[id]), max(token, t.tokens[id]))
		}
		t.tokens[id], t.present[id] = token, true
	}
	for _, a := range f.AddedTokens {
		t.addToken(a)
	}
	return nil
}

// addToken enters an added token, which overrides the vocabulary's spelling of its id.
func (t *Tokenizer) addToken(a addedToken) {
	if more := int(a.ID) + 1 - len(t.tokens); more > 0 {
		t.tokens, t.present = append(t.tokens, make([]string, more)...), append(t.present, make([]bool, more)...)
	}
	t.tokens[a.ID], t.present[a.ID], t.added[a.Content] = a.Content, true, a.ID
	t.isAdded[a.ID] = true
	if a.Special {
		t.special[a.ID] = true
	}
}

// buildBPE makes the merging model.
func buildBPE(f *modelFile, byteLevel bool, vocab *vocabulary, merges []byte) (*bpe, error) {
	if f.Dropout != nil && *f.Dropout != 0 {
		return nil, fmt.Errorf("model BPE with dropout %v is not supported: its encodings are random", *f.Dropout)
	}
	for name, s := range map[string]*string{"continuing_subword_prefix": f.ContinuingSubwordPrefix, "end_of_word_suffix": f.EndOfWordSuffix} {
		if s != nil && *s != "" {
			return nil, fmt.Errorf("model BPE with %s %q is not supported", name, *s)
		}
	}
	m := &bpe{
		byteLevel: byteLevel, byteFallback: f.ByteFallback, ignoreMerges: f.IgnoreMerges, fuseUnknown: f.FuseUnk,
		unknown: -1, vocab: vocab,
	}
	if f.UnkToken != nil {
		id, ok := vocab.find(*f.UnkToken)
		if !ok {
			return nil, fmt.Errorf("unk_token %q is not in the vocabulary", *f.UnkToken)
		}
		m.unknown = id
	}
	var err error
	if m.merges, err = readMerges(merges, vocab); err != nil {
		return nil, err
	}
	m.spellings()
	m.glue.build(m)
	return m, nil
}

// spellings fills the tables that a word starts from.
func (m *bpe) spellings() {
	id := func(token string) int32 {
		if id, ok := m.vocab.find(token); ok {
			return id
		}
		return -1
	}
	for b := range m.bytes {
		if m.byteLevel {
			m.bytes[b] = id(string(byteRunes[b]))
		} else {
			m.bytes[b] = id(fmt.Sprintf("<0x%02X>", b))
		}
	}
	for c := range m.ascii {
		m.ascii[c] = id(string(rune(c)))
	}
}

// setEOS makes id the end of a sequence and a stop id.
func (t *Tokenizer) setEOS(id int32) {
	t.eos = id
	t.addStop(id)
}

func (t *Tokenizer) addStop(id int32) {
	for _, s := range t.stops {
		if s == id {
			return
		}
	}
	t.stops = append(t.stops, id)
}
