package datasets

import "context"

// Level says what a finding means for a run: an error blocks it, a warning is
// shown, information is counted.
type Level string

// The levels, gravest first.
const (
	LevelError Level = "error"
	LevelWarn  Level = "warn"
	LevelInfo  Level = "info"
)

// Finding is one fault of one row, in the field names of `lathe data lint --json`.
type Finding struct {
	File string `json:"file"`
	// Line counts from 1, Row from 0.
	Line int `json:"line"`
	Row  int `json:"row"`
	// Field is the path of the value inside the row ("output",
	// "messages[2].content"); empty when the whole row is meant.
	Field   string `json:"field"`
	Code    string `json:"code"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
	// Span is the byte range to highlight in the field's decoded text (in the
	// row's raw bytes when Field is empty); [0,0] when all of it is meant.
	Span [2]int `json:"span,omitzero"`
}

// LintOptions says what to check rows against; the zero value checks everything
// that needs neither tokenizer nor template.
type LintOptions struct {
	Tokenizer Tokenizer // nil: no token checks
	Renderer  Renderer  // nil: the model has no chat template
	// MaxSeqLength is the longest sequence trained, in tokens; 0 is no limit.
	MaxSeqLength  int
	TrainOnInputs bool
	// By names a field whose values are counted as classes (class_imbalance).
	By string
	// Workers is how many goroutines check rows; 0 is one per CPU.
	Workers int
	// Progress, when set, is called now and then from one goroutine.
	Progress func(rows int, bytes int64)
}

// Summary is what `data lint` prints last.
type Summary struct {
	File     string         `json:"file"`
	Rows     int            `json:"rows"`
	Errors   int            `json:"errors"`
	Warnings int            `json:"warnings"`
	Infos    int            `json:"infos"`
	Codes    map[string]int `json:"codes"`
	Formats  map[Format]int `json:"formats"`
	// Tokens and Trained are totals after truncation; 0 without a tokenizer.
	Tokens  int64          `json:"tokens,omitzero"`
	Trained int64          `json:"trained,omitzero"`
	Longest int            `json:"longest,omitzero"`
	Classes map[string]int `json:"classes,omitzero"`
}

// Lint walks f once and yields its findings in row order (those that need the
// whole file, such as inconsistent_format, last).
func Lint(ctx context.Context, f *File, o LintOptions, yield func(Finding)) (Summary, error) {
	return Summary{File: f.Path()}, ctx.Err()
}
