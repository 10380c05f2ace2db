package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"lathe/model/tokenizer"
)

// tokenizerReport is the health of a tokenizer.
type tokenizerReport struct {
	Kind      string   `json:"kind"` // "BPE, byte-level"
	VocabSize int      `json:"vocab_size"`
	ModelSize int      `json:"model_vocab_size"` // rows of the embedding
	Special   int      `json:"special_tokens"`
	BOS       *token   `json:"bos,omitempty"`
	EOS       *token   `json:"eos,omitempty"`
	PAD       *token   `json:"pad,omitempty"`
	AddsBOS   bool     `json:"adds_bos"`
	StopIDs   []int32  `json:"stop_ids"` // that end a generation
	Beyond    []string `json:"beyond_embedding"`
}

// token is one entry of the vocabulary.
type token struct {
	ID   int32  `json:"id"`
	Text string `json:"text"`
}

func tokenOf(t *tokenizer.Tokenizer, id int32) *token {
	if id < 0 {
		return nil
	}
	return &token{id, t.Token(id)}
}

// loadTokenizer loads a tokenizer while something else is done; the function waits for it.
func loadTokenizer(dir string) func() (*tokenizer.Tokenizer, error) {
	var tok *tokenizer.Tokenizer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		tok, err = tokenizer.Load(dir)
	}()
	return func() (*tokenizer.Tokenizer, error) {
		<-done
		return tok, err
	}
}

// readTokenizer looks at the tokenizer, and whether it belongs to the model.
func (in *inspection) readTokenizer(dir string, config rawConfig, load func() (*tokenizer.Tokenizer, error)) {
	tok, err := load()
	switch {
	case errors.Is(err, os.ErrNotExist):
		in.Tokenizer = "none: only ready-made ids can be trained"
		in.note(levelWarn, "tokenizer", "there is no tokenizer.json: only ready-made ids can be trained")
		return
	case err != nil:
		in.Tokenizer = "unusable: " + err.Error()
		in.note(levelError, "tokenizer", "%v", err)
		return
	}
	r := &tokenizerReport{
		Kind: tokenizerKind(dir), VocabSize: tok.VocabSize(), ModelSize: in.Vocab, StopIDs: append([]int32{}, tok.StopIDs()...),
		BOS: tokenOf(tok, tok.BOS()), EOS: tokenOf(tok, tok.EOS()), PAD: tokenOf(tok, tok.PAD()), Beyond: []string{},
	}
	for id := range int32(tok.VocabSize()) {
		if tok.IsSpecial(id) {
			r.Special++
		}
		if in.Vocab > 0 && int(id) >= in.Vocab && tok.Token(id) != "" {
			r.Beyond = append(r.Beyond, tok.Token(id))
		}
	}
	ids := tok.Encode("a", true)
	r.AddsBOS = r.BOS != nil && len(ids) > 1 && ids[0] == r.BOS.ID
	in.TokenizerHealth, in.tok = r, tok
	switch {
	case len(r.Beyond) > 0:
		in.Tokenizer = fmt.Sprintf("%d tokens, but the model knows %d: ids beyond it will be refused", r.VocabSize, in.Vocab)
		in.note(levelWarn, "tokenizer", "the embedding has %d rows, and the vocabulary goes on beyond it (%s): text that holds such tokens will be refused", in.Vocab, few(r.Beyond, 3))
	case r.EOS == nil:
		in.Tokenizer = fmt.Sprintf("%d tokens, no eos token: answers will not learn to end", r.VocabSize)
	default:
		in.Tokenizer = fmt.Sprintf("%s tokens, eos %q", count(int64(r.VocabSize)), r.EOS.Text)
	}
	in.checkSpecial(dir, tok, config)
}

