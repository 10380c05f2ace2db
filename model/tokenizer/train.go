package tokenizer

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Train learns a byte-level BPE with GPT-2's split pattern from texts and gives its tokenizer.json. Ids are the
// specials in the order given, then the 256 bytes in the order of their spelling, then the merges as they were
// learnt; learning stops early when no pair occurs twice. The result depends on the texts and the arguments alone,
// and equals that of Hugging Face's BpeTrainer with min_frequency 2 and the byte-level alphabet.
func Train(texts iter.Seq[string], vocabSize int, specials []string) ([]byte, error) {
	if least := len(specials) + 256; vocabSize < least {
		return nil, fmt.Errorf("train tokenizer: a vocabulary of %d is too small for %d special tokens and 256 bytes: ask for at least %d", vocabSize, len(specials), least)
	}
	seen := map[string]bool{}
	for _, s := range specials {
		if s == "" || seen[s] {
			return nil, fmt.Errorf("train tokenizer: special token %q is empty or given twice", s)
		}
		seen[s] = true
	}
	tr := newTraining(specials)
	tr.count(texts)
	for len(tr.vocab) < vocabSize && tr.step() {
		continue
	}
	return tr.json(len(specials)), nil
}

type training struct {
	vocab  []string
	ids    map[string]int32
	merges [][2]int32
	words  []trainWord
	pairs  map[[2]int32]*pairStat
	queue  pairQueue
}

type trainWord struct {
	ids   []int32
	count int64
}

type pairStat struct {
	count int64
	words map[int32]bool // words that hold the pair, or held it
}

func newTraining(specials []string) *training {
	tr := &training{ids: map[string]int32{}, pairs: map[[2]int32]*pairStat{}}
	alphabet := make([]string, 0, 256)
	for _, r := range byteRunes {
		alphabet = append(alphabet, string(r))
	}
	slices.SortFunc(alphabet, func(a, b string) int { return cmp.Compare([]rune(a)[0], []rune(b)[0]) })
	for _, token := range append(slices.Clone(specials), alphabet...) {
		if _, known := tr.ids[token]; known {
			continue // a special token that is spelled like a byte
		}
		tr.ids[token] = int32(len(tr.vocab))
		tr.vocab = append(tr.vocab, token)
	}
	return tr
}

// count splits the texts into words and notes which pairs they hold.
func (tr *training) count(texts iter.Seq[string]) {
	counts := map[string]int64{}
	for text := range texts {
		for text != "" {
			n := scanGPT2(text)
			counts[text[:n]]++
			text = text[n:]
		}
	}
	words := make([]string, 0, len(counts))
	for w := range counts {
		words = append(words, w)
	}
	slices.Sort(words)
	for i, w := range words {
		word := trainWord{count: counts[w]}
		for j := range len(w) {
			word.ids = append(word.ids, tr.ids[string(byteRunes[w[j]])])
		}
		tr.words = append(tr.words, word)
		for j := 1; j < len(word.ids); j++ {
			tr.note([2]int32{word.ids[j-1], word.ids[j]}, word.count, int32(i))
		}
	}
	for p, s := range tr.pairs {
		tr.queue = append(tr.queue, pairCount{p, s.count})
	}
	heap.Init(&tr.queue)
}

func (tr *training) note(p [2]int32, count int64, word int32) {
	s := tr.pairs[p]
	if s == nil {
		s = &pairStat{words: map[int32]bool{}}
		tr.pairs[p] = s
	}
	s.count += count
	if count > 0 {
		s.words[word] = true
	}
}

// step learns one merge, the most frequent pair, of equals the one with the lower ids.
func (tr *training) step() bool {
	for tr.queue.Len() > 0 {
		top := heap.Pop(&tr.queue).(pairCount)
		s := tr.pairs[top.pair]
		if s.count != top.count { // counted before a merge took some away
			if s.count > 0 {
				heap.Push(&tr.queue, pairCount{top.pair, s.count})
			}
			continue
		}
		if top.count < 2 {
			return false
		}
		tr.merge(top.pair, s)
		return true
	}
	return false
}

func (tr *training) merge(p [2]int32, s *pairStat) {
	token := tr.vocab[p[0]] + tr.vocab[p[1]]
	id, known := tr.ids[token]
	if !known {
		id = int32(len(tr.vocab))
		tr.ids[token] = id
		tr.vocab = append(tr.vocab, token)
	}
	tr.merges = append(tr.merges, p)
	changed := map[[2]int32]bool{}
	for w := range s.words {
		tr.mergeWord(w, p, id, changed)
	}
	for q := range changed {
		if c := tr.pairs[q].count; c > 0 {
			heap.Push(&tr.queue, pairCount{q, c})
		}
	}
}

// mergeWord replaces the pair in one word and moves the counts of the pairs beside it.
func (tr *training) mergeWord(w int32, p [2]int32, id int32, changed map[[2]int32]bool) {
	word := &tr.words[w]
	ids := word.ids
	for i := 0; i+1 < len(ids); i++ {
		if ids[i] != p[0] || ids[i+1] != p[1] {
			continue
		}
		tr.note(p, -word.count, w)
		if i > 0 {
			tr.note([2]int32{ids[i-1], p[0]}, -word.count, w)
			q := [2]int32{ids[i-1], id}
			tr.note(q, word.count, w)
			changed[q] = true
		}
		if i+2 < len(ids) {
			tr.note([2]int32{p[1], ids[i+2]}, -word.count, w)
			q := [2]int32{id, ids[i+2]}
			tr.note(q, word.count, w)
			changed[q] = true
		}
		ids[i] = id
		ids = append(ids[:i+1], ids[i+2:]...)
	}
	word.ids = ids
}

type pairCount struct {
	pair  [2]int32
	count int64
}

// pairQueue is a heap with the most frequent pair on top.
type pairQueue []pairCount

func (q pairQueue) Len() int      { return len(q) }
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q pairQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[j].count, q[i].count), slices.Compare(q[i].pair[:], q[j].pair[:])) < 0
}

// Push and Pop are container/heap's.
func (q *pairQueue) Push(x any) { *q = append(*q, x.(pairCount)) }

// Pop takes the last element off.
func (q *pairQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// json writes the tokenizer.json.
func (tr *training) json(specials int) []byte {
	quote := func(b []byte, s string) []byte {
		b, _ = jsontext.AppendQuote(b, s) // invalid UTF-8 in a special token becomes U+FFFD
		return b
	}
	b := []byte("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [")
	for i, s := range tr.vocab[:specials] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n    {\"id\": "...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, ", \"content\": "...)
		b = quote(b, s)
		b = append(b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}"...)
	}
	b = append(b, "\n  ],\n  \"normalizer\": null,\n"...)
	for _, part := range []string{"pre_tokenizer", "post_processor", "decoder"} {
		b = append(b, "  \""+part+"\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": true},\n"...)
	}
	b = append(b, "  \"model\": {\n    \"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null,\n"...)
	b = append(b, "    \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n    \"vocab\": {"...)
	for i, s := range tr.vocab {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n      "...)
		b = append(quote(b, s), ": "...)
		b = strconv.AppendInt(b, int64(i), 10)
	}
	b = append(b, "\n    },\n    \"merges\": ["...)
	for i, p := range tr.merges {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n      ["...)
		b = append(quote(b, tr.vocab[p[0]]), ", "...)
		b = append(quote(b, tr.vocab[p[1]]), ']')
	}
	return append(b, "\n    ]\n  }\n}\n"...)
}
