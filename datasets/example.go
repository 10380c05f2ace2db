package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Reasons why a row cannot be trained on, for callers that decide by them.
var (
	ErrNoTemplate     = errors.New("the model has no chat template")
	ErrNoTrainedToken = errors.New("no token of the row is trained")
	ErrPreference     = errors.New("preference rows are not trained")
)

// example is what a row says, whatever its format: a conversation for the chat
// template, plain prompt and answer, or a text.
type example struct {
	turns []exampleTurn // nil when plain
	tools []byte        // JSON list, or nil

	prompt, answer string
}

// exampleTurn is one message as the template gets it.
type exampleTurn struct {
	json      []byte
	assistant bool
	trained   bool
	text      string // of an assistant's turn
}

// readExample reads the row in d. Its errors are reasons, without the place.
func readExample(d *document, l layout, tags *Tags, template bool) (example, error) {
	switch l.format {
	case FormatMessages, FormatShareGPT:
		return readConversation(d, l, tags)
	case FormatAlpaca:
		return readAlpaca(d, l, template)
	case FormatPromptCompletion:
		return readPair(d, l, tags)
	case FormatText:
		if d.kind(l.text) != '"' {
			return example{}, fmt.Errorf("text is %s, not a string", kindName(d.kind(l.text)))
		}
		return example{answer: d.text(l.text)}, nil
	case FormatPreference:
		return example{}, fmt.Errorf("%w yet: keep prompt and chosen as prompt and completion", ErrPreference)
	}
	return example{}, errors.New("the row has none of the known formats' fields: name them with `columns`, or see the formats in the manual")
}

// readConversation reads messages and sharegpt rows.
func readConversation(d *document, l layout, tags *Tags) (e example, err error) {
	if e.tools, err = readTools(d, l.tools); err != nil {
		return e, err
	}
	if d.kind(l.messages) != '[' {
		return e, fmt.Errorf("the list of messages is %s", kindName(d.kind(l.messages)))
	}
	if e.turns, err = readTurns(d, l.messages, tags, true); err != nil {
		return e, err
	}
	if system := d.text(l.system); system != "" && !startsWithSystem(d, l.messages, tags) {
		e.turns = append([]exampleTurn{newTurn("system", system)}, e.turns...)
	}
	return e, nil
}

func startsWithSystem(d *document, list int32, tags *Tags) bool {
	first := d.nodes[list].first
	return first != none && readTurn(d, first, tags).role == roleSystem
}

// readTurns reads a list of messages; trained says whether the assistant's are.
func readTurns(d *document, list int32, tags *Tags, trained bool) (turns []exampleTurn, err error) {
	for n := range d.all(list) {
		if d.kind(n) != '{' {
			return nil, fmt.Errorf("message %d is %s, not an object", len(turns), kindName(d.kind(n)))
		}
		t := readTurn(d, n, tags)
		if !t.hasRole {
			return nil, fmt.Errorf("message %d has no %s", len(turns), t.roleKey)
		}
		turns = append(turns, exampleTurn{
			json:      messageJSON(d, t),
			assistant: t.role == roleAssistant || t.role == roleCall,
			trained:   trained && isWeighted(d, n),
			text:      d.text(t.content),
		})
	}
	return turns, nil
}

// isWeighted is false for messages that ask not to be trained: OpenAI's
// "weight": 0 and axolotl's "train": false.
func isWeighted(d *document, n int32) bool {
	weight, train := d.get(n, "weight"), d.get(n, "train")
	return !(d.kind(weight) == '0' && strings.Trim(d.text(weight), "0.") == "") && d.kind(train) != 'f'
}

// messageJSON is a message in the templates' words. One that has them already
// goes through as it is, with all its keys.
func messageJSON(d *document, t turn) []byte {
	if t.roleKey == "role" && t.contentKey == "content" && t.role != roleCall {
		if r, ok := rolesOfMessages[t.name]; ok && r == t.role || t.role == roleUnknown {
			return bytes.Clone(d.value(t.node))
		}
	}
	if t.role == roleCall {
		if call := toolCalls(d.text(t.content)); call != nil {
			return fmt.Appendf(nil, `{"role":"assistant","content":"","tool_calls":%s}`, call)
		}
	}
	name := t.name
	switch t.role {
	case roleUser, roleAssistant, roleSystem, roleTool:
		if name != "developer" {
			name = string(t.role)
		}
	case roleCall:
		name = string(roleAssistant)
	}
	content := d.value(t.content)
	if content == nil {
		content = []byte(`""`)
	}
	return fmt.Appendf(nil, `{"role":%s,"content":%s}`, quote(name), content)
}

