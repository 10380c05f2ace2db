package datasets

import "encoding/binary"

// refusals begin answers of models that were asked to be careful.
var refusals = []string{
	"as an ai", "as a language model", "as a large language model", "i'm sorry, but", "i am sorry, but", "i’m sorry, but",
	"i cannot assist", "i can't assist", "i cannot fulfill", "i can't fulfill", "i cannot help with", "i can't help with",
	"i'm an ai", "i am an ai", "my knowledge cutoff",
}

// The text is looked at in pieces of refusalPiece bytes, one every refusalStep: the shortest refusal, of eight bytes, holds one of them
// wherever it stands.
const (
	refusalPiece = 4
	refusalStep  = 5
)

// refusalPieces has the hashes of the pieces that stand in refusals, a few of which other pieces share.
var refusalPieces = func() (t [1 << 12]bool) {
	for _, refusal := range refusals {
		for at := range refusalStep {
			t[pieceHash([]byte(refusal[at:]))] = true
		}
	}
	return t
}()

// pieceHash is of the piece at the start of text, without its case: Fibonacci hashing (Knuth 6.4).
func pieceHash(text []byte) uint32 {
	return (binary.LittleEndian.Uint32(text) | 0x20202020) * 2654435769 >> 20
}

// refusalAt looks at the words of the first two hundred bytes.
func refusalAt(inner []byte) (start, end int) {
	const last = 200 - 1
	for at := 0; at < last+refusalStep && at+refusalPiece <= len(inner); at += refusalStep {
		if !refusalPieces[pieceHash(inner[at:])] {
			continue
		}
		for i := max(at-refusalStep+1, 0); i <= min(at, last); i++ {
			if refusal := refusalOf(inner, i); refusal != "" {
				return i, i + len(refusal)
			}
		}
	}
	return -1, -1
}

// refusalOf returns the refusal that begins at inner[i], where no word may go on; "" for none.
func refusalOf(inner []byte, i int) string {
	if i > 0 && isAlphanumeric(inner[i-1]) && !escaped(inner, i-1) {
		return ""
	}
	for _, refusal := range refusals {
		if hasFold(inner[i:], refusal) {
			return refusal
		}
	}
	return ""
}

// hasFold reports whether text begins with the lower-case word, in any case of
// ASCII letters.
func hasFold(text []byte, word string) bool {
	if len(text) < len(word) {
		return false
	}
	for i := range len(word) {
		c := text[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
