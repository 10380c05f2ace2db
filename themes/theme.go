package themes

import (
	"fmt"
	"image/color"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// Options choose a theme.
type Options struct {
	Name    string               // palette; empty or "auto" is dark or light by Light
	Light   bool                 // the terminal's background is light
	Profile colorprofile.Profile // what the terminal can show; Unknown means TrueColor
	ASCII   bool                 // plain glyphs
}

// Theme is a palette made ready for one terminal. It is read-only after New
// and may be shared.
type Theme struct {
	Glyphs Glyphs

	palette *Palette
	profile colorprofile.Profile
	ascii   bool
	fg, bg  [NumTokens]string // SGR parameters, empty for the default
	attr    [NumTokens]Attr
	colors  [NumTokens]color.Color
	styles  [NumTokens]lipgloss.Style
	same    [NumTokens]Token // the first token that looks the same
}

// New builds the theme that o asks for. An unknown name is an error that
// lists the known ones.
func New(o Options) (*Theme, error) {
	p, err := find(o)
	if err != nil {
		return nil, err
	}
	if o.Profile == colorprofile.Unknown {
		o.Profile = colorprofile.TrueColor
	}
	if o.Profile <= colorprofile.ASCII {
		p = &mono
	}
	t := &Theme{palette: p, profile: o.Profile, ascii: o.ASCII, Glyphs: unicodeGlyphs}
	switch {
	case o.ASCII:
		t.Glyphs = asciiGlyphs
	case p.Mono:
		t.Glyphs.Fills = monoFills
	}
	for i := range t.palette.Inks {
		t.build(Token(i))
	}
	for i := range t.same {
		t.same[i] = t.firstAlike(Token(i))
	}
	return t, nil
}

// Must is New for names that are known to be right.
func Must(o Options) *Theme {
	t, err := New(o)
	if err != nil {
		panic(err)
	}
	return t
}

func find(o Options) (*Palette, error) {
	name := strings.ToLower(strings.TrimSpace(o.Name))
	if name == "" || name == "auto" {
		if o.Light {
			return &light, nil
		}
		return &dark, nil
	}
	var known []string
	for _, p := range Palettes() {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return nil, fmt.Errorf("choose theme: %q is unknown; known are auto, %s", o.Name, strings.Join(known, ", "))
}

// build fills the caches of one token.
func (t *Theme) build(tok Token) {
	ink := t.palette.Inks[tok]
	t.attr[tok] = ink.Attr
	t.colors[tok] = lipgloss.NoColor{}
	st := lipgloss.NewStyle()
	if !t.palette.Mono && tok != None {
		if c := t.downsample(ink); c != nil {
			t.colors[tok] = c
			t.fg[tok] = strings.Join(ansi.Style{}.ForegroundColor(c), ";")
			t.bg[tok] = strings.Join(ansi.Style{}.BackgroundColor(c), ";")
		}
	}
	if tok < Text || tok >= Heat0 && tok <= Heat7 {
		st = st.Background(t.colors[tok])
	} else {
		st = st.Foreground(t.colors[tok])
	}
	a := t.attr[tok]
	t.styles[tok] = st.Bold(a&Bold != 0).Faint(a&Dim != 0).Italic(a&Italic != 0).
		Underline(a&Underline != 0).Reverse(a&Reverse != 0).Strikethrough(a&Strike != 0)
}

// firstAlike is the first token that is drawn as tok is.
func (t *Theme) firstAlike(tok Token) Token {
	for o := range tok {
		if t.fg[o] == t.fg[tok] && t.bg[o] == t.bg[tok] && t.attr[o] == t.attr[tok] {
			return o
		}
	}
	return tok
}

// Canonical maps pens that look the same to one pen, so that runs of equal
// look can be drawn as one.
func (t *Theme) Canonical(p Pen) Pen {
	p.FG, p.BG = t.same[p.FG], t.same[p.BG]
	return p
}

// downsample gives the colour that the profile shows, nil for the terminal's
// own. Sixteen colours are chosen by hand in the palette: the nearest one by
// distance is often unreadable.
func (t *Theme) downsample(ink Ink) color.Color {
	rgb := color.RGBA{R: uint8(ink.RGB >> 16), G: uint8(ink.RGB >> 8), B: uint8(ink.RGB), A: 255}
	switch t.profile {
	case colorprofile.ANSI:
		if ink.ANSI == ansiDefault {
			return nil
		}
		return ansi.BasicColor(uint8(ink.ANSI))
	case colorprofile.ANSI256:
		return colorprofile.ANSI256.Convert(rgb)
	default:
		return rgb
	}
}

// Name is the palette's name.
func (t *Theme) Name() string { return t.palette.Name }

// Dark says whether the palette is meant for a dark screen.
func (t *Theme) Dark() bool { return t.palette.Dark }

// Mono says that there is no colour: what colour tells must be told otherwise.
func (t *Theme) Mono() bool { return t.palette.Mono }

// ASCII says that only plain characters may be drawn.
func (t *Theme) ASCII() bool { return t.ascii }

// Shaded says whether neighbouring background shades of the palette can be
// told apart. Among 256 colours the dark greens are one.
func (t *Theme) Shaded() bool { return !t.palette.Mono && t.profile == colorprofile.TrueColor }

// Color is the token's colour as the terminal shows it; lipgloss.NoColor when
// it is the terminal's own.
func (t *Theme) Color(tok Token) color.Color { return t.colors[tok] }

// Style is the token as a lipgloss style: a background for surfaces and heat,
// a foreground for the rest.
func (t *Theme) Style(tok Token) lipgloss.Style { return t.styles[tok] }

// AppendPen appends the escape sequence that switches from anything to p.
func (t *Theme) AppendPen(dst []byte, p Pen) []byte {
	a := p.Attr | t.attr[p.FG]
	if p.BG != None {
		a |= t.attr[p.BG]
	}
	dst = append(dst, "\x1b["...)
	start := len(dst)
	// A leading 0 clears what was on before: sequences never depend on order.
	dst = append(dst, '0')
	for _, c := range attrCodes {
		if a&c.attr != 0 {
			dst = append(append(dst, ';'), c.code)
		}
	}
	if s := t.fg[p.FG]; s != "" {
		dst = append(append(dst, ';'), s...)
	}
	if s := t.bg[p.BG]; s != "" {
		dst = append(append(dst, ';'), s...)
	}
	if len(dst) == start+1 {
		dst = dst[:start] // "\x1b[m" resets too
	}
	return append(dst, 'm')
}

// PenLen is the length of the escape sequence for a pen that s begins with, of AppendPen or not; 0 where it begins otherwise.
func PenLen(s string) int {
	end := len("\x1b[")
	for end < len(s) && s[end] >= '0' && s[end] <= ';' { // digits, colon, semicolon
		end++
	}
	if end >= len(s) || s[0] != '\x1b' || s[1] != '[' || s[end] != 'm' {
		return 0
	}
	return end + 1
}

var attrCodes = [...]struct {
	attr Attr
	code byte
}{{Bold, '1'}, {Dim, '2'}, {Italic, '3'}, {Underline, '4'}, {Reverse, '7'}, {Strike, '9'}}

// Paint draws s with the token as foreground.
func (t *Theme) Paint(tok Token, s string) string { return t.Draw(Pen{FG: tok}, s) }

// Draw draws s with the pen and resets.
func (t *Theme) Draw(p Pen, s string) string {
	if s == "" {
		return ""
	}
	b := make([]byte, 0, len(s)+32)
	b = t.AppendPen(b, p)
	if len(b) == len(ansi.ResetStyle) {
		return s
	}
	b = append(b, s...)
	return string(append(b, ansi.ResetStyle...))
}

// Hex is the token's 24-bit colour as #rrggbb, for SVG and the like.
func (t *Theme) Hex(tok Token) string {
	return "#" + strconv.FormatUint(uint64(0x1000000|t.palette.Inks[tok].RGB), 16)[1:]
}
