package datasets

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
)

// LintOptions says what to check rows against; the zero value checks everything
// that needs neither tokenizer nor template.
type LintOptions struct {
	Tokenizer Tokenizer // nil: no token checks
	Renderer  Renderer  // nil: the model has no chat template
	// MaxSeqLength is the longest sequence trained, in tokens; 0 is no limit.
	MaxSeqLength  int
	TrainOnInputs bool
	// By names a field whose values are counted as classes (class_imbalance);
	// dots lead into objects.
	By string
	// Near looks for near duplicates too, which takes several times as long.
	Near bool
	// Workers is how many goroutines check rows; 0 is one per CPU.
	Workers int
	// Progress, when set, is called now and then from one goroutine.
	Progress func(rows int, bytes int64)
}

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

// Level says what a finding means for a run: an error blocks it, a warning is
// shown, information is counted.
type Level string

// The levels, gravest first.
const (
	LevelError Level = "error"
	LevelWarn  Level = "warn"
	LevelInfo  Level = "info"
)

// Summary is what `data lint` prints last.
type Summary struct {
	File     string         `json:"file"`
	Rows     int            `json:"rows"`
	Bytes    int64          `json:"bytes"`
	Errors   int            `json:"errors"`
	Warnings int            `json:"warnings"`
	Infos    int            `json:"infos"`
	Codes    map[string]int `json:"codes"`
	Formats  map[Format]int `json:"formats"`
	// Tokens and Trained are totals after truncation, Longest is the longest
	// row's tokens before it; 0 without a tokenizer.
	Tokens  int64          `json:"tokens,omitzero"`
	Trained int64          `json:"trained,omitzero"`
	Longest int            `json:"longest,omitzero"`
	Classes map[string]int `json:"classes,omitzero"`
}

// Lint walks f once and yields its findings in row order; those that need the
// whole file, such as inconsistent_format, come last. A fault of the file as a
// whole (empty, cut off) is a finding too; the error is for what kept Lint from
// reading on.
func Lint(ctx context.Context, f *File, o LintOptions, yield func(Finding)) (Summary, error) {
	w := &lintFile{
		file: f, options: o, yield: yield,
		summary: Summary{File: f.Path(), Codes: map[string]int{}, Formats: map[Format]int{}},
	}
	shared := newLintShared(o)
	newWork := func() func(*Row) rowReport {
		l := &linter{lintShared: shared}
		return l.row
	}
	err := each(ctx, f, o.Workers, newWork, w.collect)
	for _, run := range w.formats {
		w.summary.Formats[run.format] += run.rows
	}
	if err != nil {
		return w.summary, err
	}
	var fault *RowError
	if err := f.Wait(ctx); errors.As(err, &fault) {
		w.report(Finding{
			File: fault.File, Line: fault.Line, Row: fault.Row,
			Code: CodeDataType, Level: LevelError, Message: fault.Reason,
		})
	} else if err != nil {
		return w.summary, err
	}
	w.finish()
	return w.summary, nil
}

// rowReport is what one row gives to the file's report.
type rowReport struct {
	line, row int
	bytes     int
	format    Format
	findings  []Finding
	content   uint64     // hash of what the row trains; 0: not to be compared
	signature *signature // nil: not signed
	class     *string    // nil: not asked for

	encoded      *encodedRow // nil: not encoded
	wantTemplate bool
}

// encodedRow counts a row's tokens.
type encodedRow struct {
	tokens, trained, uncut int
	eosTrained             bool
}

// formatRun is rows of one format, one after the other: nearly always all of a file's.
type formatRun struct {
	format Format
	rows   int
}

// lintFile gathers the reports of rows.
type lintFile struct {
	file    *File
	options LintOptions
	yield   func(Finding)
	summary Summary

	formats      []formatRun
	repeats      grouping
	encoded      int
	firstEncoded [2]int // line and row
	eosTrained   bool
	wantTemplate bool // reported already
}

func (w *lintFile) report(f Finding) {
	switch f.Level {
	case LevelError:
		w.summary.Errors++
	case LevelWarn:
		w.summary.Warnings++
	default:
		w.summary.Infos++
	}
	w.summary.Codes[f.Code]++
	w.yield(f)
}

// at makes a finding about a row by its code.
func (w *lintFile) at(line, row int, code, message string) Finding {
	return Finding{File: w.file.Path(), Line: line, Row: row, Code: code, Level: levelOf[code], Message: message}
}

