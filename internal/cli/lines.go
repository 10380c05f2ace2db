package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// maxLine bounds a line of an input file.
const maxLine = 256 << 20

// eachLine decodes a file's JSON lines into fresh values, "-" being standard input. A bad line is an error naming it.
func eachLine[T any](e *env, path string, use func(line int, value T) error) error {
	in := e.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return usageError{err}
		}
		defer f.Close()
		in = f
	}
	r := bufio.NewReaderSize(in, 1<<20)
	for n := 1; ; n++ {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return fmt.Errorf("%s:%d: not UTF-8: convert the file first (iconv -t utf-8)", path, n)
		}
		var value T
		if err := json.Unmarshal(line, &value); err != nil {
			return fmt.Errorf("%s:%d: not the JSON expected: %w", path, n, err)
		}
		if err := use(n, value); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
}

// readLine returns a line without its end; io.EOF only when nothing is left.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("the line is longer than %d bytes", maxLine)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
			return trimEnd(line), nil
		default:
			return nil, err
		}
	}
}

func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}
