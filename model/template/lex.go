package template

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// segment is a stretch of a template: text, or the inside of a {{ }} or {% %}.
type segment struct {
	kind segmentKind
	text string // of data
	toks []token
	line int
}

type segmentKind uint8

const (
	data segmentKind = iota
	variable
	block
)

// token is a word of an expression.
type token struct {
	kind tokenKind
	text string // a name or operator as written, a number without underscores, a string's value
	line int
	at   int // where it begins in the source
	end  int
}

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

var (
	rawBegin  = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-?%\})`)
	rawEnd    = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?%\}\n?)`)
	commentTo = regexp.MustCompile(`[-+]?#\}\n?`)
	blockTo   = regexp.MustCompile(`^[-+]?%\}\n?`)
	varTo     = regexp.MustCompile(`^-?\}\}`)
	floatLit  = regexp.MustCompile(`^(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+\-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)`)
	intLit    = regexp.MustCompile(`^(?:0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*)`)
	nameLit   = regexp.MustCompile(`^[\p{L}_][\p{L}\p{M}\p{N}_]*`)
	stringLit = regexp.MustCompile(`^(?s:'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")`)
)

var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

// lexer cuts a template by the rules of Jinja2 with trim_blocks and lstrip_blocks.
type lexer struct {
	src          string
	at, line     int
	lineStarting bool // the next text begins a line
	out          []segment
}

// lex reads a whole template. As in Jinja2, line ends become \n and one at the very end is dropped.
func lex(source string) ([]segment, error) {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(source, "\n"), line: 1, lineStarting: true}
	for l.at < len(l.src) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	return l.out, nil
}

// next reads text up to a delimiter and what the delimiter opens.
func (l *lexer) next() error {
	rest := l.src[l.at:]
	i := 0
	for {
		j := strings.IndexByte(rest[i:], '{')
		if j < 0 || i+j+1 >= len(rest) {
			l.data(rest)
			l.advance(len(rest))
			return nil
		}
		i += j
		if c := rest[i+1]; c == '%' || c == '{' || c == '#' {
			break
		}
		i++
	}
	text, opening := rest[:i], rest[i+1]
	sign := byte(0)
	if i+2 < len(rest) && (rest[i+2] == '-' || rest[i+2] == '+') {
		sign = rest[i+2]
	}
	l.data(l.strip(text, sign, opening == '{'))
	l.advance(len(text))
	skip := 2
	if sign != 0 {
		skip = 3
	}
	switch opening {
	case '#':
		return l.comment()
	case '%':
		if m := rawBegin.FindStringSubmatchIndex(l.src[l.at:]); m != nil {
			return l.raw(m[2], m[3])
		}
		l.advance(skip)
		return l.expression(block, blockTo)
	}
	l.advance(skip)
	return l.expression(variable, varTo)
}

// strip takes from the end of a text what the delimiter after it swallows.
func (l *lexer) strip(text string, sign byte, isVariable bool) string {
	switch {
	case sign == '-':
		return strings.TrimRightFunc(text, isPySpace)
	case sign == '+' || isVariable:
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStarting) && start < len(text) && strings.TrimLeftFunc(text[start:], isPySpace) == "" {
		return text[:start]
	}
	return text
}

func (l *lexer) data(text string) {
	if text != "" {
		l.out = append(l.out, segment{kind: data, text: text, line: l.line})
	}
}

// advance moves over n bytes that matched something.
func (l *lexer) advance(n int) {
	if n == 0 {
		return
	}
	passed := l.src[l.at : l.at+n]
	l.line += strings.Count(passed, "\n")
	l.lineStarting = passed[n-1] == '\n'
	l.at += n
}

func (l *lexer) comment() error {
	m := commentTo.FindStringIndex(l.src[l.at+2:])
	if m == nil {
		return fmt.Errorf("line %d: missing end of comment tag", l.line)
	}
	l.closing(2+m[0], 2+m[1])
	return nil
}

