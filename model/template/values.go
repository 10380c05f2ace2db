package template

import (
	"fmt"
	"iter"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// val is a value of a running template: minijinja's undefined, none, bool, int64, big integer, float64 and string,
// or one of the objects below.
type val = value.Value

// list is Python's list, or tuple. Templates cannot change it.
type list struct {
	items []val
	tuple bool
}

func newList(items ...val) val  { return value.FromObject(&list{items: items}) }
func newTuple(items ...val) val { return value.FromObject(&list{items: items, tuple: true}) }

// GetAttr, ObjectRepr, SeqLen and SeqItem let minijinja walk the list.
func (*list) GetAttr(string) val           { return value.Undefined() }
func (*list) ObjectRepr() value.ObjectRepr { return value.ObjectReprSeq }
func (l *list) SeqLen() int                { return len(l.items) }
func (l *list) SeqItem(i int) val          { return l.items[i] }

// dict is Python's dict: it keeps the order in which keys came.
type dict struct {
	keys  []val
	items map[string]val // by hashKey
}

func newDict() *dict { return &dict{items: map[string]val{}} }

func (d *dict) value() val { return value.FromObject(d) }

func (d *dict) set(k, v val) {
	h := hashKey(k)
	if _, ok := d.items[h]; !ok {
		d.keys = append(d.keys, k)
	}
	d.items[h] = v
}

func (d *dict) get(k val) (val, bool) {
	v, ok := d.items[hashKey(k)]
	return v, ok
}

func (d *dict) getText(k string) (val, bool) {
	v, ok := d.items["s"+k]
	return v, ok
}

func (d *dict) clone() *dict {
	c := newDict()
	for _, k := range d.keys {
		c.set(k, d.items[hashKey(k)])
	}
	return c
}

// hashKey makes equal those keys that Python finds equal: 1, 1.0 and True are one key.
func hashKey(k val) string {
	switch x := k.Raw().(type) {
	case bool:
		if x {
			return "n1"
		}
		return "n0"
	case int64:
		return "n" + strconv.FormatInt(x, 10)
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<62 {
			return "n" + strconv.FormatInt(int64(x), 10)
		}
		return "f" + strconv.FormatFloat(x, 'g', -1, 64)
	}
	if s, ok := k.AsString(); ok {
		return "s" + s
	}
	return "o" + repr(k)
}

// GetAttr, ObjectRepr, Keys, Iterate, ObjectLen and Map let minijinja see the dict.
func (d *dict) GetAttr(name string) val {
	v, ok := d.getText(name)
	if !ok {
		return value.Undefined()
	}
	return v
}
func (*dict) ObjectRepr() value.ObjectRepr { return value.ObjectReprMap }
func (d *dict) ObjectLen() int             { return len(d.keys) }

// Iterate yields the keys.
func (d *dict) Iterate() iter.Seq[val] {
	return func(yield func(val) bool) {
		for _, k := range d.keys {
			if !yield(k) {
				return
			}
		}
	}
}

// Map is for **arguments; only text keys can be names.
func (d *dict) Map() map[string]val {
	m := make(map[string]val, len(d.keys))
	for _, k := range d.keys {
		if s, ok := k.AsString(); ok {
			m[s] = d.items["s"+s]
		}
	}
	return m
}

// namespace is Jinja2's namespace(): the one thing that a template can change.
type namespace struct{ attrs map[string]val }

// GetAttr and SetAttr make it minijinja's mutable object.
func (n *namespace) GetAttr(name string) val {
	if v, ok := n.attrs[name]; ok {
		return v
	}
	return value.Undefined()
}

// SetAttr is {% set ns.name = v %}.
func (n *namespace) SetAttr(name string, v val) { n.attrs[name] = v }

// ObjectIsTrue: a namespace is true even when empty.
func (n *namespace) ObjectIsTrue() bool { return true }

func asList(v val) (*list, bool) {
	o, _ := v.AsObject()
	l, ok := o.(*list)
	return l, ok
}

func asDict(v val) (*dict, bool) {
	o, _ := v.AsObject()
	d, ok := o.(*dict)
	return d, ok
}

// fromBig is an int64 where it fits.
func fromBig(n *big.Int) val {
	if n.IsInt64() {
		return value.FromInt(n.Int64())
	}
	return value.FromBigInt(n)
}

// asBig reads an integer, a bool being 0 or 1.
func asBig(v val) (*big.Int, bool) {
	switch x := v.Raw().(type) {
	case bool:
		if x {
			return big.NewInt(1), true
		}
		return new(big.Int), true
	case int64:
		return big.NewInt(x), true
	case float64, string:
		return nil, false
	}
	if v.Kind() == value.KindNumber { // minijinja keeps its big integers to itself, but spells them out
		return new(big.Int).SetString(v.String(), 10)
	}
	return nil, false
}

// asInt reads an integer that fits.
func asInt(v val) (int64, bool) {
	n, ok := asBig(v)
	if !ok || !n.IsInt64() {
		return 0, false
	}
	return n.Int64(), true
}

func asFloat(v val) (float64, bool) {
	if f, ok := v.Raw().(float64); ok {
		return f, true
	}
	n, ok := asBig(v)
	if !ok {
		return 0, false
	}
	f, _ := new(big.Float).SetInt(n).Float64()
	return f, true
}

// elements lists what a for loop over v sees.
func elements(v val) ([]val, error) {
	if l, ok := asList(v); ok {
		return l.items, nil
	}
	if d, ok := asDict(v); ok {
		return d.keys, nil
	}
	switch v.Kind() {
	case value.KindUndefined:
		return nil, nil
	case value.KindString:
		s, _ := v.AsString()
		items := make([]val, 0, len(s))
		for _, r := range s {
			items = append(items, value.FromString(string(r)))
		}
		return items, nil
	case value.KindSeq, value.KindIterable:
		return v.Iter(), nil
	}
	return nil, fmt.Errorf("%s is not iterable", typeName(v))
}

// decodeJSON reads a value as Python's json does: the order of keys, whole big integers, floats as floats.
func decodeJSON(dec *jsontext.Decoder) (val, error) {
	tok, err := dec.ReadToken()
	if err != nil {
		return val{}, err
	}
	switch tok.Kind() {
	case 'n':
		return value.None(), nil
	case 't', 'f':
		return value.FromBool(tok.Bool()), nil
	case '"':
		return value.FromString(tok.String()), nil
	case '0':
		return number(tok.String()), nil
	case '[':
		items := []val{}
		for dec.PeekKind() != ']' {
			v, err := decodeJSON(dec)
			if err != nil {
				return val{}, err
			}
			items = append(items, v)
		}
		_, err := dec.ReadToken()
		return newList(items...), err
	}
	d := newDict()
	for dec.PeekKind() != '}' {
		k, err := dec.ReadToken()
		if err != nil {
			return val{}, err
		}
		name := value.FromString(k.String())
		v, err := decodeJSON(dec)
		if err != nil {
			return val{}, err
		}
		d.set(name, v)
	}
	_, err = dec.ReadToken()
	return d.value(), err
}

func number(s string) val {
	if !strings.ContainsAny(s, ".eE") {
		if n, ok := new(big.Int).SetString(s, 10); ok {
			return fromBig(n)
		}
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range gives ±Inf, as in Python
	return value.FromFloat(f)
}

// fromGo turns a variable given to Parse into a value.
func fromGo(v any) val {
	switch x := v.(type) {
	case nil:
		return value.None()
	case []any:
		items := make([]val, len(x))
		for i := range x {
			items[i] = fromGo(x[i])
		}
		return newList(items...)
	case []string:
		items := make([]val, len(x))
		for i := range x {
			items[i] = value.FromString(x[i])
		}
		return newList(items...)
	case map[string]any:
		d := newDict()
		for _, k := range sortedKeys(x) {
			d.set(value.FromString(k), fromGo(x[k]))
		}
		return d.value()
	case float64:
		return value.FromFloat(x)
	}
	return value.FromAny(v)
}
