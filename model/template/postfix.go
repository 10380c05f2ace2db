package template

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// postfix reads attributes, subscripts and calls.
func (p *exprParser) postfix(e string, start int) (string, error) {
	for {
		if p.peek().kind != tokOp {
			return e, nil
		}
		base := p.source(start)
		var err error
		switch {
		case p.skip("."):
			e, err = p.attribute(e, base)
		case p.skip("["):
			e, err = p.subscript(e, base)
		case p.skip("("):
			e, err = p.call(e, base)
		default:
			return e, nil
		}
		if err != nil {
			return "", err
		}
	}
}

func (p *exprParser) attribute(e, base string) (string, error) {
	t := p.next()
	switch t.kind {
	case tokInt:
		n, err := strconv.ParseInt(t.text, 10, 32)
		if err != nil {
			return "", fmt.Errorf("line %d: bad index %q", t.line, t.text)
		}
		return "py_item(" + e + "," + p.rw.constant(value.FromInt(n)) + "," + p.rw.text(base) + ")", nil
	case tokName:
		if !p.skip("(") {
			return "py_attr(" + e + "," + p.rw.text(t.text) + "," + p.rw.text(base) + ")", nil
		}
		args, err := p.arguments()
		if err != nil {
			return "", err
		}
		return "py_method(" + joinArgs(e, p.rw.text(t.text), p.rw.text(base), args) + ")", nil
	}
	p.pos--
	return "", p.unexpected("expected a name after the dot")
}

func (p *exprParser) subscript(e, base string) (string, error) {
	var parts []string
	slice := false
	for i := 0; i < 3; i++ {
		part := "none"
		if !p.is(":") && !p.is("]") {
			var err error
			if part, err = p.expression(); err != nil {
				return "", err
			}
			if p.is(",") {
				return "", p.unexpected("a subscript takes one index")
			}
		} else if i == 0 && p.is("]") {
			return "", p.unexpected("expected an index")
		}
		parts = append(parts, part)
		if !p.skip(":") {
			break
		}
		slice = true
	}
	if err := p.expect("]"); err != nil {
		return "", err
	}
	if !slice {
		return "py_item(" + e + "," + parts[0] + "," + p.rw.text(base) + ")", nil
	}
	for len(parts) < 3 {
		parts = append(parts, "none")
	}
	return "py_slice(" + e + "," + strings.Join(parts, ",") + ")", nil
}

func (p *exprParser) call(e, base string) (string, error) {
	args, err := p.arguments()
	if err != nil {
		return "", err
	}
	switch {
	case e == "dict":
		return "py_dict_call(" + args + ")", nil
	case isIdent(e):
		return e + "(" + args + ")", nil
	}
	return "py_call(" + joinArgs(e, p.rw.text(base), args) + ")", nil
}

// arguments reads what stands between the parentheses of a call, after the opening one.
func (p *exprParser) arguments() (string, error) {
	return p.items(")", func() (string, error) {
		switch {
		case p.skip("**"):
			e, err := p.expression()
			return "**" + e, err
		case p.skip("*"):
			e, err := p.expression()
			return "*" + e, err
		}
		if t := p.peek(); t.kind == tokName && p.pos+1 < len(p.toks) && p.toks[p.pos+1].kind == tokOp && p.toks[p.pos+1].text == "=" {
			p.pos += 2
			e, err := p.expression()
			return t.text + "=" + e, err
		}
		return p.expression()
	})
}

func joinArgs(args ...string) string {
	kept := args[:0]
	for _, a := range args {
		if a != "" {
			kept = append(kept, a)
		}
	}
	return strings.Join(kept, ",")
}

// filtersAndTests reads | filter and is test, which bind tighter than any operator.
func (p *exprParser) filtersAndTests(e string, start int) (string, error) {
	for {
		switch {
		case p.peek().kind == tokOp && p.skip("|"):
			var err error
			if e, err = p.filter(e); err != nil {
				return "", err
			}
		case p.peek().kind == tokName && p.skip("is"):
			var err error
			if e, err = p.test(e); err != nil {
				return "", err
			}
		case p.peek().kind == tokOp && p.is("("):
			base := p.source(start)
			p.pos++
			var err error
			if e, err = p.call("("+e+")", base); err != nil {
				return "", err
			}
		default:
			return e, nil
		}
	}
}

func (p *exprParser) filter(e string) (string, error) {
	t := p.next()
	if t.kind != tokName {
		return "", fmt.Errorf("line %d: expected the name of a filter", t.line)
	}
	if _, ok := filters[t.text]; !ok {
		return "", fmt.Errorf("line %d: no filter named %q", t.line, t.text)
	}
	args := ""
	if p.peek().kind == tokOp && p.skip("(") {
		var err error
		if args, err = p.arguments(); err != nil {
			return "", err
		}
	}
	return "py_filter(" + joinArgs(p.rw.text(t.text), e, args) + ")", nil
}

func (p *exprParser) test(e string) (string, error) {
	negated := p.skip("not")
	t := p.next()
	if t.kind != tokName {
		return "", fmt.Errorf("line %d: expected the name of a test", t.line)
	}
	if _, ok := tests[t.text]; !ok {
		return "", fmt.Errorf("line %d: no test named %q", t.line, t.text)
	}
	args := ""
	var err error
	next := p.peek()
	switch {
	case next.kind == tokOp && next.text == "(":
		p.pos++
		args, err = p.arguments()
	case next.kind == tokName && (next.text == "else" || next.text == "or" || next.text == "and" || next.text == "if" || next.text == "is" || next.text == "in" || next.text == "not" || next.text == "recursive"):
	case next.kind == tokName || next.kind == tokString || next.kind == tokInt || next.kind == tokFloat || next.kind == tokOp && (next.text == "[" || next.text == "{"):
		start := p.pos
		if args, err = p.primary(); err == nil {
			args, err = p.postfix(args, start)
		}
	}
	if err != nil {
		return "", err
	}
	call := "py_test(" + joinArgs(p.rw.text(t.text), e, args) + ")"
	if negated {
		return "(not " + call + ")", nil
	}
	return call, nil
}
