package datasets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
)

// chunkRows and chunkBytes bound what one worker takes at a time.
const (
	chunkRows  = 256
	chunkBytes = 1 << 20
)

// entriesFrom waits for row first and returns it with those that follow, until
// they are a worker's share; none at the end of the file.
func (f *File) entriesFrom(first int) ([]entry, error) {
	_, ok := f.has(first)
	if f.closed.Load() {
		return nil, fmt.Errorf("read rows of %s: %w", f.path, ErrClosed)
	}
	if !ok {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, e := range f.entries[first:] {
		end := e.start + int64(e.size)
		if n > 0 && (e.size < 0 || n == chunkRows || end-f.entries[first].start > chunkBytes) {
			break
		}
		if n++; e.size < 0 {
			break
		}
	}
	return f.entries[first : first+n : first+n], nil // entries are appended to, never changed
}

// rowReader reads a worker's shares, into memory that it uses again.
type rowReader struct {
	file  *File
	block []byte
	rows  []Row
}

// read reads rows that lie one after the other with one call: what it returns is
// valid until the next.
func (r *rowReader) read(first int, entries []entry) ([]Row, error) {
	f := r.file
	start, last := entries[0].start, entries[len(entries)-1]
	if last.size < 0 { // too long to read; it comes alone
		row, err := f.rawRow(first, nil)
		return []Row{row}, err
	}
	size := int(last.start + int64(last.size) - start)
	r.block = slices.Grow(r.block[:0], size)
	block := r.block[:size]
	if n, err := f.content.ReadAt(block, start); n < size {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file became shorter while it was open")
		}
		return nil, fmt.Errorf("read rows %d to %d of %s: %w", first, first+len(entries)-1, f.path, err)
	}
	r.rows = r.rows[:0]
	for i, e := range entries {
		at := int(e.start - start)
		r.rows = append(r.rows, Row{
			File: f.path, Line: int(e.line), Index: first + i, Format: FormatInvalid, options: &f.options,
			Raw: block[at : at+int(e.size)],
		})
		f.shape(&r.rows[i])
	}
	return r.rows, nil
}

// job is a worker's share of rows, and where its results go.
type job[T any] struct {
	first   int
	entries []entry
	done    chan jobResult[T]
}

type jobResult[T any] struct {
	values []T
	err    error
}

// each works on the rows of f on several goroutines, each with a function that
// newWork made for it, and collects the results in the file's order on the
// caller's. A Row is valid inside work only.
func each[T any](ctx context.Context, f *File, workers int, newWork func() func(*Row) T, collect func(T) error) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	jobs, order := make(chan job[T], 2*workers), make(chan job[T], 2*workers)
	free := make(chan []T, 2*workers) // what held results before
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var produced error
	group.Go(func() {
		defer close(order)
		defer close(jobs)
		produced = produce(ctx, f, jobs, order)
	})
	for range workers {
		group.Go(func() {
			work, reader := newWork(), rowReader{file: f}
			for j := range jobs {
				var values []T
				select {
				case values = <-free:
				default:
				}
				j.done <- runJob(&reader, j, work, values)
			}
		})
	}
	for j := range order {
		result := <-j.done
		for _, value := range result.values {
			if err := collect(value); err != nil {
				return err
			}
		}
		select {
		case free <- result.values:
		default:
		}
		if err := errors.Join(result.err, ctx.Err()); err != nil {
			return err
		}
	}
	return errors.Join(produced, ctx.Err()) // order is closed after produced is set
}

// produce hands out shares as the index finds rows.
func produce[T any](ctx context.Context, f *File, jobs, order chan<- job[T]) error {
	for first := 0; ; {
		entries, err := f.entriesFrom(first)
		if err != nil || len(entries) == 0 {
			return err
		}
		j := job[T]{first, entries, make(chan jobResult[T], 1)}
		for _, queue := range []chan<- job[T]{jobs, order} {
			select {
			case queue <- j:
			case <-ctx.Done():
				return nil
			}
		}
		first += len(entries)
	}
}

// runJob puts the results of a share into values.
func runJob[T any](reader *rowReader, j job[T], work func(*Row) T, values []T) jobResult[T] {
	rows, err := reader.read(j.first, j.entries)
	if err != nil {
		return jobResult[T]{err: err}
	}
	values = slices.Grow(values[:0], len(rows))
	for i := range rows {
		values = append(values, work(&rows[i]))
	}
	return jobResult[T]{values: values}
}
