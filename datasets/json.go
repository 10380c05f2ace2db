package datasets

import (
	"bytes"

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
	marks, marksEnd  int32 // of a string: its part of the document's marks
	kind             byte  // 'n' 't' 'f' '"' '0' '{' '[', as jsontext's
	plainKey         bool  // the member's name has no escapes
}

// document is a row's JSON as a tree of offsets: nothing is copied, keys keep
// their order and their doubles. It is made to be used again for the next row.
type document struct {
	raw   []byte
	nodes []node // nodes[0] is the root

	// marks are the offsets in raw of what rules have to look at, string by string.
	marks []int32
	open  []frame
	stops stops
	ascii bool // raw is

	spare []byte // for the decoded text of one string at a time
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
	for c := d.nodes[n].first; c != none; c = d.nodes[c].next {
		if d.keyIs(c, name) {
			found = c
		}
	}
	return found
}

// keyIs compares a member's name.
func (d *document) keyIs(n int32, name string) bool {
	x := &d.nodes[n]
	if x.plainKey {
		return string(d.raw[x.keyStart+1:x.keyEnd-1]) == name
	}
	return x.keyEnd > 0 && string(d.key(n)) == name
}

// key returns a member's name, decoded; nil for an element of an array.
func (d *document) key(n int32) []byte {
	x := &d.nodes[n]
	if x.plainKey {
		return d.raw[x.keyStart+1 : x.keyEnd-1]
	}
	return unquote(d.raw[x.keyStart:x.keyEnd])
}

// name is key as a string, which is made only for a name that no format knows.
func (d *document) name(n int32) string {
	key := d.key(n)
	if m, ok := memberOf(key); ok {
		return memberNames[m]
	}
	return string(key)
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

// decoded is text's bytes of string n, valid until the next call. The row is UTF-8.
func (d *document) decoded(n int32) []byte {
	x := &d.nodes[n]
	d.spare = decode(d.spare[:0], d.raw[x.start+1:x.end-1])
	return d.spare
}

// respelled is string n without its quotes as [quote] would write it, valid until the next call. The row is UTF-8.
func (d *document) respelled(n int32) []byte {
	x := &d.nodes[n]
	inner := d.raw[x.start+1 : x.end-1]
	if !d.respells(d.marks[x.marks:x.marksEnd]) {
		return inner
	}
	d.spare = respell(d.spare[:0], inner)
	return d.spare
}

// respells says whether there are escapes among marks that need not be, or that have more than one spelling.
func (d *document) respells(marks []int32) bool {
	for _, i := range marks {
		if d.raw[i] == '\\' && (d.raw[i+1] == 'u' || d.raw[i+1] == '/') {
			return true
		}
	}
	return false
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
