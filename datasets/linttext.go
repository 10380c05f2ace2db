package datasets

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// class says which rule has to look at a byte; 0 is none, by far the most.
type class byte

const (
	plain class = iota
	backslash
	control
	at // @
	digit
	colon
	opening  // < and [
	highC2C3 // C1 control characters, mojibake
	highE2   // zero width, direction
	highEF   // byte order mark, replacement character, full-width bar
	highF3   // tag characters

	quotation // in JSON strings only, where these two have a meaning of their own
	forbidden
)

// classes says of each byte of a text which rule has to look at it.
var classes = func() (t [256]class) {
	for c := range 0x20 {
		t[c] = control
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = digit
	}
	t['\t'], t['\n'], t['\r'], t[':'] = plain, plain, plain, colon
	t[0x7f], t['\\'], t['@'], t['<'], t['['] = control, backslash, at, opening, opening
	t[0xc2], t[0xc3], t[0xe2], t[0xef], t[0xf3] = highC2C3, highC2C3, highE2, highEF, highF3
	return t
}()

// text looks at the marks that parse left in string n. With \u in it the text is decoded first.
func (l *linter) text(n int32) {
	x := &l.d.nodes[n]
	if x.marks == x.marksEnd {
		return
	}
	if len(l.told) > 0 {
		clear(l.told)
	}
	inner := l.inner(n)
	next := 0
	for _, mark := range l.d.marks[x.marks:x.marksEnd] {
		i := int(mark - x.start - 1)
		if i < next {
			continue // in something that is dealt with
		}
		if inner[i] != '\\' {
			next = l.special(n, inner, i, classes[inner[i]], false) + 1
			for next < len(inner) && isDigit(inner[next]) { // the rest of a long number has no mark
				next = l.special(n, inner, next, digit, false) + 1
			}
			continue
		}
		switch inner[i+1] {
		case 'u':
			l.escapedText(n)
			return
		case '/': // the hash looks for them
		default: // \b and \f
			l.once(n, inner, i, i+2, false, CodeControlCharacter, "the control character \\%c", inner[i+1])
		}
		next = i + 2
	}
}

// escapedText is text for a string with \u escapes: over its decoded bytes.
func (l *linter) escapedText(n int32) {
	text := l.decoded(n)
	l.stops.of(text)
	for from := 0; ; {
		i := l.stops.next(from)
		if i >= len(text) {
			return
		}
		switch c := classes[text[i]]; {
		case c == digit:
			from = l.numbers(n, text, from, i)
		case c != plain && c != backslash && isMarked(text, i, c):
			from = l.special(n, text, i, c, true) + 1
		default:
			from = i + 1
		}
	}
}

// numbers looks at the numbers around the digit at i, which begin at from at the earliest, and gives where the walk goes on.
func (l *linter) numbers(n int32, text []byte, from, i int) int {
	for i > from && numberBytes[text[i-1]] {
		i--
	}
	for i < len(text) && numberBytes[text[i]] {
		if isDigit(text[i]) {
			i = l.special(n, text, i, digit, true)
		}
		i++
	}
	return i
}

// decoded returns the text of string n, valid until the next call.
func (l *linter) decoded(n int32) []byte {
	if l.utf8 {
		return l.d.decoded(n)
	}
	return unquote(l.d.value(n))
}

// once reports a code at most once for a value. Offsets are in text, which is
// the decoded value or its raw bytes.
func (l *linter) once(n int32, text []byte, start, end int, decoded bool, code, format string, args ...any) {
	if l.told[code] {
		return
	}
	if l.told == nil {
		l.told = map[string]bool{}
	}
	l.told[code] = true
	if decoded {
		l.report(pathOf(&l.d, n), code, [2]int{start, end}, fmt.Sprintf(format, args...))
		return
	}
	l.part(n, code, start, end, format, args...)
}

// special looks closer at byte i and returns the last byte it has dealt with.
func (l *linter) special(n int32, text []byte, i int, c class, decoded bool) int {
	switch c {
	case control:
		l.once(n, text, i, i+1, decoded, CodeControlCharacter, "the control character U+%04X", text[i])
	case opening:
		if token := controlTokenAt(text, i); token != "" && l.isForeign(token) {
			l.once(n, text, i, i+len(token), decoded, CodeTemplateMismatch, "%s is a control token of a chat template, not text", token)
		}
	case at, digit, colon:
		found, ok, next := personalAt(text, i, c, decoded)
		if ok {
			l.once(n, text, found.start, found.end, decoded, found.code, "%s: %s", personal[found.code].what, text[found.start:found.end])
		}
		return next - 1
	case highC2C3, highE2, highEF, highF3:
		l.high(n, text, i, decoded)
	}
	return i
}

// high looks at a character beyond ASCII.
func (l *linter) high(n int32, text []byte, i int, decoded bool) {
	if length := mojibakeAt(text[i:]); length > 0 {
		l.once(n, text, i, i+length, decoded, CodeMojibake, "%q is UTF-8 that was read as Latin-1", text[i:i+length])
		return
	}
	r, size := utf8.DecodeRune(text[i:])
	code, what := invisible(text, i, r, size)
	if code == "" {
		return
	}
	if code == CodeReplacementChar && decoded && l.halfSurrogate(n) {
		code, what = CodeBadUTF8, "half of a surrogate pair (\\ud800 to \\udfff) stands for no character"
	}
	l.once(n, text, i, i+size, decoded, code, "%s", what)
}

