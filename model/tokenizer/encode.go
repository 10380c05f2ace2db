package tokenizer

import "unicode/utf8"

// piece is a part of the input under way: what the normalisers made of it, and where its bytes come from.
type piece struct {
	s     string
	base  int      // offset of s in the input while it is unchanged
	from  [][2]int // for each byte of s its span in the input; nil while s is unchanged or spans are not asked for
	start bool     // whether it begins where the input begins
	lead  bool     // s begins with a space that is not in the input
}

// cut is the part [a, b) of a piece.
func (p piece) cut(a, b int) piece {
	q := piece{s: p.s[a:b], base: p.base + a, start: p.start && a == 0}
	if p.from != nil {
		q.from = p.from[a:b]
	}
	return q
}

// edges spells out the span of each byte of an unchanged piece: the character that it belongs to.
func (p piece) edges() [][2]int {
	if p.from != nil {
		return p.from
	}
	from := make([][2]int, len(p.s))
	for i := 0; i < len(p.s); {
		_, n := utf8.DecodeRuneInString(p.s[i:])
		for j := range n {
			from[i+j] = [2]int{p.base + i, p.base + i + n}
		}
		i += n
	}
	return from
}

// encoder turns texts into tokens, one at a time. Encoders wait in the tokenizer's pool, because what they have learnt about words
// is of use for the next text.
type encoder struct {
	t     *Tokenizer
	input string
	track bool // spans are asked for
	ids   []int32
	spans [][2]int

	cache  wordCache
	merger merger
	toks   []tok // scratch
}

func newEncoder(t *Tokenizer) *encoder {
	return &encoder{t: t, merger: merger{table: &t.model.merges}}
}

// maxKept bounds what an encoder keeps of its buffers, in elements.
const maxKept = 1 << 18

// free gives the encoder back. It keeps nothing of the text.
func (e *encoder) free() {
	if cap(e.ids) > maxKept {
		e.ids, e.spans = nil, nil
	}
	if cap(e.toks) > maxKept {
		e.toks, e.merger = nil, merger{table: e.merger.table}
	}
	e.input, e.ids, e.spans = "", e.ids[:0], e.spans[:0]
	e.t.encoders.Put(e)
}

func (e *encoder) emit(id int32, span [2]int) {
	e.ids = append(e.ids, id)
	if e.track {
		e.spans = append(e.spans, span)
	}
}

// span gives the input's bytes behind [a, b) of a piece, whole characters.
func (e *encoder) span(p *piece, a, b int) [2]int {
	if p.from != nil {
		if a >= b {
			return [2]int{p.base, p.base}
		}
		return [2]int{p.from[a][0], p.from[b-1][1]}
	}
	a, b = a+p.base, b+p.base
	if p.lead {
		a = max(a, p.base+1)
		if b <= a {
			b = a + 1
		}
	}
	for a > 0 && a < len(e.input) && !utf8.RuneStart(e.input[a]) {
		a--
	}
	for b > a && b < len(e.input) && !utf8.RuneStart(e.input[b]) {
		b++
	}
	return [2]int{a, b}
}

func (e *encoder) text(s string) {
	e.input = s
	whole := piece{s: s, start: true}
	e.t.raw.split(s, func(id int32, a, b int) {
		if id >= 0 {
			e.emit(id, [2]int{a, b})
			return
		}
		e.stretch(whole.cut(a, b))
	})
}

// stretch goes through a stretch between added tokens: it runs the normalisers and cuts out the added tokens that are to be
// found in normalised text.
func (e *encoder) stretch(p piece) {
	if e.t.spaced && e.t.normed.nodes == nil && isSpaced(p.s) {
		e.spaced(p)
		return
	}
	for _, n := range e.t.normal {
		p = n.apply(p, e.track)
	}
	if p.s == "" {
		return
	}
	e.t.normed.split(p.s, func(id int32, a, b int) {
		if id >= 0 {
			e.emit(id, e.span(&p, a, b))
			return
		}
		e.pre(p.cut(a, b), 0)
	})
}

// pre runs the pre-tokenizers from the k-th on and hands the words to the model.
func (e *encoder) pre(p piece, k int) {
	if p.s == "" {
		return
	}
	if e.t.scan != nil && k == 0 {
		e.scanned(&p)
		return
	}
	if k == len(e.t.pre) {
		e.words(&p, 0)
		return
	}
	e.t.pre[k].split(p, e.track, func(q piece) { e.pre(q, k+1) })
}

// scanned cuts a piece with the one scanner that is all of the pre-tokenizer.
func (e *encoder) scanned(p *piece) {
	for i := 0; i < len(p.s); {
		n := e.t.scan(p.s[i:])
		e.word(p, i, i+n)
		i += n
	}
}

// words cuts the rest of a piece, from i on, where no token can reach across.
func (e *encoder) words(p *piece, i int) {
	for i < len(p.s) {
		end := e.t.model.glue.end(p.s, i)
		e.word(p, i, end)
		i = end
	}
}

// word encodes the word [a, b) of a piece.
func (e *encoder) word(p *piece, a, b int) {
	n := b - a
	if n <= shortBytes {
		low, high := wordKey(p.s, a, b)
		if w := e.cache.find(low, high, n); w != nil {
			e.ids = append(e.ids, w.ids[:w.count()]...)
			if e.track {
				for _, width := range w.widths[:w.count()] {
					e.spans = append(e.spans, e.span(p, a, a+int(width)))
					a += int(width)
				}
			}
			return
		}
	}
	e.longWord(p, a, b)
}

// longWord encodes a word that is not among the short ones of the cache.
func (e *encoder) longWord(p *piece, a, b int) {
	w := p.s[a:b]
	var toks []tok
	known := false
	if len(w) <= maxCachedWord {
		toks, known = e.cache.findLong(w)
	}
	if !known {
		e.toks = e.t.model.encode(w, &e.merger, e.toks[:0])
		toks = e.toks
		if len(w) <= maxCachedWord {
			e.cache.keep(w, toks)
		}
	}
	for _, k := range toks {
		e.ids = append(e.ids, k.id)
		if e.track {
			e.spans = append(e.spans, e.span(p, a+int(k.skip), a+int(k.skip+k.n)))
		}
		a += int(k.skip + k.n)
	}
}
