package datasets

// Columns maps the names of this package to the names of a file's fields, as
// `columns` of LLaMA-Factory's dataset_info does. An empty name is the formats'
// own.
type Columns struct {
	Prompt   string `yaml:"prompt"`
	Query    string `yaml:"query"`
	Response string `yaml:"response"`
	System   string `yaml:"system"`
	History  string `yaml:"history"`
	Messages string `yaml:"messages"`
	Tools    string `yaml:"tools"`
	Text     string `yaml:"text"`
	Chosen   string `yaml:"chosen"`
	Rejected string `yaml:"rejected"`
}

// Tags are the names inside a message, as `tags` of LLaMA-Factory's dataset_info.
// Empty ones are role/content or from/value, and the usual roles.
type Tags struct {
	Role        string `yaml:"role_tag"`
	Content     string `yaml:"content_tag"`
	User        string `yaml:"user_tag"`
	Assistant   string `yaml:"assistant_tag"`
	Observation string `yaml:"observation_tag"`
	Function    string `yaml:"function_tag"`
	System      string `yaml:"system_tag"`
}

// layout is where the parts of a row lie in its document; absent parts are none.
// What a part means depends on format: prompt is alpaca's instruction, messages
// also sharegpt's conversations.
type layout struct {
	format                                   Format
	prompt, query, response, system, history int32
	messages, tools, text, chosen, rejected  int32
	ids, labels                              int32
}

// member numbers the field names that formats are made of.
type member int

const (
	mInstruction member = iota
	mInput
	mContext
	mOutput
	mPrompt
	mCompletion
	mResponse
	mQuestion
	mAnswer
	mSystem
	mHistory
	mMessages
	mConversations
	mTools
	mText
	mChosen
	mRejected
	mInputIDs
	mLabels
	members
)

// memberNames are the names.
var memberNames = [members]string{
	mInstruction:   "instruction",
	mInput:         "input",
	mContext:       "context",
	mOutput:        "output",
	mPrompt:        "prompt",
	mCompletion:    "completion",
	mResponse:      "response",
	mQuestion:      "question",
	mAnswer:        "answer",
	mSystem:        "system",
	mHistory:       "history",
	mMessages:      "messages",
	mConversations: "conversations",
	mTools:         "tools",
	mText:          "text",
	mChosen:        "chosen",
	mRejected:      "rejected",
	mInputIDs:      "input_ids",
	mLabels:        "labels",
}

// memberOf knows the names. A switch is several times faster than a map, and
// this is asked for every field of every row.
func memberOf(name []byte) (member, bool) {
	switch string(name) {
	case "instruction":
		return mInstruction, true
	case "input":
		return mInput, true
	case "context":
		return mContext, true
	case "output":
		return mOutput, true
	case "prompt":
		return mPrompt, true
	case "completion":
		return mCompletion, true
	case "response":
		return mResponse, true
	case "question":
		return mQuestion, true
	case "answer":
		return mAnswer, true
	case "system":
		return mSystem, true
	case "history":
		return mHistory, true
	case "messages":
		return mMessages, true
	case "conversations":
		return mConversations, true
	case "tools":
		return mTools, true
	case "text":
		return mText, true
	case "chosen":
		return mChosen, true
	case "rejected":
		return mRejected, true
	case "input_ids":
		return mInputIDs, true
	case "labels":
		return mLabels, true
	}
	return 0, false
}

// present is the node of each known member of a row.
type present [members]int32

// has reports whether all of the members are there.
func (p *present) has(ms ...member) bool {
	for _, m := range ms {
		if p[m] == none {
			return false
		}
	}
	return true
}

// first returns the node of the first of the members that is there.
func (p *present) first(ms ...member) int32 {
	for _, m := range ms {
		if p[m] != none {
			return p[m]
		}
	}
	return none
}

