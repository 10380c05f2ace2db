package prose

import (
	"strings"
	"testing"

	"lathe/themes"
	"lathe/tui/internal/golden"

	"github.com/charmbracelet/x/ansi"
)

var dark = themes.Must(themes.Options{Name: "dark"})

// draw joins the rows of spans without their pads.
func draw(spans []Span, width, hang int) string {
	var out []string
	for _, r := range Wrap(spans, width, hang) {
		out = append(out, strings.TrimRight(ansi.Strip(r.Draw(dark, width)), " "))
	}
	return strings.Join(out, "\n")
}

func TestWrap(t *testing.T) {
	text := func(s ...string) []Span {
		var out []Span
		for i, s := range s {
			out = append(out, Span{Text: s, Pen: themes.FG(themes.Series(i))})
		}
		return out
	}
	for _, c := range []struct {
		name        string
		spans       []Span
		width, hang int
		want        string
	}{
		{"empty", nil, 10, 0, ""},
		{"words", text("Thank you for asking"), 10, 0, "Thank you\nfor asking"},
		{"a word of two pens stays whole", text("our ref", "und policy"), 8, 0, "our\nrefund\npolicy"},
		{"hang", text("our refund policy"), 10, 2, "our refund\n  policy"},
		{"a long word is cut", text("ab reimbursement"), 6, 0, "ab rei\nmburse\nment"},
		{"newlines", text("a\n\nb\r\n", "c"), 10, 0, "a\n\nb\nc"},
		{"a newline at the end", text("a\n"), 10, 0, "a\n"},
		{"indent stays, tabs are blanks", text("  a\n\tb"), 10, 0, "  a\n    b"},
		{"controls are seen", text("a\x1b[31mb\rc"), 20, 0, "a␛[31mb␍c"},
		{"wide", text("日本語"), 4, 0, "日本\n語"},
		{"too narrow for a wide character", text("日"), 1, 0, "?"},
	} {
		if got := draw(c.spans, c.width, c.hang); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Whatever the text, rows are as wide as they say.
func FuzzWrap(f *testing.F) {
	f.Add("Thank you \u0301for", "asking\u202e\n\t日本", 7, 2)
	f.Add("", "\xf0\x9f", 1, 0)
	f.Add("किताब", "\u200d👍🏽", 3, 9)
	f.Fuzz(func(t *testing.T, a, b string, width, hang int) {
		width %= 100
		rows := Wrap([]Span{{Text: a}, {Text: b, Anchor: true}}, width, hang)
		if width <= 0 {
			if rows != nil {
				t.Fatalf("%d rows of no width", len(rows))
			}
			return
		}
		for _, r := range rows {
			golden.Size(t, r.Draw(dark, width), width, 1)
		}
	})
}

func TestPager(t *testing.T) {
	rows := Wrap([]Span{{Text: strings.Repeat("x\n", 40) + "end", Anchor: false}}, 10, 0)
	var p Pager
	golden.Size(t, p.View(dark, rows, 12, 8), 12, 8)
	p.Key("end")
	if got := p.View(dark, rows, 12, 8); !strings.Contains(got, "end") || p.Hidden() != 0 || !p.Tail {
		t.Errorf("the end is not in sight: %q", got)
	}
	rows = append(rows, Plain(themes.FG(themes.Text), "more"))
	if got := p.View(dark, rows, 12, 8); !strings.Contains(got, "more") {
		t.Errorf("the tail does not follow: %q", got)
	}
	p.Key("up")
	if p.Tail || p.Hidden() != 1 {
		t.Errorf("after one up: tail %v, %d hidden", p.Tail, p.Hidden())
	}
	p.Reveal(3)
	if p.View(dark, rows, 12, 8); p.Offset() > 3 || p.Offset()+8 <= 3 {
		t.Errorf("row 3 is out of sight at offset %d", p.Offset())
	}
	if p.Key("x") {
		t.Error("key x is not a pager's")
	}
}
