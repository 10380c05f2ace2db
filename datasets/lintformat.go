package datasets

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// structure checks what a row's format asks for.
func (l *linter) structure() {
	p := l.parts
	switch p.format {
	case FormatMessages, FormatShareGPT:
		l.conversation(p.messages)
	case FormatAlpaca:
		l.instruction(p.prompt, "instruction")
		l.input(p.query)
		l.mergedInstruction(p.prompt)
		l.output(p.response, "output")
	case FormatPromptCompletion:
		l.pair(p.prompt, p.response)
	case FormatText:
		if l.isString(p.text, "text", CodeEmptyOutput) && l.isBlank(p.text) {
			l.value(p.text, CodeEmptyOutput, "the text is empty")
		}
	case FormatInputIDs:
		l.ids()
	case FormatPreference:
		l.preference(p.chosen, "chosen")
		l.preference(p.rejected, "rejected")
	case FormatUnknown:
		l.whole(CodeMissingMessagesList, [2]int{}, "no list of messages, and none of the fields of another known format (it has %s)", l.memberList())
	}
}

// memberList names the row's first members.
func (l *linter) memberList() string {
	var names []string
	for c := range l.d.all(0) {
		if len(names) == 6 {
			return strings.Join(append(names, "…"), ", ")
		}
		names = append(names, short(l.d.key(c)))
	}
	if names == nil {
		return "no fields at all"
	}
	return strings.Join(names, ", ")
}

// isString reports another kind as data_type, and a missing value or null by
// the code missing.
func (l *linter) isString(n int32, name, missing string) bool {
	switch l.d.kind(n) {
	case '"':
		return true
	case 0:
		l.report(name, missing, [2]int{}, name+" is missing")
	case 'n':
		l.value(n, missing, "%s is null", name)
	default:
		l.value(n, CodeDataType, "%s is %s, not a string", name, kindName(l.d.kind(n)))
	}
	return false
}

// isBlank reports whether string n has nothing but white space.
func (l *linter) isBlank(n int32) bool {
	for inner := l.inner(n); len(inner) > 0; {
		r, size := rune(inner[0]), 1
		switch {
		case r == '\\' && inner[1] == 'u':
			r, size = escapedRune(inner)
		case r == '\\':
			r, size = rune(escapes[inner[1]]), 2
		case r >= utf8.RuneSelf:
			r, size = utf8.DecodeRune(inner)
		}
		if !unicode.IsSpace(r) {
			return false
		}
		inner = inner[size:]
	}
	return true
}

func (l *linter) instruction(n int32, name string) {
	if !l.isString(n, name, CodeEmptyInstruction) {
		return
	}
	if l.isBlank(n) {
		l.value(n, CodeEmptyInstruction, "the %s is empty", name)
		return
	}
	l.edges(n, true)
}

// placeholders stand for an empty input or output in well-known datasets.
var placeholders = []string{
	"n/a", "na", "nan", "none", "null", "nil", "-", "--", "no input", "<no input>", "no input.", "noinput", "<noinput>",
	"no input required", "no input needed", "not applicable", "no output", "<no output>", "<nooutput>",
}

// isPlaceholder reports whether string n is one of them.
func (l *linter) isPlaceholder(n int32) bool {
	inner := bytes.TrimSpace(l.inner(n))
	return len(inner) <= 20 && slices.Contains(placeholders, strings.ToLower(string(inner)))
}

func (l *linter) input(n int32) {
	if n == none || l.d.kind(n) == 'n' {
		return
	}
	if !l.isString(n, "input", CodeDataType) || l.isBlank(n) {
		return
	}
	if l.isPlaceholder(n) {
		l.value(n, CodeNoInputPlaceholder, "the input is the words %q: leave it empty", l.d.text(n))
		return
	}
	l.edges(n, true)
}

// output checks an answer.
func (l *linter) output(n int32, name string) {
	if !l.isString(n, name, CodeEmptyOutput) {
		return
	}
	switch {
	case l.isBlank(n):
		l.value(n, CodeEmptyOutput, "the %s is empty: the model would learn to say nothing", name)
		return
	case l.isPlaceholder(n) && len(l.inner(n)) > 1:
		l.value(n, CodeNAOutput, "the %s is the placeholder %q", name, l.d.text(n))
	}
	l.edges(n, l.parts.format != FormatPromptCompletion)
	l.answer(n)
}

// answer looks for other examples and for refusals inside an answer.
func (l *linter) answer(n int32) {
	inner := l.inner(n)
	if at, end := nextInstruction(inner); at >= 0 {
		l.part(n, CodeMergedInstruction, at, end, "another instruction begins inside the answer")
	}
	if at, end := refusalAt(inner); at >= 0 {
		l.part(n, CodeRefusal, at, end, "the answer is a refusal, or speaks of being an AI model")
	}
}

