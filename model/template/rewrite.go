package template

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// rewriter turns a template into minijinja's source. Text and literals become constants, so that nothing of the
// template is read a second time.
type rewriter struct {
	source     string // of the template, with normalised line ends
	out        strings.Builder
	line       int // of the output: tags are pushed down so that the lines of both agree
	constants  []value.Value
	texts      map[string]string // constants by text
	open       []string          // statements that wait for their end
	temps      int
	generation bool // has {% generation %} blocks
}

// Names that templates cannot have, since Jinja2's own would be hidden.
const (
	constantPrefix = "__k"
	tempPrefix     = "__t"
)

func (rw *rewriter) constant(v value.Value) string {
	rw.constants = append(rw.constants, v)
	return constantPrefix + strconv.Itoa(len(rw.constants)-1)
}

func (rw *rewriter) text(s string) string {
	if name, ok := rw.texts[s]; ok {
		return name
	}
	name := rw.constant(value.FromString(s))
	rw.texts[s] = name
	return name
}

// name gives the variable for a name of the template.
func (rw *rewriter) name(t token) (string, error) {
	switch {
	case strings.HasPrefix(t.text, "__") || strings.HasPrefix(t.text, "py_"):
		return "", fmt.Errorf("line %d: the name %q is not allowed in a chat template", t.line, t.text)
	case reserved[t.text]:
		return "", fmt.Errorf("line %d: unexpected %q, expected an expression", t.line, t.text)
	case !isIdent(t.text):
		return "", fmt.Errorf("line %d: the name %q is not supported: only ASCII letters, digits and _", t.line, t.text)
	}
	return t.text, nil
}

var reserved = map[string]bool{"if": true, "else": true, "elif": true, "for": true, "in": true, "is": true, "and": true, "or": true, "not": true, "self": true, "super": true}

