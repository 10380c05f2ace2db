package datasets

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// write makes a file of content and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, o Options) *File {
	t.Helper()
	f, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// place is what the tests of the index compare.
type place struct {
	Line int
	Raw  string
}

func places(t testing.TB, f *File) (rows []place) {
	t.Helper()
	for i := range f.Len() {
		r, err := f.Row(i)
		if err != nil {
			t.Fatal(err)
		}
		if r.Index != i {
			t.Errorf("row %d says it is row %d", i, r.Index)
		}
		rows = append(rows, place{r.Line, string(r.Raw)})
	}
	return rows
}

func TestIndexFindsRowsAndLines(t *testing.T) {
	cases := map[string]struct {
		name, content string
		want          []place
	}{
		"lines":            {"a.jsonl", "{\"a\":1}\n{\"b\":2}\n", []place{{1, `{"a":1}`}, {2, `{"b":2}`}}},
		"no last newline":  {"a.jsonl", "{\"a\":1}\n{\"b\":2}", []place{{1, `{"a":1}`}, {2, `{"b":2}`}}},
		"CRLF":             {"a.jsonl", "{\"a\":1}\r\n{\"b\":2}\r\n", []place{{1, `{"a":1}`}, {2, `{"b":2}`}}},
		"BOM":              {"a.jsonl", "\xef\xbb\xbf{\"a\":1}\n", []place{{1, `{"a":1}`}}},
		"blank lines":      {"a.jsonl", "\n{\"a\":1}\n\n \t\r\n{\"b\":2}\n\n", []place{{2, `{"a":1}`}, {5, `{"b":2}`}}},
		"broken line":      {"a.jsonl", "{\"a\":\n{\"b\":2}\n", []place{{1, `{"a":`}, {2, `{"b":2}`}}},
		"list as a line":   {"a.jsonl", "[1]\n{\"b\":2}\n", []place{{1, `[1]`}, {2, `{"b":2}`}}},
		"array":            {"a.json", "[{\"a\":1},\n {\"b\":\"],[\\\"\"}]\n", []place{{1, `{"a":1}`}, {2, `{"b":"],[\""}`}}},
		"pretty array":     {"a.json", "[\n  {\n    \"a\": 1\n  },\n  {\n    \"b\": 2\n  }\n]", []place{{2, "{\n    \"a\": 1\n  }"}, {5, "{\n    \"b\": 2\n  }"}}},
		"array in .jsonl":  {"a.jsonl", "[{\"a\":1},{\"b\":2}]", []place{{1, `{"a":1}`}, {1, `{"b":2}`}}},
		"array of scalars": {"a.json", "[1, \"x\"]", []place{{1, `1`}, {1, `"x"`}}},
		"comma too many":   {"a.json", "[{\"a\":1},\n]", []place{{1, `{"a":1}`}, {2, ``}}},
		"pretty objects":   {"a.json", "{\n \"a\": 1\n}\n{\n \"b\": {}\n}\n", []place{{1, "{\n \"a\": 1\n}"}, {4, "{\n \"b\": {}\n}"}}},
		"one object":       {"a.json", "{\"a\":1}", []place{{1, `{"a":1}`}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, part := range []int{0, 1, 7} {
				f := open(t, write(t, c.name, c.content), Options{part: part})
				if got := places(t, f); !reflect.DeepEqual(got, c.want) {
					t.Errorf("parts of %d: got %+v, want %+v", part, got, c.want)
				}
				if err := f.Wait(context.Background()); err != nil {
					t.Errorf("parts of %d: %v", part, err)
				}
			}
		})
	}
}

func TestWholeFileFaultsHaveAPlace(t *testing.T) {
	cases := []struct {
		name, content string
		rows, line    int
		says          string
	}{
		{"empty.jsonl", "", 0, 1, "empty"},
		{"blank.jsonl", "\n\n", 0, 1, "empty"},
		{"empty.json", "[]", 0, 1, "empty"},
		{"cut.json", "[{\"a\":1},\n{\"b\":", 2, 2, "does not end"},
		{"more.json", "[{\"a\":1}]\n{\"b\":2}", 1, 2, "more after the end"},
	}
	for _, c := range cases {
		f := open(t, write(t, c.name, c.content), Options{})
		if f.Len() != c.rows {
			t.Errorf("%s: %d rows, want %d", c.name, f.Len(), c.rows)
		}
		var fault *RowError
		if err := f.Wait(context.Background()); !errors.As(err, &fault) {
			t.Errorf("%s: error %v, want a *RowError", c.name, err)
		} else if fault.Line != c.line || !strings.Contains(fault.Reason, c.says) {
			t.Errorf("%s: line %d %q, want line %d %q", c.name, fault.Line, fault.Reason, c.line, c.says)
		}
	}
}

