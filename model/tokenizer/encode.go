package tokenizer

import "unicode/utf8"

// piece is a part of the input under way: what the normalisers made of it, and where its bytes come from.
type piece struct {
	s     string
	base  int      // offset of s in the input while it is unchanged
	from  [][2]int // for each byte of s its span in the input; nil while s is unchanged or spans are not asked for
	start bool     // whether it begins where the input begins
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

// encoder collects the tokens of one text.
type encoder struct {
	t     *Tokenizer
	input string
	track bool // spans are asked for
	ids   []int32
	spans [][2]int
	toks  []tok // scratch
}

func (e *encoder) emit(id int32, span [2]int) {
	e.ids = append(e.ids, id)
	if e.track {
		e.spans = append(e.spans, span)
	}
}

// span gives the input's bytes behind [a, b) of a piece, whole characters.
func (e *encoder) span(p piece, a, b int) [2]int {
	if p.from != nil {
		if a >= b {
			return [2]int{p.base, p.base}
		}
		return [2]int{p.from[a][0], p.from[b-1][1]}
	}
	a, b = a+p.base, b+p.base
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
		e.normalised(whole.cut(a, b))
	})
}

// normalised runs the normalisers over a stretch between added tokens and cuts out the added tokens that are to be
// found in normalised text.
func (e *encoder) normalised(p piece) {
	for _, n := range e.t.normal {
		p = n.apply(p, e.track)
	}
	if p.s == "" {
		return
	}
	e.t.normed.split(p.s, func(id int32, a, b int) {
		if id >= 0 {
			e.emit(id, e.span(p, a, b))
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
	if k == len(e.t.pre) {
		e.t.model.words(p, e.word)
		return
	}
	e.t.pre[k].split(p, e.track, func(q piece) { e.pre(q, k+1) })
}

func (e *encoder) word(p piece) {
	e.toks = e.t.model.encode(p.s, e.toks[:0])
	at := 0
	for _, k := range e.toks {
		e.ids = append(e.ids, k.id)
		if e.track {
			e.spans = append(e.spans, e.span(p, at+int(k.skip), at+int(k.skip+k.n)))
		}
		at += int(k.skip + k.n)
	}
}
