package datasets

// role is who speaks in a turn, in the words of the chat templates.
type role string

const (
	roleUnknown   role = ""
	roleSystem    role = "system" // developer too
	roleUser      role = "user"
	roleAssistant role = "assistant"
	roleCall      role = "function_call" // sharegpt: the assistant calls a tool
	roleTool      role = "tool"
)

// turn is one message of a conversation.
type turn struct {
	node    int32 // the message
	name    string
	role    role
	content int32 // or none
	// roleKey and contentKey are the names used ("role" or "from" …), or what
	// they should have been.
	roleKey, contentKey string
	hasRole             bool
}

// rolesOfMessages are what OpenAI's format knows, rolesOfShareGPT what sharegpt
// adds to them.
var (
	rolesOfMessages = map[string]role{
		"system": roleSystem, "developer": roleSystem, "user": roleUser, "assistant": roleAssistant,
		"tool": roleTool, "function": roleTool, "ipython": roleTool,
	}
	rolesOfShareGPT = map[string]role{
		"human": roleUser, "gpt": roleAssistant, "chatgpt": roleAssistant, "bing": roleAssistant, "bard": roleAssistant,
		"model": roleAssistant, "function_call": roleCall, "observation": roleTool,
	}
)

// readTurn reads element n of a list of messages.
func readTurn(d *document, n int32, tags *Tags) turn {
	t := turn{node: n, roleKey: "role", contentKey: "content", content: none}
	var who int32
	if tags.Role != "" {
		t.roleKey = tags.Role
		who = d.get(n, tags.Role)
	} else if who = d.get(n, "role"); who == none {
		if who = d.get(n, "from"); who != none {
			t.roleKey, t.contentKey = "from", "value"
		}
	}
	if tags.Content != "" {
		t.contentKey = tags.Content
		t.content = d.get(n, tags.Content)
	} else if t.content = d.get(n, t.contentKey); t.content == none {
		other := map[string]string{"content": "value", "value": "content"}[t.contentKey]
		if t.content = d.get(n, other); t.content != none {
			t.contentKey = other
		}
	}
	t.hasRole = who != none
	t.name = d.speaker(who)
	t.role = tags.role(t.name, t.roleKey)
	return t
}

// speaker is text for the name of a role, of which there are few.
func (d *document) speaker(n int32) string {
	switch value := d.value(n); string(value) {
	case `"system"`:
		return "system"
	case `"user"`:
		return "user"
	case `"assistant"`:
		return "assistant"
	case `"human"`:
		return "human"
	case `"gpt"`:
		return "gpt"
	}
	return d.text(n)
}

// role says what a name means.
func (tags *Tags) role(name, key string) role {
	switch {
	case name == "":
		return roleUnknown
	case name == tags.User:
		return roleUser
	case name == tags.Assistant:
		return roleAssistant
	case name == tags.System:
		return roleSystem
	case name == tags.Observation:
		return roleTool
	case name == tags.Function:
		return roleCall
	}
	if r, ok := rolesOfMessages[name]; ok {
		return r
	}
	if key != "role" {
		return rolesOfShareGPT[name]
	}
	return roleUnknown
}

// isConversation reports whether n is a list of messages, by its first one.
func isConversation(d *document, n int32, tags *Tags) bool {
	if d.kind(n) != '[' || d.nodes[n].first == none {
		return false
	}
	first := d.nodes[n].first
	return d.kind(first) == '{' && readTurn(d, first, tags).hasRole
}
