package datasets

import "slices"

// Bounds tells how large a micro-batch of any number of rows can be, over all epochs. In the file's order the bounds are
// exact; shuffled, they are those of the longest rows falling together.
type Bounds struct {
	// tokens and seqs [rows+1] are sums over the first rows: of the file's order, or of the largest rows when shuffled.
	tokens, seqs []int
	longest      int
	shuffled     bool
}

// Bounds measures the loader's rows.
func (l *Loader) Bounds() Bounds {
	b := Bounds{shuffled: l.config.Shuffle}
	tokens, seqs := make([]int, l.rows.len()), make([]int, l.rows.len())
	for r := range tokens {
		for _, s := range l.rows.row(r) {
			n := len(l.samples[s].Tokens)
			tokens[r] += n
			seqs[r]++
			b.longest = max(b.longest, n)
		}
	}
	if b.shuffled {
		descending := func(a, b int) int { return b - a }
		slices.SortFunc(tokens, descending)
		slices.SortFunc(seqs, descending)
	}
	b.tokens, b.seqs = sums(tokens), sums(seqs)
	return b
}

func sums(values []int) []int {
	out := make([]int, len(values)+1)
	for i, v := range values {
		out[i+1] = out[i] + v
	}
	return out
}

// Rows is the number of rows, beyond which no micro-batch grows.
func (b Bounds) Rows() int { return len(b.tokens) - 1 }

// Batch bounds a micro-batch of so many rows: its tokens, its sequences, and the tokens of its longest sequence.
func (b Bounds) Batch(rows int) (tokens, seqs, longestSeq int) {
	n := b.Rows()
	rows = max(rows, 1)
	if b.shuffled {
		rows = min(rows, n)
		return b.tokens[rows], b.seqs[rows], b.longest
	}
	for at := 0; at < n; at += rows {
		end := min(at+rows, n)
		tokens, seqs = max(tokens, b.tokens[end]-b.tokens[at]), max(seqs, b.seqs[end]-b.seqs[at])
	}
	return tokens, seqs, b.longest
}

// LongestBatch is Bounds for the loader's own batch size.
func (l *Loader) LongestBatch() (tokens, seqs, longestSeq int) {
	return l.Bounds().Batch(l.config.BatchSize)
}
