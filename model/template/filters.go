package template

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// filters are Jinja2's; the first argument is the value on the left of the bar.
var filters map[string]function

func init() { // in init, since map and select look filters and tests up by name
	filters = map[string]function{
		"abs": absFilter, "attr": attrFilter, "batch": batch, "capitalize": textFilter(capitalize), "center": viaMethod("center"),
		"count": length, "d": defaultFilter, "default": defaultFilter, "dictsort": dictSort, "e": textFilter(escapeHTML),
		"escape": textFilter(escapeHTML), "first": first, "float": floatFilter, "forceescape": textFilter(escapeHTML),
		"format": formatFilter, "groupby": groupBy, "indent": indent, "int": intFilter, "items": items, "join": join,
		"last": last, "length": length, "list": listFilter, "lower": textFilter(strings.ToLower), "map": mapFilter,
		"max": extreme(1), "min": extreme(-1), "reject": selectFilter(false, false), "rejectattr": selectFilter(true, false),
		"replace": viaMethod("replace"), "reverse": reverse, "round": round, "safe": textFilter(same),
		"select": selectFilter(false, true), "selectattr": selectFilter(true, true), "sort": sortFilter,
		"string": textFilter(same), "sum": sum, "title": textFilter(title), "tojson": toJSON, "trim": viaMethod("strip"),
		"truncate": truncate, "unique": unique, "upper": textFilter(upper), "urlencode": textFilter(urlEncode),
		"wordcount": wordCount,
	}
}

// applyFilter is value|name(args).
func applyFilter(r *run, args []val, kw map[string]val) (val, error) {
	name, _ := args[0].AsString()
	f, ok := filters[name]
	if !ok {
		return val{}, fmt.Errorf("no filter named %q", name)
	}
	v, err := f(r, args[1:], kw)
	if err != nil {
		return v, fmt.Errorf("filter %s: %w", name, err)
	}
	return v, nil
}

func same(s string) string { return s }

func escapeHTML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s)
}

func urlEncode(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/")
}

// textFilter works on the value as text.
func textFilter(f func(s string) string) function {
	return func(r *run, args []val, _ map[string]val) (val, error) {
		s := str(args[0])
		if err := r.spend(2 * len(s)); err != nil {
			return val{}, err
		}
		return value.FromString(f(s)), nil
	}
}

// viaMethod is the method of str of that name.
func viaMethod(name string) function {
	return func(r *run, args []val, kw map[string]val) (val, error) {
		return textMethods[name](r, value.FromString(str(args[0])), args[1:], kw)
	}
}

func absFilter(r *run, args []val, _ map[string]val) (val, error) {
	if n, ok := asBig(args[0]); ok {
		return fromBig(new(big.Int).Abs(n)), nil
	}
	if f, ok := asFloat(args[0]); ok {
		return value.FromFloat(math.Abs(f)), nil
	}
	return val{}, fmt.Errorf("bad operand type for abs(): %s", typeName(args[0]))
}

func attrFilter(_ *run, args []val, _ map[string]val) (val, error) {
	if len(args) < 2 || args[0].IsUndefined() {
		return val{}, errors.New("needs a value and the name of an attribute")
	}
	if m := boundMethod(args[0], args[1]); !m.IsUndefined() {
		return m, nil
	}
	return value.Undefined(), nil
}

func batch(r *run, args []val, kw map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	n, err := intArg(args, kw, 1, "linecount", 0)
	if err != nil || n < 1 {
		return val{}, errors.Join(errors.New("needs a size above 0"), err)
	}
	fill, filled := arg(args, kw, 2, "fill_with")
	var out []val
	for rest := items; len(rest) > 0; {
		k := min(int(min(n, 1<<30)), len(rest))
		group := slices.Clone(rest[:k])
		if rest = rest[k:]; filled && len(rest) == 0 {
			if err := r.repeat(16, n); err != nil {
				return val{}, err
			}
			for int64(len(group)) < n {
				group = append(group, fill)
			}
		}
		out = append(out, newList(group...))
	}
	return newList(out...), r.spend(32 * len(items))
}

