package datasets

import (
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTableRows(t *testing.T) {
	cases := map[string]struct {
		name, content string
		want          []place
	}{
		"plain":                  {"a.csv", "prompt,completion\na,b\nc,d", []place{{2, `{"prompt":"a","completion":"b"}`}, {3, `{"prompt":"c","completion":"d"}`}}},
		"quoted":                 {"a.csv", "prompt,completion\r\n\"a, \"\"b\"\"\nc\",\" d \"\r\n\r\ne,\r\n", []place{{2, `{"prompt":"a, \"b\"\nc","completion":" d "}`}, {5, `{"prompt":"e","completion":""}`}}},
		"semicolons":             {"a.csv", "a;b\n1,5;2", []place{{2, `{"a":"1,5","b":"2"}`}}},
		"tabs":                   {"a.tsv", "a\tb\n1,\\n\t2\\", []place{{2, `{"a":"1,\\n","b":"2\\"}`}}},
		"BOM":                    {"a.csv", "\xef\xbb\xbfa,\nx,y", []place{{2, `{"a":"x","column_2":"y"}`}}},
		"lists":                  {"a.csv", "messages,text\n\"[{\"\"role\"\":\"\"user\"\"}]\",[1]\n[broken,x", []place{{2, `{"messages":[{"role":"user"}],"text":"[1]"}`}, {3, `{"messages":"[broken","text":"x"}`}}},
		"marks inside of a cell": {"a.csv", "a\n5\"\"x\n\"\"\n", []place{{2, `{"a":"5\"\"x"}`}, {3, `{"a":""}`}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, part := range []int{0, 1, 3} {
				f := open(t, write(t, c.name, c.content), Options{part: part})
				if got := places(t, f); !reflect.DeepEqual(got, c.want) {
					t.Errorf("parts of %d: got %+v, want %+v", part, got, c.want)
				}
			}
		})
	}
}

func TestTableProblemsHaveALine(t *testing.T) {
	findings, _ := lint(t, "a.csv", "prompt,completion\na,b\nc\n\"d\"e,f\n\"g,h\n", LintOptions{})
	want := map[int]string{3: "1 cells, the header 2", 4: "closing quotation mark of cell 1", 5: "never closed"}
	for _, f := range findings {
		if f.Code != CodeDataType || !strings.Contains(f.Message, want[f.Line]) {
			t.Errorf("%+v", f)
		}
		delete(want, f.Line)
	}
	if len(want) > 0 {
		t.Errorf("nothing said about lines %v", want)
	}
}

func TestTableIsTrainedAndRewritten(t *testing.T) {
	content := "question,answer\r\n\"What, now?\",Mail \"\"me@here.org\"\"\r\nx,4\r\nx,4\r\n"
	path := write(t, "a.csv", content)
	samples, err := Load(context.Background(), []string{path}, LoadOptions{Encoder: &Encoder{Tokenizer: fakeTokenizer{}}})
	if err != nil || len(samples) != 3 || samples[1].Line != 3 {
		t.Fatalf("%+v, %v", samples, err)
	}
	got, result := redact(t, "a.csv", content)
	if want := strings.Replace(content, "me@here.org", "[EMAIL]", 1); got != want || result.Changed != 1 {
		t.Errorf("redacted to %q, want %q", got, want)
	}
	got, _ = dedupe(t, "a.csv", content, DedupeOptions{})
	if want := strings.TrimSuffix(content, "x,4\r\n"); got != want {
		t.Errorf("without duplicates %q, want %q", got, want)
	}
	f := open(t, path, Options{})
	_, paths, err := SplitFile(context.Background(), f, filepath.Join(t.TempDir(), "split"), []float64{1}, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	split, _ := os.ReadFile(paths[0])
	if first, _, _ := strings.Cut(string(split), "\n"); first != `{"question":"What, now?","answer":"Mail \"\"me@here.org\"\""}` {
		t.Errorf("the split's first row is %s", first)
	}
}

// FuzzTable checks that no bytes make the reader panic, and that what
// encoding/csv reads, we read alike (it drops the \r of line ends inside cells).
func FuzzTable(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "a\n\"x\"\"y\"\n", "a,b\r\n\"1\r\n2\",\r\n\r\n", "a;b\n\"", "a\n\"b\"c\n", ",\n,\n\"\",\"\"", "a\n5\"\"\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := Open(write(t, "a.csv", string(content)), Options{part: 3})
		if err != nil {
			return
		}
		defer file.Close()
		var got [][]string
		for i := range file.Len() {
			row, err := file.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			if row.Problem == "" {
				var cells []string
				for _, field := range row.Fields() {
					cells = append(cells, strings.ReplaceAll(field.Value, "\r\n", "\n"))
				}
				got = append(got, cells)
			}
		}
		text := strings.TrimPrefix(string(content), "\xef\xbb\xbf")
		reader := csv.NewReader(strings.NewReader(text))
		reader.Comma = rune(commaOf([]byte(text), "a.csv"))
		records, err := reader.ReadAll()
		if err != nil || len(records) == 0 || !utf8.ValidString(text) || strings.Contains(text, "\r\r") || strings.Contains(text, "[") || !strings.HasSuffix(text, "\n") {
			return
		}
		for _, record := range records[1:] {
			if len(got) == 0 || !reflect.DeepEqual(got[0], record) {
				t.Fatalf("got %q, want %q", got, records[1:])
			}
			got = got[1:]
		}
	})
}