// toolCalls makes a template's tool_calls of sharegpt's function_call value, one
// call or a list of them; nil when it is no JSON.
func toolCalls(value string) []byte {
	var d document
	if d.parse([]byte(value)) != nil {
		return nil
	}
	calls := []int32{0}
	if d.kind(0) == '[' {
		calls = calls[:0]
		for c := range d.all(0) {
			calls = append(calls, c)
		}
	}
	var b []byte
	for i, c := range calls {
		if d.kind(c) != '{' {
			return nil
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"type":"function","function":%s}`, d.value(c))
	}
	return append(append([]byte{'['}, b...), ']')
}

// readTools reads the list of tools, which LLaMA-Factory has as a string.
func readTools(d *document, n int32) ([]byte, error) {
	value := d.value(n)
	if d.kind(n) == '"' {
		value = []byte(strings.TrimSpace(d.text(n)))
		if len(value) > 0 && !jsontext.Value(value).IsValid() {
			return nil, errors.New("tools is a string that is not JSON")
		}
	}
	if len(value) == 0 || value[0] == 'n' {
		return nil, nil
	}
	if value[0] != '[' {
		return nil, fmt.Errorf("tools is %s, not a list", kindName(d.kind(n)))
	}
	return bytes.Clone(value), nil
}

// readAlpaca reads instruction rows: messages for a template, else the original
// Stanford Alpaca prompt.
func readAlpaca(d *document, l layout, template bool) (example, error) {
	for _, p := range []struct {
		name string
		node int32
	}{{"instruction", l.prompt}, {"output", l.response}} {
		if d.kind(p.node) != '"' {
			return example{}, fmt.Errorf("%s is %s, not a string", p.name, kindName(d.kind(p.node)))
		}
	}
	history, err := readHistory(d, l.history)
	if err != nil {
		return example{}, err
	}
	a := alpaca{
		system: d.text(l.system), history: history,
		instruction: d.text(l.prompt), input: d.text(l.query), output: d.text(l.response),
	}
	if !template {
		return example{prompt: a.prompt(), answer: a.output}, nil
	}
	return example{turns: a.turns()}, nil
}

// readHistory reads [[question, answer], …].
func readHistory(d *document, n int32) (history [][2]string, err error) {
	if d.kind(n) == 0 || d.kind(n) == 'n' {
		return nil, nil
	}
	if d.kind(n) != '[' {
		return nil, fmt.Errorf("history is %s, not a list of pairs", kindName(d.kind(n)))
	}
	for pair := range d.all(n) {
		if d.kind(pair) != '[' || d.nodes[pair].children != 2 {
			return nil, fmt.Errorf("history[%d] is not a pair of question and answer", len(history))
		}
		question := d.nodes[pair].first
		history = append(history, [2]string{d.text(question), d.text(d.nodes[question].next)})
	}
	return history, nil
}

// alpaca is an instruction row.
type alpaca struct {
	system                     string
	history                    [][2]string
	instruction, input, output string
}

// The prompt of Stanford Alpaca (train.py, PROMPT_DICT).
const (
	alpacaWithInput = "Below is an instruction that describes a task, paired with an input that provides further context. " +
		"Write a response that appropriately completes the request.\n\n"
	alpacaWithout = "Below is an instruction that describes a task. " +
		"Write a response that appropriately completes the request.\n\n"
)

// prompt is the text before the output, without a chat template. A system text
// stands in the place of the preamble; history goes before, turn by turn.
func (a alpaca) prompt() string {
	var b strings.Builder
	switch {
	case a.system != "":
		b.WriteString(a.system + "\n\n")
	case a.input != "":
		b.WriteString(alpacaWithInput)
	default:
		b.WriteString(alpacaWithout)
	}
	for _, h := range a.history {
		b.WriteString("### Instruction:\n" + h[0] + "\n\n### Response:" + h[1] + "\n\n")
	}
	b.WriteString("### Instruction:\n" + a.instruction + "\n\n")
	if a.input != "" {
		b.WriteString("### Input:\n" + a.input + "\n\n")
	}
	b.WriteString("### Response:")
	return b.String()
}

// turns is the row as a conversation.
func (a alpaca) turns() (turns []exampleTurn) {
	if a.system != "" {
		turns = append(turns, newTurn("system", a.system))
	}
	for _, h := range a.history {
		turns = append(turns, newTurn("user", h[0]), newTurn("assistant", h[1]))
	}
	question := a.instruction
	if a.input != "" {
		question += "\n" + a.input
	}
	return append(turns, newTurn("user", question), newTurn("assistant", a.output))
}

// readPair reads prompt and completion: strings as they are, without a template
// (as TRL does); lists of messages through it, the completion's trained.
func readPair(d *document, l layout, tags *Tags) (e example, err error) {
	prompt, answer := d.kind(l.prompt), d.kind(l.response)
	if prompt != '[' && answer != '[' {
		if prompt != '"' && prompt != 0 {
			return e, fmt.Errorf("the prompt is %s, not a string", kindName(prompt))
		}
		if answer != '"' {
			return e, fmt.Errorf("the completion is %s, not a string", kindName(answer))
		}
		return example{prompt: d.text(l.prompt), answer: d.text(l.response)}, nil
	}
	if e.tools, err = readTools(d, l.tools); err != nil {
		return e, err
	}
	for _, part := range []struct {
		node    int32
		speaker string
	}{{l.prompt, "user"}, {l.response, "assistant"}} {
		if d.kind(part.node) != '[' {
			e.turns = append(e.turns, newTurn(part.speaker, d.text(part.node)))
			continue
		}
		turns, err := readTurns(d, part.node, tags, part.speaker == "assistant")
		if err != nil {
			return e, err
		}
		e.turns = append(e.turns, turns...)
	}
	return e, nil
}

// newTurn makes a message of plain text.
func newTurn(speaker, text string) exampleTurn {
	return exampleTurn{
		json:      fmt.Appendf(nil, `{"role":%s,"content":%s}`, quote(speaker), quote(text)),
		assistant: speaker == "assistant", trained: true, text: text,
	}
}

// quote returns s as a JSON string; what is not UTF-8 becomes U+FFFD.
func quote(s string) []byte {
	quoted, _ := jsontext.AppendQuote(nil, s)
	return quoted
}

// request is what a [Renderer] renders.
func request(turns []exampleTurn, tools []byte, generate bool) []byte {
	b := []byte(`{"messages":[`)
	for i, t := range turns {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, t.json...)
	}
	b = append(b, ']')
	if tools != nil {
		b = append(append(b, `,"tools":`...), tools...)
	}
	return fmt.Appendf(b, `,"add_generation_prompt":%t}`, generate)
}
