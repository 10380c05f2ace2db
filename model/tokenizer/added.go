package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is looked for in the text before anything else happens to it.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only where no word character touches it
	LStrip     bool   `json:"lstrip"`      // swallows white space before it
	RStrip     bool   `json:"rstrip"`      // swallows white space after it
	Normalized bool   `json:"normalized"`  // is looked for in the normalised text
	Special    bool   `json:"special"`
}

// addedMatcher finds added tokens, the leftmost first and of those the longest, with a trie of their bytes.
type addedMatcher struct {
	nodes []trieNode
	first [256]bool
	toks  []addedToken
}

type trieNode struct {
	next map[byte]int32
	tok  int32 // index of the token that ends here, -1 for none
}

// add puts a token under the spelling that it has in the text that will be searched.
func (m *addedMatcher) add(spelling string, tok addedToken) {
	if spelling == "" {
		return
	}
	if m.nodes == nil {
		m.nodes = []trieNode{{tok: -1}}
	}
	at := int32(0)
	for i := range len(spelling) {
		to, ok := m.nodes[at].next[spelling[i]]
		if !ok {
			to = int32(len(m.nodes))
			m.nodes = append(m.nodes, trieNode{tok: -1})
			if m.nodes[at].next == nil {
				m.nodes[at].next = map[byte]int32{}
			}
			m.nodes[at].next[spelling[i]] = to
		}
		at = to
	}
	if m.nodes[at].tok < 0 {
		m.nodes[at].tok = int32(len(m.toks))
	}
	m.toks = append(m.toks, tok)
	m.first[spelling[0]] = true
}

// longest gives the token that starts at the head of s and its length, or nil.
func (m *addedMatcher) longest(s string) (*addedToken, int) {
	at, best, n := int32(0), int32(-1), 0
	for i := range len(s) {
		to, ok := m.nodes[at].next[s[i]]
		if !ok {
			break
		}
		if at = to; m.nodes[at].tok >= 0 {
			best, n = m.nodes[at].tok, i+1
		}
	}
	if best < 0 {
		return nil, 0
	}
	return &m.toks[best], n
}

// split walks s as stretches of text (id -1) and added tokens, in order and without gaps.
func (m *addedMatcher) split(s string, visit func(id int32, a, b int)) {
	done := 0
	for i := 0; m.nodes != nil && i < len(s); {
		if !m.first[s[i]] {
			i++
			continue
		}
		tok, n := m.longest(s[i:])
		if tok == nil {
			i++
			continue
		}
		a, b := i, i+n
		i = b
		if tok.SingleWord && (endsInWord(s[:a]) || startsWithWord(s[b:])) {
			continue
		}
		if tok.LStrip {
			a = max(trimSpaceEnd(s[:a]), done)
		}
		if tok.RStrip {
			b += trimSpaceStart(s[b:])
		}
		i = b
		if a > done {
			visit(-1, done, a)
		}
		visit(tok.ID, max(a, done), b)
		done = b
	}
	if done < len(s) {
		visit(-1, done, len(s))
	}
}

func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.In(r, unicode.M, unicode.Nd, unicode.Pc, unicode.Nl, unicode.Other_Alphabetic, unicode.Join_Control)
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// trimSpaceEnd gives where the white space at the end of s begins.
func trimSpaceEnd(s string) int {
	for len(s) > 0 {
		r, n := utf8.DecodeLastRuneInString(s)
		if !isSpace(r) {
			break
		}
		s = s[:len(s)-n]
	}
	return len(s)
}

// trimSpaceStart gives how many bytes of white space s begins with.
func trimSpaceStart(s string) int { return runOf(s, 0, isSpace) }
