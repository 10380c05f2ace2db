package themes

import (
	"math"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// luminance is the relative luminance of WCAG 2.1.
func luminance(rgb uint32) float64 {
	lin := func(c uint32) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*lin(rgb>>16) + 0.7152*lin(rgb>>8) + 0.0722*lin(rgb)
}

// contrast is the contrast ratio of WCAG 2.1, 1 to 21.
func contrastRatio(a, b uint32) float64 {
	la, lb := luminance(a), luminance(b)
	if la < lb {
		la, lb = lb, la
	}
	return (la + 0.05) / (lb + 0.05)
}

func TestContrast(t *testing.T) {
	if got := contrastRatio(0x777777, 0xffffff); math.Abs(got-4.48) > 0.01 { // WCAG's well-known near miss
		t.Fatalf("contrast of #777 on white is %.2f, want 4.48", got)
	}
	type pair struct {
		fg, bg Token
		least  float64
	}
	var pairs []pair
	for _, bg := range []Token{Base, Panel} {
		for _, fg := range []Token{Text, Muted, Title, Accent, Good, Warn, Bad, Info, Trained, Masked, Special} {
			pairs = append(pairs, pair{fg, bg, 4.5})
		}
	}
	for _, fg := range []Token{Faint, Border, BorderFocus, Track, Grid, Series1, Series2, Series3, Series4, Series5, Series6} {
		pairs = append(pairs, pair{fg, Base, 3})
	}
	pairs = append(pairs, pair{OnCursor, Cursor, 4.5}, pair{OnSelect, Select, 4.5})
	for _, fg := range []Token{Good, Warn, Bad, Info, Accent} { // cells of the row under the cursor
		pairs = append(pairs, pair{fg, Select, 4.5})
	}
	for _, bg := range []Token{TrainedA, TrainedB} {
		pairs = append(pairs, pair{Trained, bg, 4.5}, pair{Special, bg, 4.5}, pair{Faint, bg, 2})
	}
	for _, bg := range []Token{MaskedA, MaskedB} {
		pairs = append(pairs, pair{Masked, bg, 4.5}, pair{Special, bg, 4.5}, pair{Faint, bg, 2})
	}
	for i := range Token(NumHeat) {
		pairs = append(pairs, pair{HeatInk0 + i, Heat0 + i, 4.5})
	}
	for _, p := range Palettes() {
		if p.Mono {
			continue
		}
		for _, c := range pairs {
			if got := contrastRatio(p.Inks[c.fg].RGB, p.Inks[c.bg].RGB); got < c.least {
				t.Errorf("%s: contrast of token %d (#%06x) on %d (#%06x) is %.2f, want at least %.1f",
					p.Name, c.fg, p.Inks[c.fg].RGB, c.bg, p.Inks[c.bg].RGB, got, c.least)
			}
		}
	}
}

// Where a theme says that it is shaded, the shades behind neighbouring tokens
// differ; cursor and selection show on any terminal with 256 colours.
func TestShadesDiffer(t *testing.T) {
	for _, p := range Palettes() {
		if p.Mono {
			continue
		}
		for _, profile := range []colorprofile.Profile{colorprofile.TrueColor, colorprofile.ANSI256} {
			th := Must(Options{Name: p.Name, Profile: profile})
			pairs := [][2]Token{{Base, Select}, {Base, Cursor}, {Select, Cursor}}
			if th.Shaded() {
				pairs = append(pairs, [2]Token{TrainedA, TrainedB}, [2]Token{MaskedA, MaskedB}, [2]Token{TrainedA, MaskedA})
			}
			for _, pair := range pairs {
				if th.bg[pair[0]] == th.bg[pair[1]] {
					t.Errorf("%s, %v: tokens %d and %d have the same background", p.Name, profile, pair[0], pair[1])
				}
			}
		}
	}
}

func TestEveryTokenHasAnInk(t *testing.T) {
	for _, p := range Palettes() {
		if p.Mono {
			continue
		}
		for tok := Base; tok < NumTokens; tok++ {
			used := tok <= MaskedB || tok >= Text && tok <= Grid || tok >= Series1 && tok <= Series6 || tok >= Heat0 && tok <= Heat7
			if used && tok != Base && p.Inks[tok] == (Ink{}) {
				t.Errorf("%s: token %d has no ink", p.Name, tok)
			}
		}
	}
	if Grid >= Series1 || Series6 >= Heat0 || Heat7 >= HeatInk0 || HeatInk7 >= NumTokens || MaskedB >= Text {
		t.Error("token ranges overlap")
	}
}

func TestNoColor(t *testing.T) {
	for env, want := range map[string]bool{
		"NO_COLOR=1": true, "NO_COLOR=0": true, "NO_COLOR=false": true, "NO_COLOR=": false, "COLOR=1": false, "": false,
	} {
		if got := NoColor([]string{"TERM=xterm-256color", env}); got != want {
			t.Errorf("NoColor(%q) = %v, want %v", env, got, want)
		}
	}
	if NoColor([]string{"NO_COLOR=1", "NO_COLOR="}) {
		t.Error("the last setting of NO_COLOR must count")
	}
	env := []string{"TERM=xterm-256color", "COLORTERM=truecolor", "NO_COLOR=0"}
	if got := DetectEnv(env); got != colorprofile.ASCII {
		t.Errorf("NO_COLOR=0 gives %v, want no colour", got)
	}
	if got := DetectEnv(env[:2]); got != colorprofile.TrueColor {
		t.Errorf("without NO_COLOR: %v, want TrueColor", got)
	}
}

func TestMonoHasNoColour(t *testing.T) {
	for _, o := range []Options{{Name: "mono"}, {Name: "light", Profile: colorprofile.ASCII}, {Name: "dark", Profile: colorprofile.NoTTY}} {
		th := Must(o)
		for tok := range Token(NumTokens) {
			for _, s := range []string{th.Draw(Pen{FG: tok}, "x"), th.Draw(Pen{BG: tok}, "x"), th.Style(tok).Render("x")} {
				if strings.Contains(s, "38;") || strings.Contains(s, "48;") || strings.Contains(s, "[3") || strings.Contains(s, ";9") {
					t.Fatalf("%+v: token %d draws with colour: %q", o, tok, s)
				}
			}
		}
	}
}

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		profile colorprofile.Profile
		want    string
	}{
		{colorprofile.TrueColor, "\x1b[0;38;2;227;154;95mx\x1b[m"},
		{colorprofile.ANSI256, "\x1b[0;38;5;173mx\x1b[m"},
		{colorprofile.ANSI, "\x1b[0;33mx\x1b[m"},
		{colorprofile.ASCII, "\x1b[0;1mx\x1b[m"},
	} {
		th := Must(Options{Name: "dark", Profile: c.profile})
		if got := th.Paint(Accent, "x"); got != c.want {
			t.Errorf("%v: %q, want %q", c.profile, got, c.want)
		}
		if got := ansi.Strip(th.Paint(Accent, "x")); got != "x" {
			t.Errorf("%v: text is %q", c.profile, got)
		}
	}
	th := Must(Options{})
	if got := th.Draw(Pen{}, "x"); got != "x" {
		t.Errorf("the default pen draws %q", got)
	}
	if got, want := th.Draw(FG(Text, Bold).On(Panel), "x"), "\x1b[0;1;38;2;213;217;224;48;2;29;33;40mx\x1b[m"; got != want {
		t.Errorf("pen with all parts: %q, want %q", got, want)
	}
}

