package template

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// intFilter and floatFilter give the default where the value is no number.
func intFilter(_ *run, args []val, kw map[string]val) (val, error) {
	other, ok := arg(args, kw, 1, "default")
	if !ok {
		other = value.FromInt(0)
	}
	base, err := intArg(args, kw, 2, "base", 10)
	if err != nil {
		return val{}, err
	}
	if s, ok := args[0].AsString(); ok {
		s = strings.ReplaceAll(strings.TrimFunc(s, isPySpace), "_", "")
		if len(s) > 1000 || base < 2 || base > 36 {
			return other, nil
		}
		if n, ok := new(big.Int).SetString(s, int(base)); ok {
			return fromBig(n), nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return other, nil //nolint:nilerr // what is no number is the default, as int() of Jinja2
		}
		return truncated(f, other), nil
	}
	if n, ok := asBig(args[0]); ok {
		return fromBig(n), nil
	}
	if f, ok := asFloat(args[0]); ok {
		return truncated(f, other), nil
	}
	return other, nil
}

func truncated(f float64, other val) val {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return other
	}
	n, _ := big.NewFloat(f).Int(nil)
	return fromBig(n)
}

func floatFilter(_ *run, args []val, kw map[string]val) (val, error) {
	other, ok := arg(args, kw, 1, "default")
	if !ok {
		other = value.FromFloat(0)
	}
	if s, ok := args[0].AsString(); ok {
		f, err := strconv.ParseFloat(strings.TrimFunc(s, isPySpace), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return other, nil
		}
		return value.FromFloat(f), nil
	}
	if f, ok := asFloat(args[0]); ok {
		return value.FromFloat(f), nil
	}
	return other, nil
}

// round rounds half to even, as Python does; method ceil and floor are Jinja2's.
func round(_ *run, args []val, kw map[string]val) (val, error) {
	f, ok := asFloat(args[0])
	if !ok {
		return val{}, fmt.Errorf("%s cannot be rounded", typeName(args[0]))
	}
	places, err := intArg(args, kw, 1, "precision", 0)
	if err != nil {
		return val{}, err
	}
	places = max(min(places, 300), -300)
	how, given, err := textArg(args, kw, 2, "method")
	if err != nil {
		return val{}, err
	}
	if n, isInt := asBig(args[0]); isInt && (!given || how == "common") {
		return fromBig(roundInt(n, -places)), nil
	}
	scale := math.Pow(10, float64(places))
	switch {
	case given && how == "ceil":
		return value.FromFloat(math.Ceil(f*scale) / scale), nil
	case given && how == "floor":
		return value.FromFloat(math.Floor(f*scale) / scale), nil
	case given && how != "common":
		return val{}, errors.New("method must be common, ceil or floor")
	case places < 0:
		return value.FromFloat(math.RoundToEven(f*scale) / scale), nil
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(places), 64), 64) // decimal, exact halves to even
	return value.FromFloat(rounded), nil
}

// roundInt rounds to a multiple of 10^zeros, half to even.
func roundInt(n *big.Int, zeros int64) *big.Int {
	if zeros <= 0 {
		return n
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(zeros), nil)
	q, rest := new(big.Int).DivMod(n, unit, new(big.Int))
	if c := rest.Lsh(rest, 1).Cmp(unit); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return q.Mul(q, unit)
}

func sum(r *run, args []val, kw map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	get, err := attributeGetter(args, kw, 1)
	if err != nil {
		return val{}, err
	}
	total, ok := arg(args, kw, 2, "start")
	if !ok {
		total = value.FromInt(0)
	}
	for _, x := range items {
		if x, err = get(x); err != nil {
			return val{}, err
		}
		if total, err = add(r, total, x); err != nil {
			return val{}, err
		}
	}
	return total, nil
}

// sortKey orders text without regard to case unless asked to.
func sortKey(v val, caseSensitive bool) val {
	if s, ok := v.AsString(); ok && !caseSensitive {
		return value.FromString(strings.ToLower(s))
	}
	return v
}

