package template

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2"
	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
	"github.com/ncruces/go-strftime"
)

// Limits of one rendering. A template comes from the model's folder and is not trusted.
const (
	maxStatements = 2_000_000 // statements executed
	maxWork       = 512 << 20 // bytes of text and values made
	maxRange      = 100_000   // length of a range, Jinja2's own limit
)

// run is one rendering.
type run struct {
	state minijinjaState
	left  int // of maxWork
	out   strings.Builder
	now   time.Time
	err   error // a limit was passed where no error could be given
}

type minijinjaState = value.State

type runKey struct{}

// runOf finds the rendering that a function is called from.
func runOf(state value.State) *run {
	s, ok := state.(*minijinja.State)
	if !ok {
		return &run{left: maxWork}
	}
	r, ok := s.Context().Value(runKey{}).(*run)
	if !ok {
		return &run{left: maxWork}
	}
	r.state = s
	return r
}

var errTooMuch = errors.New("the template makes too much text: more than 512 MB")

// spend takes n bytes of work off the budget.
func (r *run) spend(n int) error {
	if r == nil {
		return nil
	}
	if r.left -= max(n, 0) + 1; r.left < 0 {
		r.err = errTooMuch
		return errTooMuch
	}
	return nil
}

// repeat is spend for n copies of something.
func (r *run) repeat(size int, n int64) error {
	if n > 0 && int64(size+1) > maxWork/n {
		return errTooMuch
	}
	return r.spend(size * int(max(n, 0)))
}

// WriteString collects the output, and ends the rendering once a limit was passed.
func (r *run) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return r.out.Write(p)
}

// functions are what a rewritten template calls: py_… for operators, the rest by the names that templates use.
var functions map[string]function

func init() { // in init, since filters and methods refer back to the table
	functions = map[string]function{
		"py_add": fold(add), "py_sub": fold(sub), "py_mul": fold(mul), "py_div": fold(div), "py_floordiv": fold(floorDiv),
		"py_mod": fold(mod), "py_pow": fold(powAny), "py_neg": neg, "py_pos": pos, "py_concat": concat, "py_compare": compare,
		"py_attr": attr, "py_item": item, "py_slice": slice, "py_method": callMethod, "py_call": call,
		"py_filter": applyFilter, "py_test": applyTest, "py_iter": iterate, "py_unpack": iterate, "py_setattr": setAttr,
		"py_list": makeList, "py_tuple": makeTuple, "py_dict": makeDict, "py_dict_call": dictCall, "py_mark": mark,
		"range": makeRange, "namespace": makeNamespace, "raise_exception": raise, "strftime_now": strftimeNow,
	}
}

// iterate is what a for loop runs over. None counts as empty: templates loop over tools without asking whether there
// are any.
func iterate(_ *run, args []val, _ map[string]val) (val, error) {
	if args[0].IsNone() {
		return value.FromSlice([]val{}), nil
	}
	items, err := elements(args[0])
	if err != nil {
		return val{}, err
	}
	if items == nil {
		items = []val{}
	}
	return value.FromSlice(items), nil
}

func makeList(r *run, args []val, _ map[string]val) (val, error) {
	return newList(args...), r.spend(16 * len(args))
}

func makeTuple(r *run, args []val, _ map[string]val) (val, error) {
	return newTuple(args...), r.spend(16 * len(args))
}

// makeDict takes keys and values in turn.
func makeDict(r *run, args []val, _ map[string]val) (val, error) {
	d := newDict()
	for i := 0; i+1 < len(args); i += 2 {
		d.set(args[i], args[i+1])
	}
	return d.value(), r.spend(32 * len(args))
}

// dictCall is dict(mapping, name=value); names come in alphabetical order.
func dictCall(r *run, args []val, kw map[string]val) (val, error) {
	d := newDict()
	if len(args) > 0 {
		if from, ok := asDict(args[0]); ok {
			d = from.clone()
		} else {
			items, err := elements(args[0])
			if err != nil {
				return val{}, err
			}
			for _, x := range items {
				pair, err := elements(x)
				if err != nil || len(pair) != 2 {
					return val{}, errors.New("dict() takes pairs of a key and a value")
				}
				d.set(pair[0], pair[1])
			}
		}
	}
	for _, k := range sortedKeys(kw) {
		d.set(value.FromString(k), kw[k])
	}
	return d.value(), r.spend(32 * len(d.keys))
}

func makeNamespace(r *run, args []val, kw map[string]val) (val, error) {
	v, err := dictCall(r, args, kw)
	if err != nil {
		return val{}, err
	}
	d, _ := asDict(v)
	return value.FromObject(&namespace{d.Map()}), nil
}

