package data

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"lathe/themes"
	"lathe/tui/widget/prose"
)

// mark is a stretch of a row's raw bytes to be seen.
type mark struct {
	from, to int
	pen      themes.Pen
	anchor   bool
}

// jsonLine is a line of a JSON text laid out for reading.
type jsonLine struct {
	indent int
	spans  []prose.Span
}

// layJSON lays JSON out, one key or element a line, strings broken behind their \n. Its bytes are shown as they are written.
// locate is asked for the marks of each value: path is as a Finding's Field, raw[from:to] the value. Text that is no JSON
// comes out as far as it goes: the scanner needs nothing to be right.
func layJSON(raw []byte, locate func(path string, from, to int) []mark) []jsonLine {
	l := &layer{raw: raw, locate: locate, lines: []jsonLine{{}}}
	l.value("")
	if l.blank(); l.at < len(l.raw) {
		l.emit(l.at, len(l.raw), themes.FG(themes.Bad))
	}
	return l.lines
}

type layer struct {
	raw    []byte
	at     int
	depth  int
	marks  []mark
	lines  []jsonLine
	locate func(path string, from, to int) []mark
}

// maxDepth bounds nesting: what lies deeper is shown on one line.
const maxDepth = 64

func (l *layer) blank() {
	for l.at < len(l.raw) && strings.IndexByte(" \t\r\n", l.raw[l.at]) >= 0 {
		l.at++
	}
}

func (l *layer) peek() byte {
	l.blank()
	if l.at < len(l.raw) {
		return l.raw[l.at]
	}
	return 0
}

func (l *layer) newline() { l.lines = append(l.lines, jsonLine{indent: l.depth}) }

// add appends a span to the last line.
func (l *layer) add(text string, pen themes.Pen, anchor bool) {
	if text == "" {
		return
	}
	line := &l.lines[len(l.lines)-1]
	line.spans = append(line.spans, prose.Span{Text: text, Pen: pen, Anchor: anchor})
}

// emit shows raw[from:to], cut where marks begin and end.
func (l *layer) emit(from, to int, pen themes.Pen) {
	for from < to {
		end, p, anchor := to, pen, false
		for _, m := range l.marks {
			switch {
			case m.from <= from && from < m.to:
				end, p, anchor = min(end, m.to), m.pen, m.anchor
			case m.from > from && m.from < end:
				end = m.from
			}
		}
		l.add(string(l.raw[from:end]), p, anchor)
		from = end
	}
}

// value lays out the value that comes next.
func (l *layer) value(path string) {
	c := l.peek()
	from := l.at
	if c == '{' || c == '[' {
		old := l.marks
		l.marks = append(old[:len(old):len(old)], l.locate(path, from, l.skip(from))...)
		l.group(path, c)
		l.marks = old
		return
	}
	to := l.skip(from)
	old := l.marks
	l.marks = append(old[:len(old):len(old)], l.locate(path, from, to)...)
	if c == '"' {
		l.text(from, to)
	} else {
		l.emit(from, to, themes.FG(themes.Info))
	}
	l.marks, l.at = old, to
}

// group lays out an object or a list. What begins a line goes on behind its bracket, and closing brackets stay on the last
// line: a conversation is read in half the rows.
func (l *layer) group(path string, opening byte) {
	faint := themes.FG(themes.Faint)
	closing := byte('}')
	if opening == '[' {
		closing = ']'
	}
	start := l.at
	l.at++
	if next := l.peek(); next == closing || next == 0 || l.depth >= maxDepth {
		end := max(l.skip(start), l.at)
		l.emit(start, end, faint)
		l.at = end
		return
	}
	inline := opening == '{' && len(l.lines[len(l.lines)-1].spans) == 0
	l.emit(start, start+1, faint)
	l.depth++
	for i := 0; ; i++ {
		c := l.peek()
		if c == 0 || c == closing {
			break
		}
		if inline && i == 0 {
			l.add(" ", themes.Pen{}, false)
		} else {
			l.newline()
		}
		l.element(path, opening, i)
	}
	l.depth--
	if l.at < len(l.raw) {
		l.add(" ", themes.Pen{}, false)
		l.emit(l.at, l.at+1, faint)
		l.at++
	}
}

