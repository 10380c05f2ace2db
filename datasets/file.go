package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// maxRowBytes is the default of Options.MaxRowBytes; headBytes is what is kept
// of a longer row.
const (
	maxRowBytes = 64 << 20
	headBytes   = 64 << 10
)

// Options of [Open]. The zero value detects everything.
type Options struct {
	Format  Format  // "" detects row by row
	Columns Columns // names of fields that differ from the formats' own
	Tags    Tags    // names in messages that differ from role and content
	// MaxRowBytes is the longest row read; 0 is 64 MiB, 1 GiB the most. Of a
	// longer row there are its start and a Problem.
	MaxRowBytes int

	part int // bytes a scanner sees at once; 0 is a block, tests want fewer
}

// entry is the place of one row.
type entry struct {
	start int64
	size  int32 // -1: longer than MaxRowBytes
	line  int32
}

// File is an open dataset. Open returns at once; rows are indexed in the
// background. Methods may be called from any goroutine.
type File struct {
	path    string
	options Options
	source  *os.File // the file on disk
	content *os.File // what offsets mean: source, or what it decompresses to
	size    int64    // of source

	read   atomic.Int64 // bytes of source that are indexed
	closed atomic.Bool
	ended  chan struct{} // closed when the indexer has returned

	mu      sync.Mutex
	grown   *sync.Cond
	entries []entry
	done    bool
	array   bool   // rows are elements of a JSON array
	table   *table // rows are records of a table, or nil
	fault   error  // what kept the index from the file's end
}

// ErrClosed is returned by the methods of a closed File.
var ErrClosed = errors.New("the dataset is closed")

// Open opens a JSONL file, a JSON array, JSON objects one after the other, or a
// table with a header (.csv, .tsv); plain or compressed by gzip, which is seen in
// the bytes, not the name.
func Open(path string, o Options) (*File, error) {
	if o.MaxRowBytes <= 0 {
		o.MaxRowBytes = maxRowBytes
	}
	o.MaxRowBytes = min(o.MaxRowBytes, 1<<30)
	source, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open dataset: %w", err)
	}
	f := &File{path: path, options: o, source: source, content: source, ended: make(chan struct{})}
	f.grown = sync.NewCond(&f.mu)
	reader, err := f.begin()
	if err != nil {
		source.Close()
		return nil, fmt.Errorf("open dataset %s: %w", path, err)
	}
	go f.index(reader)
	return f, nil
}

// Path returns the path given to Open.
func (f *File) Path() string { return f.path }

// Len returns the number of rows. It waits until the whole file is indexed:
// what must not wait asks [File.Indexed].
func (f *File) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.done {
		f.grown.Wait()
	}
	return len(f.entries)
}

// Indexed returns how many rows are known so far, which part of the file was
// read for it (0 to 1), and whether that is all. It does not wait.
func (f *File) Indexed() (rows int, part float64, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done {
		return len(f.entries), 1, true
	}
	if f.size > 0 {
		part = min(float64(f.read.Load())/float64(f.size), 1)
	}
	return len(f.entries), part, false
}

// Wait waits for the index. Its error is what is wrong with the file as a whole:
// it is empty, its array does not end, its gzip data are damaged. A fault with a
// place is a *RowError. Rows before the fault can be read.
func (f *File) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ended:
		return f.fault
	}
}

// has waits until row i is indexed or the index is done, and reports whether
// there is such a row.
func (f *File) has(i int) (entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i >= len(f.entries) && !f.done {
		f.grown.Wait()
	}
	if i < 0 || i >= len(f.entries) {
		return entry{}, false
	}
	return f.entries[i], true
}

// Row returns row i, waiting for the index to reach it. A row that is not JSON
// is returned too, with its Problem; io.EOF is returned beyond the last row.
func (f *File) Row(i int) (Row, error) {
	row, err := f.rawRow(i, nil)
	if err != nil {
		return row, err
	}
	var d document
	row.detect(&d)
	return row, nil
}

// rawRow reads row i into buffer, when that is large enough, and does not look
// into it.
func (f *File) rawRow(i int, buffer []byte) (Row, error) {
	e, ok := f.has(i)
	if f.closed.Load() {
		return Row{}, fmt.Errorf("read row %d of %s: %w", i, f.path, ErrClosed)
	}
	if !ok {
		return Row{}, fmt.Errorf("read row %d of %s: it has %d rows: %w", i, f.path, f.Len(), io.EOF)
	}
	row := Row{File: f.path, Line: int(e.line), Index: i, Format: FormatInvalid, options: &f.options}
	size := int(e.size)
	if size < 0 {
		size = min(headBytes, f.options.MaxRowBytes)
		row.Problem = fmt.Sprintf("the row is longer than %d MiB: is it one row? JSONL needs a line for each",
			max(f.options.MaxRowBytes>>20, 1))
	}
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	row.Raw = buffer[:size]
	n, err := f.content.ReadAt(row.Raw, e.start)
	if n < size {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file became shorter while it was open")
		}
		return row, fmt.Errorf("read row %d of %s: %w", i, f.path, err)
	}
	f.shape(&row)
	return row, nil
}

// shape makes JSON of the row's bytes, which are as they lie in the file.
func (f *File) shape(row *Row) {
	switch {
	case f.table == nil: // set before the first row is known
		row.Raw = bytes.TrimRight(row.Raw, blanks)
	case row.Problem == "":
		row.record = row.Raw
		row.Raw, row.Problem = f.table.row(row.record)
	}
}

// Close stops indexing and closes the file.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	<-f.ended
	err := f.source.Close()
	if f.content != f.source {
		err = errors.Join(err, f.content.Close())
	}
	return err
}
