package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Unreadable is a row that a rewriting command could not read and left as it is.
type Unreadable struct {
	Line   int    `json:"line"` // from 1
	Row    int    `json:"row"`  // from 0
	Reason string `json:"reason"`
}

// Redacted is what `data redact` prints.
type Redacted struct {
	Rows       int            `json:"rows"`
	Changed    int            `json:"changed"`  // rows
	Replaced   map[string]int `json:"replaced"` // by code
	Unreadable []Unreadable   `json:"unreadable"`
}

// Redact writes f to path with what is personal in its texts replaced by a
// placeholder such as [EMAIL]. Every other byte is as it was: line ends, the
// spelling of numbers, escapes, blank lines. A second pass changes nothing. Rows
// that are not JSON are named and left as they are.
func Redact(ctx context.Context, f *File, path string) (Redacted, error) {
	result := Redacted{Replaced: map[string]int{}, Unreadable: []Unreadable{}}
	if err := f.Wait(ctx); err != nil {
		return result, err
	}
	err := writeFile(path, f.Path(), func(w *rowWriter) error {
		cursor := int64(0)
		err := each(ctx, f, 0, newRedactor, func(r redactedRow) error {
			e, _ := f.has(r.row)
			if err := f.copyRange(w, cursor, e.start); err != nil {
				return err
			}
			result.add(r)
			if r.problem != "" {
				cursor = e.start
				return nil
			}
			cursor = e.start + int64(r.length)
			_, err := w.Write(r.text)
			return err
		})
		if err != nil {
			return err
		}
		return f.copyRange(w, cursor, -1)
	})
	return result, err
}

// copyRange copies the file's content from start to end; -1 is its end.
func (f *File) copyRange(w io.Writer, start, end int64) error {
	if end < 0 {
		info, err := f.content.Stat()
		if err != nil {
			return fmt.Errorf("read %s: %w", f.path, err)
		}
		end = info.Size()
	}
	n, err := io.Copy(w, io.NewSectionReader(f.content, start, end-start))
	if err == nil && n < end-start {
		err = errors.New("the file became shorter while it was open")
	}
	if err != nil {
		return fmt.Errorf("copy rows of %s: %w", f.path, err)
	}
	return nil
}

func (r *Redacted) add(row redactedRow) {
	r.Rows++
	if row.problem != "" {
		r.Unreadable = append(r.Unreadable, Unreadable{Line: row.line, Row: row.row, Reason: row.problem})
	}
	if len(row.codes) > 0 {
		r.Changed++
	}
	for _, code := range row.codes {
		r.Replaced[code]++
	}
}

// redactedRow is one row rewritten.
type redactedRow struct {
	line, row int
	length    int    // of the row before
	text      []byte // after
	codes     []string
	problem   string
}

func newRedactor() func(*Row) redactedRow {
	var d document
	return func(r *Row) redactedRow {
		out := redactedRow{line: r.Line, row: r.Index, length: len(r.Raw)}
		if r.record != nil {
			out.length, out.problem = len(r.record), r.Problem
			if out.problem == "" {
				out.text, out.codes = redactString(r.record, true)
			}
			return out
		}
		if r.Problem == "" {
			if err := d.parse(r.Raw); err != nil {
				r.Problem = err.Error()
			}
		}
		if out.problem = r.Problem; out.problem == "" {
			out.text, out.codes = redactRow(&d)
		}
		return out
	}
}

// redactRow rewrites the row in d and names what it replaced.
func redactRow(d *document) (text []byte, codes []string) {
	cursor := int32(0)
	for i := range d.nodes {
		n := &d.nodes[i]
		if n.kind != '"' {
			continue
		}
		inner := d.raw[n.start+1 : n.end-1]
		redacted, found := redactString(inner, false)
		if len(found) == 0 {
			continue
		}
		text = append(append(text, d.raw[cursor:n.start+1]...), redacted...)
		cursor = n.end - 1
		codes = append(codes, found...)
	}
	return append(text, d.raw[cursor:]...), codes
}

// redactString rewrites the raw bytes of a JSON string, or plain ones. What a replacement brings
// together is looked at again, so that a second pass has nothing to do.
func redactString(inner []byte, plain bool) (redacted []byte, codes []string) {
	for {
		found := personalSpans(inner, plain)
		if len(found) == 0 {
			return inner, codes
		}
		var b []byte
		cursor := 0
		for _, s := range found {
			b = append(append(b, inner[cursor:s.start]...), personal[s.code].placeholder...)
			cursor = s.end
			codes = append(codes, s.code)
		}
		inner = append(b, inner[cursor:]...)
	}
}

// personalSpans finds what is personal in the raw bytes of a JSON string, or in
// plain ones. With \u escapes it looks at the decoded text and maps the ranges
// back.
func personalSpans(inner []byte, plainText bool) (found []span) {
	text, decoded := inner, plainText
	var offsets []int
	if !plainText && bytes.Contains(inner, []byte(`\u`)) {
		decoded = true
		text, offsets = decodeWithOffsets(inner)
	}
	done := 0 // an address may begin before the byte that shows it
	for i := 0; i < len(text); i++ {
		c := classes[text[i]]
		if c == backslash && !decoded {
			i++
			continue
		}
		if c != at && c != digit && c != colon {
			continue
		}
		s, ok, next := personalAt(text, i, c, decoded)
		i = next - 1
		if !ok || s.start < done {
			continue
		}
		done = s.end
		if offsets != nil {
			s.start, s.end = offsets[s.start], offsets[s.end]
		}
		found = append(found, s)
	}
	return found
}

// decodeWithOffsets decodes the raw bytes of a JSON string, and gives for every
// decoded byte, and for the end, where in them it comes from.
func decodeWithOffsets(inner []byte) (text []byte, offsets []int) {
	for i := 0; i < len(inner); {
		size := 1
		switch {
		case inner[i] == '\\' && i+1 < len(inner) && inner[i+1] == 'u':
			if size = 6; isHighSurrogate(inner[i:]) && isEscape(inner[min(i+6, len(inner)):]) {
				size = 12
			}
		case inner[i] == '\\':
			size = 2
		case inner[i] >= utf8.RuneSelf:
			_, size = utf8.DecodeRune(inner[i:])
		}
		size = min(size, len(inner)-i)
		part, _ := jsontext.AppendUnquote(nil, append(append([]byte{'"'}, inner[i:i+size]...), '"'))
		for range part {
			offsets = append(offsets, i)
		}
		text = append(text, part...)
		i += size
	}
	return text, append(offsets, len(inner))
}

func isEscape(p []byte) bool { return len(p) >= 6 && p[0] == '\\' && p[1] == 'u' }

// isHighSurrogate reports whether p begins with \ud800 to \udbff.
func isHighSurrogate(p []byte) bool {
	return isEscape(p) && p[2]|0x20 == 'd' && bytes.IndexByte([]byte("89abAB"), p[3]) >= 0
}
