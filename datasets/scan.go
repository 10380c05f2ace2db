package datasets

import (
	"bytes"
	"path/filepath"
	"strings"
)

// chooseScanner looks at the start of a file: an array, objects printed over
// several lines, or else a row a line. A damaged first line of JSONL must not
// make the file anything else, so the other two need clear signs.
func chooseScanner(head []byte, path string) scanner {
	if isTable(path) {
		return &recordScanner{table: &table{comma: commaOf(head, path)}}
	}
	text := bytes.TrimLeft(head, blanks)
	lines := strings.EqualFold(filepath.Ext(strings.TrimSuffix(path, ".gz")), ".jsonl")
	if rest, ok := bytes.CutPrefix(text, []byte("[")); ok {
		rest = bytes.TrimLeft(rest, blanks)
		if !lines || len(rest) == 0 || rest[0] == '{' {
			return &valueScanner{array: true}
		}
	}
	if first, _, more := bytes.Cut(text, []byte("\n")); more && string(bytes.TrimRight(first, blanks)) == "{" {
		return &valueScanner{}
	}
	return &lineScanner{}
}

// blanks are JSON's white space.
const blanks = " \t\r\n"

// lineScanner takes every line that is not blank for a row.
type lineScanner struct {
	start   int64 // of the line, in the content
	started bool  // start is set
	text    bool  // the line has more than blanks so far
	last    byte  // the byte before the block
}

func (s *lineScanner) block(x *indexer, p []byte) {
	if !s.started {
		s.start, s.started = x.offset, true
	}
	for at := 0; at < len(p); {
		n := bytes.IndexByte(p[at:], '\n')
		part := p[at:]
		if n >= 0 {
			part = p[at : at+n]
		}
		if !s.text {
			s.text = len(bytes.TrimLeft(part, blanks)) > 0
		}
		if len(part) > 0 {
			s.last = part[len(part)-1]
		}
		if n < 0 {
			return
		}
		at += n + 1
		s.finish(x, x.offset+int64(at)-1)
		s.start = x.offset + int64(at)
		x.line++
	}
}

// finish ends the line at end, which is before its newline.
func (s *lineScanner) finish(x *indexer, end int64) {
	if s.text {
		if s.last == '\r' {
			end--
		}
		x.add(s.start, end, x.line)
	}
	s.text, s.last = false, 0
}

func (s *lineScanner) end(x *indexer) error {
	s.finish(x, x.offset)
	return nil
}

// valueScanner takes the elements of one array, or values one after the other,
// for rows. It follows brackets and strings only: whether a row is JSON is found
// when it is read.
type valueScanner struct {
	array bool // elements of an array, else values in sequence

	state     valueState
	depth     int  // of brackets inside the row
	quoted    bool // inside a string
	escaped   bool // after a backslash
	start     int64
	startLine int
	bare      bool // the row begins with no bracket
	comma     bool // a comma asks for one more element
}

type valueState byte

const (
	beforeArray valueState = iota
	between
	inValue
	afterArray
	trailing // something after the array
)

func (s *valueScanner) block(x *indexer, p []byte) {
	if !s.array && s.state == beforeArray {
		s.state = between
	}
	for i, c := range p {
		if s.quoted {
			s.inString(c)
		} else {
			s.step(x, c, x.offset+int64(i))
		}
		if c == '\n' && s.state != trailing {
			x.line++
		}
	}
}

func (s *valueScanner) inString(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\':
		s.escaped = true
	case c == '"':
		s.quoted = false
	}
}

// step takes a byte outside of strings, at offset at.
func (s *valueScanner) step(x *indexer, c byte, at int64) {
	switch s.state {
	case beforeArray:
		if c == '[' {
			s.state = between
		}
	case between:
		s.stepBetween(x, c, at)
	case inValue:
		s.stepInside(x, c, at)
	case afterArray:
		if strings.IndexByte(blanks, c) < 0 {
			s.state = trailing
		}
	}
}

func (s *valueScanner) stepBetween(x *indexer, c byte, at int64) {
	switch {
	case strings.IndexByte(blanks, c) >= 0:
	case s.array && c == ']':
		if s.comma { // [{…},]
			x.add(at, at, x.line)
		}
		s.state = afterArray
	case s.array && c == ',': // [{…},,{…}]
		x.add(at, at, x.line)
		s.comma = true
	default:
		s.state, s.depth, s.start, s.startLine = inValue, 0, at, x.line
		s.bare = c != '{' && c != '['
		s.stepInside(x, c, at)
	}
}

func (s *valueScanner) stepInside(x *indexer, c byte, at int64) {
	switch c {
	case '"':
		s.quoted = true
	case '{', '[':
		s.depth++
	case '}', ']':
		if s.array && s.depth == 0 {
			s.finish(x, at)
			s.state = afterArray
			return
		}
		s.depth--
		if !s.array && s.depth <= 0 {
			s.finish(x, at+1)
		}
	case ',':
		if s.array && s.depth == 0 {
			s.finish(x, at)
			s.comma = true
		}
	case '\n':
		if !s.array && s.bare && s.depth <= 0 {
			s.finish(x, at)
		}
	}
}

func (s *valueScanner) finish(x *indexer, end int64) {
	x.add(s.start, end, s.startLine)
	s.state, s.comma = between, false
}

func (s *valueScanner) end(x *indexer) error {
	if s.state == inValue {
		s.finish(x, x.offset)
	}
	if !s.array || s.state == afterArray {
		return nil
	}
	rows := len(x.file.entries) + len(x.batch)
	fault := &RowError{File: x.file.path, Line: x.line, Row: max(rows-1, 0)}
	if s.state == trailing {
		fault.Reason = "there is more after the end of the JSON array"
	} else {
		fault.Reason = "the JSON array does not end: its ] is missing (is the file cut off?)"
	}
	return fault
}
