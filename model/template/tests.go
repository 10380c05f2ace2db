package template

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// tests are Jinja2's; the first argument is the value on the left of "is".
var tests map[string]func(r *run, args []val) (bool, error)

func init() { // in init, since select looks tests up by name
	kind := func(k value.ValueKind) func(*run, []val) (bool, error) {
		return func(_ *run, args []val) (bool, error) { return args[0].Kind() == k, nil }
	}
	is := func(f func(v val) bool) func(*run, []val) (bool, error) {
		return func(_ *run, args []val) (bool, error) { return f(args[0]), nil }
	}
	ordered := func(op string) func(*run, []val) (bool, error) {
		return func(r *run, args []val) (bool, error) {
			if len(args) != 2 {
				return false, errors.New("takes one argument")
			}
			return compareTwo(r, op, args[0], args[1])
		}
	}
	tests = map[string]func(r *run, args []val) (bool, error){
		"defined":   is(func(v val) bool { return !v.IsUndefined() }),
		"undefined": kind(value.KindUndefined), "none": kind(value.KindNone), "boolean": kind(value.KindBool),
		"string": kind(value.KindString), "number": is(isNumber),
		"true":  is(func(v val) bool { b, ok := v.AsBool(); return ok && b }),
		"false": is(func(v val) bool { b, ok := v.AsBool(); return ok && !b }),
		"float": is(func(v val) bool { _, ok := v.Raw().(float64); return ok }),
		"integer": is(func(v val) bool {
			_, ok := asBig(v)
			return ok && v.Kind() == value.KindNumber
		}),
		"mapping":  is(func(v val) bool { _, ok := asDict(v); return ok }),
		"sequence": is(isSequence), "iterable": is(isSequence),
		"callable": is(func(v val) bool { return v.IsCallable() }),
		"lower":    is(func(v val) bool { s := str(v); return s == strings.ToLower(s) && s != strings.ToUpper(s) }),
		"upper":    is(func(v val) bool { s := str(v); return s == strings.ToUpper(s) && s != strings.ToLower(s) }),
		"odd":      divisible(2, 1), "even": divisible(2, 0),
		"divisibleby": func(r *run, args []val) (bool, error) {
			if len(args) != 2 {
				return false, errors.New("takes one argument")
			}
			m, err := mod(r, args[0], args[1])
			return isZero(m), err
		},
		"sameas": func(_ *run, args []val) (bool, error) {
			return len(args) == 2 && args[0].Kind() == args[1].Kind() && equal(args[0], args[1]), nil
		},
		"filter": is(func(v val) bool { _, ok := filters[str(v)]; return ok }),
		"test":   is(func(v val) bool { _, ok := tests[str(v)]; return ok }),
		"eq":     ordered("=="), "equalto": ordered("=="), "==": ordered("=="),
		"ne": ordered("!="), "!=": ordered("!="), "in": ordered("in"),
		"lt": ordered("<"), "lessthan": ordered("<"), "<": ordered("<"), "le": ordered("<="), "<=": ordered("<="),
		"gt": ordered(">"), "greaterthan": ordered(">"), ">": ordered(">"), "ge": ordered(">="), ">=": ordered(">="),
	}
}

// isSequence holds for what has a length and elements; Jinja2's undefined has both.
func isSequence(v val) bool {
	if v.Kind() == value.KindString || v.IsUndefined() {
		return true
	}
	_, isList := asList(v)
	_, isDict := asDict(v)
	return isList || isDict
}

func divisible(by, rest int64) func(*run, []val) (bool, error) {
	return func(_ *run, args []val) (bool, error) {
		n, ok := asBig(args[0])
		if !ok {
			return false, fmt.Errorf("%s is not an integer", typeName(args[0]))
		}
		return new(big.Int).Mod(n, big.NewInt(by)).Int64() == rest, nil
	}
}

// applyTest is value is name(args).
func applyTest(r *run, args []val, _ map[string]val) (val, error) {
	name, _ := args[0].AsString()
	t, ok := tests[name]
	if !ok {
		return val{}, fmt.Errorf("no test named %q", name)
	}
	holds, err := t(r, args[1:])
	if err != nil {
		return val{}, fmt.Errorf("test %s: %w", name, err)
	}
	return value.FromBool(holds), nil
}