// invisible names what r is when it cannot be seen where it stands.
func invisible(text []byte, i int, r rune, size int) (code, what string) {
	switch {
	case r >= 0x80 && r < 0xa0:
		return CodeControlCharacter, fmt.Sprintf("the control character U+%04X", r)
	case r == utf8.RuneError && size == 3:
		return CodeReplacementChar, "U+FFFD: a character was lost here"
	case r == 0x200b || r == 0x2060 || r == 0xfeff:
		return CodeZeroWidth, fmt.Sprintf("the invisible character U+%04X", r)
	case r == 0x200c || r == 0x200d:
		if joins(text, i, size) {
			return "", ""
		}
		return CodeZeroWidth, fmt.Sprintf("the invisible character U+%04X", r)
	case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
		return CodeBidiOverride, fmt.Sprintf("U+%04X changes the direction of the text after it", r)
	case r >= 0xe0000 && r <= 0xe007f && !inFlag(text[:i]):
		return CodeZeroWidth, fmt.Sprintf("the invisible tag character U+%04X", r)
	}
	return "", ""
}

// joins reports whether a joiner or non-joiner does its work: between emoji, or
// letters of scripts that join (Persian, Arabic, those of India …).
func joins(text []byte, i, size int) bool {
	before, _ := utf8.DecodeLastRune(text[:i])
	after, _ := utf8.DecodeRune(text[i+size:])
	return needsJoiner(before) && (needsJoiner(after) || !unicode.IsLetter(after))
}

// needsJoiner reports whether zero-width joiners are part of writing with r.
func needsJoiner(r rune) bool {
	switch {
	case r == utf8.RuneError || r < 0x300:
		return false
	case r == 0xfe0f, r >= 0x1f000, unicode.Is(unicode.So, r), unicode.Is(unicode.Mn, r), unicode.Is(unicode.Mc, r):
		return true
	}
	return unicode.In(r, unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Nko, unicode.Devanagari, unicode.Bengali,
		unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam,
		unicode.Sinhala, unicode.Khmer, unicode.Myanmar, unicode.Tibetan)
}

// inFlag reports whether tag characters continue the flag of England, Scotland
// or Wales: a black flag (U+1F3F4) and tags after it.
func inFlag(before []byte) bool {
	for len(before) > 0 {
		r, size := utf8.DecodeLastRune(before)
		if r == 0x1f3f4 {
			return true
		}
		if r < 0xe0000 || r > 0xe007f {
			return false
		}
		before = before[:len(before)-size]
	}
	return false
}

// mojibakeAt returns the length of UTF-8 that was decoded as Latin-1 or
// Windows-1252 and encoded again, at the start of p; 0 for none.
func mojibakeAt(p []byte) int {
	switch {
	case len(p) >= 4 && p[0] == 0xc3 && (p[1] == 0x83 || p[1] == 0x82) && p[2] == 0xc2: // Ã© and Â°
		return 4
	case bytes.HasPrefix(p, []byte("â€")): // â€™, â€œ: quotation marks and dashes
		_, size := utf8.DecodeRune(p[len("â€"):])
		return len("â€") + size
	case len(p) >= 8 && isCyrillicLead(p) && isCyrillicLead(p[4:]): // Ð¿Ñ€ as Latin-1
		return 8
	}
	return 0
}

// isCyrillicLead sees Ð or Ñ with a character after it that text has not.
func isCyrillicLead(p []byte) bool {
	return p[0] == 0xc3 && (p[1] == 0x90 || p[1] == 0x91) && p[2] == 0xc2 && p[3] < 0xc0
}

// halfSurrogate reports whether string n has a \ud8xx escape without its other
// half: a decoder makes U+FFFD of it.
func (l *linter) halfSurrogate(n int32) bool {
	inner := bytes.ToLower(l.inner(n))
	return !bytes.Contains(inner, []byte(`\ufffd`)) && !bytes.Contains(inner, []byte("\xef\xbf\xbd"))
}

// controlTokens are those of the well-known chat templates.
var controlTokens = []string{
	"<|im_start|>", "<|im_end|>", "<|endoftext|>", // ChatML
	"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", // Llama 3
	"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", // Llama 2, Mistral
	"<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", // Gemma
	"<|user|>", "<|assistant|>", "<|system|>", "<|end|>", // Phi, Zephyr
	"<|start|>", "<|channel|>", "<|message|>", "<|return|>", // gpt-oss
	"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", // Command R
	"<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", // DeepSeek
	"<s>", "</s>",
}

// tokensByStart has the control tokens by their second byte: the first says
// little in text that has brackets.
var tokensByStart = func() (t [256][]string) {
	for _, token := range controlTokens {
		t[token[1]] = append(t[token[1]], token)
	}
	return t
}()

// tokenStarts has the control tokens by their second and third byte.
var tokenStarts = func() (t [1 << 16]bool) {
	for _, token := range controlTokens {
		t[int(token[1])<<8|int(token[2])] = true
	}
	return t
}()

// controlTokenAt returns the control token at text[i:], or "". <s> and </s> are
// HTML too: they count only at the edges of the text.
func controlTokenAt(text []byte, i int) string {
	rest := text[i:]
	if len(rest) < 3 {
		return ""
	}
	for _, token := range tokensByStart[rest[1]] {
		if len(token) > len(rest) || string(rest[:len(token)]) != token {
			continue
		}
		if token == "<s>" && len(bytes.TrimSpace(text[:i])) > 0 || token == "</s>" && len(bytes.TrimSpace(rest[len(token):])) > 0 {
			return ""
		}
		return token
	}
	return ""
}

// isForeign reports whether a control token does not belong in the row's text.
// In conversations none does: the template writes them. Plain text may have been
// rendered before, so there only those that the tokenizer does not know count,
// which needs a tokenizer.
func (l *linter) isForeign(token string) bool {
	switch l.parts.format {
	case FormatText, FormatPromptCompletion:
		return l.own != nil && !l.own[token]
	}
	return true
}