// nextInstruction finds "14. Instruction:" or "### Instruction:" at the start of
// a line of raw JSON text.
func nextInstruction(inner []byte) (start, end int) {
	word := []byte("Instruction:")
	for from := 0; ; {
		i := bytes.Index(inner[from:], word)
		if i < 0 {
			return -1, -1
		}
		end := from + i + len(word)
		start := from + i
		for start > 0 && strings.IndexByte("0123456789.# ", inner[start-1]) >= 0 {
			start--
		}
		line := start == 0 || start >= 2 && inner[start-2] == '\\' && inner[start-1] == 'n'
		if line && start < from+i {
			return start, end
		}
		from = end
	}
}

// mergedInstruction finds an instruction that holds its own input and output.
func (l *linter) mergedInstruction(n int32) {
	inner := l.inner(n)
	input := bytes.Index(inner, []byte("Input:"))
	if input < 0 {
		return
	}
	if output := bytes.LastIndex(inner, []byte("Output:")); output > input {
		l.part(n, CodeMergedInstruction, input, output+len("Output:"), "the instruction holds an input and an output of its own")
	}
}

// edges finds white space at the ends of a text.
func (l *linter) edges(n int32, leading bool) {
	inner := l.inner(n)
	if len(inner) == 0 {
		return
	}
	blank := func(c byte) bool { return strings.IndexByte(`ntr`, c) >= 0 }
	first := inner[0] == ' ' || len(inner) > 1 && inner[0] == '\\' && blank(inner[1])
	last := len(inner) - 1
	final := inner[last] == ' ' || last > 0 && blank(inner[last]) && inner[last-1] == '\\' && !escaped(inner, last-1)
	switch {
	case first && leading:
		l.part(n, CodeEdgeWhitespace, 0, edgeEnd(inner), "the text begins with white space")
	case final:
		text := l.d.text(n)
		l.report(pathOf(&l.d, n), CodeEdgeWhitespace, [2]int{len(strings.TrimRight(text, " \n\t\r")), len(text)},
			"the text ends with white space")
	}
}

// escaped reports whether the byte at i follows an odd number of backslashes.
func escaped(inner []byte, i int) bool {
	n := 0
	for n < i && inner[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// edgeEnd returns where the leading white space of raw JSON text ends.
func edgeEnd(inner []byte) int {
	i := 0
	for i < len(inner) {
		switch {
		case inner[i] == ' ':
			i++
		case inner[i] == '\\' && i+1 < len(inner) && strings.IndexByte(`ntr`, inner[i+1]) >= 0:
			i += 2
		default:
			return i
		}
	}
	return i
}

// pair checks prompt and completion, as strings or lists of messages.
func (l *linter) pair(prompt, completion int32) {
	if l.d.kind(prompt) == '[' || l.d.kind(completion) == '[' {
		answered := l.d.kind(completion) == '"'
		for _, n := range []int32{prompt, completion} {
			if l.d.kind(n) == '[' {
				l.readTurns(n)
				answered = answered || slices.ContainsFunc(l.turns, isAnswer)
			}
		}
		if !answered {
			l.value(completion, CodeMissingAssistantMessage, "the completion has no message of the assistant")
		}
		return
	}
	l.promptOf(prompt)
	name := "completion"
	if completion != none {
		name = l.d.name(completion)
	}
	l.output(completion, name)
}

// promptOf checks a prompt; that it ends with a space may be meant.
func (l *linter) promptOf(n int32) {
	name := "prompt"
	if n != none {
		name = l.d.name(n)
	}
	if l.isString(n, name, CodeEmptyInstruction) && l.isBlank(n) {
		l.value(n, CodeEmptyInstruction, "the %s is empty", name)
	}
}

// preference checks one of the two answers.
func (l *linter) preference(n int32, name string) {
	if l.d.kind(n) == '[' {
		l.readTurns(n)
		if !slices.ContainsFunc(l.turns, isAnswer) {
			l.value(n, CodeMissingAssistantMessage, "%s has no message of the assistant", name)
		}
		return
	}
	l.output(n, name)
}

// ids checks ready-made rows as far as that goes without a vocabulary.
func (l *linter) ids() {
	if l.encoder != nil {
		return // its error says more
	}
	const anyID = 1 << 31
	ids, err := readIDs(&l.d, l.parts.ids, "input_ids", anyID-1, false)
	if err != nil {
		l.value(l.parts.ids, CodeTokenID, "%v", err)
		return
	}
	if kind := l.d.kind(l.parts.labels); kind == 0 || kind == 'n' {
		return
	}
	labels, err := readIDs(&l.d, l.parts.labels, "labels", anyID-1, true)
	switch {
	case err != nil:
		l.value(l.parts.labels, CodeTokenID, "%v", err)
	case len(labels) != len(ids):
		l.value(l.parts.labels, CodeTokenID, "%d input_ids and %d labels: there must be a label for each", len(ids), len(labels))
	}
}
