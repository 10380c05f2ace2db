package template

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/mitsuhiko/minijinja/minijinja-go/v2"
	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// Template is a parsed chat template. It is safe for concurrent use.
type Template struct {
	source     string
	rewritten  string // minijinja's source
	constants  []val  // that it names
	compiled   *minijinja.Template
	vars       map[string]val
	generation bool
	now        func() time.Time
}

// Parse reads a chat template. vars are the variables that it sees beside those of a request: bos_token, eos_token
// and the model's other special tokens. An error names the line.
func Parse(source string, vars map[string]any) (*Template, error) {
	rw, err := rewriteTemplate(source)
	if err != nil {
		return nil, fmt.Errorf("parse chat template: %w", err)
	}
	t := &Template{source: source, rewritten: rw.out.String(), constants: rw.constants, vars: map[string]val{}, generation: rw.generation, now: time.Now}
	if t.compiled, err = t.compile(false); err != nil {
		return nil, fmt.Errorf("parse chat template: %w", tidy(err))
	}
	for name, v := range vars {
		t.vars[name] = fromGo(v)
	}
	return t, nil
}

func (t *Template) compile(debug bool) (compiled *minijinja.Template, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the template engine failed: %v", p)
		}
	}()
	return newEnvironment(t.constants, debug).TemplateFromNamedString("chat_template", t.rewritten)
}

// Source is the template as it was given.
func (t *Template) Source() string { return t.source }

// Render renders a request, a JSON object with "messages" and, where given, "tools", "documents",
// "add_generation_prompt" and any other variable of the template. Keys keep their order and numbers their digits.
//
// assistant holds the bytes [start, end) of text that the assistant's turns produced: for each its content (and tool
// calls) and the end-of-turn token, but neither the header before nor the white space after it. They come from the
// template's {% generation %} blocks, or else from comparing renderings of the conversation cut short and with the
// contents replaced. Where that does not settle them, the text is returned with an error that wraps [ErrMask].
//
// A template that refuses the request with raise_exception gives a [*Raised].
func (t *Template) Render(request []byte) (text string, assistant [][2]int, err error) {
	vars, err := decodeRequest(request)
	if err != nil {
		return "", nil, fmt.Errorf("render chat template: %w", err)
	}
	text, assistant, err = t.render(vars)
	if err != nil {
		return "", nil, fmt.Errorf("render chat template: %w", err)
	}
	if t.generation {
		return text, assistant, nil
	}
	if assistant, err = t.findSpans(vars, text); err != nil {
		return text, nil, fmt.Errorf("render chat template: %w", err)
	}
	return text, assistant, nil
}

// Text is Render without the spans, at the cost of one rendering.
func (t *Template) Text(request []byte) (string, error) {
	vars, err := decodeRequest(request)
	if err != nil {
		return "", fmt.Errorf("render chat template: %w", err)
	}
	text, _, err := t.render(vars)
	if err != nil {
		return "", fmt.Errorf("render chat template: %w", err)
	}
	return text, nil
}

// render runs the template once and takes the marks of generation blocks out of the text.
func (t *Template) render(request *dict) (string, [][2]int, error) {
	vars := make(map[string]val, len(t.vars)+len(request.keys))
	for k, v := range t.vars {
		vars[k] = v
	}
	for k, v := range request.Map() {
		vars[k] = v
	}
	now := t.now()
	out, err := execute(t.compiled, value.FromMap(vars), now)
	if err != nil {
		return "", nil, t.explain(err, vars, now)
	}
	if !t.generation {
		return out, nil, nil
	}
	text, spans := takeMarks(out)
	return text, spans, nil
}

// explain gives the error for the user: the template's own words, or what happened and in which line. The line is
// found by running the template again, since looking out for it would slow down every rendering.
func (t *Template) explain(err error, vars map[string]val, now time.Time) error {
	var raised *Raised
	if errors.As(err, &raised) {
		return raised
	}
	if slow, compileErr := t.compile(true); compileErr == nil && !errors.Is(err, errTooMuch) && !outOfFuel(err) {
		if _, again := execute(slow, value.FromMap(vars), now); again != nil {
			err = again
		}
	}
	return tidy(err)
}

