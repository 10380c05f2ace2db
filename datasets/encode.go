package datasets

import "context"

// Sample is one tokenised row.
type Sample struct {
	// Tokens [T] are the ids, Labels [T] the same where trained, else -100.
	// Labels are aligned with Tokens as Hugging Face's: a [Batch] shifts them.
	Tokens, Labels []int32
	File           string
	Line           int // from 1
	Row            int // from 0, in File
	// Cut is how many tokens were cut off at the right by MaxSeqLength,
	// CutTrained how many of these would have been trained.
	Cut, CutTrained int
	// EOSTrained reports whether the end of the last answer (EOS or the
	// template's end-of-turn token) is trained.
	EOSTrained bool
}

// Trained returns how many labels count for the loss, after the shift.
func (s Sample) Trained() int {
	n := 0
	for i := 1; i < len(s.Labels); i++ {
		if s.Labels[i] != IgnoreIndex {
			n++
		}
	}
	return n
}

// Encoder turns rows into samples. It may be used by several goroutines when
// its Tokenizer and Renderer may.
type Encoder struct {
	Tokenizer Tokenizer
	Renderer  Renderer // nil: the model has no chat template
	// MaxSeqLength truncates at the right; 0 is no limit.
	MaxSeqLength int
	// TrainOnInputs trains on every token, not on the answers alone.
	TrainOnInputs bool
	// Columns, when not zero, replaces the Columns the file was opened with.
	Columns Columns
}

// Encode tokenises one row. Its errors are *RowError.
func (e *Encoder) Encode(r Row) (Sample, error) { return Sample{}, nil }

// Token is one token of a [View].
type Token struct {
	ID      int32
	Text    string // the text it covers; the vocabulary's spelling for special tokens
	Span    [2]int // byte range in View.Text; empty for added tokens
	Trained bool
	Special bool
}

// View is a sample made visible: the rendered text and each token's part in it.
type View struct {
	Text   string
	Tokens []Token
	// Trained counts trained tokens; Cut those beyond MaxSeqLength (not in Tokens).
	Trained, Cut int
	Sample       Sample
}

// View tokenises one row for the token view.
func (e *Encoder) View(r Row) (View, error) { return View{}, nil }

// Prompt returns the ids to generate from (all before the last answer, with
// the generation prompt) and the answer the row gives: for evaluation on
// held-out rows.
func (e *Encoder) Prompt(r Row) (ids []int32, reference string, err error) { return nil, "", nil }

// LoadOptions of [Load].
type LoadOptions struct {
	Open    Options
	Encoder *Encoder
	// Workers is how many goroutines tokenise; 0 is one per CPU.
	Workers int
	// Progress, when set, is called now and then from one goroutine; total is -1
	// until all files are indexed.
	Progress func(rows, total int)
}

// Load encodes every row of the files, in order. Rows that cannot be used, and
// rows without a trained token, are reported together as a [*LoadError].
func Load(ctx context.Context, paths []string, o LoadOptions) ([]Sample, error) { return nil, nil }

// LoadError reports the rows of a load that cannot be used.
type LoadError struct {
	Rows  []*RowError // the first of them
	Total int         // all of them
}

// Error names the first row and how many there are.
func (e *LoadError) Error() string { return e.Rows[0].Error() }
