package data

import (
	"encoding/json"
	"strings"
	"testing"

	"lathe/datasets"
	"lathe/tui/internal/synthetic"
	"lathe/tui/widget/prose"
)

// laid is a layout as text, marked stretches in brackets.
func laid(raw string, found ...datasets.Finding) string {
	var b strings.Builder
	for i, l := range layJSON([]byte(raw), func(path string, from, to int) []mark { return marks(found, 0, []byte(raw), path, from, to) }) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.Repeat("  ", l.indent))
		for _, s := range l.spans {
			if s.Anchor {
				b.WriteString("[" + s.Text + "]")
			} else {
				b.WriteString(s.Text)
			}
		}
	}
	return b.String()
}

func TestLayJSON(t *testing.T) {
	for _, c := range []struct {
		name, raw, want string
		found           []datasets.Finding
	}{
		{"flat", `{"a":"x","b":1.50}`, "{ \"a\": \"x\",\n  \"b\": 1.50 }", nil},
		{
			"a conversation", `{"m":[{"r":"u","c":"hi"},{"r":"a"}],"n":null}`,
			"{ \"m\": [\n    { \"r\": \"u\",\n      \"c\": \"hi\" },\n    { \"r\": \"a\" } ],\n  \"n\": null }", nil,
		},
		{"nested object", `{"a":{"b":1,"c":[]}}`, "{ \"a\": {\n    \"b\": 1,\n    \"c\": [] } }", nil},
		{"lines of a string", `{"a":"x\ny\\n\n"}`, "{ \"a\": \"x\\n\n    y\\\\n\\n\" }", nil},
		{"a field", `{"a":"x","b":"yy"}`, "{ \"a\": \"x\",\n  \"b\": [\"yy\"] }", []datasets.Finding{{Field: "b"}}},
		{
			"a span", `{"m":[{"c":"caf\u00e9 é \ud83d\ude42 bad"}]}`, "{ \"m\": [\n    { \"c\": \"caf\\u00e9 é \\ud83d\\ude42 [bad]\" } ] }",
			[]datasets.Finding{{Field: "m[0].c", Span: [2]int{len("café é 🙂 "), len("café é 🙂 bad")}}},
		},
		{"a span of the row", `{"a":1,"a":2}`, "{ \"a\": 1,\n  [\"a\"]: 2 }", []datasets.Finding{{Span: [2]int{7, 10}}}},
		{"broken off", `{"a":"x`, "{ \"a\": \"x", nil},
		{"no JSON", `hello {`, "hello{", nil},
		{"text behind", `{} x`, "{}x", nil},
		{"empty", ``, "", nil},
	} {
		if got := laid(c.raw, c.found...); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// The layout shows every byte of the row, in order, but white space between values; marks change nothing of it.
func FuzzLayJSON(f *testing.F) {
	f.Add(`{"a":["x\n","\ud83d\ude42",{"b":null}],"c":1e3}`, "a[1]", 0, 2)
	f.Add(`[[[[{"a`, "", 1, 3)
	f.Add(`{]}:,,"`, "]", -1, 9)
	row, _ := synthetic.Row(17)
	f.Add(string(row.Raw), "messages[2].content", 10, 20)
	f.Fuzz(func(t *testing.T, raw, field string, from, to int) {
		found := []datasets.Finding{{Field: field, Span: [2]int{from, to}}, {Field: "", Span: [2]int{to, from}}}
		var spans []prose.Span
		for _, l := range layJSON([]byte(raw), func(path string, from, to int) []mark { return marks(found, 0, []byte(raw), path, from, to) }) {
			spans = append(spans, l.spans...)
		}
		var b strings.Builder
		for _, s := range spans {
			b.WriteString(s.Text)
		}
		squeeze := strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace
		if got, want := squeeze(b.String()), squeeze(raw); got != want {
			t.Errorf("shows %q, want %q", got, want)
		}
	})
}

// A range of a string's decoded text is found again in its raw bytes.
func FuzzRawRange(f *testing.F) {
	f.Add("café 🙂\n\t\"x\\", 2, 5)
	f.Fuzz(func(t *testing.T, text string, from, to int) {
		text = strings.ToValidUTF8(text, "")
		if from < 0 || to < from || to > len(text) || !strings.HasPrefix(text[from:], strings.ToValidUTF8(text[from:to], "")) {
			return
		}
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range [2]int{from, to} { // only where characters begin
			if n < len(text) && text[n]&0xc0 == 0x80 {
				return
			}
		}
		a, b := rawRange(raw, [2]int{from, to})
		if got := unquote([]byte(`"` + string(raw[a:b]) + `"`)); got != text[from:to] {
			t.Errorf("range %d-%d of %q is %q, want %q", from, to, raw, got, text[from:to])
		}
	})
}
