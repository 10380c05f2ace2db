package trainer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lathe/datasets"
)

// SkippedRow is a row that the user took out of a run's later steps. The order of all other rows, the number of steps and the
// schedule stay: the steps that would have held it have fewer tokens, and are normalised by those they have. In a flat batch
// the rows behind it move up, so that their dropout masks are others than they would have been.
type SkippedRow struct {
	Row    string `json:"row"`    // file:line
	Sample int    `json:"sample"` // its number among the training samples, which the fingerprint vouches for
	From   int    `json:"from"`   // the first step, from 1, without it
}

// ParseRows reads FILE:LINE,FILE:LINE,…; a number alone is a line of the file before it.
func ParseRows(list string) ([]string, error) {
	var rows []string
	file := ""
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, digits := file, part
		if colon := strings.LastIndexByte(part, ':'); colon >= 0 {
			name, digits = part[:colon], part[colon+1:]
		}
		line, err := strconv.Atoi(digits)
		if err != nil || line < 1 || name == "" {
			return nil, faultf(0, "skip-rows: %q names no row; write FILE:LINE, as in train.jsonl:17,42", part)
		}
		file = name
		rows = append(rows, fmt.Sprintf("%s:%d", name, line))
	}
	return rows, nil
}

// skipList is the rows that a run leaves out.
type skipList struct {
	rows    []SkippedRow
	samples map[int]bool
}

func newSkipList(rows []SkippedRow) skipList {
	l := skipList{rows: slices.Clone(rows), samples: map[int]bool{}}
	for _, row := range rows {
		l.samples[row.Sample] = true
	}
	return l
}

// add takes rows out from a step on, counted from 1; those that are out already stay as they are.
func (l *skipList) add(rows []SkippedRow, from int) {
	for _, row := range rows {
		if !l.samples[row.Sample] {
			row.From = from
			l.rows = append(l.rows, row)
			l.samples[row.Sample] = true
		}
	}
}

// without is a batch without the skipped rows; the batch itself is not changed.
func (l skipList) without(b datasets.Batch) datasets.Batch {
	if !slices.ContainsFunc(b.Rows, func(sample int) bool { return l.samples[sample] }) {
		return b
	}
	kept := datasets.Batch{Seqs: []int32{0}}
	for s, sample := range b.Rows {
		if l.samples[sample] {
			continue
		}
		first, end := b.Seqs[s], b.Seqs[s+1]
		kept.Tokens = append(kept.Tokens, b.Tokens[first:end]...)
		kept.Labels = append(kept.Labels, b.Labels[first:end]...)
		kept.Positions = append(kept.Positions, b.Positions[first:end]...)
		kept.Seqs = append(kept.Seqs, int32(len(kept.Tokens)))
		kept.Rows = append(kept.Rows, sample)
		for _, label := range b.Labels[first:end] {
			if label != datasets.IgnoreIndex {
				kept.Trained++
			}
		}
	}
	return kept
}

// findRows looks rows up among the training samples: by the name that messages give the file, by another spelling of its path,
// or by the file's own name where only one file has it.
func (r *Run) findRows(names []string) ([]SkippedRow, error) {
	var found []SkippedRow
	for _, name := range names {
		colon := strings.LastIndexByte(name, ':')
		if colon < 0 {
			return nil, faultf(0, "skip-rows: %q names no row; write FILE:LINE", name)
		}
		file, err := r.trainFile(name[:colon])
		if err != nil {
			return nil, err
		}
		known := len(found)
		for i := range r.loader.Samples() {
			if s := r.loader.Sample(i); s.File == file && strconv.Itoa(s.Line) == name[colon+1:] {
				found = append(found, SkippedRow{Row: rowName(s), Sample: i})
			}
		}
		if len(found) == known {
			return nil, faultf(0, "skip-rows: line %s of %s is no training row of this run", name[colon+1:], file)
		}
	}
	return found, nil
}

// trainFile finds which of the training files a name means.
func (r *Run) trainFile(name string) (string, error) {
	var files, same []string
	for i := range r.loader.Samples() {
		if file := r.loader.Sample(i).File; !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	for _, file := range files {
		if file == name || sameFolder(file, name) {
			return file, nil
		}
		if filepath.Base(file) == name {
			same = append(same, file)
		}
	}
	switch len(same) {
	case 1:
		return same[0], nil
	case 0:
		return "", faultf(0, "skip-rows: %s is none of the training files: %s", name, strings.Join(files, ", "))
	}
	return "", faultf(0, "skip-rows: %s may be %s: give its path", name, strings.Join(same, " or "))
}

func rowName(s datasets.Sample) string { return fmt.Sprintf("%s:%d", s.File, s.Line) }

// skipEmpty tells of a step all of whose rows are skipped: it trains nothing.
func (r *Run) skipEmpty(step int) Event {
	return StepSkipped{Step: step + 1, Reason: SkippedRows, Message: "all of its rows are skipped: it trains nothing"}
}
