package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docs/PERFORMANCE.md is what its measurements give.
func TestDocumentIsCurrent(t *testing.T) {
	const docs = "../../docs"
	text, plots, err := document(docs)
	if err != nil {
		t.Fatal(err)
	}
	plots["../PERFORMANCE.md"] = text
	for name, want := range plots {
		have, err := os.ReadFile(filepath.Join(docs, "performance", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != want {
			t.Errorf("docs/performance/%s is not what the measurements give: go run ./tools/performance", name)
		}
	}
}

func TestAdd(t *testing.T) {
	docs := t.TempDir()
	file := filepath.Join(docs, "performance", "day.json")
	line := `{"what":"lint","date":"2026-01-02","device":"X","threads":2,"source":"generated","mb_per_second":200,"walk_mb_per_second":300,"of_walk":0.667}`
	if err := run([]string{"-docs", docs, "-add", file, "-note", "A note.", "-commit", "abc"}, strings.NewReader(line)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(docs, "PERFORMANCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## X, 2026-01-02", "A note.", "lathe abc", "| data lint, one core, generated | bare jsontext walk 300 MB/s | 200 | 0.67 | – | ≥ 0.5 | yes |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if err := run([]string{"-docs", docs, "-add", file}, strings.NewReader("nonsense")); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("nonsense was added: %v", err)
	}
}
