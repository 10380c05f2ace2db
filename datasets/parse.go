package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// parse reads raw, which must be one JSON value (RFC 8259). Names given twice and bad UTF-8 are accepted: the linter has
// findings of its own for them.
func (d *document) parse(raw []byte) error {
	d.raw, d.nodes, d.marks, d.open = raw, d.nodes[:0], d.marks[:0], d.open[:0]
	d.ascii = d.stops.of(raw)
	if !d.scan() {
		return explain(raw)
	}
	return nil
}

// maxDepth is far beyond any dataset's rows and bounds all walks of the tree.
const maxDepth = 200

// memberName is where a member's name lies in the row, quotes included; an element of an array has the zero value.
type memberName struct {
	start, end int
	plain      bool // it has no escapes
}

// frame is a container that parse has not closed yet.
type frame struct {
	node, last int32 // last is its latest child
}

// scan walks over the bytes once and makes the tree. What is wrong with a row that is no JSON is left to explain.
func (d *document) scan() bool {
	i := skipBlanks(d.raw, 0)
	for {
		var name memberName
		if d.inObject() {
			if i, name = d.scanName(i); i < 0 {
				return false
			}
		}
		var opened bool
		if i, opened = d.scanValue(i, name); i < 0 {
			return false
		}
		if opened {
			continue
		}
		if i = d.scanEnds(i); i < 0 {
			return false
		}
		if len(d.open) == 0 {
			return i == len(d.raw)
		}
	}
}

func (d *document) inObject() bool {
	return len(d.open) > 0 && d.nodes[d.open[len(d.open)-1].node].kind == '{'
}

// scanValue reads a value that begins at i, of a container that is not empty its opening only, and gives where to go on; -1
// where there is no value.
func (d *document) scanValue(i int, name memberName) (next int, opened bool) {
	switch c := byteAt(d.raw, i); c {
	case '"':
		first := len(d.marks)
		end := d.scanString(i)
		if end < 0 {
			return -1, false
		}
		n := d.add('"', i, end, name)
		d.nodes[n].marks, d.nodes[n].marksEnd = int32(first), int32(len(d.marks))
		return end, false
	case '{', '[':
		n := d.add(c, i, i+1, name)
		next := skipBlanks(d.raw, i+1)
		if byteAt(d.raw, next) == c+2 { // } and ] stand two after { and [ in ASCII
			d.nodes[n].end = int32(next + 1)
			return next + 1, false
		}
		if len(d.open) == maxDepth {
			return -1, false
		}
		d.open = append(d.open, frame{node: n, last: none})
		return next, true
	default:
		end, kind := scanScalar(d.raw, i)
		if end >= 0 {
			d.add(kind, i, end, name)
		}
		return end, false
	}
}

// scanEnds closes the containers that end after a value, and steps over the comma before the next one.
func (d *document) scanEnds(i int) int {
	for {
		i = skipBlanks(d.raw, i)
		if len(d.open) == 0 {
			return i
		}
		top := d.open[len(d.open)-1].node
		switch byteAt(d.raw, i) {
		case ',':
			return skipBlanks(d.raw, i+1)
		case d.nodes[top].kind + 2:
			i++
			d.nodes[top].end = int32(i)
			d.open = d.open[:len(d.open)-1]
		default:
			return -1
		}
	}
}

// add appends a node as the latest child of the open container.
func (d *document) add(kind byte, start, end int, name memberName) int32 {
	n := int32(len(d.nodes))
	d.nodes = append(d.nodes, node{
		start: int32(start), end: int32(end), keyStart: int32(name.start), keyEnd: int32(name.end),
		first: none, next: none, kind: kind, plainKey: name.plain,
	})
	if len(d.open) > 0 {
		top := &d.open[len(d.open)-1]
		if top.last == none {
			d.nodes[top.node].first = n
		} else {
			d.nodes[top.last].next = n
		}
		top.last = n
		d.nodes[top.node].children++
	}
	return n
}

func byteAt(raw []byte, i int) byte {
	if i < len(raw) {
		return raw[i]
	}
	return 0
}

