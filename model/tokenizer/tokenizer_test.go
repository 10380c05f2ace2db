package tokenizer

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

var sampleTexts = []string{
	"", "Hello world", "  We refund any order,\n\nwithin 30 days!  ", "naïve 谢谢 😀 e\u0301", "<s>x</s> <mask> <|end|>\n", "a\x00b\tc",
}

// TestRoundTrip: byte-level vocabularies give every text back, even bytes that are not UTF-8.
func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"gpt2", "llama3", "o200k", "starcoder", "falcon"} {
		tk := parseTestdata(t, name+".json")
		for _, text := range sampleTexts {
			want := strings.ReplaceAll(strings.ReplaceAll(text, " <mask>", "<mask>"), "<|end|>\n", "<|end|>") // lstrip, rstrip
			if got := tk.Decode(tk.Encode(text, false), false); got != want {
				t.Errorf("%s: %q became %q", name, text, got)
			}
		}
		ids := tk.Encode("a\xff\xc3b", false)
		var b []byte
		for _, id := range ids {
			b = unspellBytes(b, tk.Token(id))
		}
		if string(b) != "a\xff\xc3b" {
			t.Errorf("%s: bad UTF-8 became % x", name, b)
		}
		if got := tk.Decode(ids, false); got != "a\uFFFD\uFFFDb" {
			t.Errorf("%s: bad UTF-8 decodes to %q", name, got)
		}
	}
}

// TestStream: pushing tokens one by one gives the text of Decode, in whole characters.
func TestStream(t *testing.T) {
	for _, name := range references(t) {
		tk := parseTestdata(t, name+".json")
		var cases []referenceCase
		if err := json.Unmarshal(readTestdata(t, name+".cases.json"), &cases); err != nil {
			t.Fatal(err)
		}
		s := tk.NewStream()
		for _, c := range cases {
			var got strings.Builder
			for _, id := range c.Special {
				part := s.Push(id)
				if !utf8.ValidString(part) {
					t.Fatalf("%s: %q: half a character in %q", name, c.Text, part)
				}
				got.WriteString(part)
			}
			got.WriteString(s.Flush())
			if got.String() != c.Skipped {
				t.Errorf("%s: %q streams as %q, want %q", name, c.Text, got.String(), c.Skipped)
			}
		}
	}
}

// TestStreamGoesOn: bytes that never become a character do not hold the text back for ever.
func TestStreamGoesOn(t *testing.T) {
	for name, token := range map[string]string{"gpt2": "Ã", "llama2": "<0xC3>"} {
		tk := parseTestdata(t, name+".json")
		id, ok := tk.ID(token)
		if !ok {
			t.Fatalf("%s has no %s", name, token)
		}
		s := tk.NewStream()
		given := 0
		for range 40 {
			given += len(s.Push(id))
		}
		if given == 0 {
			t.Errorf("%s: 40 broken bytes and not one replacement character", name)
		}
	}
}