func defaultFilter(_ *run, args []val, kw map[string]val) (val, error) {
	other, ok := arg(args, kw, 1, "default_value")
	if !ok {
		other = value.FromString("")
	}
	boolean, _ := arg(args, kw, 2, "boolean")
	if args[0].IsUndefined() || boolean.IsTrue() && !args[0].IsTrue() {
		return other, nil
	}
	return args[0], nil
}

func first(_ *run, args []val, _ map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil || len(items) == 0 {
		return value.Undefined(), err
	}
	return items[0], nil
}

func last(_ *run, args []val, _ map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil || len(items) == 0 {
		return value.Undefined(), err
	}
	return items[len(items)-1], nil
}

func length(_ *run, args []val, _ map[string]val) (val, error) {
	v := args[0]
	if s, ok := v.AsString(); ok {
		return value.FromInt(int64(utf8.RuneCountInString(s))), nil
	}
	if v.Kind() == value.KindCallable || v.Kind() == value.KindPlain {
		return val{}, fmt.Errorf("%s has no length", typeName(v))
	}
	items, err := elements(v)
	if err != nil {
		return val{}, fmt.Errorf("%s has no length", typeName(v))
	}
	return value.FromInt(int64(len(items))), nil
}

func listFilter(r *run, args []val, _ map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	return newList(items...), r.spend(16 * len(items))
}

func items(r *run, args []val, _ map[string]val) (val, error) {
	if args[0].IsUndefined() {
		return newList(), nil
	}
	return pairs(r, args[0])
}

func join(r *run, args []val, kw map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	sep, _ := arg(args, kw, 1, "d")
	get, err := attributeGetter(args, kw, 2)
	if err != nil {
		return val{}, err
	}
	var b strings.Builder
	for i, x := range items {
		if i > 0 {
			b.WriteString(str(sep))
		}
		if x, err = get(x); err != nil {
			return val{}, err
		}
		before := b.Len()
		b.WriteString(str(x))
		if err := r.spend(b.Len() - before + 8); err != nil {
			return val{}, err
		}
	}
	return value.FromString(b.String()), nil
}

// attributeGetter reads the argument attribute, "a.b.0", of filters that look inside their elements.
func attributeGetter(args []val, kw map[string]val, i int) (func(val) (val, error), error) {
	a, ok := arg(args, kw, i, "attribute")
	if !ok || a.IsNone() {
		return func(v val) (val, error) { return v, nil }, nil
	}
	return pathGetter(a), nil
}

func pathGetter(a val) func(val) (val, error) {
	var path []val
	if s, ok := a.AsString(); ok {
		for _, part := range strings.Split(s, ".") {
			if n, err := strconv.ParseInt(part, 10, 64); err == nil {
				path = append(path, value.FromInt(n))
			} else {
				path = append(path, value.FromString(part))
			}
		}
	} else {
		path = []val{a}
	}
	return func(v val) (val, error) {
		var err error
		for _, k := range path {
			if v, err = item(nil, []val{v, k, value.FromString("an element")}, nil); err != nil {
				return val{}, err
			}
		}
		return v, nil
	}
}

func mapFilter(r *run, args []val, kw map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	var get func(val) (val, error)
	if a, ok := kw["attribute"]; ok {
		byPath := pathGetter(a)
		other, hasOther := kw["default"]
		get = func(v val) (val, error) {
			v, err := byPath(v)
			if hasOther && v.IsUndefined() {
				v = other
			}
			return v, err
		}
	} else {
		if len(args) < 2 {
			return val{}, errors.New("needs the name of a filter or an attribute")
		}
		get = func(v val) (val, error) {
			return applyFilter(r, append([]val{args[1], v}, args[2:]...), kw)
		}
	}
	out := make([]val, len(items))
	for i, x := range items {
		if err := r.spend(16); err != nil {
			return val{}, err
		}
		if out[i], err = get(x); err != nil {
			return val{}, err
		}
	}
	return newList(out...), nil
}

