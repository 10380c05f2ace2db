package datasets

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func redact(t testing.TB, name, content string) (string, Redacted) {
	t.Helper()
	f := open(t, write(t, name, content), Options{})
	out := filepath.Join(t.TempDir(), "out")
	result, err := Redact(context.Background(), f, out)
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(written), result
}

func TestRedactLeavesEveryOtherByte(t *testing.T) {
	cases := map[string][2]string{
		"line ends, blank lines, numbers and escapes": {
			"\xef\xbb\xbf{\"text\": \"mail me@here.org \\u00e9\\/\", \"n\": 1.50E+0}\r\n\r\n{\"n\":1 , \"text\":\"+49 30 901820\"}  \n{broken me@here.org\nlast",
			"\xef\xbb\xbf{\"text\": \"mail [EMAIL] \\u00e9\\/\", \"n\": 1.50E+0}\r\n\r\n{\"n\":1 , \"text\":\"[PHONE]\"}  \n{broken me@here.org\nlast",
		},
		"escapes around":    {`{"t":"\nme@here.org\n123-45-6789\t4111 1111 1111 1111"}`, `{"t":"\n[EMAIL]\n[SSN]\t[CARD]"}`},
		"escapes inside":    {`{"t":"\ud83d\ude00 me\u0040here.org \u00e9 192.168.1.7"}`, `{"t":"\ud83d\ude00 [EMAIL] \u00e9 [IP]"}`},
		"nested, not names": {`{"me@here.org":[{"a":"GB82 WEST 1234 5698 7654 32"}]}`, `{"me@here.org":[{"a":"[IBAN]"}]}`},
		"nothing":           {`{"t":"2+2=4"}`, `{"t":"2+2=4"}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, _ := redact(t, "a.jsonl", c[0])
			if got != c[1] {
				t.Errorf("got  %q\nwant %q", got, c[1])
			}
			if again, result := redact(t, "a.jsonl", got); again != got || result.Changed != 0 {
				t.Errorf("a second pass changed it to %q", again)
			}
		})
	}
}

func TestRedactOfAnArray(t *testing.T) {
	got, result := redact(t, "a.json", "[\n {\"t\": \"a@b.org\"},\n {\"t\": \"x\"} \n]\n")
	if want := "[\n {\"t\": \"[EMAIL]\"},\n {\"t\": \"x\"} \n]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if result.Rows != 2 || result.Changed != 1 || result.Replaced[CodePIIEmail] != 1 {
		t.Errorf("%+v", result)
	}
}

func TestRedactNamesWhatItCannotRead(t *testing.T) {
	_, result := redact(t, "a.jsonl", "{\"t\":\"x\"}\n{bad\n")
	if len(result.Unreadable) != 1 || result.Unreadable[0].Line != 2 || result.Unreadable[0].Reason == "" {
		t.Errorf("%+v", result)
	}
	path := write(t, "a.jsonl", "{}")
	if _, err := Redact(context.Background(), open(t, path, Options{}), path); !errors.Is(err, ErrSameFile) {
		t.Errorf("onto the input: %v", err)
	}
}

// FuzzRedact checks that redacting twice is redacting once, that a row stays one
// JSON value, and that offsets of decoded text are right.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		`me@here.org`, `\u0040a@b.co1@c.de`, `+1 (555) 123-4567 1-555-123-4567`, `4111-1111-1111-1111 1`, `DE89370400440532013000`,
		`2001:db8::1:2 10.1.2.3.4`, `\ud83d\ude00\ud83d 123-45-6789`, `a@b.org123-45-6789@c.org`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, inner []byte) {
		raw := append(append([]byte(`{"t":"`), inner...), `"}`...)
		var d document
		if d.parse(raw) != nil {
			return
		}
		for i := range d.nodes {
			if d.nodes[i].kind == '"' {
				text, offsets := decodeWithOffsets(d.raw[d.nodes[i].start+1 : d.nodes[i].end-1])
				if want := unquote(d.raw[d.nodes[i].start:d.nodes[i].end]); bytes.IndexByte(d.raw, '\\') >= 0 && !bytes.Equal(text, want) || len(offsets) != len(text)+1 {
					t.Fatalf("decoded %q, want %q; %d offsets", text, want, len(offsets))
				}
			}
		}
		once, _ := redactRow(&d)
		var again document
		if err := again.parse(once); err != nil {
			t.Fatalf("%q became %q: %v", raw, once, err)
		}
		if twice, codes := redactRow(&again); !bytes.Equal(once, twice) {
			t.Errorf("%q became %q, then %q (%v)", raw, once, twice, codes)
		}
	})
}
