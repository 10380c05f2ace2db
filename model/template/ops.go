package template

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"

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