func TestNewNames(t *testing.T) {
	if th := Must(Options{Light: true}); th.Name() != "light" || th.Dark() {
		t.Errorf("auto on a light terminal gives %s", th.Name())
	}
	if th := Must(Options{Name: " Auto "}); th.Name() != "dark" {
		t.Errorf("auto on a dark terminal gives %s", th.Name())
	}
	_, err := New(Options{Name: "solarised"})
	if err == nil || !strings.Contains(err.Error(), "colorblind") || !strings.Contains(err.Error(), "solarised") {
		t.Errorf("unknown name: %v, want an error that lists the known ones", err)
	}
}

func TestHeat(t *testing.T) {
	for v, want := range map[float64]Token{-1: Heat0, 0: Heat0, 0.5: Heat4, 0.99: Heat7, 1: Heat7, math.Inf(1): Heat7} {
		if got := Heat(v); got.BG != want || got.FG != want+(HeatInk0-Heat0) {
			t.Errorf("Heat(%v) = %+v, want background %d", v, got, want)
		}
	}
	if got := Heat(math.NaN()); got.BG != None {
		t.Errorf("NaN has heat %+v", got)
	}
	if Series(6) != Series1 || Series(-1) != Series6 {
		t.Error("Series does not wrap around")
	}
}

// Layouts count on glyphs of one cell, by either width method.
func TestGlyphsAreNarrow(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		g := Must(Options{ASCII: ascii}).Glyphs
		all := []string{
			g.Horizontal, g.Vertical, g.TopLeft, g.TopRight, g.BottomLeft, g.BottomRight,
			g.TeeLeft, g.TeeRight, g.TeeUp, g.TeeDown, g.Cross, g.Ellipsis, g.Bullet, g.Dot, g.Pointer, g.Check, g.Times,
			g.Warning, g.Up, g.Down, g.Left, g.Right, g.Space, g.Newline, g.Tab, g.BarFull, g.BarHalf, g.BarTrack,
			g.Thumb, g.Rail, g.GridV, g.Crosshair, g.Pause, g.Resume, g.Checkpoint, g.Eval, g.Note, g.Missing, g.Swatch,
		}
		all = append(append(append(append(all, g.Fills[:]...), g.Spark...), g.Spinner...), g.Marks[:]...)
		for _, s := range all {
			if ansi.StringWidth(s) != 1 || ansi.StringWidthWc(s) != 1 {
				t.Errorf("glyph %q is not one cell wide", s)
			}
			if ascii && (len(s) != 1 || s[0] < 0x20 || s[0] > 0x7e) {
				t.Errorf("glyph %q is not ASCII", s)
			}
		}
	}
}
