package chart

import (
	"unicode"
	"unicode/utf8"

	"lathe/themes"

	"github.com/NimbleMarkets/ntcharts/v2/canvas/runes"
	"github.com/charmbracelet/x/ansi"
)

// cell is one character of the canvas. A cell with dots is drawn as braille,
// else as glyph; 0 is blank.
type cell struct {
	glyph rune
	pen   themes.Pen
	dots  uint8
	layer uint8
}

// Layers of the plot: a higher one takes the cell over, the same one shares
// it.
const (
	layerGrid   uint8 = iota + 1 // grid and marker lines
	layerRaw                     // faint values behind the average
	layerThread                  // lines between marked values
	layerLine                    // lines
	layerNodes                   // marked values
	layerText                    // labels
)

// canvas is a grid of cells, reused from one drawing to the next.
type canvas struct {
	width, height int
	cells         []cell
	buf           []byte
}

func (c *canvas) resize(width, height int) {
	c.width, c.height = width, height
	if n := width * height; cap(c.cells) < n {
		c.cells = make([]cell, n)
	} else {
		c.cells = c.cells[:n]
		clear(c.cells)
	}
}

// put sets a glyph unless a higher layer holds the cell.
func (c *canvas) put(x, y int, glyph rune, pen themes.Pen, layer uint8) {
	if x < 0 || y < 0 || x >= c.width || y >= c.height {
		return
	}
	at := &c.cells[y*c.width+x]
	if at.layer > layer {
		return
	}
	*at = cell{glyph: glyph, pen: pen, layer: layer}
}

// dot sets a braille dot at (x, y) in dots relative to the cell (left, top).
func (c *canvas) dot(left, top, x, y int, pen themes.Pen, layer uint8) {
	cx, cy := left+x>>1, top+y>>2
	if cx < 0 || cy < 0 || cx >= c.width || cy >= c.height {
		return
	}
	at := &c.cells[cy*c.width+cx]
	switch {
	case at.layer > layer:
		return
	case at.layer < layer:
		*at = cell{layer: layer}
	}
	at.glyph = 0
	at.pen = pen
	at.dots |= brailleBit[y&3][x&1]
}

// brailleBit numbers the dots of U+2800: 1 2 3 7 down the left column,
// 4 5 6 8 down the right.
var brailleBit = [4][2]uint8{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// text writes s from (x, y) on and returns the column after it. A cell holds
// one narrow character: a wide one becomes "?", a combining mark nothing.
func (c *canvas) text(x, y int, s string, pen themes.Pen) int {
	for _, r := range s {
		if r > unicode.MaxLatin1 {
			switch ansi.StringWidth(string(r)) {
			case 0:
				continue
			case 2:
				r = '?'
			}
		}
		c.put(x, y, r, pen, layerText)
		x++
	}
	return x
}

// String draws all rows; neighbours of the same pen share one sequence.
func (c *canvas) String(th *themes.Theme) string {
	b := c.buf[:0]
	for y := range c.height {
		if y > 0 {
			b = append(b, '\n')
		}
		pen, open := themes.Pen{}, false
		for _, at := range c.cells[y*c.width : (y+1)*c.width] {
			if at.glyph == 0 && at.dots == 0 {
				b = append(b, ' ')
				continue
			}
			if p := th.Canonical(at.pen); p != pen || !open {
				b = th.AppendPen(b, p)
				pen, open = p, true
			}
			if at.dots != 0 {
				b = utf8.AppendRune(b, runes.BrailleBlockOffset|rune(at.dots))
			} else {
				b = utf8.AppendRune(b, at.glyph)
			}
		}
		if open {
			b = append(b, ansi.ResetStyle...)
		}
	}
	c.buf = b
	return string(b)
}
