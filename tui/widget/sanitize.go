package widget

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// tabStop is the distance of tab stops in cells.
const tabStop = 4

// maxCluster bounds the runes of one grapheme cluster: stacked marks beyond
// it are dropped, so that no text climbs out of its row.
const maxCluster = 8

// Sanitize makes text that came from outside safe to draw on one row. Line
// breaks become ⏎, tabs spaces up to the next stop, other control characters
// their pictures (ESC is ␛), bytes that are not UTF-8 U+FFFD, and marks that
// turn, hide or join text unseen (bidi overrides, zero-width spaces) are
// spelt out as <U+202E>.
//
// The result holds no control or format character save joiners that the
// script needs, and it is equally wide by grapheme cluster and by wcwidth, so
// a frame stays whole whichever of the two the terminal uses. To that end
// pictures lose their modifiers, and a zero-width space parts letters from
// vowel signs that take a cell of their own (Devanagari, Thai).
func Sanitize(s string) string {
	if plain(s) {
		return s
	}
	// What is taken away may let its neighbours join into another cluster:
	// go over it until nothing changes.
	for range 4 {
		t := sanitize(s, "⏎")
		if t == s {
			return t
		}
		s = t
	}
	return strings.Map(func(r rune) rune { // no text that people write comes here
		if r > unicode.MaxLatin1 {
			return utf8.RuneError
		}
		return r
	}, s)
}

// SanitizeLines is Sanitize for text of several rows: it splits at \n and
// \r\n. It returns at least one line.
func SanitizeLines(s string) []string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = Sanitize(l)
	}
	return lines
}

// plain reports printable ASCII, which needs no work.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func sanitize(s, newline string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	col, last := 0, ""
	emit := func(t string, w int) { b.WriteString(t); col += w }
	for len(s) > 0 {
		if c := s[0]; c < utf8.RuneSelf && (len(s) == 1 || s[1] < utf8.RuneSelf) && c != '\r' {
			t, w := asciiCell(c, col, newline)
			emit(t, w)
			s, last = s[1:], ""
			continue
		}
		if r, n := utf8.DecodeRuneInString(s); r == utf8.RuneError && n == 1 {
			emit("\ufffd", 1)
			s = s[1:]
			continue
		}
		if strings.HasPrefix(s, "\r\n") {
			emit(newline, 1)
			s = s[2:]
			continue
		}
		if vowel := partedVowel(last, s); vowel != "" {
			emit(parting+vowel, ansi.StringWidth(vowel))
			s, last = s[len(parting)+len(vowel):], vowel
			continue
		}
		cluster := firstCluster(s)
		s = s[len(cluster):]
		t := sanitizeCluster(cluster, col, newline)
		emit(t, ansi.StringWidth(t))
		if last = t; strings.Contains(t, parting) {
			last = t[strings.LastIndex(t, parting)+len(parting):]
		}
	}
	return b.String()
}

// firstCluster is the first grapheme cluster of s, ended before bytes that
// are not UTF-8.
func firstCluster(s string) string {
	cluster, _ := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
	if cluster == "" {
		return s[:1]
	}
	for i, r := range cluster {
		if r == utf8.RuneError && i > 0 && !strings.HasPrefix(cluster[i:], "\ufffd") {
			return cluster[:i]
		}
	}
	return cluster
}

// parting is what settleWidth puts between a letter and a vowel sign.
const parting = "\u200b"

// partedVowel is the cluster behind a parting at the beginning of s, when it
// would join what stands before, last; else it is empty.
func partedVowel(last, s string) string {
	rest, ok := strings.CutPrefix(s, parting)
	if !ok || last == "" || rest == "" {
		return ""
	}
	next := firstCluster(rest)
	for _, r := range next {
		if hidden(r) || r < utf8.RuneSelf || r == utf8.RuneError {
			return ""
		}
	}
	if joined := firstCluster(last + next); len(joined) <= len(last) || !agree(next) || utf8.RuneCountInString(next) > maxCluster {
		return ""
	}
	return next
}

// asciiCell is what one ASCII byte is drawn as at column col.
func asciiCell(c byte, col int, newline string) (string, int) {
	switch {
	case c == '\n':
		return newline, 1
	case c == '\t':
		n := tabStop - col%tabStop
		return "    "[:n], n
	case c == 0x7f:
		return "␡", 1
	case c < 0x20:
		return string(rune(0x2400) + rune(c)), 1
	default:
		return asciiStrings[c : c+1], 1
	}
}

// asciiStrings lets asciiCell return one byte without allocating.
var asciiStrings = func() string {
	b := make([]byte, 128)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

func sanitizeCluster(c string, col int, newline string) string {
	first, _ := utf8.DecodeRuneInString(c)
	if first < utf8.RuneSelf && len(c) == 1 {
		t, _ := asciiCell(c[0], col, newline)
		return t
	}
	var b strings.Builder
	n := 0
	script := first > unicode.MaxLatin1 && !unicode.In(first, unicode.Latin, unicode.Greek, unicode.Cyrillic)
	for i, r := range c {
		switch {
		case r < utf8.RuneSelf && (r < 0x20 || r == 0x7f):
			t, _ := asciiCell(byte(r), col, newline)
			b.WriteString(t)
		case joiner(r) && i > 0 && script && n < maxCluster:
			// Persian and Indic letters need them; between pictures
			// settleWidth drops them again.
			b.WriteRune(r)
			n++
		case hidden(r) && r != 0xfe0f && r != 0xfe0e:
			fmt.Fprintf(&b, "<U+%04X>", r)
		case n >= maxCluster:
			// dropped: see maxCluster
		default:
			if i == 0 && unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc) {
				b.WriteString("◌") // a mark needs something to stand on
			}
			b.WriteRune(r)
			n++
		}
	}
	return settleWidth(b.String())
}

func joiner(r rune) bool { return r == 0x200c || r == 0x200d }

// hidden reports runes that change the text around them without showing.
func hidden(r rune) bool {
	switch {
	case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
		return true
	case r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x034f, r == 0x17b4, r == 0x17b5:
		return true // Hangul and Khmer fillers, the grapheme joiner
	case r >= 0x180b && r <= 0x180f, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe0fff:
		return true // variation selectors, tags
	case r == 0x3000:
		return false
	}
	return !unicode.IsPrint(r) && !unicode.In(r, unicode.Zs, unicode.Co) && r != utf8.RuneError
}

// settleWidth changes t as little as it can until its width by grapheme
// cluster (terminals with mode 2027) equals its width by wcwidth (the rest).
func settleWidth(t string) string {
	if agree(t) {
		return t
	}
	// ❤️ without its variation selector, a family without its joiners.
	u := strings.Map(func(r rune) rune {
		if r == 0x200d || r == 0xfe0f || r == 0xfe0e || r >= 0x1f3fb && r <= 0x1f3ff {
			return -1
		}
		return r
	}, t)
	if agree(u) {
		return u
	}
	if p := partVowels(t); agree(p) {
		return p
	}
	return "\ufffd"
}

// partVowels puts a parting before each character that would take a cell of
// its own by wcwidth but none within the cluster, and drops what agrees
// nowhere.
func partVowels(t string) string {
	var out, cur string
	for _, r := range t {
		switch c := string(r); {
		case cur == "" && agree(c), cur != "" && agree(cur+c):
			cur += c
		case cur != "" && agree(c) && unicode.In(r, unicode.L, unicode.M):
			out += cur + parting
			cur = c
		}
	}
	return out + cur
}

func agree(t string) bool {
	w := ansi.StringWidth(t)
	return w > 0 && w == ansi.StringWidthWc(t)
}