func outOfFuel(err error) bool {
	var e *minijinja.Error
	return errors.As(err, &e) && e.Kind == minijinja.ErrOutOfFuel
}

// takeMarks removes the marks; of blocks inside blocks the outermost counts.
func takeMarks(s string) (string, [][2]int) {
	var b strings.Builder
	var spans [][2]int
	depth, start := 0, 0
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			b.WriteString(s)
			return b.String(), spans
		}
		b.WriteString(s[:i])
		s = s[i:]
		switch {
		case strings.HasPrefix(s, beginMark):
			if depth++; depth == 1 {
				start = b.Len()
			}
			s = s[len(beginMark):]
		case strings.HasPrefix(s, endMark):
			if depth--; depth == 0 && b.Len() > start {
				spans = append(spans, [2]int{start, b.Len()})
			}
			s = s[len(endMark):]
		default:
			b.WriteByte(0)
			s = s[1:]
		}
	}
}

// decodeRequest reads a request and prepares it as transformers does: tools and documents are none when absent,
// add_generation_prompt is false, a message loses keys that are none, and its reasoning goes by all its names.
func decodeRequest(raw []byte) (*dict, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	v, err := decodeJSON(dec)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read request: something follows the JSON object")
	}
	request, ok := asDict(v)
	if !ok {
		return nil, errors.New("read request: not a JSON object")
	}
	given, _ := request.getText("messages")
	messages, ok := asList(given)
	if !ok {
		return nil, errors.New("read request: messages is not a list")
	}
	prepared := make([]val, len(messages.items))
	for i, m := range messages.items {
		message, ok := asDict(m)
		if !ok {
			return nil, fmt.Errorf("read request: message %d is not an object", i)
		}
		prepared[i] = prepareMessage(message).value()
	}
	request.set(value.FromString("messages"), newList(prepared...))
	for name, otherwise := range map[string]val{"tools": value.None(), "documents": value.None(), "add_generation_prompt": value.False()} {
		if _, ok := request.getText(name); !ok {
			request.set(value.FromString(name), otherwise)
		}
	}
	return request, nil
}

// prepareMessage drops what is none and gives reasoning the names that templates read.
func prepareMessage(m *dict) *dict {
	out := newDict()
	reasoning := value.Undefined()
	for _, name := range []string{"reasoning_content", "thinking", "reasoning"} {
		if v, ok := m.getText(name); ok && !v.IsNone() {
			reasoning = v
			break
		}
	}
	if !reasoning.IsUndefined() {
		out.set(value.FromString("thinking"), reasoning)
	}
	for _, k := range m.keys {
		if v, _ := m.get(k); !v.IsNone() {
			out.set(k, v)
		}
	}
	if !reasoning.IsUndefined() {
		out.set(value.FromString("reasoning_content"), reasoning)
	}
	return out
}

// tidy makes one line of minijinja's error, with the template's line where it is known.
func tidy(err error) error {
	var raised *Raised
	if errors.As(err, &raised) {
		return raised
	}
	var e *minijinja.Error
	if !errors.As(err, &e) {
		return err
	}
	message := e.Message
	switch {
	case outOfFuel(err):
		return fmt.Errorf("the template does not end: more than %d statements ran", maxStatements)
	case e.Kind == minijinja.ErrUnknownFunction:
		message = "what is called here is not defined, or is no function"
	case message == "":
		message = e.Error()
	}
	message = strings.ReplaceAll(message, "\n", " ")
	if e.Span != nil && e.Span.StartLine > 0 {
		return fmt.Errorf("line %d: %s", e.Span.StartLine, message)
	}
	return errors.New(message)
}
