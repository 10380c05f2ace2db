package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// takeShortcuts looks whether the stages of this tokenizer come to one of two that most have, which then need no copies of
// the text and no calls from stage to stage.
func (t *Tokenizer) takeShortcuts() {
	t.scan = soleScanner(t.pre)
	if t.model.byteLevel || t.model.ignoreMerges || t.model.ascii[' '] >= 0 {
		return
	}
	mark, ok := t.vocab.find(spaceMark)
	if !ok || !t.marksSpaces() {
		return
	}
	t.spaced = true
	t.model.ascii[' '] = mark
	t.model.glue.spaces(t.vocab.tokens)
}

// soleScanner gives the scanner that is all that the pre-tokenizers do, or nil.
func soleScanner(pre []preTokenizer) scanner {
	var sole scanner
	for _, x := range pre {
		if b, ok := x.(byteLevel); ok {
			if b.addPrefixSpace {
				return nil
			}
			if x = b.words; x == nil {
				continue
			}
		}
		s, ok := x.(splitter)
		if !ok || s.scan == nil || s.behavior != "Isolated" || sole != nil {
			return nil
		}
		sole = s.scan
	}
	return sole
}

// marksSpaces says whether all that happens to a text is that its spaces become ▁, with one more in front where t.prefix says so:
// SentencePiece's way, as a normalizer or as a pre-tokenizer.
func (t *Tokenizer) marksSpaces() bool {
	steps, pre := t.normal, t.pre
	if len(steps) > 0 && steps[0] == normalizer(prepend(spaceMark)) {
		t.prefix = prefixAlways
		steps = steps[1:]
	}
	if len(steps) == 1 && steps[0] == normalizer(replace{" ", spaceMark}) {
		// What looks for spaces afterwards finds none.
		return len(pre) == 0 || len(pre) == 1 && isSplitOnSpace(pre[0])
	}
	if len(steps) > 0 || t.prefix != prefixNever || len(pre) != 1 {
		return false
	}
	m, ok := pre[0].(metaspace)
	if !ok || m.cut || m.mark != spaceMark {
		return false
	}
	switch m.scheme {
	case "always":
		t.prefix = prefixUnlessSpace
	case "first":
		t.prefix = prefixFirst
	}
	return true
}

func isSplitOnSpace(x preTokenizer) bool {
	s, ok := x.(splitter)
	return ok && s.text == " " && s.behavior != "Removed"
}

// prefix says where a space is put in front of a stretch of text.
type prefix byte

const (
	prefixNever prefix = iota
	prefixAlways
	prefixUnlessSpace // where there is none
	prefixFirst       // the same, at the start of the input only
)

// isSpaced says whether a stretch can go the short way: it has no ▁ of its own, which would be the same as a space, and only
// whole characters.
func isSpaced(s string) bool { return !strings.Contains(s, spaceMark) && utf8.ValidString(s) }

// spaced encodes a stretch whose spaces stand for ▁ as it is.
func (e *encoder) spaced(p piece) {
	if p.s == "" {
		return
	}
	i := 0
	x := e.t.prefix
	if x == prefixAlways || p.s[0] != ' ' && (x == prefixUnlessSpace || x == prefixFirst && p.start) {
		if r, _ := utf8.DecodeRuneInString(p.s); e.t.model.glue.has(' ', r) {
			i = e.t.model.glue.end(p.s, 0)
		}
		e.word(&piece{s: " " + p.s[:i], base: p.base - 1, lead: true}, 0, i+1)
	}
	e.words(&p, i)
}
