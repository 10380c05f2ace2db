package template

import (
	"errors"
	"fmt"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

var dictMethods = map[string]method{
	"keys": func(_ *run, self val, _ []val, _ map[string]val) (val, error) {
		d, _ := asDict(self)
		return newList(d.keys...), nil
	},
	"values": func(r *run, self val, _ []val, _ map[string]val) (val, error) {
		d, _ := asDict(self)
		items := make([]val, len(d.keys))
		for i, k := range d.keys {
			items[i], _ = d.get(k)
		}
		return newList(items...), r.spend(16 * len(items))
	},
	"items": func(r *run, self val, _ []val, _ map[string]val) (val, error) {
		return pairs(r, self)
	},
	"get": func(_ *run, self val, args []val, kw map[string]val) (val, error) {
		d, _ := asDict(self)
		k, ok := arg(args, kw, 0, "key")
		if !ok {
			return val{}, errors.New("needs a key")
		}
		if v, ok := d.get(k); ok {
			return v, nil
		}
		if v, ok := arg(args, kw, 1, "default"); ok {
			return v, nil
		}
		return value.None(), nil
	},
	"copy": func(r *run, self val, _ []val, _ map[string]val) (val, error) {
		d, _ := asDict(self)
		return d.clone().value(), r.spend(32 * len(d.keys))
	},
	"pop": immutable, "update": immutable, "setdefault": immutable, "clear": immutable, "popitem": immutable,
}

// pairs is dict.items().
func pairs(r *run, v val) (val, error) {
	d, ok := asDict(v)
	if !ok {
		return val{}, fmt.Errorf("%s has no items: it is not a dict", typeName(v))
	}
	items := make([]val, len(d.keys))
	for i, k := range d.keys {
		x, _ := d.get(k)
		items[i] = newTuple(k, x)
	}
	return newList(items...), r.spend(48 * len(items))
}

// immutable is transformers' sandbox.
func immutable(*run, val, []val, map[string]val) (val, error) {
	return val{}, errors.New("a chat template may not change its data")
}

var listMethods = map[string]method{
	"index": func(_ *run, self val, args []val, _ map[string]val) (val, error) {
		l, _ := asList(self)
		for i, item := range l.items {
			if len(args) == 1 && equal(item, args[0]) {
				return value.FromInt(int64(i)), nil
			}
		}
		return val{}, errors.New("value is not in list")
	},
	"count": func(_ *run, self val, args []val, _ map[string]val) (val, error) {
		l, _ := asList(self)
		n := int64(0)
		for _, item := range l.items {
			if len(args) == 1 && equal(item, args[0]) {
				n++
			}
		}
		return value.FromInt(n), nil
	},
	"copy":   func(_ *run, self val, _ []val, _ map[string]val) (val, error) { return self, nil },
	"append": immutable, "extend": immutable, "insert": immutable, "remove": immutable, "pop": immutable,
	"clear": immutable, "sort": immutable, "reverse": immutable,
}
