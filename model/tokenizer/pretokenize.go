package tokenizer

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// preTokenizer splits a piece into smaller ones.
type preTokenizer interface {
	split(p piece, track bool, yield func(piece))
}

// regexpTimeout bounds one search with a pattern of the tokenizer's own; beyond it the rest stays one word.
const regexpTimeout = 2 * time.Second

func compile(pattern string) (*regexp2.Regexp, error) {
	re, err := regexp2.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	re.MatchTimeout = regexpTimeout
	return re, nil
}

// matches lists the non-empty matches in s.
func matches(re *regexp2.Regexp, s string) [][]int {
	found, err := re.FindAllStringIndex(s, -1)
	if err != nil { // only a time-out or a backtracking limit: what was found so far counts
		return nil
	}
	kept := found[:0]
	for _, m := range found {
		if m[1] > m[0] {
			kept = append(kept, m)
		}
	}
	return kept
}

// finder walks s without gaps as stretches that match and stretches that do not.
type finder func(s string, visit func(a, b int, match bool))

func findScanner(scan scanner) finder {
	return func(s string, visit func(a, b int, match bool)) {
		for i := 0; i < len(s); {
			n := scan(s[i:])
			visit(i, i+n, true)
			i += n
		}
	}
}

func findRegexp(re *regexp2.Regexp) finder {
	return func(s string, visit func(a, b int, match bool)) {
		at := 0
		for _, m := range matches(re, s) {
			if m[0] > at {
				visit(at, m[0], false)
			}
			visit(m[0], m[1], true)
			at = m[1]
		}
		if at < len(s) {
			visit(at, len(s), false)
		}
	}
}

func findText(text string) finder {
	return func(s string, visit func(a, b int, match bool)) {
		at := 0
		for text != "" {
			i := strings.Index(s[at:], text)
			if i < 0 {
				break
			}
			if i > 0 {
				visit(at, at+i, false)
			}
			at += i + len(text)
			visit(at-len(text), at, true)
		}
		if at < len(s) {
			visit(at, len(s), false)
		}
	}
}

// findRunes matches single characters.
func findRunes(class func(rune) bool) finder {
	return func(s string, visit func(a, b int, match bool)) {
		at := 0
		for i := 0; i < len(s); {
			r, n := utf8.DecodeRuneInString(s[i:])
			if class(r) {
				if i > at {
					visit(at, i, false)
				}
				visit(i, i+n, true)
				at = i + n
			}
			i += n
		}
		if at < len(s) {
			visit(at, len(s), false)
		}
	}
}

// splitter cuts at what a finder finds.
type splitter struct {
	find     finder
	scan     scanner // what find does, where that is a scanner
	text     string  // what find looks for, where that is a text
	behavior string
	invert   bool
}

func (x splitter) split(p piece, _ bool, yield func(piece)) {
	if x.behavior == "Isolated" {
		x.find(p.s, func(a, b int, _ bool) { yield(p.cut(a, b)) })
		return
	}
	type part struct {
		a, b  int
		match bool
	}
	var parts []part
	x.find(p.s, func(a, b int, match bool) {
		match = match != x.invert
		if n := len(parts); n > 0 {
			last := &parts[n-1]
			joined := x.behavior == "Contiguous" && last.match == match ||
				x.behavior == "MergedWithPrevious" && match && !last.match ||
				x.behavior == "MergedWithNext" && !match && last.match
			if joined {
				// A merged part counts as what came last, so that of two matches in a row only one is taken in.
				last.b, last.match = b, match
				return
			}
		}
		parts = append(parts, part{a, b, match})
	})
	for _, q := range parts {
		if x.behavior != "Removed" || !q.match {
			yield(p.cut(q.a, q.b))
		}
	}
}

// byteLevel is GPT-2's pre-tokenizer; the bytes themselves are the model's business.
type byteLevel struct {
	addPrefixSpace bool
	words          preTokenizer // nil without use_regex
}

func (x byteLevel) split(p piece, track bool, yield func(piece)) {
	if x.addPrefixSpace && !strings.HasPrefix(p.s, " ") {
		p = prepend(" ").apply(p, track)
	}
	if x.words == nil {
		yield(p)
		return
	}
	x.words.split(p, track, yield)
}

// metaspace is SentencePiece's treatment of spaces.
type metaspace struct {
	mark   string
	scheme string // always, first (at the start of the input only) or never
	cut    bool   // a word per mark
}

func (x metaspace) split(p piece, track bool, yield func(piece)) {
	p = replace{" ", x.mark}.apply(p, track)
	if !strings.HasPrefix(p.s, x.mark) && (x.scheme == "always" || x.scheme == "first" && p.start) {
		p = prepend(x.mark).apply(p, track)
	}
	if !x.cut {
		yield(p)
		return
	}
	splitter{find: findText(x.mark), behavior: "MergedWithNext"}.split(p, track, yield)
}

// onByteChars runs a splitter after ByteLevel, on the spelling of the bytes, as the format has it: there the byte
// 0xB2 looks like ² and is a number.
type onByteChars struct{ inner splitter }

