package tokenview

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"lathe/themes"
	"lathe/tui/internal/golden"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

var (
	dark  = themes.Must(themes.Options{Name: "dark"})
	plain = themes.Must(themes.Options{Name: "mono", Profile: colorprofile.ASCII, ASCII: true})
)

// sample is a conversation as tokens, with all that is awkward to draw.
func sample() []Token {
	prompt := []string{"<s>", "[INST]", " Explain", " our", " refund", " policy", ".", "\n", "\n", "Ref", "und", "s", ":\t", "30", "  ", "日本", "語", " cafe", "\u0301", "[/INST]"}
	answer := []string{" Thank", " you", "!", "\r\n", " किताब", " 🙂", "\xf0\x9f", "\x99", "\x1b[31m", "", "a\u202eb", "</s>"}
	var out []Token
	for i, s := range append(prompt[:len(prompt):len(prompt)], answer...) {
		out = append(out, Token{
			Text: s, ID: 100 + i, Trained: i >= len(prompt), Special: strings.HasPrefix(s, "<") || strings.HasPrefix(s, "["), Heat: float64(i) / 8,
		})
	}
	out[3].Heat = math.NaN()
	return out
}

func view(th *themes.Theme) *Model {
	m := New(th)
	m.SetTokens(sample())
	m.Focused = true
	return m
}

func TestGoldens(t *testing.T) {
	for _, s := range [][2]int{{24, 12}, {76, 6}} {
		for name, th := range map[string]*themes.Theme{"dark": dark, "ascii": plain} {
			m := view(th)
			got := m.View(s[0], s[1])
			golden.Size(t, got, s[0], s[1])
			golden.Plain(t, fmt.Sprintf("tokens-%s-%dx%d", name, s[0], s[1]), got)
		}
	}
	m := view(dark)
	golden.Styled(t, "tokens-styled", m.View(40, 3))
	m.SetMode(Heat)
	m.SetHeat(0, 0)
	golden.Styled(t, "heat-styled", m.View(40, 3)+"\n"+m.Legend(40)+"\n"+m.Detail(60))
}

func TestSizes(t *testing.T) {
	m := view(dark)
	for _, w := range []int{0, 1, 2, 3, 9, 80} {
		for _, h := range []int{0, 1, 2, 40} {
			golden.Size(t, m.View(w, h), w, h)
		}
	}
	golden.Size(t, m.Legend(30), 30, 1)
	golden.Size(t, m.Detail(30), 30, 1)
	golden.Size(t, New(dark).View(20, 3), 20, 3)
}

func TestCountsAndText(t *testing.T) {
	m := view(dark)
	if total, trained, special := m.Counts(); total != 32 || trained != 12 || special != 4 {
		t.Errorf("counts %d %d %d, want 32 12 4", total, trained, special)
	}
	if got := m.Text(2, 7); got != " Explain our refund policy." {
		t.Errorf("text is %q", got)
	}
}

func TestWalk(t *testing.T) {
	m := view(dark)
	m.View(76, 4)
	for _, c := range []struct {
		key  string
		want int
	}{{"l", 1}, {"left", 0}, {"h", 0}, {"w", 20}, {"w", 31}, {"b", 20}, {"b", 0}, {"end", 31}, {"g", 0}, {"pgdown", 8}, {"k", 0}} {
		if !m.Key(c.key) {
			t.Errorf("key %q is not known", c.key)
		}
		if i, _, _ := m.Cursor(); i != c.want {
			t.Errorf("after %q the cursor is on %d, want %d", c.key, i, c.want)
		}
		if !strings.Contains(m.View(76, 2), "48;2;227;154;95") {
			t.Errorf("after %q the cursor is out of sight", c.key)
		}
	}
	m.Select(5)
	m.Key("v")
	m.Key("right")
	m.Key("right")
	if from, to := m.Selection(); from != 5 || to != 8 {
		t.Errorf("selection %d … %d, want 5 … 8", from, to)
	}
	m.Key("v")
	if from, to := m.Selection(); from != 7 || to != 8 {
		t.Errorf("selection after its end %d … %d, want 7 … 8", from, to)
	}
	if m.Key("z") {
		t.Error("z is no key of the view")
	}
	empty := New(dark)
	for _, k := range []string{"l", "j", "w", "b", "v", "end", "pgup"} {
		empty.Key(k)
		empty.View(10, 3)
	}
	if _, _, ok := empty.Cursor(); ok {
		t.Error("an empty view has a token under its cursor")
	}
}

func TestUnchangedCostsNothing(t *testing.T) {
	m := view(dark)
	m.View(80, 10)
	if n := testing.AllocsPerRun(10, func() { m.View(80, 10) }); n > 1 { // the closure
		t.Errorf("an unchanged View allocates %v times", n)
	}
}

func FuzzTokens(f *testing.F) {
	for _, t := range sample() {
		f.Add(t.Text, uint8(20), uint8(5), false)
	}
	f.Add("🇫🇷🇩🇪\u1100\u1161\u11a8", uint8(9), uint8(3), false)
	f.Add("a\xffb c\n\r\n\t日", uint8(1), uint8(3), true)
	f.Fuzz(func(t *testing.T, text string, w, h uint8, asciiOnly bool) {
		if len(text) > 2048 || h > 50 {
			return
		}
		th := dark
		if asciiOnly {
			th = plain
		}
		m := New(th)
		// The text cut at arbitrary bytes, as byte-level tokens are.
		var tokens []Token
		for i := 0; i < len(text); {
			n := min(1+int(text[i]%5), len(text)-i)
			tokens = append(tokens, Token{Text: text[i : i+n], Trained: n%2 == 0})
			i += n
		}
		m.SetTokens(tokens)
		m.Focused = true
		golden.Size(t, m.View(int(w), int(h)), int(w), int(h))
		for _, k := range []string{"end", "pgup", "j", "w", "k"} {
			m.Key(k)
			golden.Size(t, m.View(int(w), int(h)), int(w), int(h))
		}
		golden.Size(t, m.Detail(int(w)), int(w), min(int(w), 1))
		if strings.ContainsFunc(ansi.Strip(m.View(80, 50)), func(r rune) bool { return r < 0x20 && r != '\n' }) {
			t.Error("a control character was drawn")
		}
	})
}