func skipBlanks(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// scanName reads the name of a member that begins at i, without marks, and gives where its value begins; -1 where there is no name.
func (d *document) scanName(i int) (next int, name memberName) {
	if byteAt(d.raw, i) != '"' {
		return -1, name
	}
	name = memberName{start: i, end: d.stops.next(i+1) + 1, plain: true}
	if byteAt(d.raw, name.end-1) != '"' { // what stops there does not end it
		n := len(d.marks)
		if name.end = d.scanString(i); name.end < 0 {
			return -1, name
		}
		d.marks = d.marks[:n]
		name.plain = bytes.IndexByte(d.raw[i:name.end], '\\') < 0
	}
	if next = skipBlanks(d.raw, name.end); byteAt(d.raw, next) != ':' {
		return -1, name
	}
	return skipBlanks(d.raw, next+1), name
}

// stringClasses is classes for the bytes of a JSON string: a quotation mark ends it, and control characters are not allowed.
var stringClasses = func() (t [256]class) {
	t = classes
	for c := range 0x20 {
		t[c] = forbidden
	}
	t['"'] = quotation
	return t
}()

// scanString reads the string that begins at i and gives its end, -1 where there is none. It marks the bytes that the linter's
// rules have to look at; from the first \u escape on there are no more, because the linter goes over the decoded text.
func (d *document) scanString(i int) int {
	raw, decoded := d.raw, false
	for from := i + 1; ; {
		i = d.stops.next(from)
		if i >= len(raw) {
			return -1
		}
		c, next, mark := stringClasses[raw[i]], i+1, false
		switch c {
		case quotation:
			return next
		case forbidden:
			return -1
		case backslash:
			if next = scanEscape(raw, i); next < 0 {
				return -1
			}
			mark = escapeMarks[raw[i+1]]
		case digit:
			next = d.scanNumbers(from, i, !decoded)
		default:
			mark = isMarked(raw, i, c)
		}
		if mark && !decoded {
			d.marks = append(d.marks, int32(i))
			decoded = c == backslash && raw[i+1] == 'u'
		}
		from = next
	}
}

// scanNumbers goes over the numbers around the digit at i, which begin at from at the earliest, and gives where they end.
func (d *document) scanNumbers(from, i int, marking bool) int {
	for i > from && numberBytes[d.raw[i-1]] {
		i--
	}
	for i < len(d.raw) && numberBytes[d.raw[i]] {
		if !isDigit(d.raw[i]) {
			i++
			continue
		}
		next, mark := scanNumber(d.raw, i)
		if mark && marking {
			d.marks = append(d.marks, int32(i))
		}
		i = next
	}
	return i
}

// escapeMarks are the escapes that rules know.
var escapeMarks = [256]bool{'/': true, 'b': true, 'f': true, 'u': true}

// scanEscape gives the end of the escape at i, -1 where it is none.
func scanEscape(raw []byte, i int) int {
	switch byteAt(raw, i+1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if isHex4(raw, i+2) {
			return i + 6
		}
	}
	return -1
}

// scanNumber steps over the number at i. One of so few digits that it is nothing personal is passed whole, as numberAt does; of
// another the first digit is marked.
func scanNumber(raw []byte, i int) (next int, mark bool) {
	end, digits, dots := numberEnd(raw, i)
	if !isPersonal(digits, dots) && !(isCapital(raw[i-1]) && isCapital(raw[i-2])) {
		return end, false
	}
	for next = i + 1; next < len(raw) && isDigit(raw[next]); next++ {
		continue
	}
	return next, true
}

// isMarked says of a byte of one of the other classes whether what follows can be what a rule looks for.
func isMarked(raw []byte, i int, c class) bool {
	second, third := byteAt(raw, i+1), byteAt(raw, i+2)
	switch c {
	case opening:
		return tokenStarts[int(second)<<8|int(third)]
	case colon:
		return second == ':' || isDigit(second) || second|0x20 >= 'a' && second|0x20 <= 'f'
	case highC2C3: // U+0080 to U+009F; what the first bytes of é, Д and ’ in UTF-8 are as Latin-1
		return raw[i] == 0xc2 && second < 0xa0 || raw[i] == 0xc3 && (second&^3 == 0x80 || second&^3 == 0x90 || second == 0xa2)
	case highE2: // U+2000 to U+200F, U+2028 to U+207F
		return second == 0x80 && (third < 0x90 || third >= 0xa8) || second == 0x81
	case highEF: // U+FEC0 and on
		return second >= 0xbb
	}
	return true
}

func isHex4(raw []byte, i int) bool {
	if i+4 > len(raw) {
		return false
	}
	return hexDigits[raw[i]]|hexDigits[raw[i+1]]|hexDigits[raw[i+2]]|hexDigits[raw[i+3]] != 0xff
}

// scanScalar reads a number or a word at i; its kind is jsontext's.
func scanScalar(raw []byte, i int) (end int, kind byte) {
	for _, word := range [...]string{"true", "false", "null"} {
		if byteAt(raw, i) == word[0] && i+len(word) <= len(raw) && string(raw[i:i+len(word)]) == word {
			return i + len(word), word[0]
		}
	}
	if byteAt(raw, i) == '-' {
		i++
	}
	digits := func() bool {
		start := i
		for i < len(raw) && isDigit(raw[i]) {
			i++
		}
		return i > start
	}
	if byteAt(raw, i) == '0' {
		i++
	} else if !digits() {
		return -1, 0
	}
	if byteAt(raw, i) == '.' {
		if i++; !digits() {
			return -1, 0
		}
	}
	if byteAt(raw, i)|0x20 == 'e' {
		if i++; byteAt(raw, i) == '+' || byteAt(raw, i) == '-' {
			i++
		}
		if !digits() {
			return -1, 0
		}
	}
	return i, '0'
}

// decodeOptions accept what the linter has findings of its own for.
var decodeOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// explain says on one line why raw is not one JSON value that parse accepts.
func explain(raw []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), decodeOptions...)
	for {
		_, err := d.ReadToken()
		if err == nil && d.StackDepth() > maxDepth {
			err = fmt.Errorf("it is nested more than %d levels deep", maxDepth)
		}
		if err != nil {
			return explainError(err)
		}
		if d.StackDepth() == 0 {
			break
		}
	}
	return fmt.Errorf("at byte %d: there is more after the end of the JSON value", d.InputOffset()+1)
}

func explainError(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w", err)
	}
	cause := syntax.Err
	if errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, io.EOF) {
		cause = errors.New("the row ends in the middle of a value")
	}
	return fmt.Errorf("not JSON at byte %d: %w", syntax.ByteOffset+1, cause)
}
