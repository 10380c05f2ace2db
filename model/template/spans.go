package template

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mitsuhiko/minijinja/minijinja-go/v2/value"
)

// ErrMask says that the bytes of the assistant's turns cannot be told from the rest.
var ErrMask = errors.New("cannot derive which part of the text the assistant wrote: the template renders a conversation differently when it grows; add {% generation %} blocks to it")

// findSpans finds the assistant's turns in a rendering, for templates without generation blocks.
func (t *Template) findSpans(request *dict, text string) ([][2]int, error) {
	v, _ := request.getText("messages")
	messages, _ := asList(v)
	var spans [][2]int
	for i, m := range messages.items {
		message, _ := asDict(m)
		if role, _ := message.getText("role"); str(role) != "assistant" {
			continue
		}
		s := turn{t, request, messages.items, i, message, text}
		span, err := s.find()
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		if n := len(spans); n > 0 && span[0] < spans[n-1][1] {
			return nil, fmt.Errorf("message %d: %w", i, ErrMask)
		}
		if span[1] > span[0] {
			spans = append(spans, span)
		}
	}
	return spans, nil
}

// turn is one message of the assistant in a rendered conversation.
type turn struct {
	t        *Template
	request  *dict
	messages []val
	i        int
	message  *dict
	text     string // the whole conversation
}

// render renders other messages with the rest of the request as it is.
func (s turn) render(messages []val, prompt bool) (string, error) {
	request := s.request.clone()
	request.set(value.FromString("messages"), newList(messages...))
	request.set(value.FromString("add_generation_prompt"), value.FromBool(prompt))
	text, _, err := s.t.render(request)
	return text, err
}

// find tries the prefixes of the conversation first: they show everything that the model would have to produce, tool
// calls and reasoning too. Where the template does not extend a prefix, or has no generation prompt that would show
// where the header ends, the place of the content decides, and last the end-of-turn token.
func (s turn) find() ([2]int, error) {
	span, header, ok := s.byPrefix()
	if ok && header {
		return span, nil
	}
	if byContent, found := s.byContent(); found && (!ok || byContent[0] >= span[0] && byContent[1] <= span[1]) {
		if ok {
			byContent[1] = span[1]
		}
		return byContent, nil
	}
	if !ok {
		span, ok = s.byEndToken()
	}
	if !ok {
		return span, ErrMask
	}
	return span, nil
}

// content is the turn's text without white space at its ends, "" where it is none.
func (s turn) content() string {
	v, _ := s.message.getText("content")
	words, _ := v.AsString()
	return strings.TrimFunc(words, isPySpace)
}

// byPrefix compares the conversation before the turn, with and without the prompt for it, with the one that ends
// after it. header says that the prompt showed where the turn's own text begins.
func (s turn) byPrefix() (span [2]int, header, ok bool) {
	before, err := s.render(s.messages[:s.i], false)
	if err != nil {
		return span, false, false
	}
	after, err := s.render(s.messages[:s.i+1], false)
	if err != nil {
		return span, false, false
	}
	start, header, ok := s.start(before, after)
	if !ok {
		return span, false, false
	}
	end := len(strings.TrimRightFunc(after, isPySpace))
	// A template may close the conversation, not the turn. What a further message leaves standing is the turn's.
	if longer, err := s.render(append(append([]val{}, s.messages[:s.i+1]...), probe("user")), false); err == nil {
		if kept := start + len(sharedEnd(after[start:], longer[min(start, len(longer)):])); kept < end && strings.Contains(after[start:max(kept, start)], s.content()) && s.content() != "" {
			end = kept
		}
	}
	end = max(end, start)
	return [2]int{start, end}, header, strings.HasPrefix(s.text, after[:end])
}

