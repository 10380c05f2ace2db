package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// linter checks rows one by one. Each worker has its own.
type linter struct {
	*lintShared
	d     document
	parts layout
	at    *Row
	out   rowReport
	told  map[string]bool // codes reported for the value in hand
	turns []turn

	minHash minHasher
	stops   stops // of a decoded text
	utf8    bool  // the row is UTF-8

	comparing bool // for print
}

// row is a worker's whole work on a row.
func (l *linter) row(r *Row) rowReport {
	l.out = rowReport{line: r.Line, row: r.Index, bytes: len(r.Raw)}
	l.read(r)
	l.out.format = r.Format
	if !l.utf8 {
		at := invalidAt(r.Raw)
		l.whole(CodeBadUTF8, [2]int{at, at + 1}, "byte %d (0x%02x) is not UTF-8", at+1, r.Raw[at])
	}
	if r.Problem != "" {
		l.whole(CodeDataType, [2]int{}, "%s", r.Problem)
		return l.out
	}
	l.walk(0)
	l.structure()
	l.out.content = l.contentHash()
	if l.options.Near && l.parts.format != FormatInputIDs {
		if s, ok := l.minHash.sign(l.trainedTexts()...); ok {
			l.out.signature = &s
		}
	}
	if l.options.By != "" {
		class := l.classOf(l.options.By)
		l.out.class = &class
	}
	l.tokens()
	return l.out
}

// read parses a row.
func (l *linter) read(r *Row) {
	l.at, l.parts = r, r.detect(&l.d)
	l.utf8 = l.d.ascii || utf8.Valid(r.Raw)
}

// whole reports on the row; span is in its raw bytes.
func (l *linter) whole(code string, span [2]int, format string, args ...any) {
	l.report("", code, span, fmt.Sprintf(format, args...))
}

// value reports on value n as a whole.
func (l *linter) value(n int32, code, format string, args ...any) {
	l.report(pathOf(&l.d, n), code, [2]int{}, fmt.Sprintf(format, args...))
}

// part reports on bytes of the string n; start and end are in its raw bytes,
// quotes excluded.
func (l *linter) part(n int32, code string, start, end int, format string, args ...any) {
	inner := l.inner(n)
	decoded := func(to int) int { return len(unquote(append(append([]byte{'"'}, inner[:to]...), '"'))) }
	l.report(pathOf(&l.d, n), code, [2]int{decoded(start), decoded(end)}, fmt.Sprintf(format, args...))
}

func (l *linter) report(field, code string, span [2]int, message string) {
	l.out.findings = append(l.out.findings, Finding{
		File: l.at.File, Line: l.at.Line, Row: l.at.Index,
		Field: field, Code: code, Level: levelOf[code], Message: message, Span: span,
	})
}

// level changes the level of the finding just reported.
func (l *linter) level(level Level) { l.out.findings[len(l.out.findings)-1].Level = level }

// inner returns the raw bytes between the quotes of string n.
func (l *linter) inner(n int32) []byte {
	v := l.d.value(n)
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}

