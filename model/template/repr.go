package template

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// typeName is Python's name for the type, quoted as in its messages.
func typeName(v val) string {
	if l, ok := asList(v); ok {
		if l.tuple {
			return "'tuple' object"
		}
		return "'list' object"
	}
	if _, ok := asDict(v); ok {
		return "'dict' object"
	}
	switch v.Kind() {
	case value.KindUndefined:
		return "an undefined value"
	case value.KindNone:
		return "None"
	case value.KindBool:
		return "'bool' object"
	case value.KindNumber:
		if _, ok := v.Raw().(float64); ok {
			return "'float' object"
		}
		return "'int' object"
	case value.KindString:
		return "'str' object"
	}
	return "this object"
}

// str is Python's str(): what {{ }} prints.
func str(v val) string {
	if s, ok := v.AsString(); ok {
		return s
	}
	if v.IsUndefined() {
		return ""
	}
	return repr(v)
}

// repr is Python's repr().
func repr(v val) string {
	var b strings.Builder
	writeRepr(&b, v)
	return b.String()
}

func writeRepr(b *strings.Builder, v val) {
	if l, ok := asList(v); ok {
		open, end := "[", "]"
		if l.tuple {
			open, end = "(", ")"
			if len(l.items) == 1 {
				end = ",)"
			}
		}
		b.WriteString(open)
		for i, item := range l.items {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, item)
		}
		b.WriteString(end)
		return
	}
	if d, ok := asDict(v); ok {
		b.WriteByte('{')
		for i, k := range d.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, k)
			b.WriteString(": ")
			writeRepr(b, d.items[hashKey(k)])
		}
		b.WriteByte('}')
		return
	}
	switch x := v.Raw().(type) {
	case bool:
		if x {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
		return
	case float64:
		b.WriteString(floatRepr(x))
		return
	}
	switch v.Kind() {
	case value.KindUndefined:
		b.WriteString("Undefined")
	case value.KindNone:
		b.WriteString("None")
	case value.KindString:
		s, _ := v.AsString()
		writeQuoted(b, s)
	case value.KindNumber:
		b.WriteString(v.String())
	case value.KindCallable:
		b.WriteString("<function>")
	default:
		if _, ok := v.Raw().(*namespace); ok {
			b.WriteString("<Namespace>")
			return
		}
		b.WriteString("<object>")
	}
}

// floatRepr is the shortest spelling that reads back, with an exponent below 1e-4 and from 1e16 on.
func floatRepr(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	case f == 0 || math.Abs(f) >= 1e-4 && math.Abs(f) < 1e16:
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	return strconv.FormatFloat(f, 'e', -1, 64)
}

// writeQuoted writes a string as Python's repr does: in single quotes unless it has those and no double ones.
func writeQuoted(b *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(quote)
}