func TestOpenNamesWhatItDoesNotRead(t *testing.T) {
	for content, says := range map[string]string{
		"PAR1\x15\x04":         "Parquet",
		"\x28\xb5\x2f\xfd1234": "zstd",
		"\xff\xfe{\x00":        "UTF-16",
		"\x1f\x8bjunk":         "gzip",
	} {
		if _, err := Open(write(t, "data.bin", content), Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error %v, want one that says %s", content, err, says)
		}
	}
	if _, err := Open(t.TempDir(), Options{}); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a folder: error %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
}

func zipped(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGzip(t *testing.T) {
	var lines strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&lines, "{\"text\":\"row %d\"}\n", i)
	}
	f := open(t, write(t, "a.jsonl.gz", zipped(t, lines.String())), Options{})
	if f.Len() != 20000 {
		t.Fatalf("%d rows, want 20000", f.Len())
	}
	if r, err := f.Row(12345); err != nil || r.Text() != "row 12345\n" || r.Line != 12346 {
		t.Errorf("row 12345: %q on line %d, %v", r.Text(), r.Line, err)
	}
}

func TestCutGzipIsAFault(t *testing.T) {
	whole := zipped(t, strings.Repeat("{\"text\":\"a row\"}\n", 5))
	f := open(t, write(t, "a.jsonl.gz", whole[:len(whole)-9]), Options{})
	if err := f.Wait(context.Background()); err == nil || !strings.Contains(err.Error(), "cannot be read further") {
		t.Errorf("error %v, want one that says how far the file can be read", err)
	}
}

func TestRowTooLong(t *testing.T) {
	f := open(t, write(t, "a.jsonl", "{\"text\":\""+strings.Repeat("x", 3<<20)+"\"}\n{\"text\":\"y\"}"), Options{MaxRowBytes: 1 << 20})
	r, err := f.Row(0)
	if err != nil || r.Format != FormatInvalid || !strings.Contains(r.Problem, "longer than 1 MiB") || len(r.Raw) != headBytes {
		t.Errorf("long row: %v, format %s, problem %q, %d bytes", err, r.Format, r.Problem, len(r.Raw))
	}
	if r, err := f.Row(1); err != nil || r.Format != FormatText {
		t.Errorf("the row after it: %v, format %s", err, r.Format)
	}
}

func TestRowBeyondTheEndAndAfterClose(t *testing.T) {
	f := open(t, write(t, "a.jsonl", "{}\n"), Options{})
	for _, i := range []int{-1, 1} {
		if _, err := f.Row(i); !errors.Is(err, io.EOF) {
			t.Errorf("row %d: error %v, want io.EOF", i, err)
		}
	}
	f.Close()
	if _, err := f.Row(0); !errors.Is(err, ErrClosed) {
		t.Errorf("row of a closed file: error %v, want ErrClosed", err)
	}
}

// FuzzIndex checks that no bytes make the reader panic, that lines are those of
// a plain split, and that an array's rows are those of encoding/json.
func FuzzIndex(f *testing.F) {
	for _, seed := range []string{
		"", "{}\n{}", "[{},{}]", "\r\n{\"a\":\"\\\"\"}\r\n", "[\n1,,2]", "{\n\"a\":1}\n{\n}", "\xef\xbb\xbf[]", "[\"\\\\\",\"]\"]", "[[1],[2]", "\xff\xfe",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, content []byte, jsonl bool) {
		name := "a.json"
		if jsonl {
			name = "a.jsonl"
		}
		file, err := Open(write(t, name, string(content)), Options{part: 5})
		if err != nil {
			return
		}
		defer file.Close()
		got := places(t, file)
		for i := range got {
			if r, err := file.Row(i); err != nil || utf8.RuneCountInString(r.Preview(20)) > 20 {
				t.Errorf("row %d: %v, preview %q", i, err, r.Preview(20))
			}
		}
		content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
		scan := chooseScanner(content, name)
		var elements []json.RawMessage
		if values, ok := scan.(*valueScanner); ok && values.array && json.Unmarshal(content, &elements) == nil {
			for i := range elements {
				if len(got) != len(elements) || got[i].Raw != string(elements[i]) {
					t.Fatalf("got %+v, want %q", got, elements)
				}
			}
		}
		if _, lines := scan.(*lineScanner); !lines {
			return
		}
		var want []place
		for i, line := range bytes.Split(content, []byte("\n")) {
			if text := bytes.Trim(line, blanks); len(text) > 0 {
				want = append(want, place{i + 1, string(bytes.TrimRight(line, blanks))})
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