// pathOf returns where value n is: "messages[2].content".
func pathOf(d *document, n int32) string {
	if n <= 0 {
		return ""
	}
	var b strings.Builder
	for at := int32(0); at != n; {
		i, list := 0, d.kind(at) == '['
		for c := range d.all(at) {
			if d.nodes[c].start <= d.nodes[n].start && d.nodes[n].end <= d.nodes[c].end {
				at = c
				break
			}
			i++
		}
		if list {
			fmt.Fprintf(&b, "[%d]", i)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.Write(d.key(at))
	}
	return b.String()
}

// walk looks at every string once and at the names of every object.
func (l *linter) walk(n int32) {
	switch l.d.kind(n) {
	case '"':
		l.text(n)
	case '{':
		l.duplicateKeys(n)
		fallthrough
	case '[':
		for c := l.d.nodes[n].first; c != none; c = l.d.nodes[c].next {
			l.walk(c)
		}
	}
}

// manyMembers is where a map is faster than comparing each with each.
const manyMembers = 24

func (l *linter) duplicateKeys(object int32) {
	key := func(c int32) []byte { return l.d.raw[l.d.nodes[c].keyStart:l.d.nodes[c].keyEnd] }
	if l.d.nodes[object].children > manyMembers {
		seen := map[string]int32{}
		for c := range l.d.all(object) {
			if first, ok := seen[string(key(c))]; ok {
				l.duplicateKey(first, c)
			}
			seen[string(key(c))] = c
		}
		return
	}
	for c := l.d.nodes[object].first; c != none; c = l.d.nodes[c].next {
		for before := l.d.nodes[object].first; before != c; before = l.d.nodes[before].next {
			if bytes.Equal(key(before), key(c)) {
				l.duplicateKey(before, c)
				break
			}
		}
	}
}

// duplicateKey is an error where the two values differ: which of them is trained
// would depend on the reader.
func (l *linter) duplicateKey(first, second int32) {
	if bytes.Equal(l.d.value(first), l.d.value(second)) {
		l.value(second, CodeDuplicateKey, "%q occurs twice in one object, with the same value", l.d.key(second))
		return
	}
	l.value(second, CodeDuplicateKey, "%q occurs twice in one object, with two values: the last one counts", l.d.key(second))
	l.level(LevelError)
}

// contentHash hashes what the row trains, so that rows that differ in an id or
// in the order of their keys are still the same example. 0 is a row that is
// nothing to compare.
func (l *linter) contentHash() uint64 {
	h := hasher{seed: l.seed}
	some := false
	for part, n := range [...]int32{
		l.parts.system, l.parts.history, l.parts.prompt, l.parts.query, l.parts.response, l.parts.messages, l.parts.tools,
		l.parts.text, l.parts.chosen, l.parts.rejected, l.parts.ids, l.parts.labels,
	} {
		if kind := l.d.kind(n); kind == 0 || kind == 'n' {
			some = some || kind == 'n'
			continue
		}
		some = some || l.d.nodes[n].end-l.d.nodes[n].start > 2
		h.mark(byte(part))
		l.hash(&h, n)
	}
	if !some {
		return 0
	}
	return max(h.sum, 1)
}

// hasher hashes a sequence of texts and marks.
type hasher struct {
	seed maphash.Seed
	sum  uint64
}

func (h *hasher) text(kind byte, text []byte) {
	h.mark(kind)
	h.sum ^= maphash.Bytes(h.seed, text)
}

// mark mixes a byte in, so that order counts.
func (h *hasher) mark(kind byte) {
	h.sum = bits.RotateLeft64((h.sum^uint64(kind))*0x9e3779b97f4a7c15, 29)
}

// hash adds value n in a form that does not depend on spacing and escapes.
func (l *linter) hash(h *hasher, n int32) {
	switch l.d.kind(n) {
	case 'n':
		h.mark('n')
	case '"':
		h.text('"', l.canonical(n))
	case '{', '[':
		h.mark(l.d.kind(n))
		for c := l.d.nodes[n].first; c != none; c = l.d.nodes[c].next {
			h.text(':', l.d.key(c))
			l.hash(h, c)
		}
		h.mark('}')
	default:
		h.text('0', l.d.value(n))
	}
}

// canonical returns string n in the spelling that is the same for the same text. Of a row that is not UTF-8 the linter takes the
// bytes as they are where nothing has to be spelled anew; the comparison of files takes U+FFFD for what is no character.
func (l *linter) canonical(n int32) []byte {
	switch {
	case l.utf8:
		return l.d.respelled(n)
	case !l.comparing && !l.d.respells(l.d.marks):
		return l.inner(n)
	}
	quoted := quote(l.d.text(n))
	return quoted[1 : len(quoted)-1]
}

// classOf returns the text of a field; dots lead into objects.
func (l *linter) classOf(field string) string {
	n := l.d.object()
	if direct := l.d.get(n, field); direct != none {
		return l.d.text(direct)
	}
	for name := range strings.SplitSeq(field, ".") {
		n = l.d.get(n, name)
	}
	return l.d.text(n)
}

// tokens encodes the row as training would.
func (l *linter) tokens() {
	if l.encoder == nil {
		return
	}
	if l.encoder.Renderer == nil && l.needsTemplate() {
		l.out.wantTemplate = true
		return
	}
	c, err := l.encoder.codeDocument(*l.at, &l.d, l.parts)
	if err != nil {
		l.encodeError(err)
		return
	}
	s := c.sample
	encoded := encodedRow{tokens: len(s.Tokens), trained: s.Trained(), uncut: len(s.Tokens) + s.Cut, eosTrained: s.EOSTrained}
	l.out.encoded = &encoded
	if s.Cut > 0 {
		what := "the end of the answer"
		switch {
		case s.CutTrained == 0:
			what = "nothing that is trained"
		case encoded.trained == 0:
			what = "the whole answer"
		}
		l.whole(CodeTooLong, [2]int{}, "%d tokens, %d more than max_seq_length %d: %s is cut off",
			encoded.uncut, s.Cut, l.options.MaxSeqLength, what)
	}
	switch {
	case encoded.trained == 0:
		l.whole(CodeNoTrainedToken, [2]int{}, "%s", untrained(s, l.options.MaxSeqLength))
	case !s.EOSTrained && s.CutTrained > 0:
		l.whole(CodeNoEOSTrained, [2]int{}, "the end of the answer is cut off: the row does not teach where to stop")
	case !s.EOSTrained:
		l.whole(CodeNoEOSTrained, [2]int{}, "the last trained token is no end token: the row does not teach where to stop")
	}
}

// needsTemplate reports whether the row is made of messages.
func (l *linter) needsTemplate() bool {
	switch l.parts.format {
	case FormatMessages, FormatShareGPT:
		return true
	case FormatPromptCompletion:
		return l.d.kind(l.parts.prompt) == '[' || l.d.kind(l.parts.response) == '['
	}
	return false
}

// encodeError reports why the encoder refuses a row, unless another rule found
// its fault already.
func (l *linter) encodeError(err error) {
	for _, f := range l.out.findings {
		if f.Level == LevelError {
			return
		}
	}
	code := CodeTemplateError
	switch l.parts.format {
	case FormatPreference:
		return // can be read, is not trained: the run says so
	case FormatInputIDs:
		code = CodeTokenID
	case FormatText, FormatPromptCompletion, FormatUnknown:
		code = CodeDataType
	}
	reason := err.Error()
	if row := (*RowError)(nil); errors.As(err, &row) {
		reason = row.Reason
	}
	l.whole(code, [2]int{}, "%s", reason)
}