// resolve detects the format of the document's row, or takes the one forced,
// and finds its parts.
func resolve(d *document, o *Options) layout {
	root := d.object()
	if root == none {
		return layoutOf(FormatInvalid, &absent)
	}
	p := absent
	for c := d.nodes[root].first; c != none; c = d.nodes[c].next {
		if m, ok := memberOf(d.key(c)); ok {
			p[m] = c
		}
	}
	if o == nil {
		return layoutOf(detectFormat(&p), &p)
	}
	format := o.Format
	if format == "" {
		format = o.Columns.format(d, root)
	}
	if format == "" {
		format = detectFormat(&p)
	}
	l := layoutOf(format, &p)
	o.Columns.apply(d, root, &l)
	return l
}

var absent = func() (p present) {
	for m := range p {
		p[m] = none
	}
	return p
}()

// detectFormat goes from the clearest sign to the weakest.
func detectFormat(p *present) Format {
	switch {
	case p.has(mInputIDs):
		return FormatInputIDs
	case p.has(mChosen, mRejected):
		return FormatPreference
	case p.has(mMessages):
		return FormatMessages
	case p.has(mConversations):
		return FormatShareGPT
	case p.has(mInstruction):
		return FormatAlpaca
	case p.has(mPrompt), p.has(mCompletion), p.has(mQuestion, mAnswer), p.has(mInput, mOutput), p.has(mQuestion, mResponse):
		return FormatPromptCompletion
	case p.has(mText):
		return FormatText
	case p.has(mInput), p.has(mOutput), p.has(mQuestion), p.has(mAnswer), p.has(mResponse):
		return FormatPromptCompletion // half of a pair: the linter says which half is missing
	}
	return FormatUnknown
}

// layoutOf places the known members in the parts of a format.
func layoutOf(format Format, p *present) layout {
	l := layout{
		format: format,
		prompt: none, query: none, response: none, messages: none, text: none, chosen: none, rejected: none,
		ids: none, labels: none, system: p[mSystem], history: p[mHistory], tools: p[mTools],
	}
	switch format {
	case FormatAlpaca:
		l.prompt = p.first(mInstruction, mPrompt, mQuestion)
		l.query = p.first(mInput, mContext)
		l.response = p.first(mOutput, mResponse, mCompletion, mAnswer)
	case FormatPromptCompletion:
		l.prompt = p.first(mPrompt, mQuestion, mInput, mInstruction)
		l.response = p.first(mCompletion, mAnswer, mResponse, mOutput)
		l.system, l.history = none, none
	case FormatMessages, FormatShareGPT:
		l.messages = p.first(mMessages, mConversations)
	case FormatText:
		l.text = p[mText]
	case FormatInputIDs:
		l.ids, l.labels = p[mInputIDs], p[mLabels]
	case FormatPreference:
		l.prompt = p.first(mPrompt, mQuestion, mInstruction)
		l.query = p[mInput]
		l.chosen, l.rejected = p[mChosen], p[mRejected]
	}
	return l
}

// format is the format that mapped columns ask for, when a row has them.
func (c *Columns) format(d *document, root int32) Format {
	has := func(name string) bool { return name != "" && d.get(root, name) != none }
	switch {
	case has(c.Chosen), has(c.Rejected):
		return FormatPreference
	case has(c.Messages):
		if list := d.get(root, c.Messages); d.kind(list) == '[' && d.get(d.nodes[list].first, "from") != none {
			return FormatShareGPT
		}
		return FormatMessages
	case has(c.Text):
		return FormatText
	case !has(c.Prompt) && !has(c.Response):
		return ""
	case c.Query != "" || c.System != "" || c.History != "":
		return FormatAlpaca
	}
	return FormatPromptCompletion
}

// apply replaces the parts whose columns are mapped.
func (c *Columns) apply(d *document, root int32, l *layout) {
	for _, m := range []struct {
		name string
		part *int32
	}{
		{c.Prompt, &l.prompt},
		{c.Query, &l.query},
		{c.Response, &l.response},
		{c.System, &l.system},
		{c.History, &l.history},
		{c.Messages, &l.messages},
		{c.Tools, &l.tools},
		{c.Text, &l.text},
		{c.Chosen, &l.chosen},
		{c.Rejected, &l.rejected},
	} {
		if m.name != "" {
			*m.part = d.get(root, m.name)
		}
	}
}
