package main

import (
	"fmt"
	"html"
	"image/color"
	"strings"
	"unicode/utf8"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// Size of a cell and of the type in it, in SVG units. DejaVu Sans Mono
// advances 0.602 em: 15 units of type fill a cell of 9.
const (
	cellW, cellH = 9, 19
	fontSize     = 15
	baseline     = 14
	margin       = 12
	barHeight    = 30
)

// look is what the capture does not say about the terminal.
type look struct {
	background, foreground, border, title string
}

// canvas collects the shapes, in the order background, lines, text.
type canvas struct {
	look
	back, shapes, text strings.Builder
	top                int
}

// render draws a captured screen, lines of text with SGR sequences.
func render(screen string, l look) string {
	lines := uv.NewStyledString(strings.TrimRight(screen, "\n")).Lines(ansi.GraphemeWidth)
	c := canvas{look: l, top: margin}
	if l.title != "" {
		c.top += barHeight
	}
	columns := 0
	for y, line := range lines {
		x := 0
		for _, r := range runs(line) {
			c.run(x, y, r)
			x += r.width
		}
		columns = max(columns, x)
	}
	width := columns*cellW + 2*margin
	height := len(lines)*cellH + c.top + margin
	return c.finish(width, height)
}

// stretch is a run of cells of one style and one way of drawing.
type stretch struct {
	cells []uv.Cell
	width int
	style uv.Style
	drawn bool // as shapes
	alone bool // one character of a font that may have another width
}

func runs(line uv.Line) []stretch {
	var out []stretch
	for _, cell := range line {
		if cell.Width == 0 {
			continue // second half of a wide character
		}
		r, _ := utf8.DecodeRuneInString(cell.Content)
		d := isShape(r)
		alone := !d && (r >= utf8.RuneSelf || cell.Width != 1)
		if n := len(out); n > 0 && !alone && !out[n-1].alone && out[n-1].drawn == d && out[n-1].style.Equal(&cell.Style) {
			out[n-1].cells = append(out[n-1].cells, cell)
			out[n-1].width += cell.Width
			continue
		}
		out = append(out, stretch{[]uv.Cell{cell}, cell.Width, cell.Style, d, alone})
	}
	return out
}

func (c *canvas) run(x, y int, r stretch) {
	fg, bg := c.colors(r.style)
	px, py := margin+x*cellW, c.top+y*cellH
	if bg != "" {
		fmt.Fprintf(&c.back, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`, px, py, r.width*cellW, cellH, bg)
	}
	opacity := ""
	if r.style.Attrs&uv.AttrFaint != 0 {
		opacity = ` opacity="0.6"`
	}
	if r.drawn {
		fmt.Fprintf(&c.shapes, `<g fill="%s" stroke="%s"%s>`, fg, fg, opacity)
		c.drawShapes(px, py, r)
		c.shapes.WriteString("</g>\n")
		return
	}
	var s strings.Builder
	for _, cell := range r.cells {
		s.WriteString(cell.Content)
	}
	c.drawText(px, py, r, s.String(), fg, opacity)
}

func (c *canvas) drawText(px, py int, r stretch, s, fg, opacity string) {
	trimmed := strings.TrimRight(s, " ")
	plain := r.style.Underline == 0 && r.style.Attrs&uv.AttrStrikethrough == 0
	if trimmed == "" && plain {
		return
	}
	width := r.width
	if plain {
		lead := len(trimmed) - len(strings.TrimLeft(trimmed, " "))
		width -= len(s) - len(trimmed) + lead
		px += lead * cellW
		s = trimmed[lead:]
	}
	attrs := opacity
	if r.style.Attrs&uv.AttrBold != 0 {
		attrs += ` font-weight="bold"`
	}
	if r.style.Attrs&uv.AttrItalic != 0 {
		attrs += ` font-style="italic"`
	}
	switch {
	case r.style.Underline != 0:
		attrs += ` text-decoration="underline"`
	case r.style.Attrs&uv.AttrStrikethrough != 0:
		attrs += ` text-decoration="line-through"`
	}
	fmt.Fprintf(&c.text, `<text x="%d" y="%d" textLength="%d" fill="%s"%s>%s</text>`+"\n",
		px, py+baseline, width*cellW, fg, attrs, html.EscapeString(s))
}

// colors are the foreground and background; the background is empty where it
// is the terminal's own.
func (c *canvas) colors(s uv.Style) (fg, bg string) {
	fg, bg = hex(s.Fg), hex(s.Bg)
	if fg == "" {
		fg = c.foreground
	}
	if s.Attrs&uv.AttrReverse != 0 {
		if bg == "" {
			bg = c.background
		}
		fg, bg = bg, fg
	}
	return fg, bg
}

func hex(c color.Color) string {
	if c == nil {
		return ""
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func (c *canvas) finish(width, height int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" `+
		`font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="%d">`+"\n", width, height, width, height, fontSize)
	fmt.Fprintf(&b, `<rect x="0.5" y="0.5" width="%d" height="%d" rx="8" fill="%s" stroke="%s"/>`+"\n",
		width-1, height-1, c.background, c.border)
	if c.title != "" {
		for i, dot := range []string{"#f0787c", "#e3c65f", "#86c98f"} {
			fmt.Fprintf(&b, `<circle cx="%d" cy="20" r="5.5" fill="%s"/>`, 22+i*20, dot)
		}
		fmt.Fprintf(&b, `<text x="%d" y="25" text-anchor="middle" fill="%s" opacity="0.7">%s</text>`+"\n",
			width/2, c.foreground, html.EscapeString(c.title))
	}
	fmt.Fprintf(&b, "<g>%s</g>\n", c.back.String())
	fmt.Fprintf(&b, `<g stroke-width="0">%s</g>`+"\n", c.shapes.String())
	fmt.Fprintf(&b, `<g xml:space="preserve" lengthAdjust="spacingAndGlyphs">%s</g>`+"\n</svg>\n", c.text.String())
	return b.String()
}
