package tokenizer

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"lathe/internal/alloctest"
)

// parseCosts is what any tokenizer.json costs beside its size: the table by id, which allows for 65,536 ids that no token has
// (1.1 MiB), and compiled patterns.
const parseCosts = 2 << 20

// plodding is a tokenizer that goes through every stage and does not cut words.
func plodding(t testing.TB, name string) *Tokenizer {
	tk := parseTestdata(t, name)
	tk.scan, tk.spaced, tk.model.glue.on = nil, false, false
	return tk
}

// TestShortcuts: the short ways give what the stages one by one give, and tokenizers that most models have take one.
func TestShortcuts(t *testing.T) {
	short := map[string]bool{"gpt2": true, "llama3": true, "qwen2": true, "o200k": true, "llama2": true, "phi3": true, "gemma": true, "mistral": true}
	for _, name := range references(t) {
		tk, slow := parseTestdata(t, name+".json"), plodding(t, name+".json")
		if short[name] && tk.scan == nil && !tk.spaced {
			t.Errorf("%s goes the long way", name)
		}
		var cases []referenceCase
		if err := json.Unmarshal(readTestdata(t, name+".cases.json"), &cases); err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			for range 2 { // the second time from the cache
				sameAsPlodding(t, tk, slow, c.Text)
			}
		}
	}
}

func sameAsPlodding(t *testing.T, tk, slow *Tokenizer, text string) {
	t.Helper()
	ids, spans := tk.EncodeSpans(text, true)
	wantIDs, wantSpans := slow.EncodeSpans(text, true)
	if !slices.Equal(ids, wantIDs) || !slices.Equal(spans, wantSpans) {
		t.Fatalf("%q: %v %v, stage by stage %v %v", text, ids, spans, wantIDs, wantSpans)
	}
}

// FuzzEncode: any text encodes alike with and without spans and shortcuts, and byte-level vocabularies lose nothing.
func FuzzEncode(f *testing.F) {
	for _, text := range sampleTexts {
		f.Add(text)
	}
	f.Add("a\xff\xc3\x28▁ <mask>")
	var all, slow []*Tokenizer
	for _, name := range references(f) {
		all, slow = append(all, parseTestdata(f, name+".json")), append(slow, plodding(f, name+".json"))
	}
	plain := parseTestdata(f, "gpt2.json")
	f.Fuzz(func(t *testing.T, text string) {
		for i, tk := range all {
			sameAsPlodding(t, tk, slow[i], text)
			ids := tk.Encode(text, true)
			same, spans := tk.EncodeSpans(text, true)
			if !slices.Equal(ids, same) || len(spans) != len(ids) {
				t.Fatalf("%q: %v, with spans %v", text, ids, same)
			}
			for _, s := range spans {
				if s[0] < 0 || s[0] > s[1] || s[1] > len(text) {
					t.Fatalf("%q: span %v", text, s)
				}
			}
			_ = tk.Decode(ids, true)
		}
		if utf8.ValidString(text) && !strings.Contains(text, "<") {
			if got := plain.Decode(plain.Encode(text, false), false); got != text {
				t.Fatalf("%q became %q", text, got)
			}
		}
	})
}

// FuzzParse: any file is refused or gives a tokenizer that works.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"falcon", "llama2"} {
		f.Add(readTestdata(f, name+".json"))
	}
	for _, part := range []string{
		`"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"Regex":" +"},"content":"▁"}]}`,
		`"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithNext"},{"type":"ByteLevel"},{"type":"Digits"}]}`,
		`"decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1}]}`,
		`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"ids":[0]}}}`,
	} {
		f.Add([]byte(`{"added_tokens":[{"id":3,"content":"<x>","rstrip":true}],` + part + `,"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`))
	}
	f.Add([]byte(`{"model":{"vocab":{"a":0},"merges":[]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tk *Tokenizer
		var err error
		alloctest.Within(t, len(data), parseCosts, func() { tk, err = Parse(data) })
		if err != nil {
			return
		}
		for _, text := range sampleTexts {
			ids, _ := tk.EncodeSpans(text, true)
			for _, id := range ids {
				if id < 0 || int(id) >= tk.VocabSize() {
					t.Fatalf("id %d of %d", id, tk.VocabSize())
				}
			}
			_ = tk.Decode(ids, false)
		}
	})
}

// FuzzSpecialTokens: whatever the files beside tokenizer.json say about special tokens, the folder is refused or loads.
func FuzzSpecialTokens(f *testing.F) {
	f.Add([]byte(`{"bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false},"pad_token":null,"add_bos_token":true,"added_tokens_decoder":{"32000":{"content":"<x>","special":true}}}`),
		[]byte(`{"eos_token":"</s>"}`), []byte(`{"eos_token_id":[1,2]}`), []byte(`{"bos_token_id":1,"eos_token_id":2}`))
	f.Add([]byte(`{"added_tokens_decoder":{"-1":{"content":"a"},"x":{},"99999999999":{"content":"b"}}}`), []byte(`[]`), []byte(`null`), []byte(``))
	tokenizer := &fstest.MapFile{Data: []byte(`{"added_tokens":[{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}],` +
		`"model":{"type":"BPE","unk_token":"<unk>","vocab":{"<unk>":0,"<s>":1,"</s>":2,"a":3,"b":4,"ab":5},"merges":["a b"]}}`)}
	f.Fuzz(func(t *testing.T, config, special, generation, model []byte) {
		folder := fstest.MapFS{"tokenizer.json": tokenizer}
		for name, data := range map[string][]byte{
			"tokenizer_config.json": config, "special_tokens_map.json": special, "generation_config.json": generation, "config.json": model,
		} {
			if len(data) > 0 {
				folder[name] = &fstest.MapFile{Data: data}
			}
		}
		size := len(tokenizer.Data) + len(config) + len(special) + len(generation) + len(model)
		var tk *Tokenizer
		var err error
		alloctest.Within(t, size, parseCosts, func() { tk, err = LoadFS(fs.FS(folder)) })
		if err != nil {
			return
		}
		for _, id := range slices.Concat(tk.Encode("a b", true), tk.StopIDs()) {
			if id < 0 || int(id) >= tk.VocabSize() {
				t.Fatalf("id %d of %d", id, tk.VocabSize())
			}
		}
	})
}
