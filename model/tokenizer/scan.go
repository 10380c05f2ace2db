package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The split patterns that have a scanner, as their tokenizer.json spells them. Qwen35 is that of Qwen 3.5, O200k that of
// GPT-4o and gpt-oss, Tekken that of Mistral NeMo.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen35 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	patternO200k = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|` +
		`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// scanner gives the length of the match at the head of a non-empty text. The known patterns match everywhere.
type scanner func(s string) int

var scanners = map[string]scanner{
	patternGPT2:   scanGPT2,
	patternLlama3: func(s string) int { return scanCL100K(s, 3, classLetter) },
	patternQwen2:  func(s string) int { return scanCL100K(s, 1, classLetter) },
	patternQwen35: func(s string) int { return scanCL100K(s, 1, classLetter|classMark) },
	patternO200k:  func(s string) int { return scanO200K(s, 3, true) },
	patternTekken: func(s string) int { return scanO200K(s, 1, false) },
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
	end := runIn(s, 0, classSpace)
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
	switch c, n := classAt(s, i); {
	case c&classLetter != 0:
		return runIn(s, i+n, classLetter)
	case c == classNumber:
		return runIn(s, i+n, classNumber)
	case c&(classOther|classMark) != 0:
		return runIn(s, i+n, classOther|classMark)
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

// scanCL100K is the pattern of Llama 3 and, with one digit at a time, of Qwen. Words are made of the classes word:
// letters, and marks too in Qwen 3.5.
func scanCL100K(s string, digits int, word class) int {
	if n := contractionFold(s); n > 0 {
		return n
	}
	c, n := classAt(s, 0)
	if c&classLetter != 0 {
		return runIn(s, n, word)
	}
	if c == classNumber {
		return scanDigits(s, n, digits)
	}
	if s[0] != '\r' && s[0] != '\n' {
		if after, m := classAt(s, n); after&word != 0 {
			return runIn(s, n+m, word)
		}
	}
	if c&word != 0 { // a mark by itself
		return n
	}
	return scanRest(s, ^(word | classNumber | classSpace), "\r\n")
}

// scanDigits is \p{N}{1,digits}, of which one is read.
func scanDigits(s string, i, digits int) int {
	for k := 1; k < digits; k++ {
		c, n := classAt(s, i)
		if c != classNumber {
			break
		}
		i += n
	}
	return i
}

// scanRest is a run of the classes other, with a space before and the bytes of tail after, or white space.
func scanRest(s string, other class, tail string) int {
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if c, n := classAt(s, i); c&other != 0 {
		end := runIn(s, i+n, other)
		for end < len(s) && strings.IndexByte(tail, s[end]) >= 0 {
			end++
		}
		return end
	}
	end := runIn(s, 0, classSpace)
	if l := strings.LastIndexAny(s[:end], "\r\n"); l >= 0 {
		return l + 1
	}
	return scanSpace(s)
}

// scanO200K is the pattern of gpt-oss and, with one digit at a time and no contractions, of Mistral NeMo: a word is a
// run of capitals and what has no case, then one of small letters and what has no case.
func scanO200K(s string, digits int, contractions bool) int {
	c, n := classAt(s, 0)
	if c == classNumber {
		return scanDigits(s, n, digits)
	}
	end := 0
	if c&classLetter == 0 && s[0] != '\r' && s[0] != '\n' {
		end = scanCased(s, n) // one character of another kind leads the word
	}
	if end == 0 {
		end = scanCased(s, 0)
	}
	if lead := n; end == 0 && c&classLetter == 0 && s[0] != '\r' && s[0] != '\n' {
		end = scanCapitals(s, lead)
	}
	if end == 0 {
		end = scanCapitals(s, 0)
	}
	if end == 0 {
		return scanRest(s, classOther|classMark, "\r\n/")
	}
	if contractions && end < len(s) {
		end += contractionFold(s[end:])
	}
	return end
}

const (
	classUncasedMark = classUncased | classMark
	classCapital     = classUpper | classUncasedMark
	classSmall       = classLower | classUncasedMark
)

// scanCased gives the end of capitals* small+ from i on, 0 where there is none. What has no case counts as both.
func scanCased(s string, i int) int {
	end, last := i, 0 // last: after the last character of the capitals that has no case
	for {
		c, n := classAt(s, end)
		if c&classCapital == 0 {
			break
		}
		if end += n; c&classUncasedMark != 0 {
			last = end
		}
	}
	if c, n := classAt(s, end); c&classSmall != 0 {
		return runIn(s, end+n, classSmall)
	}
	return last
}

// scanCapitals gives the end of capitals+ small* from i on, 0 where there is none.
func scanCapitals(s string, i int) int {
	end := runIn(s, i, classCapital)
	if end == i {
		return 0
	}
	return runIn(s, end, classSmall)
}
