package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// commit is what pack built the binaries from.
var commit = "unknown"

// report is the JSON file.
type report struct {
	Date    string   `json:"date"`
	Commit  string   `json:"commit"`
	GPU     gpu      `json:"gpu"`
	Host    []fact   `json:"host"`
	Seconds float64  `json:"seconds"`
	Parts   []result `json:"parts"`

	began time.Time
}

func newReport() report {
	now := time.Now().UTC()
	return report{Date: now.Format(time.DateOnly), Commit: commit, Host: []fact{{"system", runtime.GOOS + "/" + runtime.GOARCH}, {"processors", fmt.Sprint(runtime.NumCPU())}}, began: now}
}

// name is that of the report's files: 2026-12-01-nvidia-h200.
func (r report) name(g gpu) string {
	words := strings.FieldsFunc(strings.ToLower(g.Name), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
	if len(words) == 0 {
		words = []string{"no-gpu"}
	}
	name := strings.Join(words, "-")
	if g.Rehearsal != "" && !strings.Contains(name, strings.ToLower(g.Rehearsal)) {
		name = strings.ToLower(g.Rehearsal) + "-" + name
	}
	return r.Date + "-" + name
}

// write writes both files after every part: what is there survives whatever happens next. Until the device has a name they
// have none either.
func (r *runner) write() error {
	r.report.GPU = r.Known
	path := filepath.Join(r.out, r.report.name(r.Known))
	data, err := json.MarshalIndent(r.report, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".json", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(path+".md", []byte(r.report.markdown()), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r report) title() string {
	name := r.GPU.Name
	if name == "" {
		name = "no GPU"
	}
	switch r.GPU.Rehearsal {
	case "":
		return name
	case "EMULATED":
		return "EMULATED device: " + name + ", no GPU"
	default:
		return r.GPU.Rehearsal + " rehearsal: " + name + ", no GPU"
	}
}

func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", r.title())
	if r.GPU.Rehearsal != "" {
		b.WriteString("A rehearsal without a GPU: small sizes, and no time in it means anything, so none is told.\n\n")
	}
	fmt.Fprintf(&b, "%s, commit %s, made by `gpucheck run` in %.0f s.\n\n", r.Date, r.Commit, r.Seconds)
	if g := r.GPU; g.SMs > 0 {
		fmt.Fprintf(&b, "sm_%d, %d multiprocessors, %.1f GiB, L2 %.0f MiB, driver %s (CUDA %s).\n\n", g.Capability, g.SMs, gib(g.Memory), float64(g.L2)/(1<<20), g.Driver, g.CUDA)
	}
	b.WriteString("| part | result | s | |\n| --- | --- | --- | --- |\n")
	for _, p := range r.Parts {
		note := p.Reason
		if len(p.Failures) > 0 {
			note = fmt.Sprintf("%d failures; the first: %s", len(p.Failures), firstLine(p.Failures[0]))
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %s |\n", p.Name, p.Status, p.Seconds, cell(note))
	}
	for _, p := range r.Parts {
		p.markdown(&b)
	}
	return b.String()
}

func (p result) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s: %s\n\n%s.\n", p.Name, p.Status, p.What)
	if p.Reason != "" {
		fmt.Fprintf(b, "\n%s.\n", p.Reason)
	}
	if len(p.Failures) > 0 {
		b.WriteString("\n")
		for _, f := range p.Failures {
			fmt.Fprintf(b, "- FAILED: %s\n", strings.ReplaceAll(strings.TrimSpace(f), "\n", "\n  "))
		}
	}
	if len(p.Facts) > 0 {
		b.WriteString("\n| | |\n| --- | --- |\n")
		for _, f := range p.Facts {
			fmt.Fprintf(b, "| %s | %s |\n", f.Name, cell(f.Value))
		}
	}
	for _, t := range p.Tables {
		t.markdown(b)
	}
}

func (t *table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s:\n\n| %s |\n|%s\n", t.Title, strings.Join(t.Columns, " | "), strings.Repeat(" --- |", len(t.Columns)))
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, x := range row {
			cells[i] = number(x)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	if t.Note != "" {
		fmt.Fprintf(b, "\n%s\n", t.Note)
	}
}

// number writes a cell: whole numbers whole, others with four digits.
func number(x any) string {
	v, ok := x.(float64)
	switch {
	case !ok:
		return cell(fmt.Sprint(x))
	case v == float64(int64(v)) && v < 1e15 && v > -1e15:
		return fmt.Sprintf("%d", int64(v))
	default:
		return fmt.Sprintf("%.4g", v)
	}
}

// cell makes a text fit for a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(s), "|", "\\|"), "\n", "<br>")
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }
