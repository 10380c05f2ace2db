package datasets

import (
	"fmt"
	"slices"
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

// ParseFormat returns the format called name ("" and "auto" are "", detection).
func ParseFormat(name string) (Format, error) {
	if name == "" || name == "auto" {
		return "", nil
	}
	if f := Format(name); slices.Contains(Formats, f) {
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q: use one of %v, or leave it out to detect it", name, Formats)
}

// Columns maps the names of this package to the names of a file's fields, as
// `columns` of LLaMA-Factory's dataset_info does. An empty name is the default.
type Columns struct {
	Prompt, Query, Response, System, History string
	Messages, Tools, Text, Chosen, Rejected  string
}

// Row is one row of a file, with its place and its bytes.
type Row struct {
	File string
	// Line counts from 1; a row of a JSON array has the line on which it starts.
	Line int
	// Index is the row's number in the file, from 0. Blank lines are no rows.
	Index  int
	Format Format
	// Raw is the row's JSON as it lies in the file, without the line's end.
	Raw []byte
	// Problem says why the row cannot be read; empty for a good row.
	Problem string

	columns *Columns
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

// Fields returns the row's values in the file's order; messages one by one.
func (r Row) Fields() []Field { return nil }

// Text returns all of the row's values, one per line: what a filter searches.
func (r Row) Text() string { return string(r.Raw) }

// Preview returns the row on one line of at most n runes.
func (r Row) Preview(n int) string { return "" }

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
