package template

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// maxNesting bounds how deep expressions and statements nest, below minijinja's own limit of 150.
const maxNesting = 100

// maxOperands bounds the arguments of one rewritten call, below minijinja's own limit of 2000.
const maxOperands = 200

// exprParser reads an expression by Jinja2's grammar and writes it as calls of this package's functions.
type exprParser struct {
	rw    *rewriter
	toks  []token
	pos   int
	line  int // of the tag, for the end of its tokens
	depth int
}

func (p *exprParser) peek() token {
	if p.pos < len(p.toks) {
		return p.toks[p.pos]
	}
	return token{line: p.line}
}

func (p *exprParser) next() token {
	t := p.peek()
	if p.pos < len(p.toks) {
		p.pos++
		p.line = t.line
	}
	return t
}

// skip takes the next token if it is the given operator or name.
func (p *exprParser) skip(text string) bool {
	t := p.peek()
	if (t.kind == tokOp || t.kind == tokName) && t.text == text {
		p.pos++
		return true
	}
	return false
}

func (p *exprParser) expect(text string) error {
	if p.skip(text) {
		return nil
	}
	return p.unexpected("expected " + strconv.Quote(text))
}

func (p *exprParser) unexpected(want string) error {
	t := p.peek()
	if t.kind == tokEOF {
		return fmt.Errorf("line %d: unexpected end of tag, %s", p.line, want)
	}
	return fmt.Errorf("line %d: unexpected %q, %s", t.line, t.text, want)
}

func (p *exprParser) is(text string) bool {
	t := p.peek()
	return (t.kind == tokOp || t.kind == tokName) && t.text == text
}

// enter guards the recursion.
func (p *exprParser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return fmt.Errorf("line %d: expression is nested more than %d deep", p.line, maxNesting)
	}
	return nil
}

// source is the template's own spelling of the tokens from the given position on, for messages.
func (p *exprParser) source(from int) string {
	if from >= p.pos {
		return ""
	}
	s := p.rw.source[p.toks[from].at:p.toks[p.pos-1].end]
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return s
}

// tuple reads expressions with commas between them: one is itself, more are a tuple.
func (p *exprParser) tuple(cond bool, ends ...string) (string, error) {
	one := p.expression
	if !cond {
		one = p.or
	}
	atEnd := func() bool {
		if p.peek().kind == tokEOF {
			return true
		}
		for _, e := range ends {
			if p.is(e) {
				return true
			}
		}
		return false
	}
	var items []string
	comma := false
	for !atEnd() {
		e, err := one()
		if err != nil {
			return "", err
		}
		items = append(items, e)
		if comma = p.skip(","); !comma {
			break
		}
	}
	if len(items) == 0 {
		return "", p.unexpected("expected an expression")
	}
	if len(items) == 1 && !comma {
		return items[0], nil
	}
	return "py_tuple(" + strings.Join(items, ",") + ")", nil
}

