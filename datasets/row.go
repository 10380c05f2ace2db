package datasets

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Format is the layout of one row.
type Format string

// The formats of rows.
const (
	FormatUnknown          Format = "unknown"
	FormatInvalid          Format = "invalid" // not a JSON object
	FormatAlpaca           Format = "alpaca"
	FormatMessages         Format = "messages"
	FormatShareGPT         Format = "sharegpt"
	FormatPromptCompletion Format = "prompt_completion"
	FormatText             Format = "text"
	FormatInputIDs         Format = "input_ids"
	FormatPreference       Format = "preference"
)

// Formats are the values that `format:` of run.yaml may have.
var Formats = []Format{
	FormatAlpaca, FormatMessages, FormatShareGPT, FormatPromptCompletion, FormatText, FormatInputIDs, FormatPreference,
}

// ParseFormat returns the format called name; "" and "auto" are "", detection.
func ParseFormat(name string) (Format, error) {
	name = strings.NewReplacer("-", "_", "/", "_").Replace(name)
	if name == "" || name == "auto" {
		return "", nil
	}
	if f := Format(name); slices.Contains(Formats, f) {
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q: use one of %v, or leave it out to detect it", name, Formats)
}

// Row is one row of a file, with its place and its bytes.
type Row struct {
	File string
	// Line counts from 1; a row of a JSON array has the line on which it starts.
	Line int
	// Index is the row's number in the file, from 0. Blank lines are no rows.
	Index  int
	Format Format
	// Raw is the row's JSON as it lies in the file, without the line's end; for a
	// record of a table the object that it stands for.
	Raw []byte
	// Problem says why the row cannot be read; empty for a good row.
	Problem string

	options *Options // of its file; nil for a Row made elsewhere
	record  []byte   // of a table, as it lies in the file
}

// NewRow makes a row of JSON that lies in no file: a prompt of the playground, a
// row being edited. Options say how its fields are named.
func NewRow(raw []byte, o Options) Row {
	r := Row{Raw: raw, Line: 1, options: &o}
	r.detect(new(document))
	return r
}

// detect sets Format, or Problem when the row is not a JSON object. The parsed
// row stays in d.
func (r *Row) detect(d *document) layout {
	r.Format = FormatInvalid
	if r.Problem == "" {
		if err := d.parse(r.Raw); err != nil {
			r.Problem = err.Error()
		} else if d.object() == none {
			r.Problem = fmt.Sprintf("the row is %s, not a JSON object", kindName(d.kind(0)))
		}
	}
	if r.Problem != "" {
		d.raw, d.nodes = nil, d.nodes[:0]
	}
	l := resolve(d, r.options)
	r.Format = l.format
	return l
}

// tags returns the message tags of the row's file.
func (r *Row) tags() *Tags {
	if r.options == nil {
		return &Tags{}
	}
	return &r.options.Tags
}

// kindName is a JSON kind in words.
func kindName(kind byte) string {
	switch kind {
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "a list"
	case '{':
		return "an object"
	case 'n':
		return "null"
	case 0:
		return "missing"
	}
	return "a boolean"
}

// Field is one value of a row, made readable.
type Field struct {
	// Key is the path a Finding's Field has: "output", "messages[2].content".
	Key string
	// Label is what to show: the key, or the role of a message.
	Label string
	// Value is the decoded text (JSON for what is no string), not sanitised.
	Value string
}

// Fields returns the row's values in the file's order, a conversation message by
// message. A row that is not JSON has one field without a key, its bytes.
func (r Row) Fields() []Field {
	var d document
	r.detect(&d)
	if r.Problem != "" {
		return []Field{{Label: "raw", Value: string(r.Raw)}}
	}
	var fields []Field
	for c := range d.all(d.object()) {
		key := string(d.key(c))
		if isConversation(&d, c, r.tags()) {
			fields = append(fields, messageFields(&d, c, key, r.tags())...)
			continue
		}
		fields = append(fields, Field{Key: key, Label: key, Value: d.text(c)})
	}
	return fields
}

// messageFields is a field for each message's content, and for whatever else a
// message says (tool calls, a name).
func messageFields(d *document, list int32, key string, tags *Tags) (fields []Field) {
	i := 0
	for n := range d.all(list) {
		path := fmt.Sprintf("%s[%d]", key, i)
		i++
		t := readTurn(d, n, tags)
		if t.content == none {
			fields = append(fields, Field{Key: path, Label: t.name, Value: d.text(n)})
			continue
		}
		for c := range d.all(n) {
			switch name := string(d.key(c)); {
			case c == t.content:
				fields = append(fields, Field{Key: path + "." + name, Label: t.name, Value: d.text(c)})
			case name != t.roleKey:
				fields = append(fields, Field{Key: path + "." + name, Label: t.name + "." + name, Value: d.text(c)})
			}
		}
	}
	return fields
}

// Text returns all of the row's values, one after the other on lines of their
// own: what a filter searches.
func (r Row) Text() string {
	var b strings.Builder
	for _, f := range r.Fields() {
		b.WriteString(f.Value)
		b.WriteByte('\n')
	}
	return b.String()
}

// Preview returns what the row asks and answers on one line of at most n runes,
// white space collapsed.
func (r Row) Preview(n int) string {
	var d document
	l := r.detect(&d)
	if r.Problem != "" {
		return oneLine(n, string(r.Raw))
	}
	switch {
	case l.messages != none:
		return oneLine(n, conversationPreview(&d, l.messages, r.tags())...)
	case l.format == FormatText:
		return oneLine(n, d.text(l.text))
	case l.format == FormatPreference:
		return oneLine(n, d.text(l.prompt), "→", d.text(l.chosen))
	case l.prompt != none || l.response != none:
		return oneLine(n, d.text(l.prompt), d.text(l.query), "→", d.text(l.response))
	}
	return oneLine(n, string(r.Raw))
}

// conversationPreview is the first question and its answer.
func conversationPreview(d *document, list int32, tags *Tags) (parts []string) {
	for n := range d.all(list) {
		switch t := readTurn(d, n, tags); {
		case t.role == roleUser && len(parts) == 0:
			parts = append(parts, d.text(t.content), "→")
		case t.role == roleAssistant && len(parts) > 0:
			return append(parts, d.text(t.content))
		}
	}
	if len(parts) == 0 {
		return []string{string(d.value(list))}
	}
	return parts
}

// oneLine joins parts by spaces, collapses white space and cuts to n runes.
func oneLine(n int, parts ...string) string {
	var line []rune
	space := false
	for _, part := range parts {
		for _, c := range part {
			if unicode.IsSpace(c) {
				space = true
				continue
			}
			if space && len(line) > 0 {
				line = append(line, ' ')
			}
			space = false
			if line = append(line, c); len(line) > n {
				return string(append(line[:max(n-1, 0)], '…'))
			}
		}
		space = true
	}
	return string(line)
}

// RowError says why a row cannot be used.
type RowError struct {
	File   string
	Line   int // from 1
	Row    int // from 0
	Reason string
	Err    error // the cause, when there is one
}

// Error is one line: file, line, row, reason.
func (e *RowError) Error() string {
	return fmt.Sprintf("%s:%d: row %d: %s", e.File, e.Line, e.Row, e.Reason)
}

// Unwrap returns the cause.
func (e *RowError) Unwrap() error { return e.Err }

func (r Row) fail(err error, format string, args ...any) *RowError {
	return &RowError{File: r.File, Line: r.Line, Row: r.Index, Reason: fmt.Sprintf(format, args...), Err: err}
}
