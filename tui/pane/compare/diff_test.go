package compare

import (
	"strings"
	"testing"

	"lathe/session"
)

func pieces(s string) []session.PlayPiece {
	var out []session.PlayPiece
	for _, w := range strings.Fields(s) {
		out = append(out, session.PlayPiece{Text: w})
	}
	return out
}

// marks writes . for tokens alike and x for others.
func marks(has []bool) string {
	var b strings.Builder
	for _, ok := range has {
		b.WriteByte("x."[map[bool]int{false: 0, true: 1}[ok]])
	}
	return b.String()
}

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		a, b, wantA, wantB string
		prefix             int
	}{
		{"", "", "", "", 0},
		{"a b", "", "xx", "", 0},
		{"a b c", "a b c", "...", "...", 3},
		{"a b c d", "a x c d", ".x..", ".x..", 1},
		{"a b c d e", "a c e f", ".x.x.", "...x", 1},
		{"x y z", "a b", "xxx", "xx", 0},
		{"a a b", "a b", ".x.", "..", 1}, // the longest subsequence, whichever of the two a it takes
		{"a b", "a b c d", "..", "..xx", 2},
	} {
		d := diff(pieces(c.a), pieces(c.b), false)
		if marks(d.a) != c.wantA || marks(d.b) != c.wantB || d.prefix != c.prefix {
			t.Errorf("%q and %q: %s, %s, prefix %d; want %s, %s, %d", c.a, c.b, marks(d.a), marks(d.b), d.prefix, c.wantA, c.wantB, c.prefix)
		}
	}
	if d := diff(pieces("a b c"), pieces("a x"), true); marks(d.a)+marks(d.b) != "....." || d.prefix != 1 {
		t.Errorf("while it is written: %+v", d)
	}
}

// Answers too long for the table are compared by their beginnings and ends.
func TestDiffOfLongAnswers(t *testing.T) {
	a, b := pieces("same "+strings.Repeat("a ", 2000)+"end"), pieces("same "+strings.Repeat("b ", 2000)+"end")
	if d := diff(a, b, false); d.prefix != 1 || d.same() != 2 {
		t.Errorf("prefix %d, same %d; want 1 and 2", d.prefix, d.same())
	}
}

// What is marked as common is common, in order, on both sides.
func FuzzDiff(f *testing.F) {
	f.Add("the cat sat", "a cat sat down")
	f.Fuzz(func(t *testing.T, a, b string) {
		pa, pb := pieces(a[:min(len(a), 400)]), pieces(b[:min(len(b), 400)])
		d := diff(pa, pb, false)
		var ca, cb []string
		for i, ok := range d.a {
			if ok {
				ca = append(ca, pa[i].Text)
			}
		}
		for i, ok := range d.b {
			if ok {
				cb = append(cb, pb[i].Text)
			}
		}
		if strings.Join(ca, " ") != strings.Join(cb, " ") {
			t.Errorf("common of %q and %q: %q and %q", a, b, ca, cb)
		}
	})
}