// expression is a conditional expression or less.
func (p *exprParser) expression() (string, error) {
	if err := p.enter(); err != nil {
		return "", err
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	if err != nil {
		return "", err
	}
	for p.skip("if") {
		test, err := p.or()
		if err != nil {
			return "", err
		}
		if !p.skip("else") {
			e = "(" + e + " if " + test + ")"
			continue
		}
		other, err := p.expression()
		if err != nil {
			return "", err
		}
		e = "(" + e + " if " + test + " else " + other + ")"
	}
	return e, nil
}

func (p *exprParser) or() (string, error)  { return p.logical("or", p.and) }
func (p *exprParser) and() (string, error) { return p.logical("and", p.not) }

func (p *exprParser) logical(op string, operand func() (string, error)) (string, error) {
	e, err := operand()
	if err != nil || !p.is(op) {
		return e, err
	}
	parts := []string{e}
	for p.skip(op) {
		if e, err = operand(); err != nil {
			return "", err
		}
		parts = append(parts, e)
	}
	return "(" + strings.Join(parts, " "+op+" ") + ")", nil
}

func (p *exprParser) not() (string, error) {
	if !p.skip("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return "", err
	}
	defer func() { p.depth-- }()
	e, err := p.not()
	return "(not " + e + ")", err
}

func (p *exprParser) compare() (string, error) {
	e, err := p.sum()
	if err != nil {
		return "", err
	}
	args := []string{e}
	for {
		t := p.peek()
		op := t.text
		switch {
		case t.kind == tokOp && (op == "==" || op == "!=" || op == "<" || op == "<=" || op == ">" || op == ">="):
			p.next()
		case t.kind == tokName && op == "in":
			p.next()
		case t.kind == tokName && op == "not" && p.pos+1 < len(p.toks) && p.toks[p.pos+1].kind == tokName && p.toks[p.pos+1].text == "in":
			p.pos += 2
			op = "not in"
		default:
			if len(args) == 1 {
				return e, nil
			}
			return "py_compare(" + strings.Join(args, ",") + ")", nil
		}
		right, err := p.sum()
		if err != nil {
			return "", err
		}
		args = append(args, p.rw.text(op), right)
	}
}

// leftAssociative folds operands from the left; runs of one operator become one call.
func (p *exprParser) leftAssociative(ops map[string]string, operand func() (string, error)) (string, error) {
	e, err := operand()
	if err != nil {
		return "", err
	}
	for p.peek().kind == tokOp && ops[p.peek().text] != "" {
		op := p.peek().text
		args := []string{e}
		for len(args) < maxOperands && p.peek().kind == tokOp && p.skip(op) {
			right, err := operand()
			if err != nil {
				return "", err
			}
			args = append(args, right)
		}
		e = ops[op] + "(" + strings.Join(args, ",") + ")"
	}
	return e, nil
}

func (p *exprParser) sum() (string, error) {
	return p.leftAssociative(map[string]string{"+": "py_add", "-": "py_sub"}, p.concat)
}

func (p *exprParser) concat() (string, error) {
	return p.leftAssociative(map[string]string{"~": "py_concat"}, p.product)
}

func (p *exprParser) product() (string, error) {
	return p.leftAssociative(map[string]string{"*": "py_mul", "/": "py_div", "//": "py_floordiv", "%": "py_mod"}, p.power)
}

func (p *exprParser) power() (string, error) {
	return p.leftAssociative(map[string]string{"**": "py_pow"}, func() (string, error) { return p.unary(true) })
}

func (p *exprParser) unary(filters bool) (string, error) {
	if err := p.enter(); err != nil {
		return "", err
	}
	defer func() { p.depth-- }()
	start := p.pos
	var e string
	var err error
	switch {
	case p.peek().kind == tokOp && p.skip("-"):
		e, err = p.unary(false)
		e = "py_neg(" + e + ")"
	case p.peek().kind == tokOp && p.skip("+"):
		e, err = p.unary(false)
		e = "py_pos(" + e + ")"
	default:
		e, err = p.primary()
	}
	if err != nil {
		return "", err
	}
	if e, err = p.postfix(e, start); err != nil || !filters {
		return e, err
	}
	return p.filtersAndTests(e, start)
}

func (p *exprParser) primary() (string, error) {
	t := p.next()
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True", "false", "False":
			return strings.ToLower(t.text), nil
		case "none", "None":
			return "none", nil
		}
		return p.rw.name(t)
	case tokString:
		s := t.text
		for p.peek().kind == tokString {
			s += p.next().text
		}
		return p.rw.text(s), nil
	case tokInt:
		n, ok := new(big.Int).SetString(t.text, 0)
		if !ok || len(t.text) > 1000 {
			return "", fmt.Errorf("line %d: bad number %q", t.line, t.text)
		}
		return p.rw.constant(fromBig(n)), nil
	case tokFloat:
		f, _ := strconv.ParseFloat(t.text, 64) // out of range gives ±Inf, as in Python
		return p.rw.constant(value.FromFloat(f)), nil
	case tokOp:
		switch t.text {
		case "(":
			return p.parens()
		case "[":
			items, err := p.items("]", p.expression)
			return "py_list(" + items + ")", err
		case "{":
			items, err := p.items("}", p.pair)
			return "py_dict(" + items + ")", err
		}
	}
	if t.kind != tokEOF {
		p.pos--
	}
	return "", p.unexpected("expected an expression")
}

func (p *exprParser) parens() (string, error) {
	if p.skip(")") {
		return "py_tuple()", nil
	}
	e, err := p.tuple(true, ")")
	if err != nil {
		return "", err
	}
	return e, p.expect(")")
}

// items reads a list of elements up to the closing bracket; a comma may follow the last.
func (p *exprParser) items(end string, element func() (string, error)) (string, error) {
	var items []string
	for !p.skip(end) {
		if len(items) > 0 {
			if err := p.expect(","); err != nil {
				return "", err
			}
			if p.skip(end) {
				break
			}
		}
		e, err := element()
		if err != nil {
			return "", err
		}
		items = append(items, e)
	}
	return strings.Join(items, ","), nil
}

func (p *exprParser) pair() (string, error) {
	k, err := p.expression()
	if err != nil {
		return "", err
	}
	if err := p.expect(":"); err != nil {
		return "", err
	}
	v, err := p.expression()
	return k + "," + v, err
}