// checkSpecial compares the special tokens that the files name with the vocabulary, and with what ends a generation.
func (in *inspection) checkSpecial(dir string, tok *tokenizer.Tokenizer, config rawConfig) {
	r := in.TokenizerHealth
	for key, text := range namedTokens(dir) {
		if _, ok := tok.ID(text); !ok {
			in.note(levelWarn, "tokenizer", "%s %q of tokenizer_config.json is not in the vocabulary", key, text)
		}
	}
	switch {
	case r.EOS == nil:
		in.note(levelWarn, "tokenizer", "there is no eos token: answers will not learn to end")
	case r.PAD != nil && r.PAD.ID == r.EOS.ID:
		in.note(levelInfo, "tokenizer", "pad is eos: harmless here, where nothing is padded; other trainers then leave eos untrained")
	case r.PAD == nil:
		in.note(levelInfo, "tokenizer", "there is no pad token: harmless here, where nothing is padded")
	}
	stops, file := stopIDs(dir, config)
	for _, id := range stops {
		if in.Vocab > 0 && (id < 0 || int(id) >= in.Vocab) {
			in.note(levelInfo, "tokenizer", "eos_token_id %d of %s is none of the model's %d tokens", id, file, in.Vocab)
		}
	}
	if r.EOS != nil && len(stops) > 0 && !slices.Contains(stops, r.EOS.ID) {
		in.note(levelWarn, "tokenizer", "the tokenizer's eos is %q (%d), but generation stops at %v of %s: add it there", r.EOS.Text, r.EOS.ID, stops, file)
	}
}

// stopIDs are the ids at which transformers ends a generation, and the file that says so.
func stopIDs(dir string, config rawConfig) ([]int32, string) {
	var generation struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if data, err := os.ReadFile(filepath.Join(dir, "generation_config.json")); err == nil && json.Unmarshal(data, &generation) == nil {
		if ids := oneOrMore(generation.EOS); len(ids) > 0 {
			return ids, "generation_config.json"
		}
	}
	return oneOrMore(config.EOS), "config.json"
}

func oneOrMore(raw json.RawMessage) []int32 {
	var many []int32
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	var one int32
	if json.Unmarshal(raw, &one) == nil {
		return []int32{one}
	}
	return nil
}

// namedTokens are bos_token, eos_token and pad_token of tokenizer_config.json.
func namedTokens(dir string) map[string]string {
	var fields map[string]json.RawMessage
	data, err := os.ReadFile(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil || json.Unmarshal(data, &fields) != nil {
		return nil
	}
	named := map[string]string{}
	for _, key := range []string{"bos_token", "eos_token", "pad_token"} {
		var text string
		var entry struct{ Content string }
		switch {
		case json.Unmarshal(fields[key], &text) == nil:
		case json.Unmarshal(fields[key], &entry) == nil:
			text = entry.Content
		}
		if text != "" {
			named[key] = text
		}
	}
	return named
}

// tokenizerKind reads tokenizer.json up to the vocabulary: which algorithm, and how it spells what the vocabulary has no word for.
func tokenizerKind(dir string) string {
	f, err := os.Open(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return ""
	}
	defer f.Close()
	dec := jsontext.NewDecoder(f, jsontext.AllowDuplicateNames(true))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return ""
	}
	spelling := ""
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return ""
		}
		switch key.String() {
		case "model":
			return strings.TrimSuffix(modelType(dec)+", "+spelling, ", ")
		case "normalizer", "pre_tokenizer", "decoder":
			value, err := dec.ReadValue()
			if err != nil {
				return ""
			}
			switch text := string(value); {
			case strings.Contains(text, `"ByteLevel"`):
				spelling = "byte-level"
			case strings.Contains(text, `"ByteFallback"`):
				spelling = "SentencePiece with bytes to fall back on"
			case strings.Contains(text, `"Metaspace"`) && spelling == "":
				spelling = "SentencePiece"
			}
		default:
			if dec.SkipValue() != nil {
				return ""
			}
		}
	}
	return ""
}

// modelType reads the "type" of the tokenizer's model, which stands before its vocabulary.
func modelType(dec *jsontext.Decoder) string {
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return ""
	}
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return ""
		}
		if key.String() == "type" && dec.PeekKind() == '"' {
			name, _ := dec.ReadToken()
			return name.String()
		}
		if dec.SkipValue() != nil {
			return ""
		}
	}
	return ""
}

// fileIn tells whether a file lies in a folder.
func fileIn(dir, name string) bool {
	info, err := fs.Stat(os.DirFS(dir), name)
	return err == nil && info.Mode().IsRegular()
}
