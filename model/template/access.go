package template

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// attr is x.name; base is how the template spells x.
func attr(_ *run, args []val, _ map[string]val) (val, error) {
	x := args[0]
	name, _ := args[1].AsString()
	if x.IsUndefined() {
		return val{}, undefinedError(str(args[2]))
	}
	if m, ok := methodsOf(x)[name]; ok { // Jinja2 looks for attributes before keys: x.items is the method
		return value.FromCallable(bound{x, m}), nil
	}
	if strings.HasPrefix(name, "__") {
		return val{}, fmt.Errorf("access to attribute %q is unsafe", name)
	}
	return x.GetAttr(name), nil
}

// item is x[k].
func item(_ *run, args []val, _ map[string]val) (val, error) {
	x, k := args[0], args[1]
	if x.IsUndefined() {
		return val{}, undefinedError(str(args[2]))
	}
	if d, ok := asDict(x); ok {
		if v, ok := d.get(k); ok {
			return v, nil
		}
		return boundMethod(x, k), nil
	}
	i, isInt := asInt(k)
	if l, ok := asList(x); ok && isInt {
		if i < 0 {
			i += int64(len(l.items))
		}
		if i >= 0 && i < int64(len(l.items)) {
			return l.items[i], nil
		}
		return value.Undefined(), nil
	}
	if s, ok := x.AsString(); ok && isInt {
		return charAt(s, i), nil
	}
	if s, ok := k.AsString(); ok {
		if m := boundMethod(x, k); !m.IsUndefined() {
			return m, nil
		}
		return x.GetAttr(s), nil
	}
	return value.Undefined(), nil
}

// boundMethod is what x['name'] finds where there is no such key: Jinja2 then looks for an attribute.
func boundMethod(x, k val) val {
	s, ok := k.AsString()
	if !ok {
		return value.Undefined()
	}
	if m, ok := methodsOf(x)[s]; ok {
		return value.FromCallable(bound{x, m})
	}
	return value.Undefined()
}

func charAt(s string, i int64) val {
	if i < 0 {
		i += int64(utf8.RuneCountInString(s))
	}
	for _, r := range s {
		if i == 0 {
			return value.FromString(string(r))
		}
		i--
	}
	return value.Undefined()
}

// slice is x[a:b:c].
func slice(r *run, args []val, _ map[string]val) (val, error) {
	x := args[0]
	items, err := elements(x)
	l, isList := asList(x)
	_, isText := x.AsString()
	if err != nil || !isList && !isText {
		return val{}, fmt.Errorf("%s cannot be sliced", typeName(x))
	}
	var at [3]*int64
	for i := range at {
		if args[i+1].IsNone() {
			continue
		}
		n, ok := asInt(args[i+1])
		if !ok {
			return val{}, errors.New("slice indices must be integers or None")
		}
		at[i] = &n
	}
	picked, err := pick(items, at)
	if err != nil {
		return val{}, err
	}
	if err := r.spend(16 * len(picked)); err != nil {
		return val{}, err
	}
	if isList {
		return value.FromObject(&list{picked, l.tuple}), nil
	}
	var b strings.Builder
	for _, c := range picked {
		b.WriteString(str(c))
	}
	return value.FromString(b.String()), nil
}

func pick(items []val, at [3]*int64) ([]val, error) {
	n, step := int64(len(items)), int64(1)
	if at[2] != nil {
		step = *at[2]
	}
	if step == 0 {
		return nil, errors.New("slice step cannot be zero")
	}
	low, high := int64(0), n
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(p *int64, otherwise int64) int64 {
		if p == nil {
			return otherwise
		}
		i := *p
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	var picked []val
	if step > 0 {
		a, b := bound(at[0], low), bound(at[1], high)
		for i := a; i < b; i += min(step, n) {
			picked = append(picked, items[i])
		}
		return picked, nil
	}
	a, b := bound(at[0], high), bound(at[1], low)
	for i := a; i > b; i += max(step, -n-1) {
		picked = append(picked, items[i])
	}
	return picked, nil
}
