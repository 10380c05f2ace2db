package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
)

// DedupeOptions of [Dedupe].
type DedupeOptions struct {
	ExactOnly bool // keep near duplicates
	Workers   int
}

// Deduped is what `data dedupe` prints.
type Deduped struct {
	Rows         int          `json:"rows"`
	Kept         int          `json:"kept"` // rows that cannot be read are kept too
	RemovedExact int          `json:"removed_exact"`
	RemovedNear  int          `json:"removed_near"`
	Unreadable   []Unreadable `json:"unreadable"`
}

// Duplicate is a row that repeats an earlier one.
type Duplicate struct {
	Row, Of int  // from 0
	Near    bool // else exact
}

// Dedupe writes f to path without the rows that repeat an earlier one: exactly
// (the same texts are trained, whatever the order of keys, spacing, escapes and
// ids), or nearly (MinHash, as datatrove). Kept rows are byte for byte as they
// were, in order, with their line ends. Rows that are not JSON are named and kept.
func Dedupe(ctx context.Context, f *File, path string, o DedupeOptions) (Deduped, error) {
	result := Deduped{Unreadable: []Unreadable{}}
	if err := f.Wait(ctx); err != nil {
		return result, err
	}
	duplicates, unreadable, err := FindDuplicates(ctx, f, o)
	if err != nil {
		return result, err
	}
	result.Rows = f.Len()
	result.Kept = result.Rows - len(duplicates)
	result.Unreadable = append(result.Unreadable, unreadable...)
	removed := make(map[int]bool, len(duplicates))
	for _, d := range duplicates {
		removed[d.Row] = true
		if d.Near {
			result.RemovedNear++
		} else {
			result.RemovedExact++
		}
	}
	return result, writeFile(path, f.Path(), func(w *rowWriter) error {
		return f.copyKept(ctx, w, func(i int) bool { return !removed[i] })
	})
}