func TestTrainEqualsReference(t *testing.T) {
	var want struct {
		Corpus []string         `json:"corpus"`
		Vocab  map[string]int32 `json:"vocab"`
		Merges [][2]string      `json:"merges"`
	}
	if err := json.Unmarshal(readTestdata(t, "trained.json"), &want); err != nil {
		t.Fatal(err)
	}
	data, err := Train(slices.Values(want.Corpus), 600, []string{"<s>", "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Model struct {
			Vocab  map[string]int32 `json:"vocab"`
			Merges [][2]string      `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for i := range want.Merges {
		if i >= len(got.Model.Merges) || got.Model.Merges[i] != want.Merges[i] {
			t.Fatalf("merge %d of %d differs from Hugging Face's %q", i, len(got.Model.Merges), want.Merges[i])
		}
	}
	if len(got.Model.Merges) != len(want.Merges) || len(got.Model.Vocab) != len(want.Vocab) {
		t.Errorf("%d merges and %d tokens, want %d and %d", len(got.Model.Merges), len(got.Model.Vocab), len(want.Merges), len(want.Vocab))
	}
	for token, id := range want.Vocab {
		if got.Model.Vocab[token] != id {
			t.Errorf("%q has id %d, want %d", token, got.Model.Vocab[token], id)
		}
	}
	again, err := Train(slices.Values(want.Corpus), 600, []string{"<s>", "</s>"})
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("a second training gave other bytes (%v)", err)
	}
	tk, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if text := want.Corpus[0]; tk.Decode(tk.Encode(text, false), false) != text {
		t.Error("the trained tokenizer does not give its own corpus back")
	}
}

func TestTrainRefuses(t *testing.T) {
	texts := slices.Values([]string{"abc"})
	if _, err := Train(texts, 100, nil); err == nil || !strings.Contains(err.Error(), "at least 256") {
		t.Errorf("tiny vocabulary: %v", err)
	}
	if _, err := Train(texts, 300, []string{"<s>", "<s>"}); err == nil {
		t.Error("a special token given twice was accepted")
	}
	if data, err := Train(texts, 300, nil); err != nil || !bytes.Contains(data, []byte(`"merges": [`)) {
		t.Errorf("nothing to learn: %v", err)
	}
}

// TestSpans: spans are in order, whole characters, and cover what is not white space swallowed by a token.
func TestSpans(t *testing.T) {
	text := "Où? 谢谢 <mask> 😀  end"
	for _, name := range references(t) {
		tk := parseTestdata(t, name+".json")
		ids, spans := tk.EncodeSpans(text, true)
		if len(ids) != len(spans) {
			t.Fatalf("%s: %d ids, %d spans", name, len(ids), len(spans))
		}
		for i, s := range spans {
			if s[0] > s[1] || s[1] > len(text) || !utf8.ValidString(text[s[0]:s[1]]) {
				t.Errorf("%s: span %d %v of %q", name, i, s, text)
			}
			if i > 0 && s[0] < spans[i-1][0] {
				t.Errorf("%s: span %d %v goes back from %v", name, i, s, spans[i-1])
			}
		}
	}
	tk := parseTestdata(t, "phi3.json")
	if _, spans := tk.EncodeSpans("hi", true); spans[len(spans)-1] != [2]int{2, 2} {
		t.Errorf("the closing token has span %v, want an empty one at the end", spans[len(spans)-1])
	}
}

func TestConcurrentUse(t *testing.T) {
	tk := parseTestdata(t, "llama3.json")
	text := strings.Repeat("We refund any order within 30 days. ", 50)
	want := tk.Encode(text, true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got := tk.Encode(text, true); !slices.Equal(got, want) {
					t.Error("another goroutine changed the encoding")
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestLoad(t *testing.T) {
	gpt2, llama := readTestdata(t, "gpt2.json"), readTestdata(t, "llama2.json")
	for name, c := range map[string]struct {
		files         map[string]string
		bos, eos, pad int32
		stops         []int32
		hi            []int32 // how many ids around the text
	}{
		"alone":             {map[string]string{}, -1, -1, -1, nil, []int32{0, 0}},
		"names":             {map[string]string{"tokenizer_config.json": `{"bos_token":"<s>","eos_token":{"content":"</s>"},"pad_token":null}`}, 0, 1, -1, []int32{1}, []int32{0, 0}},
		"add bos":           {map[string]string{"tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>","add_bos_token":true,"add_eos_token":true}`}, 0, 1, -1, []int32{1}, []int32{1, 1}},
		"special map":       {map[string]string{"special_tokens_map.json": `{"eos_token":"<mask>","pad_token":"</s>"}`, "config.json": `{"eos_token_id":1,"bos_token_id":0}`}, 0, 520, 1, []int32{520}, []int32{0, 0}},
		"generation config": {map[string]string{"tokenizer_config.json": `{"eos_token":"</s>"}`, "generation_config.json": `{"eos_token_id":[524,1,9999],"pad_token_id":0}`}, -1, 1, 0, []int32{1, 524}, []int32{0, 0}},
		"unknown name":      {map[string]string{"tokenizer_config.json": `{"eos_token":"<nope>"}`, "config.json": `{"eos_token_id":1}`}, -1, 1, -1, []int32{1}, []int32{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"tokenizer.json": {Data: gpt2}}
			for file, data := range c.files {
				fsys[file] = &fstest.MapFile{Data: []byte(data)}
			}
			tk, err := LoadFS(fsys)
			if err != nil {
				t.Fatal(err)
			}
			if tk.BOS() != c.bos || tk.EOS() != c.eos || tk.PAD() != c.pad || !slices.Equal(tk.StopIDs(), c.stops) {
				t.Errorf("bos %d eos %d pad %d stops %v, want %d %d %d %v", tk.BOS(), tk.EOS(), tk.PAD(), tk.StopIDs(), c.bos, c.eos, c.pad, c.stops)
			}
			if got, bare := len(tk.Encode("hi", true)), len(tk.Encode("hi", false)); got != bare+int(c.hi[0]+c.hi[1]) {
				t.Errorf("%d tokens with special ones, %d without", got, bare)
			}
		})
	}
	tk, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: llama}, "tokenizer_config.json": {Data: []byte(
		`{"add_bos_token":false,"eos_token":"</s>","added_tokens_decoder":{"690":{"content":"<|new|>","special":true},"1":{"content":"<s>"}}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tk.ID("<|new|>"); !ok || id != 690 || tk.VocabSize() != 691 || !tk.IsSpecial(id) || tk.Token(689) != "" {
		t.Errorf("the token that only tokenizer_config.json has: %d %v", id, ok)
	}
	if got := tk.Encode("<|new|>", true); len(got) != 2 || got[0] != tk.BOS() || got[1] != 690 {
		t.Errorf("the post-processor's BOS and the new token: %v", got)
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "tokenizer.json") {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := LoadFS(fstest.MapFS{"tokenizer.model": {}}); err == nil || !strings.Contains(err.Error(), "convert") {
		t.Errorf("only tokenizer.model: %v", err)
	}
	if _, err := LoadFS(fstest.MapFS{"tokenizer.json": {Data: gpt2}, "config.json": {Data: []byte("{")}}); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("broken config.json: %v", err)
	}
}

// TestParseRefuses: what is not supported or wrong is named.
func TestParseRefuses(t *testing.T) {
	with := func(part, value string) string {
		parts := map[string]string{
			"normalizer": "null", "pre_tokenizer": "null", "post_processor": "null", "decoder": "null", "added_tokens": "[]",
			"model": `{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}`,
		}
		parts[part] = value
		var b strings.Builder
		for k, v := range parts {
			b.WriteString(`,"` + k + `":` + v)
		}
		return `{"version":"1.0"` + b.String() + `}`
	}
	if _, err := Parse([]byte(with("normalizer", "null"))); err != nil {
		t.Fatalf("the sound one: %v", err)
	}
	for _, c := range []struct{ part, value, want string }{
		{"normalizer", `{"type":"Precompiled","precompiled_charsmap":"x"}`, `normalizer "Precompiled"`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"Nmt"}]}`, `normalizer "Nmt"`},
		{"normalizer", `{"type":"Replace","pattern":{"Regex":"("},"content":""}`, "Replace"},
		{"pre_tokenizer", `{"type":"UnicodeScripts"}`, `pre-tokenizer "UnicodeScripts"`},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"a(?<"},"behavior":"Isolated"}`, "Split"},
		{"pre_tokenizer", `{"type":"Split","pattern":{"Regex":"a"},"behavior":"Sideways"}`, `"Sideways"`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Metaspace"}]}`, "after ByteLevel"},
		{"post_processor", `{"type":"Fancy"}`, `post-processor "Fancy"`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}]}`, `"<s>"`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[77]}}}`, "77"},
		{"post_processor", `{"type":"BertProcessing","sep":["x"],"cls":["y",1]}`, "BertProcessing"},
		{"decoder", `{"type":"WordPiece"}`, `decoder "WordPiece"`},
		{"model", `{"type":"Unigram","vocab":[]}`, ""},
		{"model", `{"type":"WordPiece","vocab":{}}`, `"WordPiece"`},
		{"model", `{"type":"BPE","vocab":{},"merges":[]}`, "empty"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":["a b"]}`, "merge 0"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":["ab"]}`, "two tokens"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}`, "merge 0"},
		{"model", `{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}`, "two tokens"},
		{"model", `{"type":"BPE","vocab":{"a":2000000000},"merges":[]}`, "2000000000"},
		{"model", `{"type":"BPE","vocab":{"a":-1},"merges":[]}`, "-1"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}`, "dropout"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":[],"end_of_word_suffix":"</w>"}`, "</w>"},
		{"model", `{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"<unk>"}`, "<unk>"},
		{"added_tokens", `[{"id":-5,"content":"x"}]`, "-5"},
	} {
		_, err := Parse([]byte(with(c.part, c.value)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.part, c.value, err, c.want)
		}
	}
}

