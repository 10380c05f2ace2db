package template

import (
	"fmt"
	"strings"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// compare is a chain a op b op c, all of which must hold.
func compare(r *run, args []val, _ map[string]val) (val, error) {
	for i := 0; i+2 < len(args); i += 2 {
		op, _ := args[i+1].AsString()
		ok, err := compareTwo(r, op, args[i], args[i+2])
		if err != nil || !ok {
			return value.False(), err
		}
	}
	return value.True(), nil
}

func compareTwo(r *run, op string, a, b val) (bool, error) {
	switch op {
	case "==":
		return equal(a, b), nil
	case "!=":
		return !equal(a, b), nil
	case "in", "not in":
		found, err := contains(r, b, a)
		return found != (op == "not in"), err
	}
	c, err := order(a, b)
	if err != nil {
		return false, err
	}
	switch op {
	case "<":
		return c == -1, nil
	case "<=":
		return c == -1 || c == 0, nil
	case ">":
		return c == 1, nil
	}
	return c == 1 || c == 0, nil
}

// equal is Python's ==.
func equal(a, b val) bool {
	if isNumber(a) && isNumber(b) {
		c, err := order(a, b)
		return err == nil && c == 0
	}
	if x, ok := asList(a); ok {
		y, ok := asList(b)
		if !ok || x.tuple != y.tuple || len(x.items) != len(y.items) {
			return false
		}
		for i := range x.items {
			if !equal(x.items[i], y.items[i]) {
				return false
			}
		}
		return true
	}
	if x, ok := asDict(a); ok {
		y, ok := asDict(b)
		if !ok || len(x.keys) != len(y.keys) {
			return false
		}
		for _, k := range x.keys {
			u, _ := x.get(k)
			v, has := y.get(k)
			if !has || !equal(u, v) {
				return false
			}
		}
		return true
	}
	x, okX := a.AsString()
	y, okY := b.AsString()
	if okX || okY {
		return okX && okY && x == y
	}
	if o, ok := a.AsObject(); ok {
		p, ok := b.AsObject()
		return ok && o == p
	}
	return a.Kind() == b.Kind() && (a.IsNone() || a.IsUndefined())
}

// incomparable is what order gives for NaN.
const incomparable = 2

// order gives -1, 0 or 1.
func order(a, b val) (int, error) {
	if isNumber(a) && isNumber(b) {
		x, okX := asBig(a)
		y, okY := asBig(b)
		if okX && okY {
			return x.Cmp(y), nil
		}
		f, _ := asFloat(a)
		g, _ := asFloat(b)
		switch {
		case f < g:
			return -1, nil
		case f > g:
			return 1, nil
		case f == g:
			return 0, nil
		}
		return incomparable, nil
	}
	x, okX := a.AsString()
	y, okY := b.AsString()
	if okX && okY {
		return strings.Compare(x, y), nil
	}
	l, okL := asList(a)
	m, okM := asList(b)
	if okL && okM && l.tuple == m.tuple {
		for i := 0; i < len(l.items) && i < len(m.items); i++ {
			if !equal(l.items[i], m.items[i]) {
				return order(l.items[i], m.items[i])
			}
		}
		return order(value.FromInt(int64(len(l.items))), value.FromInt(int64(len(m.items))))
	}
	return 0, fmt.Errorf("%s and %s cannot be ordered", typeName(a), typeName(b))
}

// contains is Python's in.
func contains(r *run, box, v val) (bool, error) {
	if s, ok := box.AsString(); ok {
		t, ok := v.AsString()
		if !ok {
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		return strings.Contains(s, t), nil
	}
	if d, ok := asDict(box); ok {
		_, has := d.get(v)
		return has, nil
	}
	items, err := elements(box)
	if err != nil {
		return false, err
	}
	if err := r.spend(len(items)); err != nil {
		return false, err
	}
	for _, item := range items {
		if equal(item, v) {
			return true, nil
		}
	}
	return false, nil
}
