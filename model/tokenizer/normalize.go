package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites a piece; with track the new piece knows where each of its bytes comes from.
type normalizer interface {
	apply(p piece, track bool) piece
}

// rewriter builds the normalised form of a piece.
type rewriter struct {
	p     piece
	track bool
	out   strings.Builder
	from  [][2]int
	edges [][2]int
}

func rewrite(p piece, track bool) *rewriter {
	r := &rewriter{p: p, track: track}
	r.out.Grow(len(p.s) + len(p.s)/8 + 4)
	if track {
		r.edges = p.edges()
		r.from = make([][2]int, 0, len(p.s)+4)
	}
	return r
}

// keep copies the bytes [a, b).
func (r *rewriter) keep(a, b int) {
	r.out.WriteString(r.p.s[a:b])
	if r.track {
		r.from = append(r.from, r.edges[a:b]...)
	}
}

// put writes s in place of the bytes [a, b).
func (r *rewriter) put(s string, a, b int) {
	r.out.WriteString(s)
	if r.track {
		span := [2]int{r.edges[a][0], r.edges[b-1][1]}
		for range len(s) {
			r.from = append(r.from, span)
		}
	}
}

func (r *rewriter) piece() piece {
	return piece{s: r.out.String(), base: r.p.base, from: r.from, start: r.p.start}
}

// prepend puts a prefix in front of a piece that is not empty; it shares the span of the first character.
type prepend string

func (n prepend) apply(p piece, track bool) piece {
	if p.s == "" || n == "" {
		return p
	}
	_, first := utf8.DecodeRuneInString(p.s)
	r := rewrite(p, track)
	r.put(string(n), 0, first)
	r.keep(0, len(p.s))
	return r.piece()
}

// replace swaps every occurrence of old.
type replace struct{ old, new string }

func (n replace) apply(p piece, track bool) piece {
	if n.old == "" || !strings.Contains(p.s, n.old) {
		return p
	}
	if !track {
		p.s = strings.ReplaceAll(p.s, n.old, n.new)
		return p
	}
	r := rewrite(p, track)
	at := 0
	for {
		i := strings.Index(p.s[at:], n.old)
		if i < 0 {
			break
		}
		r.keep(at, at+i)
		r.put(n.new, at+i, at+i+len(n.old))
		at += i + len(n.old)
	}
	r.keep(at, len(p.s))
	return r.piece()
}

// replaceRegexp swaps every match of a pattern for a fixed text.
type replaceRegexp struct {
	re  *regexp2.Regexp
	new string
}

func (n replaceRegexp) apply(p piece, track bool) piece {
	found := matches(n.re, p.s)
	if len(found) == 0 {
		return p
	}
	r := rewrite(p, track)
	at := 0
	for _, m := range found {
		r.keep(at, m[0])
		r.put(n.new, m[0], m[1])
		at = m[1]
	}
	r.keep(at, len(p.s))
	return r.piece()
}

// unicodeForm is one of Unicode's normal forms.
type unicodeForm norm.Form

func (n unicodeForm) apply(p piece, track bool) piece {
	f := norm.Form(n)
	if f.IsNormalString(p.s) {
		return p
	}
	if !track {
		p.s = f.String(p.s)
		return p
	}
	r := rewrite(p, track)
	for i := 0; i < len(p.s); {
		size := f.NextBoundaryInString(p.s[i:], true)
		if size <= 0 {
			size = len(p.s) - i
		}
		seg := p.s[i : i+size]
		if out := f.String(seg); out == seg {
			r.keep(i, i+size)
		} else {
			r.put(out, i, i+size)
		}
		i += size
	}
	return r.piece()
}

// mapRunes rewrites one character at a time; "" drops it.
type mapRunes func(r rune) string

func (n mapRunes) apply(p piece, track bool) piece {
	r := rewrite(p, track)
	for i := 0; i < len(p.s); {
		c, size := utf8.DecodeRuneInString(p.s[i:])
		if c == utf8.RuneError && size == 1 {
			r.keep(i, i+1)
		} else {
			r.put(n(c), i, i+size)
		}
		i += size
	}
	return r.piece()
}

// lower gives Unicode's full lower case without context: only İ has more than one letter.
func lower(r rune) string {
	if r == 'İ' {
		return "i̇"
	}
	return string(unicode.ToLower(r))
}

func dropAccent(r rune) string {
	if unicode.Is(unicode.M, r) {
		return ""
	}
	return string(r)
}

// strip removes white space at the ends.
type strip struct{ left, right bool }

func (n strip) apply(p piece, _ bool) piece {
	a, b := 0, len(p.s)
	if n.right {
		b = trimSpaceEnd(p.s)
	}
	if n.left {
		a = trimSpaceStart(p.s[:b])
	}
	return p.cut(a, b)
}

// buildNormalizers reads the normalizer of a tokenizer.json.
func buildNormalizers(c *component) ([]normalizer, error) {
	if c == nil {
		return nil, nil
	}
	one := func(n normalizer) ([]normalizer, error) { return []normalizer{n}, nil }
	switch c.Type {
	case "Sequence":
		var all []normalizer
		for i := range c.Normalizers {
			n, err := buildNormalizers(&c.Normalizers[i])
			if err != nil {
				return nil, err
			}
			all = append(all, n...)
		}
		return all, nil
	case "Prepend":
		return one(prepend(c.Prepend))
	case "Replace":
		if c.Pattern == nil || c.Pattern.Regex == nil && c.Pattern.String == nil {
			return nil, fmt.Errorf("normalizer Replace has no pattern")
		}
		if c.Pattern.String != nil {
			return one(replace{*c.Pattern.String, c.Content})
		}
		re, err := compile(*c.Pattern.Regex)
		if err != nil {
			return nil, fmt.Errorf("normalizer Replace: %w", err)
		}
		return one(replaceRegexp{re, c.Content})
	case "NFC":
		return one(unicodeForm(norm.NFC))
	case "NFD":
		return one(unicodeForm(norm.NFD))
	case "NFKC":
		return one(unicodeForm(norm.NFKC))
	case "NFKD":
		return one(unicodeForm(norm.NFKD))
	case "Lowercase":
		return one(mapRunes(lower))
	case "StripAccents":
		return one(mapRunes(dropAccent))
	case "Strip":
		return one(strip{orTrue(c.StripLeft), orTrue(c.StripRight)})
	}
	return nil, fmt.Errorf("normalizer %q is not supported", c.Type)
}

func orTrue(b *bool) bool { return b == nil || *b }