// start gives where the turn's own text begins in a rendering that goes on from before: after the generation prompt,
// as far as that is a part of the rendering. header says whether there is a prompt.
func (s turn) start(before, text string) (at int, header, ok bool) {
	prompt, err := s.render(s.messages[:s.i], true)
	if err == nil && !strings.HasPrefix(prompt, before) { // without a prompt the template closes the conversation
		before = wholeTokens(before[:commonPrefix(before, prompt)])
	}
	if !strings.HasPrefix(text, before) {
		return 0, false, false
	}
	if err != nil || len(prompt) <= len(before) {
		return len(before), false, true
	}
	at = commonPrefix(prompt, text)
	if at < len(prompt) { // the prompt opens something that this turn does not, such as an empty thought
		at = len(before) + len(wholeTokens(text[len(before):at]))
	}
	return at, true, true
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return n
}

// wholeTokens cuts a text that ends anywhere back to the end of a line, a bracketed token or a label.
func wholeTokens(s string) string { return s[:strings.LastIndexAny(s, "\n>]:")+1] }

// sharedEnd is what two continuations have in common, in whole tokens and without white space at the end.
func sharedEnd(a, b string) string {
	n := commonPrefix(a, b)
	shared := a[:n]
	if n < len(a) && n < len(b) {
		shared = wholeTokens(shared)
	}
	return strings.TrimRightFunc(shared, isPySpace)
}

// byContent renders the conversation with a mark in place of the turn's content. What stands around the mark has to
// stand around the content too.
func (s turn) byContent() ([2]int, bool) {
	var span [2]int
	if s.content() == "" {
		return span, false
	}
	marked := s.message.clone()
	marked.set(value.FromString("content"), value.FromString(contentMark))
	messages := append([]val{}, s.messages...)
	messages[s.i] = marked.value()
	prompt, _ := s.request.getText("add_generation_prompt")
	whole, err := s.render(messages, prompt.IsTrue())
	if err != nil {
		return span, false
	}
	left, right, once := cutOnce(whole, contentMark)
	if !once || len(left)+len(right) > len(s.text) || !strings.HasPrefix(s.text, left) || !strings.HasSuffix(s.text, right) {
		return span, false
	}
	end, ok := s.endToken(marked.value())
	if !ok {
		return span, false
	}
	span = [2]int{len(left), len(s.text) - len(right)}
	span[1] += commonPrefix(end, right)
	return span, true
}

// endToken gives what follows a marked message whether or not another one comes.
func (s turn) endToken(marked val) (string, bool) {
	messages := append(append([]val{}, s.messages[:s.i]...), marked)
	ended, err := s.render(messages, false)
	if err != nil {
		return "", false
	}
	_, tail, once := cutOnce(ended, contentMark)
	if !once {
		return "", false
	}
	if longer, err := s.render(append(messages, probe("user")), false); err == nil {
		if _, other, once := cutOnce(longer, contentMark); once {
			return sharedEnd(tail, other), true
		}
	}
	return strings.TrimRightFunc(tail, isPySpace), true
}

// byEndToken takes the turn from the end of its header to the first end-of-turn token after it, for turns without
// content in a template that renders the last turn differently.
func (s turn) byEndToken() ([2]int, bool) {
	var span [2]int
	before, err := s.render(s.messages[:s.i], false)
	if err != nil {
		return span, false
	}
	plain := newDict()
	plain.set(value.FromString("role"), value.FromString("assistant"))
	plain.set(value.FromString("content"), value.FromString(contentMark))
	end, ok := s.endToken(plain.value())
	if !ok || end == "" || strings.Contains(repr(s.message.value()), end) {
		return span, false
	}
	start, header, ok := s.start(before, s.text)
	at := strings.Index(s.text[start:], end)
	if !ok || !header || at < 0 {
		return span, false
	}
	return [2]int{start, start + at + len(end)}, true
}

// contentMark and probeMark are texts without white space that no content holds.
var (
	contentMark = "content-" + beginMark[2:]
	probeMark   = "probe-" + beginMark[2:]
)

func probe(role string) val {
	d := newDict()
	d.set(value.FromString("role"), value.FromString(role))
	d.set(value.FromString("content"), value.FromString(probeMark))
	return d.value()
}

func cutOnce(s, sep string) (before, after string, once bool) {
	before, after, ok := strings.Cut(s, sep)
	return before, after, ok && !strings.Contains(after, sep)
}
