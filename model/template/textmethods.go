package template

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

var textMethods map[string]method

func init() { // in init, since format refers back to the table
	textMethods = map[string]method{
		"strip": trimmer(trimBoth), "lstrip": trimmer(trimLeft), "rstrip": trimmer(trimRight),
		"upper": text(upper), "lower": text(strings.ToLower), "casefold": text(strings.ToLower), "title": text(title),
		"capitalize": text(capitalize), "swapcase": text(swapCase),
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"split": splitText, "rsplit": rsplitText, "splitlines": splitLines,
		"partition": partition(strings.Index, false), "rpartition": partition(strings.LastIndex, true),
		"replace": replaceText, "join": joinText, "format": formatMethod,
		"find": textFinder(strings.Index, false), "rfind": textFinder(strings.LastIndex, false),
		"index": textFinder(strings.Index, true), "rindex": textFinder(strings.LastIndex, true),
		"count": countText, "removeprefix": cutAffix(strings.TrimPrefix), "removesuffix": cutAffix(strings.TrimSuffix),
		"isdigit": every(unicode.IsDigit), "isdecimal": every(unicode.IsDigit), "isnumeric": every(unicode.IsNumber),
		"isalpha": every(unicode.IsLetter), "isspace": every(isPySpace),
		"isalnum": every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper": check(func(s string) bool { return s == strings.ToUpper(s) && s != strings.ToLower(s) }),
		"islower": check(func(s string) bool { return s == strings.ToLower(s) && s != strings.ToUpper(s) }),
		"isascii": check(func(s string) bool {
			return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
		}),
		"ljust": pad(func(s string, n int, fill string) string { return s + strings.Repeat(fill, n) }),
		"rjust": pad(func(s string, n int, fill string) string { return strings.Repeat(fill, n) + s }),
		"zfill": pad(zeroFill),
		"center": pad(func(s string, n int, fill string) string {
			left := n/2 + n&(n+utf8.RuneCountInString(s))&1
			return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left)
		}),
	}
}

func zeroFill(s string, n int, _ string) string {
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		return s[:1] + strings.Repeat("0", n) + s[1:]
	}
	return strings.Repeat("0", n) + s
}

func cutAffix(cut func(s, x string) string) method {
	return func(_ *run, self val, args []val, kw map[string]val) (val, error) {
		s, _ := self.AsString()
		x, _, err := textArg(args, kw, 0, "affix")
		return value.FromString(cut(s, x)), err
	}
}

func countText(_ *run, self val, args []val, kw map[string]val) (val, error) {
	s, _ := self.AsString()
	x, ok, err := textArg(args, kw, 0, "sub")
	if err != nil || !ok {
		return val{}, errors.Join(errors.New("needs a text to count"), err)
	}
	return value.FromInt(int64(strings.Count(s, x))), nil
}
