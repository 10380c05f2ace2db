package template

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

func splitText(r *run, self val, args []val, kw map[string]val) (val, error) {
	s, _ := self.AsString()
	sep, given, err := textArg(args, kw, 0, "sep")
	if err != nil {
		return val{}, err
	}
	limit, err := intArg(args, kw, 1, "maxsplit", -1)
	if err != nil {
		return val{}, err
	}
	if err := r.spend(len(s)); err != nil {
		return val{}, err
	}
	if given && sep == "" {
		return val{}, errors.New("empty separator")
	}
	n := int(min(limit, 1<<30)) + 1
	if limit < 0 {
		n = -1
	}
	if given {
		return texts(strings.SplitN(s, sep, n)), nil
	}
	var parts []string
	for s = trimLeft(s, "", true); s != ""; s = trimLeft(s, "", true) {
		i := strings.IndexFunc(s, isPySpace)
		if i < 0 || n > 0 && len(parts) == n-1 {
			i = len(s) // the rest, white space at its end and all
		}
		parts = append(parts, s[:i])
		s = s[i:]
	}
	return texts(parts), nil
}

func rsplitText(r *run, self val, args []val, kw map[string]val) (val, error) {
	s, _ := self.AsString()
	sep, given, err := textArg(args, kw, 0, "sep")
	if err != nil {
		return val{}, err
	}
	limit, err := intArg(args, kw, 1, "maxsplit", -1)
	if err != nil {
		return val{}, err
	}
	if limit < 0 {
		return splitText(r, self, args, kw)
	}
	if !given || sep == "" {
		return val{}, errors.New("rsplit with a limit needs a separator")
	}
	var parts []string
	for ; limit > 0; limit-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return texts(parts), r.spend(len(s))
}

func texts(parts []string) val {
	items := make([]val, len(parts))
	for i, p := range parts {
		items[i] = value.FromString(p)
	}
	return newList(items...)
}

func splitLines(r *run, self val, args []val, kw map[string]val) (val, error) {
	s, _ := self.AsString()
	keep, _ := arg(args, kw, 0, "keepends")
	var lines []string
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool {
			return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
		})
		if i < 0 {
			lines = append(lines, s)
			break
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		if keep.IsTrue() {
			lines = append(lines, s[:i+n])
		} else {
			lines = append(lines, s[:i])
		}
		s = s[i+n:]
	}
	return texts(lines), r.spend(len(lines))
}

func partition(index func(s, x string) int, last bool) method {
	return func(_ *run, self val, args []val, kw map[string]val) (val, error) {
		s, _ := self.AsString()
		sep, ok, err := textArg(args, kw, 0, "sep")
		if err != nil || !ok || sep == "" {
			return val{}, errors.Join(errors.New("needs a separator"), err)
		}
		i := index(s, sep)
		parts := []string{s, "", ""}
		switch {
		case i >= 0:
			parts = []string{s[:i], sep, s[i+len(sep):]}
		case last:
			parts = []string{"", "", s}
		}
		l, _ := asList(texts(parts))
		return newTuple(l.items...), nil
	}
}
