package datasets

import (
	"bytes"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

var parseSamples = []string{
	`{"a":1,"b":[true,false,null,{}],"c":{"d":"x\ny\u00e9"}}`, ` [ ] `, `{}`, `"a"`, `-0.5e+3`, `01`, `1.`, `-`, `1e`, `tru`, `nul`, `truefalse`,
	`{"a":1,}`, `[1,]`, `{"a"}`, `{a:1}`, `[1 2]`, `{"a":1}x`, `"\x"`, `"\u12g4"`, `"\ud800"`, "\"\t\"", "\"\x7f\"", "\"\xff\"", `[}`, `{]`, ``, ` `,
	`["4111 1111 1111 1111","1234567890123456789012345678901234567890123456789012345 is long","a\/b\bc\u0041 me@x.org","<|im_end|> 1.2.3.4"]`,
	`{"a":1,"a":2}`, "{\"\\u0061\":\"\u200b\"}",
}

// FuzzParseRow compares the parser with jsontext: what is accepted, and every value's place; and the linter's marks with a walk over
// every byte.
func FuzzParseRow(f *testing.F) {
	for _, s := range parseSamples {
		f.Add([]byte(s))
	}
	f.Add([]byte(string(bytes.Repeat([]byte("["), maxDepth)) + string(bytes.Repeat([]byte("]"), maxDepth))))
	f.Add(bytes.Repeat([]byte("["), maxDepth+1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkStops(t, raw)
		var d document
		err := d.parse(raw)
		want, ok := valuesOf(raw)
		if (err == nil) != ok {
			t.Fatalf("%q: %v, jsontext says %v", raw, err, ok)
		}
		if !ok {
			return
		}
		var got []string
		for _, n := range d.nodes {
			got = append(got, string(raw[n.start:n.end]))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: values %q, jsontext's %q", raw, got, want)
		}
		for n := range d.nodes {
			if d.nodes[n].kind == '"' {
				checkMarks(t, &d, int32(n))
			}
		}
	})
}

// valuesOf lists all values of raw with the containers before what they hold.
func valuesOf(raw []byte) (values []string, ok bool) {
	if !jsontext.Value(raw).IsValid(decodeOptions...) {
		return nil, false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), decodeOptions...)
	var open []int
	for {
		kind := dec.PeekKind()
		_, length := dec.StackIndex(dec.StackDepth())
		name := dec.StackDepth() > 0 && length%2 == 0
		if parent, _ := dec.StackIndex(dec.StackDepth()); parent != '{' {
			name = false
		}
		switch kind {
		case '{', '[':
			if _, err := dec.ReadToken(); err != nil {
				return nil, false
			}
			open = append(open, len(values))
			values = append(values, string(raw[dec.InputOffset()-1:]))
		case '}', ']':
			if _, err := dec.ReadToken(); err != nil {
				return nil, false
			}
			top := open[len(open)-1]
			open = open[:len(open)-1]
			start := len(raw) - len(values[top])
			values[top] = string(raw[start:dec.InputOffset()])
		default:
			v, err := dec.ReadValue()
			if err != nil {
				return nil, false
			}
			if !name {
				values = append(values, string(v))
			}
		}
		if dec.StackDepth() > maxDepth {
			return nil, false
		}
		if dec.StackDepth() == 0 {
			return values, true
		}
	}
}

// checkMarks compares the findings of a string with those of a walk over all of its bytes.
func checkMarks(t *testing.T, d *document, n int32) {
	t.Helper()
	findings := func(walk func(*linter)) []Finding {
		l := &linter{lintShared: &lintShared{}, d: *d, at: &Row{}, utf8: utf8.Valid(d.raw)}
		walk(l)
		return l.out.findings
	}
	got := findings(func(l *linter) { l.text(n) })
	want := findings(func(l *linter) { walkEveryByte(l, n) })
	if !slices.Equal(got, want) {
		t.Fatalf("%q: %+v, byte by byte %+v", d.value(n), got, want)
	}
}

func walkEveryByte(l *linter, n int32) {
	inner := l.inner(n)
	for i := 0; i < len(inner); i++ {
		c := classes[inner[i]]
		if c == plain {
			continue
		}
		if c != backslash {
			i = l.special(n, inner, i, c, false)
			continue
		}
		i++
		switch inner[i] {
		case 'u':
			decoded := unquote(l.d.value(n))
			for i := 0; i < len(decoded); i++ {
				if c := classes[decoded[i]]; c != plain && c != backslash {
					i = l.special(n, decoded, i, c, true)
				}
			}
			return
		case 'b', 'f':
			l.once(n, inner, i-1, i+1, false, CodeControlCharacter, "the control character \\%c", inner[i])
		}
	}
}
