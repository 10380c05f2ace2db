package datasets

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzEscape compares decode and respell with jsontext, for strings that are JSON and UTF-8.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{
		`plain`, `\n\"\\\/\b\f\r\t`, `\u00e9\u00C9 \u0041\u005c\u0022\u000a\u0001\u007f`, `\ud83d\ude00 \ud83d \ude00\ud83d x\ud83d`, `\ud83d\n\ud83d\u0041`,
		`\u2028 \ufffd \u0000é`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, inner []byte) {
		quoted := append(append([]byte{'"'}, inner...), '"')
		if !utf8.Valid(inner) || !jsontext.Value(quoted).IsValid(decodeOptions...) {
			return
		}
		want, _ := jsontext.AppendUnquote(nil, quoted)
		if got := decode(nil, inner); !bytes.Equal(got, want) {
			t.Fatalf("decode %q: %q, jsontext's %q", inner, got, want)
		}
		again := quote(string(want))
		if got := respell(nil, inner); !bytes.Equal(got, again[1:len(again)-1]) {
			t.Fatalf("respell %q: %q, jsontext's %q", inner, got, again)
		}
	})
}