// sortBy sorts a copy of items by their keys.
func sortBy(r *run, items []val, key func(val) (val, error), backwards bool) ([]val, error) {
	if err := r.spend(64 * len(items)); err != nil {
		return nil, err
	}
	type keyed struct{ key, item val }
	all := make([]keyed, len(items))
	for i, x := range items {
		k, err := key(x)
		if err != nil {
			return nil, err
		}
		all[i] = keyed{k, x}
	}
	var failed error
	slices.SortStableFunc(all, func(a, b keyed) int {
		c, err := order(a.key, b.key)
		if err != nil {
			failed = err
		}
		if c == incomparable {
			c = 0
		}
		if backwards {
			return -c
		}
		return c
	})
	out := make([]val, len(all))
	for i := range all {
		out[i] = all[i].item
	}
	return out, failed
}

func sortFilter(r *run, args []val, kw map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	backwards, _ := arg(args, kw, 1, "reverse")
	sensitive, _ := arg(args, kw, 2, "case_sensitive")
	get, err := attributeGetter(args, kw, 3)
	if err != nil {
		return val{}, err
	}
	out, err := sortBy(r, items, func(v val) (val, error) {
		v, err := get(v)
		return sortKey(v, sensitive.IsTrue()), err
	}, backwards.IsTrue())
	return newList(out...), err
}

func dictSort(r *run, args []val, kw map[string]val) (val, error) {
	all, err := pairs(r, args[0])
	if err != nil {
		return val{}, err
	}
	sensitive, _ := arg(args, kw, 1, "case_sensitive")
	by, _, err := textArg(args, kw, 2, "by")
	if err != nil {
		return val{}, err
	}
	backwards, _ := arg(args, kw, 3, "reverse")
	at := 0
	if by == "value" {
		at = 1
	}
	l, _ := asList(all)
	out, err := sortBy(r, l.items, func(v val) (val, error) {
		p, _ := asList(v)
		return sortKey(p.items[at], sensitive.IsTrue()), nil
	}, backwards.IsTrue())
	return newList(out...), err
}

// extreme is min (-1) or max (1).
func extreme(sign int) function {
	return func(r *run, args []val, kw map[string]val) (val, error) {
		items, err := elements(args[0])
		if err != nil || len(items) == 0 {
			return value.Undefined(), err
		}
		sensitive, _ := arg(args, kw, 1, "case_sensitive")
		get, err := attributeGetter(args, kw, 2)
		if err != nil {
			return val{}, err
		}
		var best, bestKey val
		for i, x := range items {
			k, err := get(x)
			if err != nil {
				return val{}, err
			}
			k = sortKey(k, sensitive.IsTrue())
			if i > 0 {
				c, err := order(k, bestKey)
				if err != nil {
					return val{}, err
				}
				if c != sign {
					continue
				}
			}
			best, bestKey = x, k
		}
		return best, r.spend(len(items))
	}
}

func unique(r *run, args []val, kw map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	sensitive, _ := arg(args, kw, 1, "case_sensitive")
	get, err := attributeGetter(args, kw, 2)
	if err != nil {
		return val{}, err
	}
	seen := map[string]bool{}
	var out []val
	for _, x := range items {
		k, err := get(x)
		if err != nil {
			return val{}, err
		}
		h := hashKey(sortKey(k, sensitive.IsTrue()))
		if err := r.spend(32 + len(h)); err != nil {
			return val{}, err
		}
		if !seen[h] {
			seen[h] = true
			out = append(out, x)
		}
	}
	return newList(out...), nil
}

// groupBy gives (key, elements) in the order of the keys.
func groupBy(r *run, args []val, kw map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	a, ok := arg(args, kw, 1, "attribute")
	if !ok {
		return val{}, errors.New("needs an attribute")
	}
	get := pathGetter(a)
	key := func(v val) (val, error) {
		v, err := get(v)
		return sortKey(v, false), err
	}
	sorted, err := sortBy(r, items, key, false)
	if err != nil {
		return val{}, err
	}
	var groups []val
	for i := 0; i < len(sorted); {
		k, _ := key(sorted[i]) // did not fail while sorting
		j := i + 1
		for ; j < len(sorted); j++ {
			if next, _ := key(sorted[j]); !equal(k, next) {
				break
			}
		}
		shown, _ := get(sorted[i])
		groups = append(groups, newTuple(shown, newList(sorted[i:j]...)))
		i = j
	}
	return newList(groups...), nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}
