package tokenizer

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"lathe/internal/alloctest"
)

// parseCosts is what any tokenizer.json costs beside its size: the cache of words (128 KiB), the table by id, which allows for
// 65,536 ids that no token has (1.1 MiB), and compiled patterns.
const parseCosts = 2 << 20

// FuzzEncode: any text encodes alike with and without spans, and byte-level vocabularies lose nothing.
func FuzzEncode(f *testing.F) {
	for _, text := range sampleTexts {
		f.Add(text)
	}
	f.Add("a\xff\xc3\x28▁ <mask>")
	var all []*Tokenizer
	for _, name := range references(f) {
		all = append(all, parseTestdata(f, name+".json"))
	}
	plain := parseTestdata(f, "gpt2.json")
	f.Fuzz(func(t *testing.T, text string) {
		for _, tk := range all {
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
