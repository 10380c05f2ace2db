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
// where the header ends, the place of the content decides.
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
	if ok {
		return span, nil
	}
	return span, ErrMask
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
	end := len(strings.TrimRightFunc(after, isPySpace))
	if !strings.HasPrefix(s.text, after[:end]) || !strings.HasPrefix(after, before) {
		return span, false, false
	}
	start := len(before)
	prompt, err := s.render(s.messages[:s.i], true)
	if err == nil && len(prompt) > len(before) && strings.HasPrefix(prompt, before) {
		start, header = commonPrefix(prompt, after), true
		if start < len(prompt) { // the prompt opens something that this turn does not, such as an empty thought
			start = headerEnd(after, len(before), start)
		}
	}
	if start > end {
		start = end
	}
	return [2]int{start, end}, header, true
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

// headerEnd steps back from a difference to the end of the last line or token before it.
func headerEnd(s string, low, at int) int {
	if i := strings.LastIndexAny(s[low:at], "\n>]|:"); i >= 0 {
		return low + i + 1
	}
	return low
}

// byContent renders the conversation with a mark in place of the turn's content. What stands around the mark has to
// stand around the content too. The end-of-turn token is what follows the mark when the conversation ends there.
func (s turn) byContent() ([2]int, bool) {
	var span [2]int
	content, _ := s.message.getText("content")
	if words, ok := content.AsString(); !ok || strings.TrimFunc(words, isPySpace) == "" {
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
	span = [2]int{len(left), len(s.text) - len(right)}
	ended, err := s.render(messages[:s.i+1], false)
	if err != nil {
		return span, false
	}
	_, tail, once := cutOnce(ended, contentMark)
	if !once {
		return span, false
	}
	tail = strings.TrimRightFunc(tail, isPySpace)
	span[1] += len(tail[:commonPrefix(tail, right)])
	return span, true
}

// contentMark is a text without white space that no content holds.
var contentMark = "content-" + beginMark[2:]

func cutOnce(s, sep string) (before, after string, once bool) {
	before, after, ok := strings.Cut(s, sep)
	return before, after, ok && !strings.Contains(after, sep)
}
