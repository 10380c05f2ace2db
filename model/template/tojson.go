package template

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// jsonWriter writes values as Python's json.dumps does.
type jsonWriter struct {
	r        *run
	b        strings.Builder
	ascii    bool
	sortKeys bool
	pretty   bool
	indent   string
	comma    string
	colon    string
}

// toJSON is transformers' tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False).
func toJSON(r *run, args []val, kw map[string]val) (val, error) {
	w := &jsonWriter{r: r, comma: ", ", colon: ": "}
	ascii, _ := arg(args, kw, 1, "ensure_ascii")
	w.ascii = ascii.IsTrue()
	if pad, ok := arg(args, kw, 2, "indent"); ok && !pad.IsNone() {
		w.pretty, w.comma = true, ","
		if n, isInt := asInt(pad); isInt {
			if err := r.repeat(1, n); err != nil {
				return val{}, err
			}
			w.indent = strings.Repeat(" ", int(max(n, 0)))
		} else {
			w.indent = str(pad)
		}
	}
	if seps, ok := arg(args, kw, 3, "separators"); ok && !seps.IsNone() {
		l, isList := asList(seps)
		if !isList || len(l.items) != 2 {
			return val{}, fmt.Errorf("separators must be a pair")
		}
		w.comma, w.colon = str(l.items[0]), str(l.items[1])
	}
	sorted, _ := arg(args, kw, 4, "sort_keys")
	w.sortKeys = sorted.IsTrue()
	if err := w.write(args[0], 0); err != nil {
		return val{}, err
	}
	return value.FromString(w.b.String()), nil
}

func (w *jsonWriter) newline(depth int) {
	if w.pretty {
		w.b.WriteByte('\n')
		for range depth {
			w.b.WriteString(w.indent)
		}
	}
}

func (w *jsonWriter) write(v val, depth int) error {
	if err := w.r.spend(8 + depth*len(w.indent)); err != nil {
		return err
	}
	if l, ok := asList(v); ok {
		return w.sequence('[', ']', len(l.items), depth, func(i int) error { return w.write(l.items[i], depth+1) })
	}
	if d, ok := asDict(v); ok {
		return w.object(d, depth)
	}
	switch x := v.Raw().(type) {
	case bool:
		fmt.Fprintf(&w.b, "%t", x)
		return nil
	case float64:
		w.b.WriteString(jsonFloat(x))
		return nil
	}
	switch v.Kind() {
	case value.KindNone:
		w.b.WriteString("null")
	case value.KindNumber:
		w.b.WriteString(v.String())
	case value.KindString:
		s, _ := v.AsString()
		w.quote(s)
		return w.r.spend(len(s))
	default:
		return fmt.Errorf("%s is not JSON serializable", typeName(v))
	}
	return nil
}

func (w *jsonWriter) sequence(open, end byte, n, depth int, element func(i int) error) error {
	w.b.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.comma)
		}
		w.newline(depth + 1)
		if err := element(i); err != nil {
			return err
		}
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.WriteByte(end)
	return nil
}

func (w *jsonWriter) object(d *dict, depth int) error {
	keys := d.keys
	if w.sortKeys {
		var err error
		if keys, err = sortBy(w.r, keys, func(v val) (val, error) { return v, nil }, false); err != nil {
			return err
		}
	}
	return w.sequence('{', '}', len(keys), depth, func(i int) error {
		name, err := jsonKey(keys[i])
		if err != nil {
			return err
		}
		w.quote(name)
		w.b.WriteString(w.colon)
		v, _ := d.get(keys[i])
		return w.write(v, depth+1)
	})
}

// jsonKey spells a key; those that are no text become text, as in Python.
func jsonKey(k val) (string, error) {
	switch x := k.Raw().(type) {
	case bool:
		return fmt.Sprintf("%t", x), nil
	case float64:
		return jsonFloat(x), nil
	}
	switch k.Kind() {
	case value.KindNone:
		return "null", nil
	case value.KindString, value.KindNumber:
		return str(k), nil
	}
	return "", fmt.Errorf("keys must be str, int, float, bool or None, not %s", typeName(k))
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

func (w *jsonWriter) quote(s string) {
	b := &w.b
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		default:
			switch {
			case r < ' ' || w.ascii && r >= utf8.RuneSelf && r < 0x10000:
				fmt.Fprintf(b, `\u%04x`, r)
			case w.ascii && r >= utf8.RuneSelf:
				hi, lo := utf16.EncodeRune(r)
				fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
			default:
				b.WriteRune(r)
			}
		}
	}
	b.WriteByte('"')
}
