package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// none marks an absent node.
const none int32 = -1

// node is one JSON value of a document: where it lies in the raw bytes, and its
// place in the tree. Offsets are int32: a row is at most 1 GiB.
type node struct {
	start, end       int32 // raw[start:end], quotes included
	keyStart, keyEnd int32 // the member's name, quotes included; 0,0 in an array
	first, next      int32 // first child and next sibling, or none
	children         int32
	kind             byte // 'n' 't' 'f' '"' '0' '{' '[', as jsontext's
}

// document is a row's JSON as a tree of offsets: nothing is copied, keys keep
// their order and their doubles. It is made to be used again for the next row.
type document struct {
	raw   []byte
	nodes []node // nodes[0] is the root

	buffer  bytes.Buffer
	decoder *jsontext.Decoder
	open    []frame
}

// frame is a container that parse has not closed yet.
type frame struct {
	node, last int32 // last is its latest child
}

// parse reads raw, which must be one JSON value. Names given twice and bad
// UTF-8 are accepted: the linter has findings of its own for them.
func (d *document) parse(raw []byte) error {
	d.raw, d.nodes, d.open = raw, d.nodes[:0], d.open[:0]
	d.buffer = *bytes.NewBuffer(raw)
	if d.decoder == nil {
		d.decoder = jsontext.NewDecoder(&d.buffer, decodeOptions...)
	} else {
		d.decoder.Reset(&d.buffer, decodeOptions...)
	}
	for {
		done, err := d.parseToken()
		if err != nil {
			return d.explain(err)
		}
		if done {
			break
		}
	}
	if _, err := d.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("at byte %d: there is more after the end of the JSON value", d.decoder.InputOffset()+1)
	}
	return nil
}

// decodeOptions accept what the linter has findings of its own for.
var decodeOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// maxDepth is far beyond any dataset's rows and bounds all walks of the tree.
const maxDepth = 200

// parseToken reads the next value or container edge, and reports whether the
// root is complete.
func (d *document) parseToken() (done bool, err error) {
	var key jsontext.Value
	var keyEnd int64
	inObject := len(d.open) > 0 && d.nodes[d.open[len(d.open)-1].node].kind == '{'
	kind := d.decoder.PeekKind()
	if inObject && kind == '"' {
		if key, err = d.decoder.ReadValue(); err != nil {
			return false, err
		}
		keyEnd = d.decoder.InputOffset()
		kind = d.decoder.PeekKind()
	}
	switch kind {
	case '}', ']':
		if _, err := d.decoder.ReadToken(); err != nil {
			return false, err
		}
		top := d.open[len(d.open)-1]
		d.open = d.open[:len(d.open)-1]
		d.nodes[top.node].end = int32(d.decoder.InputOffset())
		return len(d.open) == 0, nil
	case '{', '[':
		if _, err := d.decoder.ReadToken(); err != nil {
			return false, err
		}
		if len(d.open) == maxDepth {
			return false, fmt.Errorf("it is nested more than %d levels deep", maxDepth)
		}
		end := d.decoder.InputOffset()
		n := d.add(byte(kind), end-1, end, keyEnd-int64(len(key)), keyEnd)
		d.open = append(d.open, frame{node: n, last: none})
		return false, nil
	default:
		value, err := d.decoder.ReadValue()
		if err != nil {
			return false, err
		}
		end := d.decoder.InputOffset()
		d.add(byte(kind), end-int64(len(value)), end, keyEnd-int64(len(key)), keyEnd)
		return len(d.open) == 0, nil
	}
}

// add appends a node as the latest child of the open container.
func (d *document) add(kind byte, start, end, keyStart, keyEnd int64) int32 {
	n := int32(len(d.nodes))
	d.nodes = append(d.nodes, node{
		start: int32(start), end: int32(end), keyStart: int32(keyStart), keyEnd: int32(keyEnd),
		first: none, next: none, kind: kind,
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

// explain makes one line of a decoder's error.
func (d *document) explain(err error) error {
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

// object returns the root, or none when it is no object.
func (d *document) object() int32 {
	if len(d.nodes) == 0 || d.nodes[0].kind != '{' {
		return none
	}
	return 0
}

// all yields the children of n in order.
func (d *document) all(n int32) func(yield func(int32) bool) {
	return func(yield func(int32) bool) {
		if n == none {
			return
		}
		for c := d.nodes[n].first; c != none; c = d.nodes[c].next {
			if !yield(c) {
				return
			}
		}
	}
}

// get returns member name of object n, or none. Of a name given twice the last
// counts, as in Python.
func (d *document) get(n int32, name string) int32 {
	found := none
	if name == "" || n == none || d.nodes[n].kind != '{' {
		return none
	}
	for c := range d.all(n) {
		if d.keyIs(c, name) {
			found = c
		}
	}
	return found
}

// keyIs compares a member's name without decoding it when it has no escapes.
func (d *document) keyIs(n int32, name string) bool {
	quoted := d.raw[d.nodes[n].keyStart:d.nodes[n].keyEnd]
	if len(quoted) < 2 {
		return false
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == name
	}
	return string(unquote(quoted)) == name
}

// key returns a member's name, decoded; nil for an element of an array.
func (d *document) key(n int32) []byte {
	return unquote(d.raw[d.nodes[n].keyStart:d.nodes[n].keyEnd])
}

// kind returns the kind of n, 0 for none.
func (d *document) kind(n int32) byte {
	if n == none {
		return 0
	}
	return d.nodes[n].kind
}

// value returns the raw JSON of n, nil for none.
func (d *document) value(n int32) []byte {
	if n == none {
		return nil
	}
	return d.raw[d.nodes[n].start:d.nodes[n].end]
}

// text returns n as people read it: a string decoded, null and none empty,
// anything else its JSON.
func (d *document) text(n int32) string {
	switch d.kind(n) {
	case 0, 'n':
		return ""
	case '"':
		return string(unquote(d.value(n)))
	default:
		return string(d.value(n))
	}
}

// unquote decodes a JSON string; without escapes it is the bytes between the
// quotes, not copied. Bytes that are not UTF-8 become U+FFFD when it has escapes.
func unquote(quoted []byte) []byte {
	if len(quoted) < 2 {
		return nil
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	decoded, _ := jsontext.AppendUnquote(nil, quoted) // its error is about UTF-8 alone: parse accepted the rest
	return decoded
}
