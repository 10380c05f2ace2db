package tokenizer

// merge is one rule of the vocabulary: the tokens left and right make the token merged.
type merge struct{ left, right, merged int32 }

// mergeTable finds the rank of a pair of tokens: open addressing on the pair. A slot holds a rank and half of the pair's
// hash, so that pairs that do not merge, which are most of those asked for, cost one look at eight bytes.
type mergeTable struct {
	rules []merge // by rank
	slots []mergeSlot
	shift uint8
}

type mergeSlot struct {
	tag  uint32
	rank int32 // plus one; 0 in an empty slot
}

func newMergeTable(n int) mergeTable {
	bits := uint8(4)
	for 1<<bits < n+n/3 {
		bits++
	}
	return mergeTable{make([]merge, 0, n), make([]mergeSlot, 1<<bits), 64 - bits}
}

func (t *mergeTable) hash(left, right int32) uint64 {
	key := uint64(uint32(left))<<32 | uint64(uint32(right))
	key ^= key >> 31
	return key * 0x9e3779b97f4a7c15 // Fibonacci hashing
}

// add enters the next rule. Of two equal pairs the first holds, which has the lower rank.
func (t *mergeTable) add(left, right, merged int32) {
	t.rules = append(t.rules, merge{left, right, merged})
	h := t.hash(left, right)
	tag := uint32(h)
	i := int(h >> t.shift)
	for ; t.slots[i].rank > 0; i = (i + 1) & (len(t.slots) - 1) {
		if r := &t.rules[t.slots[i].rank-1]; t.slots[i].tag == tag && r.left == left && r.right == right {
			return
		}
	}
	t.slots[i] = mergeSlot{tag, int32(len(t.rules))}
}

// noRank is the rank of a pair that does not merge, after all others.
const noRank = 1<<31 - 1

// find gives the rank of a pair, noRank when it does not merge, and the id that it becomes.
func (t *mergeTable) find(left, right int32) (rank, merged int32) {
	h := t.hash(left, right)
	tag := uint32(h)
	for i := int(h >> t.shift); ; i = (i + 1) & (len(t.slots) - 1) {
		s := t.slots[i]
		if s.rank == 0 {
			return noRank, 0
		}
		if s.tag == tag {
			if r := &t.rules[s.rank-1]; r.left == left && r.right == right {
				return s.rank - 1, r.merged
			}
		}
	}
}

// merger merges the tokens of words. Its buffers are used again for the next word.
type merger struct {
	table *mergeTable
	pairs []pairMerge
	links []link
	queue candidates
}

// pairMerge is what becomes of a token and its neighbour on the right.
type pairMerge struct{ rank, merged int32 }

// manyTokens is where a priority queue is faster than looking for the lowest rank among all pairs.
const manyTokens = 64

// merge merges t in place until no pair of it is a rule: at each step the pair of lowest rank, the leftmost of equals.
func (x *merger) merge(t []tok) []tok {
	if len(t) > manyTokens {
		return x.mergeMany(t)
	}
	p := x.pairs[:0]
	for i := 1; i < len(t); i++ {
		rank, merged := x.table.find(t[i-1].id, t[i].id)
		p = append(p, pairMerge{rank, merged})
	}
	x.pairs = p
	for {
		best, at := int32(noRank), 0
		for i := range p {
			if p[i].rank < best {
				best, at = p[i].rank, i
			}
		}
		if best == noRank {
			return t
		}
		t[at] = join(t[at], t[at+1], p[at].merged)
		copy(t[at+1:], t[at+2:])
		copy(p[at:], p[at+1:])
		t, p = t[:len(t)-1], p[:len(p)-1]
		if at > 0 {
			p[at-1].rank, p[at-1].merged = x.table.find(t[at-1].id, t[at].id)
		}
		if at < len(p) {
			p[at].rank, p[at].merged = x.table.find(t[at].id, t[at+1].id)
		}
	}
}

func join(a, b tok, id int32) tok { return tok{id: id, n: a.n + b.skip + b.n, skip: a.skip} }

// link is a token of a long word in a doubly linked list.
type link struct {
	tok
	prev, next int32
}

// mergeMany is merge with a priority queue, for words of any length.
func (x *merger) mergeMany(t []tok) []tok {
	x.links, x.queue = x.links[:0], x.queue[:0]
	for i := range t {
		x.links = append(x.links, link{t[i], int32(i - 1), int32(i + 1)})
	}
	l := x.links
	l[len(l)-1].next = -1
	for i := range l {
		x.enqueue(int32(i))
	}
	for len(x.queue) > 0 {
		c := x.queue.pop()
		if l[c.at].id != c.left {
			continue
		}
		n := l[c.at].next
		if n < 0 || l[n].id != c.right {
			continue
		}
		l[c.at].tok = join(l[c.at].tok, l[n].tok, c.merged)
		l[c.at].next = l[n].next
		if after := l[n].next; after >= 0 {
			l[after].prev = c.at
		}
		l[n].id = -1
		x.enqueue(c.at)
		x.enqueue(l[c.at].prev)
	}
	t = t[:0]
	for p := int32(0); p >= 0; p = l[p].next {
		t = append(t, l[p].tok)
	}
	return t
}

// enqueue puts the merge of link p and the next one into the queue, where there is one.
func (x *merger) enqueue(p int32) {
	if p < 0 || x.links[p].next < 0 {
		return
	}
	left, right := x.links[p].id, x.links[x.links[p].next].id
	if rank, merged := x.table.find(left, right); rank != noRank {
		x.queue.push(candidate{rank, p, left, right, merged})
	}
}

// candidate is a merge that was possible when it was queued.
type candidate struct{ rank, at, left, right, merged int32 }

// candidates is a heap, lowest rank first, then leftmost.
type candidates []candidate

func (q candidates) less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}

func (q *candidates) push(c candidate) {
	h := append(*q, c)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	*q = h
}

func (q *candidates) pop() candidate {
	h := *q
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*q = h
	return top
}
