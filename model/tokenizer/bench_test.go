package tokenizer

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// benchTexts reads the "text" of each of a file's JSON lines.
func benchTexts(b *testing.B, path string) (texts []string, size int64) {
	f, err := os.Open(path)
	if err != nil {
		b.Skip(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var row struct{ Text, Question, Answer string }
		if err := json.Unmarshal(lines.Bytes(), &row, json.MatchCaseInsensitiveNames(true)); err != nil {
			b.Fatal(err)
		}
		text := row.Text
		if text == "" {
			text = row.Question + "\n" + row.Answer
		}
		texts = append(texts, text)
		size += int64(len(text))
	}
	return texts, size
}

// BenchmarkReal encodes each file of LATHE_BENCH_TEXTS (JSON lines, comma separated) with each model folder of
// LATHE_BENCH_MODELS, row by row on one core.
func BenchmarkReal(b *testing.B) {
	for _, dir := range strings.Split(os.Getenv("LATHE_BENCH_MODELS"), ",") {
		tk, err := Load(dir)
		if err != nil {
			b.Skip(err)
		}
		for _, path := range strings.Split(os.Getenv("LATHE_BENCH_TEXTS"), ",") {
			texts, size := benchTexts(b, path)
			for name, encode := range map[string]func(string){
				"ids":   func(s string) { tk.Encode(s, true) },
				"spans": func(s string) { tk.EncodeSpans(s, true) },
			} {
				b.Run(filepath.Base(dir)+"/"+filepath.Base(path)+"/"+name, func(b *testing.B) {
					b.SetBytes(size)
					for b.Loop() {
						for _, s := range texts {
							encode(s)
						}
					}
				})
			}
		}
	}
}

// BenchmarkLoad reads each model folder of LATHE_BENCH_MODELS.
func BenchmarkLoad(b *testing.B) {
	for _, dir := range strings.Split(os.Getenv("LATHE_BENCH_MODELS"), ",") {
		b.Run(filepath.Base(dir), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Load(dir); err != nil {
					b.Skip(err)
				}
			}
		})
	}
}
