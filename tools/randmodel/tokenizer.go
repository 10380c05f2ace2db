package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The default tokenizer is that of the reference models: byte-level BPE of 272 entries with a chat template, written
// by tools/refdump/tiny_tokenizer.py.
var (
	//go:embed tokenizer.json
	defaultTokenizer []byte
	//go:embed tokenizer_config.json
	defaultConfig []byte
)

// tokenizerFiles are a tokenizer's two files and what config.json has to know about it.
type tokenizerFiles struct {
	tokenizer, config []byte

	size          int  // highest id + 1
	bos, eos, pad *int // nil where the tokenizer has none
}

// readTokenizer reads path, and tokenizer_config.json beside it if there is one. An empty path is the default tokenizer.
func readTokenizer(path string) (*tokenizerFiles, error) {
	t := &tokenizerFiles{tokenizer: defaultTokenizer, config: defaultConfig}
	if path != "" {
		var err error
		if t.tokenizer, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("read tokenizer: %w", err)
		}
		t.config, err = os.ReadFile(filepath.Join(filepath.Dir(path), "tokenizer_config.json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read tokenizer: %w", err)
		}
	}
	ids, err := t.ids()
	if err != nil {
		return nil, fmt.Errorf("read tokenizer %s: %w", path, err)
	}
	if t.config == nil {
		t.config = guessConfig(ids)
	}
	return t, t.findSpecial(ids)
}

// ids gives every entry's id and sets size.
func (t *tokenizerFiles) ids() (map[string]int, error) {
	var file struct {
		AddedTokens []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
		Model struct {
			Vocab map[string]int `json:"vocab"`
		} `json:"model"`
	}
	if err := json.Unmarshal(t.tokenizer, &file); err != nil {
		return nil, err
	}
	if len(file.Model.Vocab) == 0 {
		return nil, errors.New("no model.vocab: give a tokenizer.json of the tokenizers library")
	}
	ids := file.Model.Vocab
	for _, a := range file.AddedTokens {
		ids[a.Content] = a.ID
	}
	for _, id := range ids {
		t.size = max(t.size, id+1)
	}
	return ids, nil
}

// guessConfig is the tokenizer_config.json for a tokenizer that came alone: the end token is the first known name it has.
func guessConfig(ids map[string]int) []byte {
	config := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast"}
	for _, name := range []string{"</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>"} {
		if _, ok := ids[name]; ok {
			config["eos_token"] = name
			break
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // <|endoftext|> as people write it
	enc.SetIndent("", "  ")
	_ = enc.Encode(config) // two strings into memory
	return b.Bytes()
}

// findSpecial looks the ids of bos_token, eos_token and pad_token up; each is a string or {"content": …}.
func (t *tokenizerFiles) findSpecial(ids map[string]int) error {
	var config map[string]json.RawMessage
	if err := json.Unmarshal(t.config, &config); err != nil {
		return fmt.Errorf("read tokenizer_config.json: %w", err)
	}
	for key, field := range map[string]**int{"bos_token": &t.bos, "eos_token": &t.eos, "pad_token": &t.pad} {
		var name string
		var object struct {
			Content string `json:"content"`
		}
		if json.Unmarshal(config[key], &name) != nil && json.Unmarshal(config[key], &object) == nil {
			name = object.Content
		}
		if id, ok := ids[name]; ok && name != "" {
			*field = &id
		}
	}
	return nil
}
