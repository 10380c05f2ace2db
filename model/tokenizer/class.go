package tokenizer

import (
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// class is what the split patterns ask of a character; each character has exactly one bit.
type class uint8

const (
	classUpper   class = 1 << iota // \p{Lu}, \p{Lt}
	classLower                     // \p{Ll}
	classUncased                   // \p{Lm}, \p{Lo}
	classMark                      // \p{M}
	classNumber                    // \p{N}
	classSpace                     // \s
	classOther                     // everything else
	classBeyond                    // in asciiClass: not ASCII, ask classOf

	classLetter = classUpper | classLower | classUncased
)

// asciiClass is the class of each byte below 0x80.
var asciiClass = func() (t [256]class) {
	for b := range t {
		t[b] = classBeyond
		if b < utf8.RuneSelf {
			t[b] = computeClass(rune(b))
		}
	}
	return t
}()

// classPages holds the classes of 256 characters a page. A page is computed when a text first has a character of it:
// most texts need a few of the 4352, and asking Unicode's tables takes a binary search for each.
var classPages [(unicode.MaxRune + 1) >> 8]atomic.Pointer[[256]class]

func classOf(r rune) class {
	at := &classPages[r>>8]
	page := at.Load()
	if page == nil {
		page = new([256]class)
		for i := range page {
			page[i] = computeClass(r&^0xff | rune(i))
		}
		at.Store(page)
	}
	return page[r&0xff]
}

func computeClass(r rune) class {
	switch {
	case unicode.IsSpace(r):
		return classSpace
	case unicode.In(r, unicode.Lu, unicode.Lt):
		return classUpper
	case unicode.Is(unicode.Ll, r):
		return classLower
	case unicode.IsLetter(r):
		return classUncased
	case unicode.IsNumber(r):
		return classNumber
	case unicode.Is(unicode.M, r):
		return classMark
	}
	return classOther
}

// classAt gives the class and the length of the character at s[i]; 0 at the end.
func classAt(s string, i int) (class, int) {
	if i >= len(s) {
		return 0, 0
	}
	if c := asciiClass[s[i]]; c != classBeyond {
		return c, 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classOf(r), n
}

// runIn gives the end of the run of characters of the classes want from i on.
func runIn(s string, i int, want class) int {
	for i < len(s) {
		c, n := asciiClass[s[i]], 1
		if c == classBeyond {
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			c = classOf(r)
		}
		if c&want == 0 {
			break
		}
		i += n
	}
	return i
}
