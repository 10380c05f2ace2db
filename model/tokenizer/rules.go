package tokenizer

import (
	"bytes"
	"fmt"
)

// readMerges reads a list of merges, which has to be valid JSON, in both spellings: "a b" and ["a", "b"].
func readMerges(raw []byte, v *vocabulary) (mergeTable, error) {
	if len(raw) == 0 {
		return newMergeTable(0), nil
	}
	if raw[0] != '[' {
		return mergeTable{}, fmt.Errorf("merges are not a list")
	}
	r := ruleReader{rawScanner: rawScanner{raw: raw, at: 1}, vocab: v}
	t := newMergeTable(r.estimate())
	for r.more() {
		left, right, err := r.pair(len(t.rules))
		if err != nil {
			return t, err
		}
		rule, ok := r.rule(left, right)
		if !ok {
			return t, fmt.Errorf("merge %d, %q with %q, needs a token that the vocabulary does not have", len(t.rules), left, right)
		}
		t.add(rule.left, rule.right, rule.merged)
	}
	return t, nil
}

// ruleReader reads merges one by one.
type ruleReader struct {
	rawScanner
	vocab  *vocabulary
	buffer []byte // left and right, one after the other
	last   int    // where in the vocabulary the last merge's result is
}

// estimate gives the number of merges, or more, from the quotes around their tokens. It has up to half a million entries, and a
// table that grows would take its room several times over.
func (r *ruleReader) estimate() int {
	quotes := 2 // of a merge: "a b"
	if inner := bytes.TrimLeft(r.raw[1:], " \t\r\n"); inner[0] == '[' {
		quotes = 4 // ["a", "b"]
	}
	return min(bytes.Count(r.raw, []byte{'"'})/quotes, len(r.raw)/5)
}

// pair reads the two tokens of merge i.
func (r *ruleReader) pair(i int) (left, right []byte, err error) {
	switch r.raw[r.at] {
	case '"':
		r.buffer = r.appendString(r.buffer[:0])
		left, right, ok := bytes.Cut(r.buffer, []byte{' '})
		if !ok || bytes.IndexByte(right, ' ') >= 0 {
			return nil, nil, fmt.Errorf("merge %d: %q is not two tokens", i, r.buffer)
		}
		copy(r.buffer[len(left):], right) // without the space, so that both are the result's spelling
		r.buffer = r.buffer[:len(left)+len(right)]
		return left, r.buffer[len(left):], nil
	case '[':
		r.at++
		r.buffer = r.buffer[:0]
		cut, n := 0, 0
		for ; r.more(); n++ {
			if r.raw[r.at] != '"' || n == 2 {
				return nil, nil, fmt.Errorf("merge %d is not a list of two tokens", i)
			}
			cut = len(r.buffer)
			r.buffer = r.appendString(r.buffer)
		}
		r.at++
		if n == 2 {
			return r.buffer[:cut], r.buffer[cut:], nil
		}
	}
	return nil, nil, fmt.Errorf("merge %d is not two tokens", i)
}

// rule finds the ids of the two tokens and of what they make, which is often the same token as of the merge before, or the
// next one of the vocabulary.
func (r *ruleReader) rule(left, right []byte) (m merge, ok bool) {
	v := r.vocab
	var okLeft, okRight bool
	m.left, okLeft = v.findBytes(left)
	m.right, okRight = v.findBytes(right)
	if !okLeft || !okRight {
		return m, false
	}
	for _, at := range [2]int{r.last, r.last + 1} {
		if at < len(v.tokens) && v.tokens[at] == string(r.buffer) {
			r.last = at
			m.merged = v.ids[at]
			return m, true
		}
	}
	at, _ := v.slotOfBytes(r.buffer)
	if m.merged, ok = v.id(at); ok {
		r.last = int(v.slots[at].at) - 1
	}
	return m, ok
}