// closing moves over a closing delimiter, whose place from here on is given: a minus takes the white space after it, a
// plus leaves the line end that was matched.
func (l *lexer) closing(from, to int) {
	delimiter := l.src[l.at+from : l.at+to]
	switch delimiter[0] {
	case '-':
		rest := l.src[l.at+to:]
		to += len(rest) - len(strings.TrimLeftFunc(rest, isPySpace))
	case '+':
		to = from + len(strings.TrimSuffix(delimiter, "\n"))
	}
	l.advance(to)
}

func (l *lexer) raw(from, to int) error {
	line := l.line
	l.closing(from, to)
	m := rawEnd.FindStringSubmatchIndex(l.src[l.at:])
	if m == nil {
		return fmt.Errorf("line %d: missing end of raw directive", line)
	}
	sign := byte(0)
	if m[3] > m[2] {
		sign = l.src[l.at+m[2]]
	}
	l.data(l.strip(l.src[l.at:l.at+m[0]], sign, false))
	l.closing(m[4], m[5])
	return nil
}

// expression reads tokens up to the closing delimiter, which does not count inside brackets.
func (l *lexer) expression(kind segmentKind, end *regexp.Regexp) error {
	seg := segment{kind: kind, line: l.line}
	var open []byte
	for {
		rest := l.src[l.at:]
		if rest == "" {
			return fmt.Errorf("line %d: unexpected end of template in a tag", seg.line)
		}
		if m := end.FindString(rest); m != "" && len(open) == 0 {
			l.closing(0, len(m))
			l.out = append(l.out, seg)
			return nil
		}
		if r, n := utf8.DecodeRuneInString(rest); isPySpace(r) {
			l.advance(n)
			continue
		}
		tok, err := l.token(rest)
		if err != nil {
			return err
		}
		if tok.kind == tokOp {
			switch tok.text {
			case "(", "[", "{":
				open = append(open, tok.text[0])
			case ")", "]", "}":
				want := map[string]byte{")": '(', "]": '[', "}": '{'}[tok.text]
				if len(open) == 0 || open[len(open)-1] != want {
					return fmt.Errorf("line %d: unexpected %q", l.line, tok.text)
				}
				open = open[:len(open)-1]
			}
		}
		seg.toks = append(seg.toks, tok)
	}
}

func (l *lexer) token(rest string) (token, error) {
	tok := token{line: l.line, at: l.at}
	take := func(kind tokenKind, text string, n int) (token, error) {
		tok.kind, tok.text, tok.end = kind, text, l.at+n
		l.advance(n)
		return tok, nil
	}
	afterDot := l.at > 0 && l.src[l.at-1] == '.'
	if m := floatLit.FindString(rest); m != "" && !afterDot {
		return take(tokFloat, strings.ReplaceAll(m, "_", ""), len(m))
	}
	if m := intLit.FindString(rest); m != "" {
		return take(tokInt, strings.ReplaceAll(m, "_", ""), len(m))
	}
	if m := nameLit.FindString(rest); m != "" {
		return take(tokName, m, len(m))
	}
	if m := stringLit.FindString(rest); m != "" {
		s, err := unescape(m[1 : len(m)-1])
		if err != nil {
			return tok, fmt.Errorf("line %d: %w", l.line, err)
		}
		return take(tokString, s, len(m))
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			return take(tokOp, op, len(op))
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return tok, fmt.Errorf("line %d: unexpected character %q", l.line, r)
}

// isPySpace is Python's str.isspace, which has the four separators U+001C to U+001F besides Unicode's white space.
func isPySpace(r rune) bool {
	switch {
	case r == ' ', r >= '\t' && r <= '\r', r >= 0x1c && r <= 0x1f, r == 0x85, r == 0xa0, r == 0x1680,
		r >= 0x2000 && r <= 0x200a, r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f, r == 0x3000:
		return true
	}
	return false
}
