package template

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// method is a method of a Python type.
type method func(r *run, self val, args []val, kw map[string]val) (val, error)

// bound is a method with its object, as x.strip without parentheses.
type bound struct {
	self val
	m    method
}

// Call is minijinja's way to call it.
func (b bound) Call(state value.State, args []val, kw map[string]val) (val, error) {
	return b.m(runOf(state), b.self, args, kw)
}

func methodsOf(x val) map[string]method {
	if _, ok := x.AsString(); ok {
		return textMethods
	}
	if _, ok := asDict(x); ok {
		return dictMethods
	}
	if _, ok := asList(x); ok {
		return listMethods
	}
	return nil
}

// callMethod is x.name(args); base is how the template spells x.
func callMethod(r *run, args []val, kw map[string]val) (val, error) {
	x := args[0]
	name, _ := args[1].AsString()
	if x.IsUndefined() {
		return val{}, undefinedError(str(args[2]))
	}
	if m, ok := methodsOf(x)[name]; ok {
		v, err := m(r, x, args[3:], kw)
		if err != nil {
			return v, fmt.Errorf("%s.%s: %w", str(args[2]), name, err)
		}
		return v, nil
	}
	if name == "changed" && str(args[2]) == "loop" {
		return val{}, errors.New("loop.changed is not supported in a chat template")
	}
	if c, ok := x.GetAttr(name).AsCallable(); ok {
		return c.Call(r.state, args[3:], kw)
	}
	return val{}, fmt.Errorf("%s has no method %q", typeName(x), name)
}

// call is the call of any other expression.
func call(r *run, args []val, kw map[string]val) (val, error) {
	c, ok := args[0].AsCallable()
	if !ok {
		return val{}, fmt.Errorf("%s is not callable", str(args[1]))
	}
	return c.Call(r.state, args[2:], kw)
}

// arg gives the i-th argument or the one of that name.
func arg(args []val, kw map[string]val, i int, name string) (val, bool) {
	if i < len(args) {
		return args[i], true
	}
	if v, ok := kw[name]; ok {
		return v, true
	}
	return value.Undefined(), false
}

func textArg(args []val, kw map[string]val, i int, name string) (string, bool, error) {
	v, ok := arg(args, kw, i, name)
	if !ok || v.IsNone() {
		return "", false, nil
	}
	s, isText := v.AsString()
	if !isText {
		return "", false, fmt.Errorf("argument %d must be str, not %s", i+1, typeName(v))
	}
	return s, true, nil
}

func intArg(args []val, kw map[string]val, i int, name string, otherwise int64) (int64, error) {
	v, ok := arg(args, kw, i, name)
	if !ok || v.IsNone() {
		return otherwise, nil
	}
	n, isInt := asInt(v)
	if !isInt {
		return 0, fmt.Errorf("argument %d must be int, not %s", i+1, typeName(v))
	}
	return n, nil
}

// text makes a method of a function from text to text.
func text(f func(s string) string) method {
	return func(r *run, self val, _ []val, _ map[string]val) (val, error) {
		s, _ := self.AsString()
		if err := r.spend(len(s)); err != nil {
			return val{}, err
		}
		return value.FromString(f(s)), nil
	}
}

// check makes a method of a question about a text.
func check(f func(s string) bool) method {
	return func(_ *run, self val, _ []val, _ map[string]val) (val, error) {
		s, _ := self.AsString()
		return value.FromBool(f(s)), nil
	}
}

// every holds for a non-empty text of which each character does.
func every(class func(r rune) bool) method {
	return check(func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !class(r) }) < 0
	})
}

func trimmer(trim func(s, chars string, white bool) string) method {
	return func(_ *run, self val, args []val, kw map[string]val) (val, error) {
		s, _ := self.AsString()
		chars, given, err := textArg(args, kw, 0, "chars")
		if err != nil {
			return val{}, err
		}
		return value.FromString(trim(s, chars, !given)), nil
	}
}

func trimLeft(s, chars string, white bool) string {
	if white {
		return strings.TrimLeftFunc(s, isPySpace)
	}
	return strings.TrimLeft(s, chars)
}

