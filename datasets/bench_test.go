package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// benchFiles are what rows look like: real ones where they lie beside the repository, else made up with escapes, punctuation and
// digits as real ones have them.
func benchFiles(b *testing.B) map[string]string {
	files := map[string]string{}
	if raw, err := os.ReadFile("../../shared/data/gsm8k/train.jsonl"); err == nil {
		files["gsm8k"] = write(b, "gsm8k.jsonl", string(raw))
	}
	const question = "Row %d: Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many did she sell altogether?"
	const answer = `Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 48+24 = <<48+24=72>>72 clips altogether \"in April and May\".\n#### %d`
	const long = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness in 1775. "
	const accents = "Row %d: où est l’élève? «Grüße aus Köln», naïve façade – “déjà vu”, 東京都 и Москва, ça coûte 12 € … "
	const escaped = `Row %d: \u00dcber die Gr\u00f6\u00dfe\t\"zitiert\"\n\u6771\u4eac\n- one\n- two\\three\n`
	for name, format := range map[string]string{
		"pairs":    `{"question": "` + question + `", "answer": "` + answer + `"}` + "\n",
		"messages": `{"messages": [{"role": "user", "content": "` + question + `"}, {"role": "assistant", "content": "` + answer + `"}]}` + "\n",
		"text":     `{"text": "Row %d: ` + strings.Repeat(long, 40) + `%d"}` + "\n",
		"accents":  `{"instruction": "` + accents + `.", "output": "` + strings.Repeat(accents[len("Row %d: "):], 3) + `%d."}` + "\n",
		"escapes":  `{"instruction": "` + escaped + `.", "output": "` + strings.Repeat(escaped[len("Row %d: "):], 3) + `%d."}` + "\n",
	} {
		var content strings.Builder
		for i := 0; content.Len() < 8<<20; i++ {
			fmt.Fprintf(&content, format, i, i)
		}
		files[name] = write(b, name+".jsonl", content.String())
	}
	return files
}

// walk reads a file's JSON with jsontext and does nothing with it.
func walk(b *testing.B, path string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	for {
		if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLint is the rules that need no tokenizer, on one core (run it with -cpu 1), reading the index included. The ratio is its
// speed over that of a bare walk of the same file, each timed after the other.
func BenchmarkLint(b *testing.B) {
	for name, path := range benchFiles(b) {
		for what, options := range map[string]LintOptions{"rules": {Workers: 1}, "near": {Workers: 1, Near: true}} {
			b.Run(name+"/"+what, func(b *testing.B) {
				info, err := os.Stat(path)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(info.Size())
				var walked time.Duration
				for b.Loop() {
					b.StopTimer()
					start := time.Now()
					walk(b, path)
					walked += time.Since(start)
					b.StartTimer()
					f, err := Open(path, Options{})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := Lint(context.Background(), f, options, func(Finding) {}); err != nil {
						b.Fatal(err)
					}
					f.Close()
				}
				b.ReportMetric(float64(walked)/float64(b.Elapsed()), "of-walk")
				b.ReportMetric(float64(info.Size())*float64(b.N)/walked.Seconds()/1e6, "walk-MB/s")
			})
		}
	}
}
