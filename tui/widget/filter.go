package widget

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Filter decides which rows a filter line keeps. The text is a regular
// expression, matched without case unless it has a capital; "!" in front
// keeps what does not match, "~" matches the letters in order with anything
// between them, "\" takes the rest as it stands.
type Filter struct {
	Text    string
	Err     error // the expression is not valid yet; Match takes it literally
	inverse bool
	match   func(string) bool
}

// ParseFilter reads a filter line. It never fails: see Err.
func ParseFilter(text string) Filter {
	f := Filter{Text: text}
	t := text
	if rest, ok := strings.CutPrefix(t, "!"); ok {
		f.inverse, t = true, rest
	}
	fold := !strings.ContainsFunc(t, unicode.IsUpper)
	switch {
	case t == "":
		f.inverse = false
		f.match = func(string) bool { return true }
	case t[0] == '~':
		f.match = func(s string) bool { return Fuzzy(t[1:], s) }
	case t[0] == '\\' && len(t) > 1 && !isRegexpEscape(t[1]):
		f.match = literal(t[1:], fold)
	default:
		expr := t
		if fold {
			expr = "(?i)" + t
		}
		re, err := regexp.Compile(expr)
		if err != nil {
			f.Err = err
			f.match = literal(t, fold)
			break
		}
		f.match = re.MatchString
	}
	return f
}

// isRegexpEscape reports letters that mean something after a backslash.
func isRegexpEscape(c byte) bool {
	return strings.IndexByte(`AbBdDsSwWzpPQEafnrtvxC.+*?()|[]{}^$\`, c) >= 0
}

func literal(want string, fold bool) func(string) bool {
	if !fold {
		return func(s string) bool { return strings.Contains(s, want) }
	}
	want = strings.ToLower(want)
	return func(s string) bool { return strings.Contains(strings.ToLower(s), want) }
}

// Active says whether the filter leaves anything out.
func (f Filter) Active() bool { return f.Text != "" && f.Text != "!" }

// Match says whether a row with this text is kept.
func (f Filter) Match(s string) bool {
	if f.match == nil {
		return true
	}
	return f.match(s) != f.inverse
}

// Fuzzy reports whether the letters of pattern stand in s in this order,
// without regard to case.
func Fuzzy(pattern, s string) bool {
	for _, r := range pattern {
		if unicode.IsSpace(r) {
			continue
		}
		r = unicode.ToLower(r)
		i := strings.IndexFunc(s, func(q rune) bool { return unicode.ToLower(q) == r })
		if i < 0 {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		s = s[i+n:]
	}
	return true
}
