// Command roofline derives what a GPU can reach at best with lathe's kernels: it runs the program's own training step on a recording
// device, which counts each launch's operations and bytes, and sets them against what devices can do.
//
//	go run ./tools/roofline          # print the tables
//	go run ./tools/roofline -update  # write them into docs/GPU.md
//
// No GPU and no network. What ptxas says of the kernels is committed beside their PTX; what their machine code has is in sass.json, which
// `go run ./tools/kernels -sass tools/roofline/sass.json` counts.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	update := flag.Bool("update", false, "write the tables into docs/GPU.md")
	flag.Parse()
	if err := run(*update); err != nil {
		fmt.Fprintln(os.Stderr, "roofline:", err)
		os.Exit(1)
	}
}

func run(update bool) error {
	all, err := tablesOf(".")
	if err != nil {
		return err
	}
	if !update {
		for _, t := range all {
			fmt.Printf("## %s\n\n%s\n", t.name, t.text)
		}
		return nil
	}
	const document = "docs/GPU.md"
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	text, err := fill(string(old), all)
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	return os.WriteFile(document, []byte(text), 0o644)
}

// table is a part of the document that the command writes.
type table struct{ name, text string }

// fill puts tables between their markers.
func fill(text string, all []table) (string, error) {
	for _, t := range all {
		begin, end := "<!-- "+t.name+": go run ./tools/roofline -update -->\n", "<!-- end -->\n"
		before, rest, found := strings.Cut(text, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			return "", fmt.Errorf("no place for table %s: a line %q and after it %q", t.name, strings.TrimSpace(begin), strings.TrimSpace(end))
		}
		text = before + begin + "\n" + t.text + "\n" + end + after
	}
	return text, nil
}