// TestScanners compares the hand-written scanners with the patterns they stand for.
func TestScanners(t *testing.T) {
	texts := append([]string{}, sampleTexts...)
	var cases []referenceCase
	if err := json.Unmarshal(readTestdata(t, "gpt2.cases.json"), &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		texts = append(texts, c.Text)
	}
	for pattern, scan := range scanners {
		re, err := compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			checkScanner(t, findScanner(scan), findRegexp(re), text)
		}
	}
}

func checkScanner(t *testing.T, scan, re finder, text string) {
	t.Helper()
	var got, want []string
	scan(text, func(a, b int, _ bool) { got = append(got, text[a:b]) })
	re(text, func(a, b int, _ bool) { want = append(want, text[a:b]) })
	if !slices.Equal(got, want) {
		t.Errorf("%q splits into %q, the pattern says %q", text, got, want)
	}
}

// FuzzScanners does it for any text.
func FuzzScanners(f *testing.F) {
	for _, text := range sampleTexts {
		f.Add(text)
	}
	type pair struct{ scan, re finder }
	var pairs []pair
	for pattern, scan := range scanners {
		re, err := compile(pattern)
		if err != nil {
			f.Fatal(err)
		}
		pairs = append(pairs, pair{findScanner(scan), findRegexp(re)})
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 || !utf8.ValidString(text) {
			return
		}
		for _, p := range pairs {
			checkScanner(t, p.scan, p.re, text)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat("Thank you for writing to us. We refund any order within thirty days of delivery, and we'll send 2 labels.\n", 400)
	for _, name := range []string{"gpt2", "llama3", "qwen2", "o200k", "llama2", "gemma"} {
		tk := parseTestdata(b, name+".json")
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tk.Encode(text, false)
			}
		})
	}
}
