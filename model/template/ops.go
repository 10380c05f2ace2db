package template

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// function is what a rewritten template calls. kw holds arguments by name.
type function func(r *run, args []val, kw map[string]val) (val, error)

// maxBits bounds integers: a template has no use for larger ones, and powers grow fast.
const maxBits = 1 << 16

func undefinedError(what string) error { return fmt.Errorf("%s is undefined", what) }

// fold applies a binary operator from the left.
func fold(op func(r *run, a, b val) (val, error)) function {
	return func(r *run, args []val, _ map[string]val) (val, error) {
		acc := args[0]
		var err error
		for _, b := range args[1:] {
			if acc.IsUndefined() || b.IsUndefined() {
				return val{}, undefinedError("an operand")
			}
			if acc, err = op(r, acc, b); err != nil {
				return val{}, err
			}
		}
		return acc, nil
	}
}

func badOperands(op string, a, b val) error {
	return fmt.Errorf("unsupported operand types for %s: %s and %s", op, typeName(a), typeName(b))
}

func add(r *run, a, b val) (val, error) {
	if x, ok := a.AsString(); ok {
		y, ok := b.AsString()
		if !ok {
			return val{}, fmt.Errorf("can only concatenate str (not %s) to str", typeName(b))
		}
		if err := r.spend(len(x) + len(y)); err != nil {
			return val{}, err
		}
		return value.FromString(x + y), nil
	}
	if x, ok := asList(a); ok {
		if y, ok := asList(b); ok && x.tuple == y.tuple {
			if err := r.spend(16 * (len(x.items) + len(y.items))); err != nil {
				return val{}, err
			}
			items := append(append(make([]val, 0, len(x.items)+len(y.items)), x.items...), y.items...)
			return value.FromObject(&list{items, x.tuple}), nil
		}
	}
	return arithmetic("+", a, b, (*big.Int).Add, func(x, y float64) float64 { return x + y })
}

// arithmetic works on whole integers of any size, or on floats as soon as one operand is one.
func arithmetic(op string, a, b val, ints func(z, x, y *big.Int) *big.Int, floats func(x, y float64) float64) (val, error) {
	if x, ok := asBig(a); ok {
		if y, ok := asBig(b); ok {
			if x.BitLen()+y.BitLen() > maxBits {
				return val{}, errors.New("integer too large")
			}
			return fromBig(ints(new(big.Int), x, y)), nil
		}
	}
	x, okX := asFloat(a)
	y, okY := asFloat(b)
	if !okX || !okY {
		return val{}, badOperands(op, a, b)
	}
	return value.FromFloat(floats(x, y)), nil
}

func sub(_ *run, a, b val) (val, error) {
	return arithmetic("-", a, b, (*big.Int).Sub, func(x, y float64) float64 { return x - y })
}

func mul(r *run, a, b val) (val, error) {
	if n, ok := asInt(a); ok && !isNumber(b) {
		a, b = b, value.FromInt(n)
	}
	n, isInt := asInt(b)
	n = max(n, 0)
	if s, ok := a.AsString(); ok && isInt {
		if err := r.repeat(len(s), n); err != nil {
			return val{}, err
		}
		return value.FromString(strings.Repeat(s, int(n))), nil
	}
	if l, ok := asList(a); ok && isInt {
		if err := r.repeat(16*len(l.items), n); err != nil {
			return val{}, err
		}
		var items []val
		for range n {
			items = append(items, l.items...)
		}
		return value.FromObject(&list{items, l.tuple}), nil
	}
	return arithmetic("*", a, b, (*big.Int).Mul, func(x, y float64) float64 { return x * y })
}

func isNumber(v val) bool { return v.Kind() == value.KindNumber || v.Kind() == value.KindBool }

func div(_ *run, a, b val) (val, error) {
	x, okX := asFloat(a)
	y, okY := asFloat(b)
	switch {
	case !okX || !okY:
		return val{}, badOperands("/", a, b)
	case y == 0:
		return val{}, errors.New("division by zero")
	}
	return value.FromFloat(x / y), nil
}

// floorDiv and mod round towards minus infinity, as Python does.
func floorDiv(_ *run, a, b val) (val, error) {
	if isZero(b) {
		return val{}, errors.New("integer division or modulo by zero")
	}
	floor := func(z, x, y *big.Int) *big.Int {
		m := new(big.Int)
		z.QuoRem(x, y, m)
		if m.Sign() != 0 && m.Sign() != y.Sign() {
			z.Sub(z, big.NewInt(1))
		}
		return z
	}
	return arithmetic("//", a, b, floor, func(x, y float64) float64 { return math.Floor(x / y) })
}

func isZero(v val) bool { f, ok := asFloat(v); return ok && f == 0 }

func mod(r *run, a, b val) (val, error) {
	if s, ok := a.AsString(); ok {
		return percentFormat(r, s, b)
	}
	if isZero(b) {
		return val{}, errors.New("integer division or modulo by zero")
	}
	ints := func(z, x, y *big.Int) *big.Int {
		z.Rem(x, y)
		if z.Sign() != 0 && z.Sign() != y.Sign() {
			z.Add(z, y)
		}
		return z
	}
	return arithmetic("%", a, b, ints, func(x, y float64) float64 {
		m := math.Mod(x, y)
		if m != 0 && (m < 0) != (y < 0) {
			m += y
		}
		return m
	})
}

func pow(_ *run, a, b val) (val, error) {
	x, okX := asBig(a)
	y, okY := asBig(b)
	if okX && okY && y.Sign() >= 0 {
		if !y.IsInt64() || int64(x.BitLen())*min(y.Int64(), maxBits) > maxBits {
			return val{}, errors.New("integer too large")
		}
		return fromBig(new(big.Int).Exp(x, y, nil)), nil
	}
	return arithmetic("**", a, b, func(z, _, _ *big.Int) *big.Int { return z }, math.Pow)
}

// powFloat takes over where the exponent is negative.
func powAny(r *run, a, b val) (val, error) {
	if y, ok := asBig(b); ok && y.Sign() < 0 {
		f, _ := asFloat(b)
		b = value.FromFloat(f)
	}
	return pow(r, a, b)
}

func neg(_ *run, args []val, _ map[string]val) (val, error) {
	if n, ok := asBig(args[0]); ok {
		return fromBig(new(big.Int).Neg(n)), nil
	}
	if f, ok := args[0].Raw().(float64); ok {
		return value.FromFloat(-f), nil
	}
	return val{}, fmt.Errorf("bad operand type for unary -: %s", typeName(args[0]))
}

func pos(_ *run, args []val, _ map[string]val) (val, error) {
	if isNumber(args[0]) {
		return args[0], nil
	}
	return val{}, fmt.Errorf("bad operand type for unary +: %s", typeName(args[0]))
}

func concat(r *run, args []val, _ map[string]val) (val, error) {
	var b strings.Builder
	for _, a := range args {
		s := str(a)
		if err := r.spend(len(s)); err != nil {
			return val{}, err
		}
		b.WriteString(s)
	}
	return value.FromString(b.String()), nil
}

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
