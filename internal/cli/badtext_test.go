package cli

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// A tokenizer that knows more ids than the model has embeddings: texts that use them are refused, not read past the table's end.
func TestTokenizerBeyondTheVocabulary(t *testing.T) {
	model, dir := copyModel(t, "llama-gqa"), t.TempDir()
	var tokenizer map[string]any
	if err := json.Unmarshal(read(t, model, "tokenizer.json"), &tokenizer); err != nil {
		t.Fatal(err)
	}
	tokenizer["added_tokens"] = append(tokenizer["added_tokens"].([]any), map[string]any{
		"id": 272, "content": "<beyond>", "special": false, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false,
	})
	text, err := json.Marshal(tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	write(t, model, "tokenizer.json", string(text))
	texts := write(t, dir, "texts.jsonl", "{\"text\":\"the cat\"}\n{\"text\":\"the <beyond> cat\"}\n")
	rows := write(t, dir, "rows.jsonl", "{\"prompt\":\"a\",\"completion\":\"the <beyond> cat\"}\n")
	words := []string{"272", "vocabulary"}
	refusal(t, lathe(t, "score", "--model", model, "--text", texts), exitFailed, append(words, ":2:")...)
	refusal(t, lathe(t, "generate", "--model", model, "--prompt", "the <beyond>"), exitFailed, words...)
	yaml := tiny(t, dir, config{"model_name_or_path": model, "train_file": rows}).save(t, dir, "run.yaml")
	refusal(t, lathe(t, "train", "--workspace", dir, "-c", yaml), exitFailed, append(words, "rows.jsonl:1")...)
	untouched(t, filepath.Join(dir, "out"))
	ok(t, "tokenize", "--model", model, "--text", texts)
}

// Chat templates that do not parse, or do not render these messages.
func TestBadTemplates(t *testing.T) {
	for _, test := range []struct {
		name, template string
		words          []string
	}{
		{"no end", "{% for m in messages %}{{ m.content }}", []string{"chat template", "not closed"}},
		{"no such filter", "{{ messages | frobnicate }}", []string{"frobnicate"}},
		{"raises", "{{ raise_exception('roles must alternate') }}", []string{"roles must alternate"}},
		{"no such thing", "{{ messages[0].content.nothing.at_all }}", []string{"nothing"}},
		{"endless", "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", []string{"template"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			model, dir := copyModel(t, "llama-gqa"), t.TempDir()
			setKey(t, filepath.Join(model, "tokenizer_config.json"), "chat_template", test.template)
			const messages = `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}` + "\n"
			file := write(t, dir, "messages.jsonl", messages)
			refusal(t, lathe(t, "render", "--model", model, "--messages", file), exitFailed, test.words...)
			yaml := tiny(t, dir, config{"model_name_or_path": model, "train_file": file}).save(t, dir, "run.yaml")
			refusal(t, lathe(t, "train", "--workspace", dir, "-c", yaml), exitFailed, test.words...)
			untouched(t, filepath.Join(dir, "out"))
		})
	}
}

// tokenizer.json that cannot be used.
func TestBadTokenizers(t *testing.T) {
	for _, test := range []struct {
		name, text string
		words      []string
	}{
		{"no JSON", "{", []string{"tokenizer.json"}},
		{"WordPiece", `{"model":{"type":"WordPiece","vocab":{"a":0}}}`, []string{"WordPiece", "BPE"}},
		{"empty", `{"model":{"type":"BPE","vocab":{},"merges":[]}}`, []string{"vocabulary", "empty"}},
		{"an id twice", `{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}`, []string{"id 0", `"a"`, `"b"`}},
		{"an absurd id", `{"model":{"type":"BPE","vocab":{"a":0,"b":2000000000},"merges":[]}}`, []string{`"b"`, "2000000000"}},
		{"a merge of nothing", `{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}`, []string{"merge 0", "vocabulary"}},
		{"a merge of one", `{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}`, []string{"merge 0"}},
		{"a pattern that does not compile", `{"pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a"}},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`, []string{"(a"}},
		{"an unknown step", `{"normalizer":{"type":"Magic"},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}`, []string{"Magic"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			model, dir := copyModel(t, "llama-gqa"), t.TempDir()
			write(t, model, "tokenizer.json", test.text)
			texts := write(t, dir, "texts.jsonl", "{\"text\":\"the cat\"}\n")
			words := append(test.words, "tokenizer")
			refusal(t, lathe(t, "tokenize", "--model", model, "--text", texts), exitFailed, words...)
			yaml := tiny(t, dir, config{"model_name_or_path": model, "train_file": texts}).save(t, dir, "run.yaml")
			refusal(t, lathe(t, "train", "--workspace", dir, "-c", yaml), exitFailed, words...)
			untouched(t, filepath.Join(dir, "out"))
		})
	}
}
