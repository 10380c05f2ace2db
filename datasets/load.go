package datasets

import (
	"context"
	"errors"
	"fmt"
)

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

// LoadError reports the rows of a load that cannot be used.
type LoadError struct {
	Rows  []*RowError // the first maxLoadErrors of them, in order
	Total int         // all of them
}

// maxLoadErrors is how many rows a LoadError names.
const maxLoadErrors = 100

// Error names the first row and how many there are.
func (e *LoadError) Error() string {
	if e.Total == 1 {
		return e.Rows[0].Error()
	}
	return fmt.Sprintf("%v (and %d more rows that cannot be used; `lathe data lint` lists them)", e.Rows[0], e.Total-1)
}

// Unwrap returns the named rows' errors.
func (e *LoadError) Unwrap() []error {
	errs := make([]error, len(e.Rows))
	for i, row := range e.Rows {
		errs[i] = row
	}
	return errs
}

func (e *LoadError) add(row *RowError) {
	if e.Total++; len(e.Rows) < maxLoadErrors {
		e.Rows = append(e.Rows, row)
	}
}

// Load encodes every row of the files, in order. Rows that cannot be used, and
// rows without a trained token, are reported together as a [*LoadError]: none is
// left out silently. A file that is damaged as a whole is a *RowError.
func Load(ctx context.Context, paths []string, o LoadOptions) ([]Sample, error) {
	l := loading{options: o, files: make([]*File, len(paths))}
	for i, path := range paths {
		f, err := Open(path, o.Open)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		l.files[i] = f
	}
	for _, f := range l.files {
		if err := l.load(ctx, f); err != nil {
			return nil, err
		}
	}
	l.progress(true)
	if l.bad.Total > 0 {
		return nil, &l.bad
	}
	return l.samples, nil
}

// LoadFile encodes every row of an open file; see [Load].
func LoadFile(ctx context.Context, f *File, o LoadOptions) ([]Sample, error) {
	l := loading{options: o, files: []*File{f}}
	if err := l.load(ctx, f); err != nil {
		return nil, err
	}
	l.progress(true)
	if l.bad.Total > 0 {
		return nil, &l.bad
	}
	return l.samples, nil
}

// loading is a Load on its way.
type loading struct {
	options LoadOptions
	files   []*File
	samples []Sample
	bad     LoadError
}

// loaded is one row's sample or error.
type loaded struct {
	sample Sample
	err    error
}

func (l *loading) load(ctx context.Context, f *File) error {
	newWork := func() func(*Row) loaded {
		var d document
		return func(r *Row) loaded { return l.options.Encoder.usable(*r, &d) }
	}
	err := each(ctx, f, l.options.Workers, newWork, func(one loaded) error {
		var row *RowError
		switch {
		case errors.As(one.err, &row):
			l.bad.add(row)
		case one.err != nil:
			return one.err
		default:
			l.samples = append(l.samples, one.sample)
		}
		l.progress(false)
		return nil
	})
	if err != nil {
		return err
	}
	return f.Wait(ctx)
}

// usable encodes a row and refuses one that would teach nothing.
func (e *Encoder) usable(r Row, d *document) loaded {
	layout, err := e.read(&r, d)
	if err != nil {
		return loaded{err: r.fail(err, "%v", err)}
	}
	c, err := e.codeDocument(r, d, layout)
	if err != nil {
		return loaded{err: err}
	}
	if c.sample.Trained() == 0 {
		return loaded{err: r.fail(ErrNoTrainedToken, "%s", untrained(c.sample, e.MaxSeqLength))}
	}
	return loaded{sample: c.sample}
}

// untrained says why a sample has no trained token, and how to mend it.
func untrained(s Sample, maxSeqLength int) string {
	switch {
	case s.CutTrained > 0:
		return fmt.Sprintf("no token is trained: the answer begins after max_seq_length, %d of %d tokens (raise it, or shorten the row)",
			maxSeqLength, len(s.Tokens)+s.Cut)
	case len(s.Tokens) < 2:
		return fmt.Sprintf("no token is trained: the row has %d tokens", len(s.Tokens))
	}
	return "no token is trained: the row has no answer of the assistant, or the chat template shows none"
}

// progress tells the caller every 256 rows.
func (l *loading) progress(last bool) {
	done := len(l.samples) + l.bad.Total
	if l.options.Progress == nil || done%256 != 0 && !last {
		return
	}
	total := 0
	for _, f := range l.files {
		rows, _, whole := f.Indexed()
		if !whole {
			total = -1
			break
		}
		total += rows
	}
	l.options.Progress(done, total)
}
