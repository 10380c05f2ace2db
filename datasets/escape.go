package datasets

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions here take the bytes between the quotes of a JSON string that parse accepted and that is UTF-8. They do what jsontext's
// AppendUnquote and AppendQuote do with them, in a fraction of the time.

// decode appends the text that inner stands for. Half a surrogate pair becomes U+FFFD.
func decode(dst, inner []byte) []byte { return unescape(dst, inner, false) }

// respell appends inner with the one spelling of each character that [quote] gives it: no escape where none is needed.
func respell(dst, inner []byte) []byte { return unescape(dst, inner, true) }

// unescape appends inner with its escapes replaced: by what they mean or, where `spelled`, by how that stands in a JSON string.
func unescape(dst, inner []byte, spelled bool) []byte {
	for len(inner) > 0 {
		i := bytes.IndexByte(inner, '\\')
		if i < 0 {
			break
		}
		dst = append(dst, inner[:i]...)
		inner = inner[i:]
		for len(inner) > 0 && inner[0] == '\\' {
			if inner[1] != 'u' {
				if spelled && inner[1] != '/' {
					dst = append(dst, '\\', inner[1])
				} else {
					dst = append(dst, escapes[inner[1]])
				}
				inner = inner[2:]
				continue
			}
			r, size := escapedRune(inner)
			inner = inner[size:]
			if spelled {
				dst = appendSpelling(dst, r)
			} else {
				dst = utf8.AppendRune(dst, r)
			}
		}
	}
	return append(dst, inner...)
}

// appendSpelling appends a character as it stands in a JSON string.
func appendSpelling(dst []byte, r rune) []byte {
	if r < ' ' || r == '"' || r == '\\' {
		quoted := quote(string(r))
		return append(dst, quoted[1:len(quoted)-1]...)
	}
	return utf8.AppendRune(dst, r)
}

// escapes are what stands after a backslash, u aside, with what it means.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escapedRune reads the character of a \u escape, or of two that are a surrogate pair.
func escapedRune(inner []byte) (r rune, size int) {
	if r = hex4(inner[2:]); !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(inner) >= 12 && inner[6] == '\\' && inner[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(inner[8:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// hex4 reads four hexadecimal digits.
func hex4(digits []byte) rune {
	_ = digits[3]
	return rune(hexDigits[digits[0]])<<12 | rune(hexDigits[digits[1]])<<8 | rune(hexDigits[digits[2]])<<4 | rune(hexDigits[digits[3]])
}

// hexDigits are the values of hexadecimal digits; 0xff for what is none.
var hexDigits = func() (t [256]uint8) {
	for c := range t {
		switch {
		case isDigit(byte(c)):
			t[c] = uint8(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			t[c] = uint8(c | 0x20 - 'a' + 10)
		default:
			t[c] = 0xff
		}
	}
	return t
}()