// selectFilter is select, reject, selectattr and rejectattr.
func selectFilter(byAttr, keep bool) function {
	return func(r *run, args []val, kw map[string]val) (val, error) {
		items, err := elements(args[0])
		if err != nil {
			return val{}, err
		}
		get := func(v val) (val, error) { return v, nil }
		rest := args[1:]
		if byAttr {
			if len(rest) == 0 {
				return val{}, errors.New("needs the name of an attribute")
			}
			get, rest = pathGetter(rest[0]), rest[1:]
		}
		var out []val
		for _, x := range items {
			if err := r.spend(16); err != nil {
				return val{}, err
			}
			v, err := get(x)
			if err != nil {
				return val{}, err
			}
			holds := v.IsTrue()
			if len(rest) > 0 {
				t, err := applyTest(r, append([]val{rest[0], v}, rest[1:]...), kw)
				if err != nil {
					return val{}, err
				}
				holds = t.IsTrue()
			}
			if holds == keep {
				out = append(out, x)
			}
		}
		return newList(out...), nil
	}
}

func reverse(r *run, args []val, _ map[string]val) (val, error) {
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	if _, ok := args[0].AsString(); ok {
		return join(r, []val{newList(items...), value.FromString("")}, nil)
	}
	return newList(items...), r.spend(16 * len(items))
}

func truncate(_ *run, args []val, kw map[string]val) (val, error) {
	s := []rune(str(args[0]))
	n, err := intArg(args, kw, 1, "length", 255)
	if err != nil {
		return val{}, err
	}
	kill, _ := arg(args, kw, 2, "killwords")
	end, given := arg(args, kw, 3, "end")
	if !given {
		end = value.FromString("...")
	}
	leeway, err := intArg(args, kw, 4, "leeway", 5)
	if err != nil {
		return val{}, err
	}
	cut := n - int64(utf8.RuneCountInString(str(end)))
	if int64(len(s)) <= n+leeway || cut < 0 {
		return value.FromString(string(s)), nil
	}
	head := string(s[:cut])
	if i := strings.LastIndexByte(head, ' '); i >= 0 && !kill.IsTrue() {
		head = head[:i]
	}
	return value.FromString(head + str(end)), nil
}

func indent(r *run, args []val, kw map[string]val) (val, error) {
	pad, ok := arg(args, kw, 1, "width")
	by := "    "
	if ok {
		if n, isInt := asInt(pad); isInt {
			if err := r.repeat(1, n); err != nil {
				return val{}, err
			}
			by = strings.Repeat(" ", int(max(n, 0)))
		} else {
			by = str(pad)
		}
	}
	head, _ := arg(args, kw, 2, "first")
	blank, _ := arg(args, kw, 3, "blank")
	s := str(args[0])
	if err := r.spend(len(s) + (strings.Count(s, "\n")+1)*len(by)); err != nil {
		return val{}, err
	}
	lines := strings.Split(s, "\n")
	for i := range lines {
		if (i > 0 || head.IsTrue()) && (lines[i] != "" || blank.IsTrue()) {
			lines[i] = by + lines[i]
		}
	}
	return value.FromString(strings.Join(lines, "\n")), nil
}

func wordCount(_ *run, args []val, _ map[string]val) (val, error) {
	return value.FromInt(int64(len(strings.Fields(str(args[0]))))), nil
}

func formatFilter(r *run, args []val, kw map[string]val) (val, error) {
	if len(kw) > 0 {
		d := newDict()
		for _, k := range sortedKeys(kw) {
			d.set(value.FromString(k), kw[k])
		}
		return percentFormat(r, str(args[0]), d.value())
	}
	return percentFormat(r, str(args[0]), newTuple(args[1:]...))
}
