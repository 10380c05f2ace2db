// Command performance writes docs/PERFORMANCE.md and its plots from the measurements in docs/performance:
//
//	go run ./tools/performance
//
// With -add FILE it first puts JSON lines of `lathe bench … --json` from standard input into a file there; -note adds a line that a
// reader has to know, -commit says what was measured.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"lathe/internal/performance"
)

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "performance:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader) error {
	f := flag.NewFlagSet("performance", flag.ContinueOnError)
	docs := f.String("docs", "docs", "folder of PERFORMANCE.md")
	add := f.String("add", "", "file of docs/performance that takes the lines on standard input")
	note := f.String("note", "", "with -add: a line above the figures")
	commit := f.String("commit", "", "with -add: lathe's commit")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *add != "" {
		if err := addLines(*add, *note, *commit, in); err != nil {
			return err
		}
	}
	text, plots, err := document(*docs)
	if err != nil {
		return err
	}
	for name, svg := range plots {
		if err := performance.WriteFile(filepath.Join(*docs, "performance", name), []byte(svg)); err != nil {
			return err
		}
	}
	return performance.WriteFile(filepath.Join(*docs, "PERFORMANCE.md"), []byte(text))
}

// document is what a folder's measurements give.
func document(docs string) (text string, plots map[string]string, err error) {
	files, err := performance.LoadAll(filepath.Join(docs, "performance"))
	if err != nil {
		return "", nil, err
	}
	if len(files) == 0 {
		return "", nil, fmt.Errorf("%s holds no measurements: add some with -add", filepath.Join(docs, "performance"))
	}
	attempts, err := os.ReadFile(filepath.Join(docs, "performance", "attempts.md"))
	if err != nil && !os.IsNotExist(err) {
		return "", nil, err
	}
	text, plots = performance.Document(files, string(attempts))
	return text, plots, nil
}

func addLines(path, note, commit string, in io.Reader) error {
	file, err := performance.Load(path)
	if err != nil {
		return err
	}
	if err := file.AddAll(in); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if note != "" && !slices.Contains(file.Notes, note) {
		file.Notes = append(file.Notes, note)
	}
	if commit != "" {
		file.Commit = commit
	}
	return file.Save(path)
}
