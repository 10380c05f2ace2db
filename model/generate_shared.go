package model

import "slices"

// leastShared is how many tokens in common are worth a copy of their keys and values, or a pass of waiting for them; vLLM's prefix
// caching has blocks of as many.
const leastShared = 16

// admit gives waiting sequences slots, each the one that holds the longest beginning of its text; among equals the one that has been
// free for longest.
func (g *generator) admit() {
	for len(g.free) > 0 && len(g.waiting) > 0 {
		s, at, held := g.waiting[0], 0, 0
		for i, slot := range g.free {
			if n := g.held(s, g.occupant[slot]); n > held {
				at, held = i, n
			}
		}
		s.slot = g.free[at]
		g.have(s, held)
		g.occupant[s.slot], g.free = s, slices.Delete(g.free, at, at+1)
		g.waiting, g.active = g.waiting[1:], append(g.active, s)
	}
}

// inCommon is how many tokens two sequences begin with whose keys and values are the same; the last token of s is not among them, as
// the scores after it are wanted.
func (g *generator) inCommon(s, other *sequence) int {
	before := g.model.virtualTokens()
	if !g.model.cfg.turnsAlike(before+len(s.tokens), before+len(other.tokens)) {
		return 0
	}
	n := 0
	for n < min(len(s.tokens)-1, len(other.tokens)) && s.tokens[n] == other.tokens[n] {
		n++
	}
	return n
}

// held is how many of a sequence's first tokens are in the slot of another, or of one that was there before.
func (g *generator) held(s, other *sequence) int {
	if other == nil {
		return 0
	}
	return min(g.inCommon(s, other), other.cached)
}

// have says that the keys and values of the first n tokens of a sequence are in its slot.
func (g *generator) have(s *sequence, n int) {
	if len(s.tokens) == s.prompt {
		s.result.CachedTokens += n - s.cached
	}
	s.cached = n
}

// share copies to a sequence the keys and values of the longest beginning that another slot holds (prefix caching, as vLLM and llama.cpp
// call it), and says whether it should wait: where one that was admitted before it is going to read more of that beginning. The first
// admitted never waits, so that every pass reads.
func (g *generator) share(s *sequence) (wait bool) {
	if len(s.tokens)-s.cached <= leastShared {
		return false
	}
	from, most := -1, s.cached+leastShared-1
	for slot, other := range g.occupant {
		if n := g.held(s, other); slot != s.slot && n > most {
			from, most = slot, n
		}
	}
	if from >= 0 {
		g.cache.copyRows(g.model.dev, piece{slot: s.slot, from: g.model.virtualTokens() + s.cached, n: most - s.cached}, from)
		g.have(s, most)
	}
	return slices.ContainsFunc(g.active, func(other *sequence) bool {
		return other.index < s.index && g.inCommon(s, other) >= s.cached+leastShared
	})
}
