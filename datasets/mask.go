package datasets

import "strings"

// maskSpans marks the tokens to train: those that overlap a trained range of
// text, and the end-of-turn token that follows it; not the newline after that.
func maskSpans(t Tokenizer, text string, ids []int32, spans, trained [][2]int) []bool {
	mask := make([]bool, len(ids))
	from := 0 // trained ranges are in order, so tokens before it are done
	for _, r := range trained {
		first, last := -1, -1
		for i := from; i < len(ids); i++ {
			span := spans[i]
			if span[0] >= r[1] && span[1] > span[0] {
				break
			}
			if span[0] < r[1] && span[1] > r[0] && !(span[1] > r[1] && t.IsSpecial(ids[i]) && isCut(text, span, r[1])) {
				mask[i], last = true, i
				if first < 0 {
					first = i
				}
			}
		}
		if last < 0 {
			// An empty answer: the turn's end comes right where it would stand.
			last = lastBefore(spans, from, r[1])
		}
		if !trimAfterEnd(t, text, ids, spans, mask, first, last) {
			markEnd(t, text, ids, spans, mask, last+1, r[1])
		}
		from = max(from, last)
	}
	return mask
}

// isCut reports whether a range ends inside of a special token itself, not just
// in the white space that the token swallowed (Phi-3's "<|end|>\n"). A range
// found by comparing renderings may reach into the next turn's header.
func isCut(text string, span [2]int, end int) bool {
	return strings.TrimSpace(text[span[0]:end]) != strings.TrimSpace(text[span[0]:span[1]])
}

// lastBefore returns the last token, from a token on, that ends at or before at.
func lastBefore(spans [][2]int, from, at int) int {
	last := from - 1
	for i := from; i < len(spans) && spans[i][1] <= at; i++ {
		last = i
	}
	return last
}

// trimAfterEnd handles a range that holds its end-of-turn token: the white space
// after it is not trained. It reports whether the range does.
func trimAfterEnd(t Tokenizer, text string, ids []int32, spans [][2]int, mask []bool, first, last int) bool {
	if first < 0 {
		return false
	}
	end := last
	for end >= first && !t.IsSpecial(ids[end]) && isBlank(text, spans[end]) {
		end--
	}
	if end < first || !t.IsSpecial(ids[end]) {
		return false
	}
	for i := end + 1; i <= last; i++ {
		mask[i] = false
	}
	return true
}

// markEnd marks the special token that ends the turn, when it follows at once
// or after spaces (Llama 2's " </s>"), which are then trained as well.
func markEnd(t Tokenizer, text string, ids []int32, spans [][2]int, mask []bool, next, end int) {
	for i := next; i < len(ids); i++ {
		switch {
		case t.IsSpecial(ids[i]) && spans[i][0] >= end:
			for j := next; j <= i; j++ {
				mask[j] = true
			}
			return
		case !isBlank(text, spans[i]) || strings.Contains(text[spans[i][0]:spans[i][1]], "\n"):
			return
		}
	}
}

// isBlank reports whether a token covers nothing but white space.
func isBlank(text string, span [2]int) bool {
	return strings.TrimSpace(text[span[0]:span[1]]) == ""
}