// element lays out a member or an element and the comma behind it.
func (l *layer) element(path string, opening byte, i int) {
	before := l.at
	if opening == '{' {
		l.member(path)
	} else {
		l.value(fmt.Sprintf("%s[%d]", path, i))
	}
	switch {
	case l.peek() == ',':
		l.emit(l.at, l.at+1, themes.FG(themes.Faint))
		l.at++
	case l.at == before && l.at < len(l.raw): // no progress: no JSON
		l.emit(l.at, l.at+1, themes.FG(themes.Bad))
		l.at++
	}
}

// member lays out "key": value.
func (l *layer) member(path string) {
	from, to := l.at, l.skip(l.at)
	l.emit(from, to, themes.FG(themes.Muted))
	key := unquote(l.raw[from:to])
	if path != "" {
		key = path + "." + key
	}
	if l.at = to; l.peek() != ':' {
		return
	}
	l.emit(l.at, l.at+1, themes.FG(themes.Faint))
	l.at++
	l.add(" ", themes.Pen{}, false)
	l.peek()
	l.value(key)
}

// text lays out a string: a new line behind each \n, escapes quiet.
func (l *layer) text(from, to int) {
	faint, text := themes.FG(themes.Faint), themes.FG(themes.Text)
	at := from
	for i := from; i < to; {
		if l.raw[i] != '\\' || i+1 >= to {
			i++
			continue
		}
		n := min(escapeLen(l.raw[i:to]), to-i)
		l.emit(at, i, text)
		l.emit(i, i+n, faint)
		i += n
		at = i
		if l.raw[i-n+1] == 'n' && i < to-1 {
			l.lines = append(l.lines, jsonLine{indent: l.depth + 1})
		}
	}
	l.emit(at, to, text)
}

// skip finds the end of the value at i.
func (l *layer) skip(i int) int {
	depth := 0
	for i < len(l.raw) {
		switch c := l.raw[i]; {
		case c == '"':
			i = endOfString(l.raw, i)
		case c == '{' || c == '[':
			depth++
			i++
		case c == '}' || c == ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case depth > 0:
			i++
			continue
		case strings.IndexByte(" \t\r\n,:", c) >= 0:
			return i
		default:
			for i < len(l.raw) && strings.IndexByte(" \t\r\n,:{}[]\"", l.raw[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

func endOfString(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}

// escapeLen is the length of the escape that p begins with.
func escapeLen(p []byte) int {
	if len(p) > 1 && p[1] == 'u' {
		if len(p) >= 12 && p[6] == '\\' && p[7] == 'u' && (p[2] == 'd' || p[2] == 'D') && strings.IndexByte("89abAB", p[3]) >= 0 {
			return 12 // a pair of surrogates is one character
		}
		return 6
	}
	return 2
}

// decodedOffsets gives, for each raw byte of a quoted string at which a character begins, how many bytes of the decoded text
// stand before it: both rise.
func decodedOffsets(raw []byte) (at, decoded []int) {
	n := 0
	for i := 1; i < len(raw)-1; {
		at, decoded = append(at, i), append(decoded, n)
		size, step := 1, 1
		switch {
		case raw[i] == '\\':
			step = min(escapeLen(raw[i:]), len(raw)-1-i)
			size = len(unquote([]byte(`"` + string(raw[i:i+step]) + `"`)))
		case raw[i] >= utf8.RuneSelf:
			_, step = utf8.DecodeRune(raw[i:])
			size = step
		}
		i += step
		n += size
	}
	return append(at, max(len(raw)-1, 1)), append(decoded, n)
}

// rawRange turns a range of a string's decoded text into one of its raw bytes.
func rawRange(raw []byte, span [2]int) (from, to int) {
	at, decoded := decodedOffsets(raw)
	find := func(n int) int { return at[min(sort.SearchInts(decoded, n), len(at)-1)] }
	return find(span[0]), find(span[1])
}
