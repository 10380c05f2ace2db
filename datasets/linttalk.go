package datasets

import (
	"slices"
	"strings"
)

// conversation checks a list of messages as OpenAI's cookbook does, and who
// speaks after whom.
func (l *linter) conversation(list int32) {
	switch {
	case list == none:
		l.whole(CodeMissingMessagesList, [2]int{}, "the list of messages is missing")
		return
	case l.d.kind(list) != '[':
		l.value(list, CodeMissingMessagesList, "%s is %s, not a list of messages", l.d.key(list), kindName(l.d.kind(list)))
		return
	case l.d.nodes[list].children == 0:
		l.value(list, CodeMissingMessagesList, "the list of messages is empty")
		return
	}
	whole := l.readTurns(list)
	if !slices.ContainsFunc(l.turns, isAnswer) {
		l.value(list, CodeMissingAssistantMessage, "no message of the assistant: there is nothing to learn")
		return
	}
	if whole {
		l.alternation()
	}
}

func isAnswer(t turn) bool { return t.role == roleAssistant || t.role == roleCall }

// readTurns reads and checks the messages of a list into l.turns, and reports
// whether all of them have a known role.
func (l *linter) readTurns(list int32) (whole bool) {
	l.turns = l.turns[:0]
	whole = true
	for n := range l.d.all(list) {
		if l.d.kind(n) != '{' {
			l.value(n, CodeDataType, "the message is %s, not an object", kindName(l.d.kind(n)))
			whole = false
			continue
		}
		t := readTurn(&l.d, n, l.at.tags())
		l.turns = append(l.turns, t)
		l.message(t)
		whole = whole && t.role != roleUnknown
	}
	return whole
}

// message checks one message.
func (l *linter) message(t turn) {
	calls := l.d.get(t.node, "tool_calls") != none || l.d.get(t.node, "function_call") != none
	switch {
	case !t.hasRole:
		l.value(t.node, CodeMessageMissingKey, "the message has no %q", t.roleKey)
	case t.role == roleUnknown:
		l.value(t.node, CodeUnrecognizedRole, "the role %q is unknown: use system, user, assistant or tool", short([]byte(t.name)))
	}
	switch kind := l.d.kind(t.content); {
	case kind == 0 && !calls:
		l.value(t.node, CodeMessageMissingKey, "the message has no %q", t.contentKey)
	case kind == 0, calls && (kind == 'n' || len(l.inner(t.content)) == 0):
	case kind == 'n':
		l.value(t.content, CodeMissingContent, "the content is null")
	case kind == '[':
		l.contentParts(t.content)
	case kind != '"':
		l.value(t.content, CodeMissingContent, "the content is %s, not a text", kindName(kind))
	default:
		l.messageText(t)
	}
	for c := range l.d.all(t.node) {
		if key := string(l.d.key(c)); key != t.roleKey && key != t.contentKey && !slices.Contains(messageKeys, key) {
			l.value(c, CodeMessageUnrecognizedKey, "chat templates do not read %q of a message", short([]byte(key)))
		}
	}
}

// messageKeys are what a message may have beside role and content.
var messageKeys = []string{
	"name", "function_call", "tool_calls", "tool_call_id", "weight", "train", "reasoning_content", "reasoning", "thinking", "refusal", "label", "id",
}

// messageText checks the text of a message.
func (l *linter) messageText(t turn) {
	switch {
	case len(l.inner(t.content)) == 0:
		l.value(t.content, CodeMissingContent, "the content is empty")
		if isAnswer(t) {
			l.value(t.content, CodeEmptyOutput, "the answer is empty: the model would learn to say nothing")
		}
	case l.isBlank(t.content) && isAnswer(t):
		l.value(t.content, CodeEmptyOutput, "the answer is white space: the model would learn to say nothing")
	case l.isBlank(t.content):
		l.value(t.content, CodeMissingContent, "the content is white space")
	case isAnswer(t):
		l.edges(t.content, true)
		l.answer(t.content)
	default:
		l.edges(t.content, true)
	}
}

// contentParts checks content as a list of parts: text is what can be trained.
func (l *linter) contentParts(list int32) {
	text := false
	for part := range l.d.all(list) {
		if kind := l.d.get(part, "type"); kind != none && l.d.text(kind) != "text" {
			l.value(part, CodeMissingContent, "a part of type %q is no text", short([]byte(l.d.text(kind))))
			return
		}
		text = text || strings.TrimSpace(l.d.text(l.d.get(part, "text"))) != ""
	}
	if !text {
		l.value(list, CodeMissingContent, "the list of content parts has no text")
	}
}

// alternation finds the first message that is not in its turn: system first,
// then user and assistant one after the other, tools after a call, the
// assistant last.
func (l *linter) alternation() {
	before := roleUnknown
	for i, t := range l.turns {
		reason := ""
		switch {
		case t.role == roleSystem && i > 0 && before != roleSystem:
			reason = "a system message stands after others"
		case t.role == roleUser && before == roleUser:
			reason = "two messages of the user follow one another"
		case t.role == roleUser && before == roleTool:
			reason = "a tool's answer is followed by the user, not the assistant"
		case t.role == roleAssistant && before == roleAssistant && !l.hasCalls(l.turns[i-1]):
			reason = "two messages of the assistant follow one another"
		case isAnswer(t) && (before == roleUnknown || before == roleSystem):
			reason = "the assistant speaks before the user"
		case t.role == roleTool && before != roleTool && before != roleCall && !(before == roleAssistant && l.hasCalls(l.turns[i-1])):
			reason = "a tool answers that nobody called"
		}
		if reason != "" {
			l.value(t.node, CodeRoleAlternation, "%s", reason)
			return
		}
		before = t.role
	}
	if last := l.turns[len(l.turns)-1]; !isAnswer(last) {
		l.value(last.node, CodeRoleAlternation, "the last message is not the assistant's: nothing answers it")
	}
}

// hasCalls reports whether a message of the assistant calls a tool.
func (l *linter) hasCalls(t turn) bool {
	return l.d.get(t.node, "tool_calls") != none || l.d.get(t.node, "function_call") != none
}
