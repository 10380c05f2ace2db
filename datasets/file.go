package datasets

import "context"

// Options of [Open]. The zero value detects everything.
type Options struct {
	Format  Format  // "" detects row by row
	Columns Columns // names of fields that differ from the formats' own
	// MaxRowBytes is the longest row read; 0 is 64 MiB. Longer rows are there,
	// with their start and a Problem.
	MaxRowBytes int
}

// File is an open dataset. Open returns at once; rows are indexed in the
// background. Methods may be called from any goroutine.
type File struct {
	path string
}

// Open opens a JSONL or JSON-array file, plain or .gz.
func Open(path string, o Options) (*File, error) { return &File{path: path}, nil }

// Path returns the path given to Open.
func (f *File) Path() string { return f.path }

// Len returns the number of rows. It waits until the whole file is indexed:
// what must not wait asks [File.Indexed].
func (f *File) Len() int { return 0 }

// Indexed returns how many rows are known so far, which part of the file was
// read for it (0 to 1), and whether that is all.
func (f *File) Indexed() (rows int, part float64, done bool) { return 0, 0, true }

// Wait waits for the index; its error is what kept the file from being read to
// its end.
func (f *File) Wait(ctx context.Context) error { return nil }

// Row returns row i, waiting for the index to reach it. A row that is not JSON
// is returned too, with its Problem.
func (f *File) Row(i int) (Row, error) { return Row{}, nil }

// Close stops indexing and closes the file.
func (f *File) Close() error { return nil }
