package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Load reads the tokenizer of a model folder: tokenizer.json, and for BOS, EOS, PAD and stop ids, in this order,
// tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json, each of which may be
// missing. As in transformers 5, the tokens around a sequence are those of tokenizer.json's post-processor;
// add_bos_token and add_eos_token of tokenizer_config.json count where it has no say.
func Load(dir string) (*Tokenizer, error) {
	t, err := LoadFS(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("load tokenizer of %s: %w", dir, err)
	}
	return t, nil
}

// LoadFS is Load from a file system, such as one that is embedded in the binary.
func LoadFS(fsys fs.FS) (*Tokenizer, error) {
	data, err := fs.ReadFile(fsys, "tokenizer.json")
	if err != nil {
		if _, e := fs.Stat(fsys, "tokenizer.model"); e == nil {
			return nil, errors.New("the folder has tokenizer.model but no tokenizer.json: convert it with transformers, AutoTokenizer.from_pretrained(dir).save_pretrained(dir)")
		}
		return nil, fmt.Errorf("%w (copy the model's tokenizer.json beside its config.json)", err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, err
	}
	var c configFile
	for _, name := range []string{"tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"} {
		var next configFile
		if err := readConfig(fsys, name, &next); err != nil {
			return nil, err
		}
		if name == "tokenizer_config.json" {
			if err := t.addDecoderTokens(next.AddedTokensDecoder); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			c.AddBOS, c.AddEOS = next.AddBOS, next.AddEOS
		}
		t.note(&c, &next, name == "generation_config.json")
	}
	t.configure(&c)
	return t, nil
}

// configFile holds what the four configuration files may say about special tokens.
type configFile struct {
	BOS                tokenName             `json:"bos_token"`
	EOS                tokenName             `json:"eos_token"`
	PAD                tokenName             `json:"pad_token"`
	BOSID              idList                `json:"bos_token_id"`
	EOSID              idList                `json:"eos_token_id"`
	PADID              idList                `json:"pad_token_id"`
	AddBOS             *bool                 `json:"add_bos_token"`
	AddEOS             *bool                 `json:"add_eos_token"`
	AddedTokensDecoder map[string]addedToken `json:"added_tokens_decoder"`
}

// tokenName is "…", {"content": "…"} or null.
type tokenName string

// UnmarshalJSONFrom accepts each of the spellings.
func (n *tokenName) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '{' {
		var o struct {
			Content string `json:"content"`
		}
		err := json.UnmarshalDecode(dec, &o)
		*n = tokenName(o.Content)
		return err
	}
	var s *string
	err := json.UnmarshalDecode(dec, &s)
	if s != nil {
		*n = tokenName(*s)
	}
	return err
}

// idList is 2, [2, 3] or null.
type idList []int32

// UnmarshalJSONFrom accepts each of the spellings.
func (l *idList) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		return json.UnmarshalDecode(dec, (*[]int32)(l))
	}
	var id *int32
	err := json.UnmarshalDecode(dec, &id)
	if id != nil {
		*l = idList{*id}
	}
	return err
}

func readConfig(fsys fs.FS, name string, into *configFile) error {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into, jsontext.AllowDuplicateNames(true)); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// addDecoderTokens enters tokens that only tokenizer_config.json knows.
func (t *Tokenizer) addDecoderTokens(decoder map[string]addedToken) error {
	ids := make([]int, 0, len(decoder))
	for key := range decoder {
		id, err := strconv.Atoi(key)
		if err != nil || id < 0 || id > 2*len(t.tokens)+1<<16 || strconv.Itoa(id) != key {
			return fmt.Errorf("added_tokens_decoder: %q is no id of this vocabulary", key)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		a := decoder[strconv.Itoa(id)]
		a.ID = int32(id)
		if _, known := t.ID(a.Content); known || a.Content == "" || t.Token(a.ID) != "" {
			continue
		}
		t.addToken(a)
		t.matchAdded(a)
	}
	return nil
}

// note takes from a file what the earlier ones did not say. Names that the vocabulary does not have say nothing.
func (t *Tokenizer) note(have, next *configFile, generation bool) {
	take := func(have *idList, name tokenName, ids idList) {
		if len(*have) > 0 {
			return
		}
		if id, ok := t.ID(string(name)); ok && name != "" {
			*have = idList{id}
			return
		}
		if len(ids) > 0 && t.Token(ids[0]) != "" {
			*have = ids[:1]
		}
	}
	take(&have.BOSID, next.BOS, next.BOSID)
	take(&have.EOSID, next.EOS, next.EOSID)
	take(&have.PADID, next.PAD, next.PADID)
	if generation {
		for _, id := range next.EOSID {
			if t.Token(id) != "" {
				t.addStop(id)
			}
		}
	}
}

// configure applies what the files said.
func (t *Tokenizer) configure(c *configFile) {
	if len(c.BOSID) > 0 {
		t.bos = c.BOSID[0]
	}
	if len(c.PADID) > 0 {
		t.pad = c.PADID[0]
	}
	if len(c.EOSID) > 0 {
		others := t.stops
		t.stops = nil
		t.setEOS(c.EOSID[0])
		for _, id := range others {
			t.addStop(id)
		}
	}
	if t.post.explicit {
		return
	}
	if c.AddBOS != nil && *c.AddBOS && t.bos >= 0 {
		t.post.prefix = []int32{t.bos}
	}
	if c.AddEOS != nil && *c.AddEOS && t.eos >= 0 {
		t.post.suffix = []int32{t.eos}
	}
}