func isIdent(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c|32 < 'a' || c|32 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// emit writes a tag of the output that stands for one on the given line of the source.
func (rw *rewriter) emit(line int, left, body, right string) {
	rw.out.WriteString(left)
	for ; rw.line < line; rw.line++ {
		rw.out.WriteByte('\n')
	}
	rw.out.WriteString(body)
	rw.out.WriteString(right)
}

func (rw *rewriter) print(line int, expr string)     { rw.emit(line, "{{", expr, "}}") }
func (rw *rewriter) statement(line int, stmt string) { rw.emit(line, "{%", stmt, "%}") }

// rewriteTemplate reads a template and gives minijinja's source, with the constants that it names.
func rewriteTemplate(source string) (*rewriter, error) {
	segments, err := lex(source)
	if err != nil {
		return nil, err
	}
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	rw := &rewriter{source: source, line: 1, texts: map[string]string{}}
	for _, s := range segments {
		switch s.kind {
		case data:
			rw.print(s.line, rw.text(s.text))
		case variable:
			p := rw.parser(s)
			e, err := p.tuple(true)
			if err != nil {
				return nil, err
			}
			if err := p.end(); err != nil {
				return nil, err
			}
			rw.print(s.line, e)
		case block:
			if err := rw.tag(s); err != nil {
				return nil, err
			}
		}
	}
	if len(rw.open) > 0 {
		return nil, fmt.Errorf("unexpected end of template: {%% %s %%} is not closed", rw.open[len(rw.open)-1])
	}
	return rw, nil
}

func (rw *rewriter) parser(s segment) *exprParser {
	return &exprParser{rw: rw, toks: s.toks, line: s.line}
}

// end checks that a tag has nothing left.
func (p *exprParser) end() error {
	if p.pos < len(p.toks) {
		return p.unexpected("expected the end of the tag")
	}
	return nil
}

// tag rewrites one {% … %}.
func (rw *rewriter) tag(s segment) error {
	p := rw.parser(s)
	t := p.next()
	if t.kind != tokName {
		return fmt.Errorf("line %d: expected the name of a tag", s.line)
	}
	if len(rw.open) > maxNesting {
		return fmt.Errorf("line %d: statements are nested more than %d deep", s.line, maxNesting)
	}
	var err error
	switch t.text {
	case "for":
		err = rw.forTag(p, s.line)
	case "if":
		err = rw.ifTag(p, s.line, "if")
		rw.open = append(rw.open, "if")
	case "elif":
		if rw.top() != "if" {
			return rw.misplaced(t)
		}
		err = rw.ifTag(p, s.line, "elif")
	case "else":
		switch rw.top() {
		case "if":
			rw.statement(s.line, "else")
		case "for":
			rw.statement(s.line, "endwith")
			rw.statement(s.line, "else")
			rw.open[len(rw.open)-1] = "for-else"
		default:
			return rw.misplaced(t)
		}
	case "set":
		err = rw.setTag(p, s.line)
	case "macro":
		err = rw.macroTag(p, s.line)
	case "call":
		err = rw.callTag(p, s.line)
	case "filter":
		err = rw.filterTag(p, s.line)
	case "with":
		err = rw.withTag(p, s.line)
	case "do":
		var e string
		if e, err = p.tuple(true); err == nil {
			rw.statement(s.line, "set "+rw.temp()+"="+e)
		}
	case "break", "continue":
		if !rw.inLoop() {
			return rw.misplaced(t)
		}
		rw.statement(s.line, t.text)
	case "generation":
		rw.generation = true
		rw.statement(s.line, "with "+rw.temp()+"=none")
		rw.print(s.line, "py_mark(true)")
		rw.open = append(rw.open, "generation")
	default:
		return rw.endTag(p, t)
	}
	if err != nil {
		return err
	}
	return p.end()
}

func (rw *rewriter) top() string {
	if len(rw.open) == 0 {
		return ""
	}
	return rw.open[len(rw.open)-1]
}

func (rw *rewriter) inLoop() bool {
	for i := len(rw.open) - 1; i >= 0; i-- {
		switch rw.open[i] {
		case "for":
			return true
		case "macro", "call", "generation":
			return false
		}
	}
	return false
}

func (rw *rewriter) misplaced(t token) error {
	if inner := rw.top(); inner != "" {
		return fmt.Errorf("line %d: unexpected tag %q inside {%% %s %%}", t.line, t.text, strings.Fields(inner)[0])
	}
	return fmt.Errorf("line %d: unexpected tag %q", t.line, t.text)
}

func (rw *rewriter) temp() string {
	rw.temps++
	return tempPrefix + strconv.Itoa(rw.temps)
}

// endTag closes what is open.
func (rw *rewriter) endTag(p *exprParser, t token) error {
	inner := rw.top()
	opened, rest, _ := strings.Cut(inner, " ")
	if opened == "for-else" {
		opened = "for"
	}
	name, isEnd := strings.CutPrefix(t.text, "end")
	if !isEnd {
		return fmt.Errorf("line %d: tag %q is not supported in a chat template", t.line, t.text)
	}
	if len(rw.open) == 0 || name != opened {
		return rw.misplaced(t)
	}
	rw.open = rw.open[:len(rw.open)-1]
	switch inner {
	case "for":
		rw.statement(t.line, "endwith")
		rw.statement(t.line, "endfor")
	case "for-else":
		rw.statement(t.line, "endfor")
	case "generation":
		rw.print(t.line, "py_mark(false)")
		rw.statement(t.line, "endwith")
	default:
		if opened == "filter" { // the body was captured under a name; its filtered form is printed
			rw.statement(t.line, "endset")
			rw.print(t.line, rest)
			break
		}
		rw.statement(t.line, t.text)
		if opened == "set" && rest != "" {
			rw.statement(t.line, "set "+rest)
		}
	}
	if opened == "macro" && p.peek().kind == tokName {
		p.next() // {% endmacro name %}
	}
	return p.end()
}
