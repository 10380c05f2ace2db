package compare

import "lathe/session"

// alike says of each token of two answers whether the other has it too.
type alike struct {
	prefix int    // tokens that both begin with
	a, b   []bool // behind the prefix too: the token belongs to the longest common subsequence
}

// maxCells bounds the table of the longest common subsequence: a thousand tokens against a thousand.
const maxCells = 1 << 20

// diff compares two answers token by token. Where they are too long for it, only their common beginning and end count as
// alike. prefixOnly leaves what follows the prefix alone: while an answer is being written, the rest would flicker.
func diff(a, b []session.PlayPiece, prefixOnly bool) alike {
	d := alike{a: make([]bool, len(a)), b: make([]bool, len(b))}
	for d.prefix < min(len(a), len(b)) && a[d.prefix].Text == b[d.prefix].Text {
		d.a[d.prefix], d.b[d.prefix] = true, true
		d.prefix++
	}
	if prefixOnly {
		for i := d.prefix; i < len(a); i++ {
			d.a[i] = true
		}
		for i := d.prefix; i < len(b); i++ {
			d.b[i] = true
		}
		return d
	}
	endA, endB := len(a), len(b)
	for endA > d.prefix && endB > d.prefix && a[endA-1].Text == b[endB-1].Text {
		endA, endB = endA-1, endB-1
		d.a[endA], d.b[endB] = true, true
	}
	if (endA-d.prefix)*(endB-d.prefix) <= maxCells {
		d.subsequence(a[:endA], b[:endB])
	}
	return d
}

// subsequence marks the longest common subsequence of what follows the prefix, by the textbook's table.
func (d *alike) subsequence(a, b []session.PlayPiece) {
	n, m := len(a)-d.prefix, len(b)-d.prefix
	if n <= 0 || m <= 0 {
		return
	}
	best := make([]int32, (n+1)*(m+1)) // [n+1, m+1]: the length from i and j on
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			at := i*(m+1) + j
			if a[d.prefix+i].Text == b[d.prefix+j].Text {
				best[at] = best[at+m+2] + 1
			} else {
				best[at] = max(best[at+m+1], best[at+1])
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		switch at := i*(m+1) + j; {
		case a[d.prefix+i].Text == b[d.prefix+j].Text:
			d.a[d.prefix+i], d.b[d.prefix+j] = true, true
			i, j = i+1, j+1
		case best[at+m+1] >= best[at+1]:
			i++
		default:
			j++
		}
	}
}

// same counts the tokens that both have.
func (d alike) same() int {
	n := 0
	for _, ok := range d.a {
		if ok {
			n++
		}
	}
	return n
}