// FindDuplicates lists the rows of f that repeat an earlier row, in order. Near
// duplicates of one another are a group, of which the first row stays.
func FindDuplicates(ctx context.Context, f *File, o DedupeOptions) ([]Duplicate, []Unreadable, error) {
	var g grouping
	seed := maphash.MakeSeed()
	var unreadable []Unreadable
	newWork := func() func(*Row) rowPrint {
		l := &linter{lintShared: &lintShared{seed: seed}, comparing: true}
		return func(r *Row) rowPrint { return l.print(r, !o.ExactOnly) }
	}
	err := each(ctx, f, o.Workers, newWork, func(p rowPrint) error {
		if p.problem != "" {
			unreadable = append(unreadable, Unreadable{Line: p.line, Row: p.row, Reason: p.problem})
		}
		g.see(p.content, p.signature)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return g.duplicates(), unreadable, f.Wait(ctx)
}

// rowPrint is what is compared of a row.
type rowPrint struct {
	line, row int
	problem   string
	content   uint64     // 0: not to be compared
	signature *signature // nil: not signed
}

// print makes a row's hashes.
func (l *linter) print(r *Row, near bool) rowPrint {
	l.read(r)
	p := rowPrint{line: r.Line, row: r.Index, problem: r.Problem}
	if p.problem != "" {
		return p
	}
	if l.parts.format == FormatUnknown {
		p.content = l.wholeHash()
	} else {
		p.content = l.contentHash()
	}
	if near && l.parts.format != FormatInputIDs {
		if s, ok := l.minHash.sign(l.trainedTexts()...); ok {
			p.signature = &s
		}
	}
	return p
}

// wholeHash hashes all of a row whose fields are unknown.
func (l *linter) wholeHash() uint64 {
	h := hasher{seed: l.seed}
	l.hash(&h, 0)
	return max(h.sum, 1)
}

// trainedTexts are the texts that near duplicates share: what is asked and
// answered, without system prompts, which whole files have in common.
func (l *linter) trainedTexts() (texts []string) {
	p := l.parts
	for _, n := range []int32{p.prompt, p.query, p.response, p.text, p.chosen, p.rejected} {
		if l.d.kind(n) == '"' {
			texts = append(texts, l.d.text(n))
		} else if l.d.kind(n) == '[' {
			texts = l.spoken(texts, n)
		}
	}
	return l.spoken(texts, p.messages)
}

// spoken adds the contents of a conversation.
func (l *linter) spoken(texts []string, list int32) []string {
	for n := range l.d.all(list) {
		if t := readTurn(&l.d, n, l.at.tags()); t.role != roleSystem {
			texts = append(texts, l.d.text(t.content))
		}
	}
	return texts
}

// grouping finds which rows belong together.
type grouping struct {
	first   rowTable // by exact content
	buckets [hashBuckets]rowTable
	parent  []int32 // of near duplicates: a union-find forest, roots are first rows
	exact   []Duplicate
}

// see takes the next row, content 0 for one that is not compared, and returns an
// earlier row that it repeats, or -1.
func (g *grouping) see(content uint64, s *signature) (of int, near bool) {
	row := int32(len(g.parent))
	g.parent = append(g.parent, row)
	if content == 0 {
		return -1, false
	}
	if first, ok := g.first.first(content, row); ok {
		g.exact = append(g.exact, Duplicate{Row: int(row), Of: int(first)})
		g.parent[row] = none // it is gone: nothing is near to it
		return int(first), false
	}
	if s == nil {
		return -1, false
	}
	for b, hash := range s {
		if other, ok := g.buckets[b].first(hash, row); ok {
			g.join(other, row)
		}
	}
	if root := g.root(row); root != row {
		return int(root), true
	}
	return -1, false
}

// root returns the first row of a row's group.
func (g *grouping) root(row int32) int32 {
	for g.parent[row] != row {
		g.parent[row] = g.parent[g.parent[row]]
		row = g.parent[row]
	}
	return row
}

// join makes two groups one; the earlier root stays.
func (g *grouping) join(a, b int32) {
	a, b = g.root(a), g.root(b)
	g.parent[max(a, b)] = min(a, b)
}

// duplicates lists all rows that are not the first of their group.
func (g *grouping) duplicates() (all []Duplicate) {
	exact := g.exact
	for row, parent := range g.parent {
		if parent == none {
			all, exact = append(all, exact[0]), exact[1:]
			continue
		}
		if root := g.root(int32(row)); int(root) != row {
			all = append(all, Duplicate{Row: row, Of: int(root), Near: true})
		}
	}
	return all
}

// copyKept writes the rows that keep says, byte for byte: lines with their ends,
// elements of an array as an array again.
func (f *File) copyKept(ctx context.Context, w *rowWriter, keep func(int) bool) error {
	array := f.array // set before the first row is known
	if f.table != nil {
		if err := f.copyRange(w, 0, f.table.header); err != nil {
			return err
		}
	}
	before := "[\n"
	for i := range f.Len() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !keep(i) {
			continue
		}
		if array {
			if _, err := w.WriteString(before); err != nil {
				return err
			}
			before = ",\n"
		}
		if err := f.copyRow(w, i, !array); err != nil {
			return err
		}
	}
	if !array {
		return nil
	}
	end := "\n]\n"
	if before == "[\n" { // nothing was kept
		end = "[]\n"
	}
	_, err := w.WriteString(end)
	return err
}

// copyRow writes one row, and with end the line end that it has.
func (f *File) copyRow(w *rowWriter, i int, end bool) error {
	row, err := f.rawRow(i, nil)
	if err != nil {
		return err
	}
	e, _ := f.has(i)
	if e.size < 0 {
		return row.fail(nil, "%s", row.Problem)
	}
	if !end {
		_, err := w.Write(row.Raw)
		return err
	}
	line := make([]byte, int(e.size)+2)
	n, err := f.content.ReadAt(line, e.start)
	if err != nil && !errors.Is(err, io.EOF) || n < int(e.size) {
		return fmt.Errorf("read row %d of %s: %w", i, f.path, err)
	}
	line = line[:n]
	if at := bytes.IndexByte(line[e.size:], '\n'); at >= 0 {
		line = line[:int(e.size)+at+1]
	} else {
		line = append(line[:e.size:e.size], '\n') // the last line of a file, or an object among others
	}
	_, err = w.Write(line)
	return err
}