// setAttr is {% set ns.name = value %}.
func setAttr(_ *run, args []val, _ map[string]val) (val, error) {
	n, ok := args[0].Raw().(*namespace)
	if !ok {
		return val{}, errors.New("cannot assign attribute on non-namespace object")
	}
	name, _ := args[1].AsString()
	if strings.HasPrefix(name, "_") {
		return val{}, fmt.Errorf("chat templates cannot store underscore-prefixed attributes on a namespace, but got %q", name)
	}
	n.attrs[name] = args[2]
	return value.None(), nil
}

func makeRange(r *run, args []val, _ map[string]val) (val, error) {
	var at [3]int64
	for i := range args {
		n, ok := asInt(args[i])
		if !ok || i > 2 {
			return val{}, errors.New("range takes one to three integers")
		}
		at[i] = n
	}
	start, stop, step := at[0], at[1], at[2]
	switch len(args) {
	case 0:
		return val{}, errors.New("range takes one to three integers")
	case 1:
		start, stop, step = 0, at[0], 1
	case 2:
		step = 1
	}
	if step == 0 {
		return val{}, errors.New("range() arg 3 must not be zero")
	}
	var items []val
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(items) == maxRange {
			return val{}, fmt.Errorf("range too big: the longest that a chat template may have is %d", maxRange)
		}
		items = append(items, value.FromInt(i))
		if step > 0 && i > stop-step && i > 0 || step < 0 && i < stop-step && i < 0 {
			break // the next would be past the end, or overflow
		}
	}
	return newList(items...), r.spend(16 * len(items))
}

// Raised is the error of a template that refuses its input with raise_exception; its text is meant for the user.
type Raised struct{ Message string }

func (e *Raised) Error() string { return e.Message }

func raise(_ *run, args []val, kw map[string]val) (val, error) {
	message, _ := arg(args, kw, 0, "message")
	return val{}, &Raised{str(message)}
}

func strftimeNow(r *run, args []val, kw map[string]val) (val, error) {
	format, ok, err := textArg(args, kw, 0, "format")
	if err != nil || !ok {
		return val{}, errors.Join(errors.New("strftime_now needs a format"), err)
	}
	return value.FromString(strftime.Format(format, r.now)), nil
}

// Marks enclose what a {% generation %} block prints. They are random, so that no text can hold them.
var beginMark, endMark = func() (string, string) {
	id := rand.Text()
	return "\x00<" + id, "\x00>" + id
}()

func mark(_ *run, args []val, _ map[string]val) (val, error) {
	if args[0].IsTrue() {
		return value.FromString(beginMark), nil
	}
	return value.FromString(endMark), nil
}

// newEnvironment is what a rewritten template runs in: nothing but the functions above. With debug an error says where
// it happened, at some cost for each expression.
func newEnvironment(constants []val, debug bool) *minijinja.Environment {
	env := minijinja.EmptyEnvironment()
	for name, f := range functions {
		env.AddFunction(name, func(state *minijinja.State, args []val, kw map[string]val) (val, error) {
			r := runOf(state)
			if err := r.spend(8); err != nil {
				return val{}, err
			}
			v, err := f(r, args, kw)
			var raised *Raised
			if debug && err != nil && !errors.As(err, &raised) {
				var located *minijinja.Error
				if !errors.As(err, &located) { // minijinja locates its own errors only
					err = minijinja.NewError(minijinja.ErrInvalidOperation, err.Error())
				}
			}
			return v, err
		})
	}
	env.SetDebug(debug)
	for i, c := range constants {
		env.AddGlobal(fmt.Sprintf("%s%d", constantPrefix, i), c)
	}
	env.SetFormatter(func(state *minijinja.State, v val, _ func(string) string) string {
		r := runOf(state)
		s := str(v)
		if r.spend(len(s)) != nil {
			return ""
		}
		return s
	})
	env.SetAutoEscapeFunc(func(string) minijinja.AutoEscape { return minijinja.AutoEscapeNone })
	fuel := uint64(maxStatements)
	env.SetFuel(&fuel)
	return env
}

// execute renders into a run.
func execute(t *minijinja.Template, vars val, now time.Time) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the template engine failed: %v", p)
		}
	}()
	r := &run{left: maxWork, now: now}
	err = t.RenderToWriteCtx(context.WithValue(context.Background(), runKey{}, r), vars, r)
	if r.err != nil {
		err = r.err
	}
	return r.out.String(), err
}
