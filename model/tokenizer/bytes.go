package tokenizer

import "unicode/utf8"

// byteRunes is GPT-2's spelling of bytes as visible characters: printable Latin-1 stands for itself, the other
// bytes for U+0100 and up, in order.
var byteRunes = func() (m [256]rune) {
	next := rune(256)
	for b := range m {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			m[b] = rune(b)
		} else {
			m[b] = next
			next++
		}
	}
	return m
}()

// runeBytes is the way back.
var runeBytes = func() map[rune]byte {
	m := make(map[rune]byte, 256)
	for b, r := range byteRunes {
		m[r] = byte(b)
	}
	return m
}()

// unspellBytes appends the bytes of a byte-level token, or its own where it is not spelled that way (an added token
// with a space in it).
func unspellBytes(dst []byte, token string) []byte {
	start := len(dst)
	for _, r := range token {
		b, ok := runeBytes[r]
		if !ok {
			return append(dst[:start], token...)
		}
		dst = append(dst, b)
	}
	return dst
}

// badPrefix gives the length of the longest prefix of b that could begin a character (at least 1), and whether more
// bytes could still complete it. It is asked only where no whole character begins. Unicode calls the prefix a
// maximal subpart: it becomes one replacement character.
func badPrefix(b []byte) (n int, open bool) {
	var want int
	low, high := byte(0x80), byte(0xbf)
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		want = 2
	case c >= 0xe0 && c <= 0xef:
		want = 3
		if c == 0xe0 {
			low = 0xa0
		} else if c == 0xed {
			high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		want = 4
		if c == 0xf0 {
			low = 0x90
		} else if c == 0xf4 {
			high = 0x8f
		}
	default:
		return 1, false
	}
	for n = 1; n < want && n < len(b); n++ {
		if b[n] < low || b[n] > high {
			return n, false
		}
		low, high = 0x80, 0xbf
	}
	return n, n < want
}

// lossy reads bytes as UTF-8 with a replacement character for each maximal subpart that is not. With partial, bytes
// at the end that may still become a character are left over.
func lossy(b []byte, partial bool) (text string, rest []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	out := make([]byte, 0, len(b)+8)
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			out = append(out, b[:n]...)
			b = b[n:]
			continue
		}
		n, open := badPrefix(b)
		if open && partial {
			return string(out), b
		}
		out = append(out, "\uFFFD"...)
		b = b[n:]
	}
	return string(out), nil
}