func (w *lintFile) collect(r rowReport) error {
	if n := len(w.formats); n > 0 && w.formats[n-1].format == r.format {
		w.formats[n-1].rows++
	} else {
		w.formats = append(w.formats, formatRun{r.format, 1})
	}
	w.summary.Rows++
	w.summary.Bytes += int64(r.bytes)
	for _, f := range r.findings {
		w.report(f)
	}
	if r.wantTemplate && !w.wantTemplate {
		w.wantTemplate = true
		f := w.at(r.line, r.row, CodeTemplateError, "the model has no chat template, and rows of messages need one (reported once for the file)")
		w.report(f)
	}
	switch first, near := w.repeats.see(r.content, r.signature); {
	case first < 0:
	case near:
		w.report(w.at(r.line, r.row, CodeDuplicateNear, fmt.Sprintf("nearly the same as row %d on line %d", first, w.line(first))))
	default:
		w.report(w.at(r.line, r.row, CodeDuplicateExact, fmt.Sprintf("the same as row %d on line %d", first, w.line(first))))
	}
	if r.class != nil {
		if w.summary.Classes == nil {
			w.summary.Classes = map[string]int{}
		}
		w.summary.Classes[*r.class]++
	}
	if r.encoded != nil {
		w.countTokens(r)
	}
	if w.options.Progress != nil && w.summary.Rows%1024 == 0 {
		w.options.Progress(w.summary.Rows, w.summary.Bytes)
	}
	return nil
}

func (w *lintFile) countTokens(r rowReport) {
	if w.encoded == 0 {
		w.firstEncoded = [2]int{r.line, r.row}
	}
	w.encoded++
	w.eosTrained = w.eosTrained || r.encoded.eosTrained
	w.summary.Tokens += int64(r.encoded.tokens)
	w.summary.Trained += int64(r.encoded.trained)
	w.summary.Longest = max(w.summary.Longest, r.encoded.uncut)
}

func (w *lintFile) line(row int) int {
	e, _ := w.file.has(row)
	return int(e.line)
}

// finish reports what only the whole file shows.
func (w *lintFile) finish() {
	if w.encoded > 0 && !w.eosTrained {
		f := w.at(w.firstEncoded[0], w.firstEncoded[1], CodeNoEOSTrained,
			"no row of the file trains the end of its answer: the model would never learn to stop (is the chat template the model's own?)")
		f.Level = LevelError
		w.report(f)
	}
	w.inconsistent()
	w.imbalance()
	if w.options.Progress != nil {
		w.options.Progress(w.summary.Rows, w.summary.Bytes)
	}
}

// inconsistent reports the rows whose format is not that of most.
func (w *lintFile) inconsistent() {
	most, n := Format(""), 0
	for _, format := range slices.Sorted(maps.Keys(w.summary.Formats)) {
		if count := w.summary.Formats[format]; count > n && format != FormatInvalid && format != FormatUnknown {
			most, n = format, count
		}
	}
	end := 0
	for _, run := range w.formats {
		first := end
		end += run.rows
		if run.format == most || run.format == FormatInvalid || run.format == FormatUnknown {
			continue // the last two have errors of their own
		}
		for row := first; row < end; row++ {
			w.report(w.at(w.line(row), row, CodeInconsistentFormat,
				fmt.Sprintf("the row is %s, %d of the file's %d rows are %s", run.format, n, w.summary.Rows, most)))
		}
	}
}

// maxImbalance is the ratio of the largest to the smallest class that is
// reported.
const maxImbalance = 10

func (w *lintFile) imbalance() {
	if len(w.summary.Classes) < 2 {
		return
	}
	classes := slices.Sorted(maps.Keys(w.summary.Classes))
	count := func(a, b string) int { return w.summary.Classes[a] - w.summary.Classes[b] }
	least, most := slices.MinFunc(classes, count), slices.MaxFunc(classes, count)
	if w.summary.Classes[most] < maxImbalance*w.summary.Classes[least] {
		return
	}
	f := w.at(w.line(0), 0, CodeClassImbalance, fmt.Sprintf("%s: %q has %d rows, %q has %d",
		w.options.By, most, w.summary.Classes[most], least, w.summary.Classes[least]))
	f.Field = w.options.By
	w.report(f)
}

// lintShared is what all workers of a Lint use.
type lintShared struct {
	options LintOptions
	seed    maphash.Seed
	encoder *Encoder        // nil without a tokenizer
	own     map[string]bool // control tokens that the tokenizer has
}

func newLintShared(o LintOptions) *lintShared {
	s := &lintShared{options: o, seed: maphash.MakeSeed()}
	if o.Tokenizer == nil {
		return s
	}
	s.encoder = &Encoder{
		Tokenizer: o.Tokenizer, Renderer: o.Renderer,
		MaxSeqLength: o.MaxSeqLength, TrainOnInputs: o.TrainOnInputs,
	}
	s.own = map[string]bool{}
	for _, token := range controlTokens {
		ids := o.Tokenizer.Encode(token, false)
		s.own[token] = len(ids) == 1 && o.Tokenizer.IsSpecial(ids[0])
	}
	return s
}
