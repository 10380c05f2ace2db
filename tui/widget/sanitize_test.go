package widget

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

var sanitizeCases = []struct{ name, in, want string }{
	{"plain", "Explain our refund policy.", "Explain our refund policy."},
	{"tab", "a\tb", "a   b"},
	{"tab stop", "abcd\tb", "abcd    b"},
	{"newline", "a\nb", "a⏎b"},
	{"windows newline", "a\r\nb", "a⏎b"},
	{"carriage return", "safe\revil", "safe␍evil"},
	{"escape", "\x1b[31mred", "␛[31mred"},
	{"delete and bell", "\x7f\a", "␡␇"},
	{"C1 control", "a\u009b31mb", "a<U+009B>31mb"},
	{"override", "user\u202egpj.exe", "user<U+202E>gpj.exe"},
	{"isolate", "\u2066x\u2069", "<U+2066>x<U+2069>"},
	{"zero width space", "a\u200bb", "a<U+200B>b"},
	{"byte order mark", "\ufeffa", "<U+FEFF>a"},
	{"soft hyphen", "a\u00adb", "a<U+00AD>b"},
	{"line separator", "a\u2028b", "a<U+2028>b"},
	{"tag characters", "a\U000e0041", "a<U+E0041>"},
	{"bad byte", "a\xffb", "a\ufffdb"},
	{"cut rune", "日\xe6\x97", "日\ufffd\ufffd"},
	{"replacement character", "a\ufffdb", "a\ufffdb"},
	{"wide", "日本語", "日本語"},
	{"composed", "cafe\u0301", "cafe\u0301"},
	{"mark alone", "\u0301x", "◌\u0301x"},
	{"emoji", "🙂", "🙂"},
	{"emoji presentation", "❤️", "❤"},
	{"family", "👨\u200d👩\u200d👧", "👨👩👧"},
	{"skin tone", "👍🏽", "👍"},
	{"flag", "🇫🇷", "🇫🇷"},
	{"Persian joiner", "می\u200cخواهم", "می\u200cخواهم"},
	{"stacked marks", "z" + strings.Repeat("\u0301", 40), "z" + strings.Repeat("\u0301", maxCluster-1)},
	{"Devanagari", "किताब", "क\u200bित\u200bाब"},
	{"Devanagari conjunct", "हिन्दी", "ह\u200bिन्\u200bद\u200bी"},
	{"Thai", "กำ", "ก\u200bำ"},
	{"Latin joiner", "a\u200db", "a<U+200D>b"},
	{"no-break space", "a\u00a0b", "a\u00a0b"},
	{"Hangul filler", "a\u3164b", "a<U+3164>b"},
}

func TestSanitize(t *testing.T) {
	for _, c := range sanitizeCases {
		if got := Sanitize(c.in); got != c.want {
			t.Errorf("%s: Sanitize(%q) = %q, want %q", c.name, c.in, got, c.want)
		}
	}
}

func TestSanitizeLines(t *testing.T) {
	got := SanitizeLines("a\tb\r\n\nc\r")
	want := []string{"a   b", "", "c␍"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := SanitizeLines(""); len(got) != 1 || got[0] != "" {
		t.Errorf("empty text gives %q, want one empty line", got)
	}
}

// checkSafe holds what Sanitize promises.
func checkSafe(t *testing.T, in, out string) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Errorf("Sanitize(%q) = %q is not UTF-8", in, out)
	}
	for i, r := range out {
		next, _ := utf8.DecodeRuneInString(out[i+utf8.RuneLen(r):])
		switch {
		case r == 0x200b && unicode.In(next, unicode.L, unicode.M): // parts a vowel sign
		case r == 0x200c || r == 0x200d: // joiners that a script needs
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			t.Errorf("Sanitize(%q) = %q lets U+%04X through", in, out, r)
		}
	}
	if g, w := ansi.StringWidth(out), ansi.StringWidthWc(out); g != w {
		t.Errorf("Sanitize(%q) = %q is %d cells wide by clusters and %d by wcwidth", in, out, g, w)
	}
	sum := 0
	for rest := out; rest != ""; {
		cluster, w := ansi.FirstGraphemeCluster(rest, ansi.GraphemeWidth)
		if cluster == "" {
			t.Fatalf("Sanitize(%q) = %q: no cluster in %q", in, out, rest)
		}
		sum += w
		rest = rest[len(cluster):]
	}
	if w := ansi.StringWidth(out); sum != w {
		t.Errorf("Sanitize(%q) = %q: clusters take %d cells, the whole %d", in, out, sum, w)
	}
	if again := Sanitize(out); again != out {
		t.Errorf("Sanitize(%q) = %q, and again %q", in, out, again)
	}
}

func FuzzSanitize(f *testing.F) {
	for _, c := range sanitizeCases {
		f.Add(c.in)
	}
	f.Add("नमस्ते किताब")
	f.Add("ก็ำ\u0e33")
	f.Add("\u1100\u1161\u11a8 \u115f\u1160")
	f.Add("🏳️‍🌈🏴󠁧󠁢󠁥󠁮󠁧󠁿1️⃣")
	f.Add("\u0600\u06dd12 \u110bd")
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 4096 {
			return
		}
		checkSafe(t, in, Sanitize(in))
		for _, l := range SanitizeLines(in) {
			checkSafe(t, l, l)
		}
	})
}
