package datasets

import (
	"math/rand/v2"
	"testing"
)

// checkStops compares the stops of text, by vectors and by words, with what a look at each byte says: none is missing, and few are
// where nobody looks.
func checkStops(t *testing.T, text []byte) {
	t.Helper()
	defer func(was bool) { vectors = was }(vectors)
	for _, on := range []bool{vectors, false} {
		vectors = on
		var s stops
		s.of(text)
		for i, c := range text {
			stop := s.next(i) == i
			if !stop && mustStop(text, i) {
				t.Fatalf("vectors %t: %q: no stop at byte %d", on, text, i)
			}
			if stop && stringClasses[c] == plain && c != 0xf2 && c != ';' { // neighbours of what is looked for
				t.Fatalf("vectors %t: %q: a stop at byte %d", on, text, i)
			}
		}
		if past := s.next(len(text)); past < len(text) {
			t.Fatalf("vectors %t: %q: a stop at %d after its end", on, text, past)
		}
	}
}

func mustStop(text []byte, i int) bool {
	if stringClasses[text[i]] != digit {
		return stringClasses[text[i]] != plain
	}
	before := 0
	for before < i && before < 6 && numberBytes[text[i-1-before]] {
		before++
	}
	return before == 6 || i >= 2 && isCapital(text[i-1]) && isCapital(text[i-2])
}

func TestStops(t *testing.T) {
	all := make([]byte, 256)
	for c := range all {
		all[c] = byte(c)
	}
	checkStops(t, all)
	r := rand.New(rand.NewPCG(1, 2))
	const kinds = "  11223(-.).x\"\\@:<[AB\n\x00\x7f\xc2\xc3\xe2\xef\xf3\xe9"
	for range 2000 {
		text := make([]byte, r.IntN(200))
		for i := range text {
			text[i] = kinds[r.IntN(len(kinds))]
		}
		checkStops(t, text)
	}
}
