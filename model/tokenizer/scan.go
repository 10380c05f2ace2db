package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The split patterns that have a scanner, as their tokenizer.json spells them.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// scanner gives the length of the match at the head of a non-empty text. The known patterns match everywhere.
type scanner func(s string) int

var scanners = map[string]scanner{
	patternGPT2:   scanGPT2,
	patternLlama3: func(s string) int { return scanCL100K(s, 3) },
	patternQwen2:  func(s string) int { return scanCL100K(s, 1) },
}

// Character classes of the patterns, with the letters of ASCII answered at once.

func isLetter(r rune) bool {
	if r < utf8.RuneSelf {
		return r|32 >= 'a' && r|32 <= 'z'
	}
	return unicode.IsLetter(r)
}

func isNumber(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '0' && r <= '9'
	}
	return unicode.IsNumber(r)
}

func isSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r == ' ' || r >= '\t' && r <= '\r'
	}
	return unicode.IsSpace(r)
}

func isOther(r rune) bool { return !isSpace(r) && !isLetter(r) && !isNumber(r) }

// runOf gives the end of the run of class from i on.
func runOf(s string, i int, class func(rune) bool) int {
	for i < len(s) {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if !class(r) {
			break
		}
		i += n
	}
	return i
}

// scanSpace is \s+(?!\S)|\s+ : white space without its last character where a word follows.
func scanSpace(s string) int {
	end := runOf(s, 0, isSpace)
	if end == len(s) {
		return end
	}
	if _, n := utf8.DecodeLastRuneInString(s[:end]); end > n {
		return end - n
	}
	return end
}

func scanGPT2(s string) int {
	if n := contraction(s); n > 0 {
		return n
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if i < len(s) {
		r, _ := utf8.DecodeRuneInString(s[i:])
		switch {
		case isLetter(r):
			return runOf(s, i, isLetter)
		case isNumber(r):
			return runOf(s, i, isNumber)
		case !isSpace(r):
			return runOf(s, i, isOther)
		}
	}
	return scanSpace(s)
}

// contraction is 's|'t|'re|'ve|'m|'ll|'d.
func contraction(s string) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch s[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}

// contractionFold is contraction without regard to case, where Unicode folds ſ (U+017F) to s.
func contractionFold(s string) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	switch s[1] | 32 {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch strings.ToLower(s[1:3]) {
		case "re", "ve", "ll":
			return 3
		}
	}
	if strings.HasPrefix(s[1:], "ſ") {
		return 1 + len("ſ")
	}
	return 0
}

// scanCL100K is the pattern of Llama 3 and, with one digit at a time, of Qwen 2.
func scanCL100K(s string, digits int) int {
	if n := contractionFold(s); n > 0 {
		return n
	}
	r, n := utf8.DecodeRuneInString(s)
	if isLetter(r) {
		return runOf(s, n, isLetter)
	}
	if isNumber(r) {
		i := n
		for c := 1; c < digits && i < len(s); c++ {
			r, m := utf8.DecodeRuneInString(s[i:])
			if !isNumber(r) {
				break
			}
			i += m
		}
		return i
	}
	if r != '\r' && r != '\n' && n < len(s) {
		if after, _ := utf8.DecodeRuneInString(s[n:]); isLetter(after) {
			return runOf(s, n, isLetter)
		}
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if i < len(s) {
		if r, _ := utf8.DecodeRuneInString(s[i:]); isOther(r) {
			end := runOf(s, i, isOther)
			for end < len(s) && (s[end] == '\r' || s[end] == '\n') {
				end++
			}
			return end
		}
	}
	end := runOf(s, 0, isSpace)
	if l := strings.LastIndexAny(s[:end], "\r\n"); l >= 0 {
		return l + 1
	}
	return scanSpace(s)
}
