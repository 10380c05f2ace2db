package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
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
			return configError(err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return usage("%s is a folder: name a file of JSON lines", path)
		}
		in = f
	}
	r := bufio.NewReaderSize(in, 1<<20)
	rows := 0
	for n := 1; ; n++ {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) && rows > 0 {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: there is no line in it", path)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // the byte order mark of some editors
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		rows++
		if !utf8.Valid(line) {
			return fmt.Errorf("%s:%d: not UTF-8: convert the file first (iconv -t utf-8)", path, n)
		}
		var value T
		if err := json.Unmarshal(line, &value); err != nil {
			return fmt.Errorf("%s:%d: %s", path, n, jsonFault(err))
		}
		if err := use(n, value); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
}

// jsonFault says what is wrong with a line in words that are not Go's.
func jsonFault(err error) string {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return "not JSON: " + err.Error()
	}
	want := map[reflect.Kind]string{
		reflect.Int32: "token ids (whole numbers below 2^31)", reflect.Slice: "a list", reflect.String: "text", reflect.Struct: "an object",
	}[wrong.Type.Kind()]
	if wrong.Field == "" {
		return fmt.Sprintf("the line is a JSON %s; it wants %s", wrong.Value, want)
	}
	return fmt.Sprintf("%s: wants %s, not the JSON %s", wrong.Field, want, wrong.Value)
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
