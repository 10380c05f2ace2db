package datasets

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// table is how records of a CSV or TSV file (RFC 4180) become rows.
type table struct {
	comma  byte
	names  [][]byte // of the columns, as JSON strings
	nested []bool   // columns whose cells may hold JSON: lists of messages, ids
	header int64    // where the first record begins, after the header
}

// isTable tells tables by their name: their bytes have no sign.
func isTable(path string) bool {
	switch strings.ToLower(filepath.Ext(strings.TrimSuffix(path, ".gz"))) {
	case ".csv", ".tsv", ".tab":
		return true
	}
	return false
}

// commaOf is a tab in TSV; in CSV whichever of comma, semicolon, tab and bar the
// header has most of.
func commaOf(head []byte, path string) byte {
	if ext := strings.ToLower(filepath.Ext(strings.TrimSuffix(path, ".gz"))); ext != ".csv" {
		return '\t'
	}
	counts := map[byte]int{}
	quoted := false
	for _, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\n' && !quoted:
			head = nil
		case !quoted:
			counts[c]++
		}
		if head == nil {
			break
		}
	}
	return slices.MaxFunc([]byte{'|', '\t', ';', ','}, func(a, b byte) int { return counts[a] - counts[b] })
}

// listMembers are the fields that are lists in every format.
var listMembers = []string{"messages", "conversations", "history", "tools", "input_ids", "labels"}

// setHeader reads the names of the columns.
func (t *table) setHeader(record []byte) {
	cells, _ := t.cells(record)
	for i, cell := range cells {
		name := strings.TrimSpace(string(cell))
		if name == "" {
			name = fmt.Sprintf("column_%d", i+1)
		}
		t.names = append(t.names, quoteRaw([]byte(name)))
		t.nested = append(t.nested, slices.Contains(listMembers, name))
	}
}

// row turns a record into a JSON object of its cells. Cells are strings; lists
// of messages and of ids are the JSON that they hold. A problem is one line.
func (t *table) row(record []byte) (raw []byte, problem string) {
	cells, problem := t.cells(record)
	if problem == "" && len(cells) != len(t.names) {
		problem = fmt.Sprintf("the record has %d cells, the header %d: is a cell with a %s not in quotation marks?",
			len(cells), len(t.names), commaName(t.comma))
	}
	if problem != "" {
		return record, problem
	}
	raw = append(make([]byte, 0, len(record)+16*len(cells)), '{')
	for i, cell := range cells {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = append(append(raw, t.names[i]...), ':')
		if t.nested[i] && isList(cell) {
			raw = append(raw, cell...)
		} else {
			raw = append(raw, quoteRaw(cell)...)
		}
	}
	return append(raw, '}'), ""
}

func commaName(comma byte) string {
	return map[byte]string{',': "comma", ';': "semicolon", '\t': "tab", '|': "bar"}[comma]
}

// isList reports whether a cell is a JSON list.
func isList(cell []byte) bool {
	var d document
	return len(cell) > 0 && cell[0] == '[' && d.parse(cell) == nil && d.kind(0) == '['
}

// cells divides a record. A cell in quotation marks may hold the comma, line
// ends, and quotation marks doubled.
func (t *table) cells(record []byte) (cells [][]byte, problem string) {
	for {
		if len(record) == 0 || record[0] != '"' {
			end := bytes.IndexByte(record, t.comma)
			if end < 0 {
				return append(cells, record), ""
			}
			cells, record = append(cells, record[:end]), record[end+1:]
			continue
		}
		cell, rest, closed := quotedCell(record)
		if !closed {
			return nil, fmt.Sprintf("the quotation mark before cell %d is never closed", len(cells)+1)
		}
		cells = append(cells, cell)
		if len(rest) == 0 {
			return cells, ""
		}
		if rest[0] != t.comma {
			return nil, fmt.Sprintf("there is text after the closing quotation mark of cell %d: double the marks inside of a cell", len(cells))
		}
		record = rest[1:]
	}
}

// quotedCell reads a cell that begins with a quotation mark.
func quotedCell(record []byte) (cell, rest []byte, closed bool) {
	record = record[1:]
	for {
		end := bytes.IndexByte(record, '"')
		if end < 0 {
			return nil, nil, false
		}
		cell = append(cell, record[:end]...)
		record = record[end+1:]
		if len(record) == 0 || record[0] != '"' {
			return cell, record, true
		}
		cell = append(cell, '"')
		record = record[1:]
	}
}

// quoteRaw makes a JSON string and leaves bytes that are not UTF-8 as they are:
// the linter has to see them.
func quoteRaw(text []byte) []byte {
	b := append(make([]byte, 0, len(text)+2), '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// recordScanner takes records of a table for rows; the first is the header.
type recordScanner struct {
	table     *table
	start     int64
	startLine int
	started   bool // start is set
	text      bool // the record has more than a line end
	quoted    bool
	closed    bool // the last byte closed a quoted cell, or was half of a doubled mark
	cellStart bool // the next byte begins a cell
	last      byte
	header    []byte // as far as it was read
	named     bool   // the header is complete
}

func (s *recordScanner) block(x *indexer, p []byte) {
	for i, c := range p {
		if !s.started {
			s.start, s.startLine, s.started, s.cellStart = x.offset+int64(i), x.line, true, true
		}
		if c == '\n' {
			x.line++
			if !s.quoted {
				s.finish(x, x.offset+int64(i))
				continue
			}
		}
		s.step(c)
		if !s.named {
			s.header = append(s.header, c)
		}
	}
}

// step follows quotation marks: one opens at the start of a cell only; inside,
// each closes, and one right after it opens again (a doubled mark).
func (s *recordScanner) step(c byte) {
	closed := false
	switch {
	case c == '"' && s.quoted:
		s.quoted, closed = false, true
	case c == '"' && (s.cellStart || s.closed):
		s.quoted = true
	}
	s.text = s.text || c != '\r'
	s.closed, s.cellStart, s.last = closed, c == s.table.comma && !s.quoted, c
}

// finish ends a record before its line end.
func (s *recordScanner) finish(x *indexer, end int64) {
	next := end + 1
	if s.text {
		if s.last == '\r' && !s.quoted {
			end--
		}
		if s.named {
			x.add(s.start, end, s.startLine)
		} else {
			s.table.setHeader(bytes.TrimSuffix(s.header, []byte("\r")))
			s.table.header, s.named, s.header = next, true, nil
		}
	}
	s.started, s.text, s.quoted, s.closed, s.last = false, false, false, false, 0
}

func (s *recordScanner) end(x *indexer) error {
	if s.started {
		s.finish(x, x.offset)
	}
	return nil
}
