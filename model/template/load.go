package template

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNone is returned by [Load] for a model that has no chat template.
var ErrNone = errors.New("the model has no chat template")

// Load finds the chat template of a model folder, in transformers' order: chat_template.jinja, then chat_template in
// tokenizer_config.json (a text, or a list of named templates of which "default" is taken), then chat_template.json.
// The template sees the special tokens of tokenizer_config.json and special_tokens_map.json.
func Load(dir string) (*Template, error) {
	t, err := LoadFS(os.DirFS(dir))
	if errors.Is(err, ErrNone) {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("load chat template of %s: %w", dir, err)
	}
	return t, nil
}

// LoadFS is Load from a file system, such as one that is embedded in the binary.
func LoadFS(fsys fs.FS) (*Template, error) {
	var config, special, old map[string]jsontext.Value
	for name, into := range map[string]*map[string]jsontext.Value{"tokenizer_config.json": &config, "special_tokens_map.json": &special, "chat_template.json": &old} {
		if err := readJSON(fsys, name, into); err != nil {
			return nil, err
		}
	}
	source, err := findSource(fsys, config, old)
	if err != nil {
		return nil, err
	}
	vars := map[string]any{}
	for _, m := range []map[string]jsontext.Value{special, config} {
		for name, raw := range m {
			if s, ok := tokenText(raw); ok && strings.HasSuffix(name, "_token") {
				vars[name] = s
			}
		}
	}
	return Parse(source, vars)
}

func findSource(fsys fs.FS, config, old map[string]jsontext.Value) (string, error) {
	data, err := fs.ReadFile(fsys, "chat_template.jinja")
	if err == nil {
		return string(data), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if raw, ok := config["chat_template"]; ok && raw.Kind() != 'n' {
		return chooseTemplate(raw, "tokenizer_config.json")
	}
	if raw, ok := old["chat_template"]; ok && raw.Kind() != 'n' {
		return chooseTemplate(raw, "chat_template.json")
	}
	return "", ErrNone
}

type namedTemplate struct {
	Name     string `json:"name"`
	Template string `json:"template"`
}

// chooseTemplate reads a template given as a text or as a list of {"name", "template"}.
func chooseTemplate(raw jsontext.Value, file string) (string, error) {
	var source string
	if json.Unmarshal(raw, &source) == nil {
		return source, nil
	}
	var named []namedTemplate
	if err := json.Unmarshal(raw, &named); err != nil {
		return "", fmt.Errorf("%s: chat_template is neither a text nor a list of named templates: %w", file, err)
	}
	i := slices.IndexFunc(named, func(n namedTemplate) bool { return n.Name == "default" })
	switch {
	case i >= 0:
		return named[i].Template, nil
	case len(named) == 1:
		return named[0].Template, nil
	case len(named) == 0:
		return "", ErrNone
	}
	return "", fmt.Errorf("%s: chat_template has %d named templates and none is called \"default\"", file, len(named))
}

// tokenText reads a special token given as a text or as {"content": …}.
func tokenText(raw jsontext.Value) (string, bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil && raw.Kind() == '"' {
		return s, true
	}
	var o struct {
		Content *string `json:"content"`
	}
	if raw.Kind() == '{' && json.Unmarshal(raw, &o) == nil && o.Content != nil {
		return *o.Content, true
	}
	return "", false
}

func readJSON(fsys fs.FS, name string, into *map[string]jsontext.Value) error {
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