func trimRight(s, chars string, white bool) string {
	if white {
		return strings.TrimRightFunc(s, isPySpace)
	}
	return strings.TrimRight(s, chars)
}

func trimBoth(s, chars string, white bool) string {
	return trimLeft(trimRight(s, chars, white), chars, white)
}

// affix is startswith or endswith: one text or a tuple of them.
func affix(has func(s, x string) bool) method {
	return func(_ *run, self val, args []val, _ map[string]val) (val, error) {
		s, _ := self.AsString()
		if len(args) != 1 {
			return val{}, errors.New("takes one argument")
		}
		options := []val{args[0]}
		if l, ok := asList(args[0]); ok && l.tuple {
			options = l.items
		}
		for _, o := range options {
			x, ok := o.AsString()
			if !ok {
				return val{}, fmt.Errorf("first arg must be str or a tuple of str, not %s", typeName(o))
			}
			if has(s, x) {
				return value.True(), nil
			}
		}
		return value.False(), nil
	}
}

// finder is find, rfind, index or rindex: places are counted in characters.
func textFinder(index func(s, x string) int, must bool) method {
	return func(_ *run, self val, args []val, kw map[string]val) (val, error) {
		s, _ := self.AsString()
		x, ok, err := textArg(args, kw, 0, "sub")
		if err != nil || !ok {
			return val{}, errors.Join(errors.New("needs a text to look for"), err)
		}
		if len(args) > 1 {
			return val{}, errors.New("start and end are not supported")
		}
		i := index(s, x)
		if i < 0 {
			if must {
				return val{}, errors.New("substring not found")
			}
			return value.FromInt(-1), nil
		}
		return value.FromInt(int64(utf8.RuneCountInString(s[:i]))), nil
	}
}

func replaceText(r *run, self val, args []val, kw map[string]val) (val, error) {
	s, _ := self.AsString()
	old, okOld, err := textArg(args, kw, 0, "old")
	if err != nil {
		return val{}, err
	}
	with, okNew, err := textArg(args, kw, 1, "new")
	if err != nil {
		return val{}, err
	}
	n, err := intArg(args, kw, 2, "count", -1)
	if err != nil || !okOld || !okNew {
		return val{}, errors.Join(errors.New("takes the old text and the new"), err)
	}
	grown := len(s) + (strings.Count(s, old)+1)*len(with)
	if err := r.spend(grown); err != nil {
		return val{}, err
	}
	return value.FromString(strings.Replace(s, old, with, int(max(min(n, 1<<30), -1)))), nil
}

func joinText(r *run, self val, args []val, _ map[string]val) (val, error) {
	sep, _ := self.AsString()
	if len(args) != 1 {
		return val{}, errors.New("takes one argument")
	}
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		s, ok := item.AsString()
		if !ok {
			return val{}, fmt.Errorf("sequence item %d: expected str instance, %s found", i, typeName(item))
		}
		if err := r.spend(len(s) + len(sep)); err != nil {
			return val{}, err
		}
		parts[i] = s
	}
	return value.FromString(strings.Join(parts, sep)), nil
}

// pad is ljust, rjust, center or zfill.
func pad(place func(s string, n int, fill string) string) method {
	return func(r *run, self val, args []val, kw map[string]val) (val, error) {
		s, _ := self.AsString()
		width, err := intArg(args, kw, 0, "width", 0)
		if err != nil {
			return val{}, err
		}
		fill, given, err := textArg(args, kw, 1, "fillchar")
		if err != nil {
			return val{}, err
		}
		if !given {
			fill = " "
		}
		n := width - int64(utf8.RuneCountInString(s))
		if n <= 0 {
			return self, nil
		}
		if err := r.repeat(len(fill), n); err != nil {
			return val{}, err
		}
		return value.FromString(place(s, int(n), fill)), nil
	}
}

func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, r := range s {
		if inWord {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteRune(unicode.ToTitle(r))
		}
		inWord = unicode.IsLetter(r)
	}
	return b.String()
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

// upper knows the one letter of German that grows; other special casings are rarer than chat templates.
func upper(s string) string { return strings.ReplaceAll(strings.ToUpper(s), "ß", "SS") }
