package datasets

import (
	"strings"
	"testing"
)

// FuzzRefusal compares the search with one that looks for every refusal at every byte.
func FuzzRefusal(f *testing.F) {
	for _, s := range append([]string{"", "Sure, as an AI I can", "\\nAs an AI", "xAs an AI", strings.Repeat("i ca", 60) + "I'm an AI"}, refusals...) {
		f.Add([]byte(s))
		f.Add([]byte("Well, " + strings.ToUpper(s)))
	}
	f.Fuzz(func(t *testing.T, inner []byte) {
		start, end := refusalAt(inner)
		wantStart, wantEnd := refusalSearched(inner)
		if start != wantStart || end != wantEnd {
			t.Fatalf("%q: [%d:%d], want [%d:%d]", inner, start, end, wantStart, wantEnd)
		}
	})
}

func refusalSearched(inner []byte) (start, end int) {
	for i := range min(len(inner), 200) {
		if i > 0 && isAlphanumeric(inner[i-1]) && !escaped(inner, i-1) {
			continue
		}
		for _, refusal := range refusals {
			if hasFold(inner[i:], refusal) {
				return i, i + len(refusal)
			}
		}
	}
	return -1, -1
}