func (x onByteChars) split(p piece, track bool, yield func(piece)) {
	var chars strings.Builder
	at := make([]int, 0, 2*len(p.s)+1) // byte of p.s behind each byte of chars
	for i := range len(p.s) {
		r := byteRunes[p.s[i]]
		for range utf8.RuneLen(r) {
			at = append(at, i)
		}
		chars.WriteRune(r)
	}
	at = append(at, len(p.s))
	x.inner.split(piece{s: chars.String()}, false, func(q piece) {
		yield(p.cut(at[q.base], at[q.base+len(q.s)]))
	})
}

func isPunctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return r > ' ' && r != 0x7f && !isLetter(r) && !isNumber(r)
	}
	return unicode.IsPunct(r)
}

// buildPreTokenizers reads the pre_tokenizer of a tokenizer.json and says whether it is byte-level.
func buildPreTokenizers(c *component) (steps []preTokenizer, bytes bool, err error) {
	if c == nil {
		return nil, false, nil
	}
	if c.Type == "Sequence" {
		for i := range c.Pretokenizers {
			sub, b, err := buildPreTokenizers(&c.Pretokenizers[i])
			if err != nil {
				return nil, false, err
			}
			for _, s := range sub {
				if bytes {
					inner, ok := s.(splitter)
					if !ok {
						return nil, false, fmt.Errorf("pre-tokenizer %q after ByteLevel is not supported", c.Pretokenizers[i].Type)
					}
					s = onByteChars{inner}
				}
				steps = append(steps, s)
			}
			bytes = bytes || b
		}
		return steps, bytes, nil
	}
	step, err := buildPreTokenizer(c)
	if err != nil {
		return nil, false, err
	}
	return []preTokenizer{step}, c.Type == "ByteLevel", nil
}

func buildPreTokenizer(c *component) (preTokenizer, error) {
	switch c.Type {
	case "ByteLevel":
		b := byteLevel{addPrefixSpace: orTrue(c.AddPrefixSpace)}
		if orTrue(c.UseRegex) {
			b.words = splitter{find: findScanner(scanGPT2), scan: scanGPT2, behavior: "Isolated"}
		}
		return b, nil
	case "Split":
		return buildSplit(c)
	case "Digits":
		if c.IndividualDigits {
			return splitter{find: findRunes(unicode.IsNumber), behavior: "Isolated"}, nil
		}
		return splitter{find: findRunes(unicode.IsNumber), behavior: "Contiguous"}, nil
	case "Punctuation":
		behavior := c.Behavior
		if behavior == "" {
			behavior = "Isolated"
		}
		return splitter{find: findRunes(isPunctuation), behavior: behavior}, checkBehavior(c.Type, behavior)
	case "Whitespace":
		re, err := compile(`\w+|[^\w\s]+`)
		return splitter{find: findRegexp(re), behavior: "Removed", invert: true}, err
	case "WhitespaceSplit":
		return splitter{find: findRunes(isSpace), behavior: "Removed"}, nil
	case "CharDelimiterSplit":
		return splitter{find: findText(c.Delimiter), behavior: "Removed"}, nil
	case "Metaspace":
		return buildMetaspace(c)
	}
	return nil, fmt.Errorf("pre-tokenizer %q is not supported", c.Type)
}

func buildSplit(c *component) (preTokenizer, error) {
	if c.Pattern == nil || c.Pattern.Regex == nil && c.Pattern.String == nil {
		return nil, fmt.Errorf("pre-tokenizer Split has no pattern")
	}
	s := splitter{behavior: c.Behavior, invert: c.Invert}
	if err := checkBehavior(c.Type, c.Behavior); err != nil {
		return nil, err
	}
	if c.Pattern.String != nil {
		s.find, s.text = findText(*c.Pattern.String), *c.Pattern.String
		return s, nil
	}
	if scan, ok := scanners[*c.Pattern.Regex]; ok {
		s.find, s.scan = findScanner(scan), scan
		return s, nil
	}
	re, err := compile(*c.Pattern.Regex)
	if err != nil {
		return nil, fmt.Errorf("pre-tokenizer Split: %w", err)
	}
	s.find = findRegexp(re)
	return s, nil
}

func checkBehavior(what, b string) error {
	switch b {
	case "Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext":
		return nil
	}
	return fmt.Errorf("pre-tokenizer %s: behavior %q is not supported", what, b)
}

func buildMetaspace(c *component) (preTokenizer, error) {
	m := metaspace{mark: c.Replacement, scheme: c.PrependScheme, cut: orTrue(c.Split)}
	if m.mark == "" {
		m.mark = spaceMark
	}
	if m.scheme == "" {
		m.scheme = "always"
		if c.AddPrefixSpace != nil && !*c.AddPrefixSpace {
			m.scheme = "never"
		}
	}
	switch m.scheme {
	case "always", "first", "never":
		return m, nil
	}
	return nil, fmt.Errorf("pre-tokenizer Metaspace: prepend_scheme %q is not supported", m.scheme)
}
