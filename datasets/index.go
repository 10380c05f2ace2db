package datasets

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"syscall"
)

// blockBytes is how much of a file is read at once; rows become known block by
// block.
const blockBytes = 1 << 20

// begin looks at the first bytes of the file and returns what to index.
func (f *File) begin() (io.Reader, error) {
	info, err := f.source.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%w: name a file in it", syscall.EISDIR)
	}
	f.size = info.Size()
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file: rows are read in any order")
	}
	var head [8]byte
	n, err := f.source.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if name, mend := foreign(head[:n]); name != "" {
		return nil, fmt.Errorf("it is %s: %s", name, mend)
	}
	counted := &countingReader{from: f.source, file: f}
	if !bytes.HasPrefix(head[:n], []byte{0x1f, 0x8b}) {
		return counted, nil
	}
	return f.decompress(counted)
}

// decompress makes a nameless temporary file the content, because rows are read
// in any order and gzip is not. What the returned reader reads is written there.
func (f *File) decompress(from io.Reader) (io.Reader, error) {
	unzipped, err := gzip.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("read gzip header: %w", err)
	}
	scratch, err := os.CreateTemp("", "lathe-dataset-*")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file to decompress into: %w", err)
	}
	_ = os.Remove(scratch.Name()) // it lives as long as it is open
	f.content = scratch
	return io.TeeReader(unzipped, scratch), nil
}

// foreign names formats that are recognised and not read, and how to mend that.
func foreign(head []byte) (name, mend string) {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return "UTF-16", "convert it with `iconv -f UTF-16 -t UTF-8`"
	case bytes.HasPrefix(head, []byte("PAR1")):
		return "Parquet", "convert it to JSONL, for instance with `duckdb -c \"copy 'f.parquet' to 'f.jsonl'\"`"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "compressed by zstd", "decompress it with `zstd -d`"
	case bytes.HasPrefix(head, []byte("BZh")):
		return "compressed by bzip2", "decompress it with `bunzip2`"
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z'}):
		return "compressed by xz", "decompress it with `xz -d`"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return "a zip archive", "unpack it and name a file in it"
	}
	return "", ""
}

// countingReader counts what was read of the source, for Indexed, and stops
// when the file is closed.
type countingReader struct {
	from io.Reader
	file *File
}

func (c *countingReader) Read(p []byte) (int, error) {
	if c.file.closed.Load() {
		return 0, ErrClosed
	}
	n, err := c.from.Read(p)
	c.file.read.Add(int64(n))
	return n, err
}

// index reads the file once and notes where its rows are.
func (f *File) index(from io.Reader) {
	x := &indexer{file: f, limit: f.options.MaxRowBytes, line: 1}
	err := x.run(from)
	f.mu.Lock()
	if err == nil && len(f.entries) == 0 {
		err = &RowError{File: f.path, Line: 1, Reason: "the file is empty: a dataset needs at least one row"}
	}
	f.done, f.fault = true, err
	f.grown.Broadcast()
	f.mu.Unlock()
	close(f.ended)
}

// indexer walks a file's bytes block by block.
type indexer struct {
	file  *File
	limit int
	batch []entry

	offset int64 // of the block in the content
	line   int   // of the next byte, from 1
	scan   scanner
}

// scanner is one of lineScanner and valueScanner.
type scanner interface {
	// block looks at the next bytes of the content.
	block(x *indexer, p []byte)
	// end is called after the last block.
	end(x *indexer) error
}

func (x *indexer) run(from io.Reader) error {
	block := make([]byte, blockBytes)
	for first := true; ; first = false {
		n, err := fill(from, block)
		p := block[:n]
		if first {
			if rest, ok := bytes.CutPrefix(p, []byte("\xef\xbb\xbf")); ok { // byte order mark
				p, x.offset = rest, 3
			}
			x.scan = chooseScanner(p, x.file.path)
			x.file.setKind(x.scan)
		}
		for part := range slices.Chunk(p, cmp.Or(x.file.options.part, blockBytes)) {
			x.scan.block(x, part)
			x.offset += int64(len(part))
		}
		x.publish()
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			return x.broken(err)
		}
		err = x.scan.end(x)
		x.publish()
		return err
	}
}

// setKind notes what the file's rows are.
func (f *File) setKind(s scanner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch s := s.(type) {
	case *valueScanner:
		f.array = s.array
	case *recordScanner:
		f.table = s.table
	}
}

// fill reads until block is full. Unlike io.ReadFull it hands on the reader's
// own error, so that a cut gzip file is not taken for the end of a whole one.
func fill(from io.Reader, block []byte) (n int, err error) {
	for n < len(block) && err == nil {
		var m int
		m, err = from.Read(block[n:])
		n += m
	}
	return n, err
}

// broken ends the index at a place that cannot be read. The row there is cut.
func (x *indexer) broken(err error) error {
	if errors.Is(err, ErrClosed) {
		return err
	}
	rows := len(x.file.entries)
	return &RowError{
		File: x.file.path, Line: x.line, Row: rows, Err: err,
		Reason: fmt.Sprintf("the file cannot be read further than here: %v", err),
	}
}

// add notes a row of content[start:end] that starts on line.
func (x *indexer) add(start, end int64, line int) {
	size := end - start
	if size > int64(x.limit) {
		size = -1
	}
	x.batch = append(x.batch, entry{start: start, size: int32(size), line: int32(min(line, math.MaxInt32))})
}

// publish makes the rows of the last block known.
func (x *indexer) publish() {
	if len(x.batch) == 0 {
		return
	}
	x.file.mu.Lock()
	x.file.entries = append(x.file.entries, x.batch...)
	x.file.grown.Broadcast()
	x.file.mu.Unlock()
	x.batch = x.batch[:0]
}
