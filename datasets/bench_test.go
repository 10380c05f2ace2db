package datasets

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkLint is the rules alone, without tokens, on one core: instruction
// rows with escapes, punctuation and digits as real ones have them.
func BenchmarkLint(b *testing.B) {
	var content strings.Builder
	for i := 0; content.Len() < 8<<20; i++ {
		fmt.Fprintf(&content, `{"question": "Row %d: Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many did she sell altogether?", `+
			`"answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 48+24 = <<48+24=72>>72 clips altogether \"in April and May\".\n#### %d"}`+"\n", i, i)
	}
	f := open(b, write(b, "a.jsonl", content.String()), Options{})
	f.Len()
	b.SetBytes(int64(content.Len()))
	for b.Loop() {
		if _, err := Lint(context.Background(), f, LintOptions{Workers: 1}, func(f Finding) { b.Fatalf("%+v", f) }); err != nil {
			b.Fatal(err)
		}
	}
}
