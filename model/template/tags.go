package template

import "strings"

// targets reads what a for or set assigns to: names, with commas and parentheses. A dotted name is an attribute of a
// namespace.
func (p *exprParser) targets(dotted bool) (string, error) {
	var items []string
	var comma bool
	for {
		var item string
		if p.skip("(") {
			inner, err := p.targets(false)
			if err != nil {
				return "", err
			}
			if err := p.expect(")"); err != nil {
				return "", err
			}
			item = "(" + inner + ")"
		} else {
			t := p.next()
			if t.kind != tokName {
				p.pos--
				return "", p.unexpected("expected a name")
			}
			name, err := p.rw.name(t)
			if err != nil {
				return "", err
			}
			if dotted && p.skip(".") {
				attr := p.next()
				if attr.kind != tokName {
					return "", p.unexpected("expected a name after the dot")
				}
				name += "." + attr.text
			}
			item = name
		}
		items = append(items, item)
		if comma = p.skip(","); !comma || p.is("in") || p.is("=") || p.is(")") {
			break
		}
	}
	if comma && len(items) == 1 {
		return items[0] + ",", nil
	}
	return strings.Join(items, ","), nil
}

// forTag opens a loop. Its body gets a scope of its own in each turn, as in Jinja2.
func (rw *rewriter) forTag(p *exprParser, line int) error {
	target, err := p.targets(false)
	if err != nil {
		return err
	}
	if err := p.expect("in"); err != nil {
		return err
	}
	source, err := p.tuple(false, "if", "recursive")
	if err != nil {
		return err
	}
	stmt := "for " + target + " in py_iter(" + source + ")"
	if p.skip("if") {
		cond, err := p.expression()
		if err != nil {
			return err
		}
		stmt += " if " + cond
	}
	if p.is("recursive") {
		return p.unexpected("recursive loops are not supported in a chat template")
	}
	rw.statement(line, stmt)
	rw.statement(line, "with "+rw.temp()+"=none")
	rw.open = append(rw.open, "for")
	return nil
}

func (rw *rewriter) ifTag(p *exprParser, line int, keyword string) error {
	cond, err := p.tuple(true)
	if err != nil {
		return err
	}
	rw.statement(line, keyword+" "+cond)
	return nil
}

// setTag rewrites an assignment, or opens the capture of a block.
func (rw *rewriter) setTag(p *exprParser, line int) error {
	target, err := p.targets(true)
	if err != nil {
		return err
	}
	if p.skip("=") {
		e, err := p.tuple(true)
		if err != nil {
			return err
		}
		if name, attr, ok := strings.Cut(target, "."); ok && !strings.Contains(target, ",") {
			rw.statement(line, "set "+rw.temp()+"=py_setattr("+name+","+rw.text(attr)+","+e+")")
			return nil
		}
		if strings.Contains(target, ",") {
			e = "py_unpack(" + e + ")"
		}
		rw.statement(line, "set "+target+"="+e)
		return nil
	}
	temp := rw.temp()
	e, err := rw.filterChain(p, temp)
	if err != nil {
		return err
	}
	if name, attr, ok := strings.Cut(target, "."); ok {
		rw.statement(line, "set "+temp)
		rw.open = append(rw.open, "set "+rw.temp()+"=py_setattr("+name+","+rw.text(attr)+","+e+")")
		return nil
	}
	rw.statement(line, "set "+temp)
	rw.open = append(rw.open, "set "+target+"="+e)
	return nil
}

// filterChain reads | filter | filter… over an expression.
func (rw *rewriter) filterChain(p *exprParser, e string) (string, error) {
	for p.skip("|") {
		var err error
		if e, err = p.filter(e); err != nil {
			return "", err
		}
	}
	return e, nil
}

func (rw *rewriter) macroTag(p *exprParser, line int) error {
	t := p.next()
	if t.kind != tokName {
		return p.unexpected("expected the name of a macro")
	}
	name, err := rw.name(t)
	if err != nil {
		return err
	}
	if err := p.expect("("); err != nil {
		return err
	}
	params, err := p.parameters()
	if err != nil {
		return err
	}
	rw.statement(line, "macro "+name+"("+params+")")
	rw.open = append(rw.open, "macro")
	return nil
}

// parameters reads names with defaults up to the closing parenthesis.
func (p *exprParser) parameters() (string, error) {
	return p.items(")", func() (string, error) {
		t := p.next()
		if t.kind != tokName {
			p.pos--
			return "", p.unexpected("expected the name of a parameter")
		}
		name, err := p.rw.name(t)
		if err != nil || !p.skip("=") {
			return name, err
		}
		e, err := p.expression()
		return name + "=" + e, err
	})
}

func (rw *rewriter) callTag(p *exprParser, line int) error {
	params := ""
	if p.skip("(") {
		inner, err := p.parameters()
		if err != nil {
			return err
		}
		params = "(" + inner + ")"
	}
	e, err := p.unary(false)
	if err != nil {
		return err
	}
	rw.statement(line, "call"+params+" "+e)
	rw.open = append(rw.open, "call")
	return nil
}

func (rw *rewriter) filterTag(p *exprParser, line int) error {
	temp := rw.temp()
	e, err := p.filter(temp)
	if err != nil {
		return err
	}
	if e, err = rw.filterChain(p, e); err != nil {
		return err
	}
	rw.statement(line, "set "+temp)
	rw.open = append(rw.open, "filter "+e)
	return nil
}

func (rw *rewriter) withTag(p *exprParser, line int) error {
	var assigns []string
	for p.peek().kind != tokEOF {
		if len(assigns) > 0 {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		t := p.next()
		if t.kind != tokName {
			return p.unexpected("expected a name")
		}
		name, err := rw.name(t)
		if err != nil {
			return err
		}
		if err := p.expect("="); err != nil {
			return err
		}
		e, err := p.expression()
		if err != nil {
			return err
		}
		assigns = append(assigns, name+"="+e)
	}
	if len(assigns) == 0 {
		assigns = []string{rw.temp() + "=none"}
	}
	rw.statement(line, "with "+strings.Join(assigns, ","))
	rw.open = append(rw.open, "with")
	return nil
}
