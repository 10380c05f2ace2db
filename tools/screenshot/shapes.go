package main

import (
	"fmt"
	"unicode/utf8"
)

// arms says how a box-drawing character reaches its four edges: 0 not at all,
// 1 light, 2 heavy.
type arms struct {
	left, up, right, down int
	arc, dashed           bool
}

var boxes = map[rune]arms{
	'─': {left: 1, right: 1}, '│': {up: 1, down: 1},
	'━': {left: 2, right: 2}, '┃': {up: 2, down: 2},
	'╸': {left: 2}, '╺': {right: 2},
	'╭': {right: 1, down: 1, arc: true}, '╮': {left: 1, down: 1, arc: true},
	'╰': {right: 1, up: 1, arc: true}, '╯': {left: 1, up: 1, arc: true},
	'┌': {right: 1, down: 1}, '┐': {left: 1, down: 1}, '└': {right: 1, up: 1}, '┘': {left: 1, up: 1},
	'┤': {left: 1, up: 1, down: 1}, '├': {right: 1, up: 1, down: 1},
	'┬': {left: 1, right: 1, down: 1}, '┴': {left: 1, right: 1, up: 1},
	'┼': {left: 1, right: 1, up: 1, down: 1},
	'┊': {up: 1, down: 1, dashed: true}, '┈': {left: 1, right: 1, dashed: true}, '╍': {left: 2, right: 2, dashed: true},
}

func isShape(r rune) bool {
	if _, ok := boxes[r]; ok {
		return true
	}
	return r >= 0x2800 && r <= 0x28ff || r >= 0x2580 && r <= 0x2593
}

func (c *canvas) drawShapes(px, py int, r stretch) {
	for i := 0; i < len(r.cells); i++ {
		ch, _ := utf8.DecodeRuneInString(r.cells[i].Content)
		x := px + i*cellW
		switch {
		case ch == '─' || ch == '━' || ch == '█':
			n := i
			for n+1 < len(r.cells) && r.cells[n+1].Content == r.cells[i].Content {
				n++
			}
			c.bar(x, py, (n-i+1)*cellW, ch)
			i = n
		case ch >= 0x2800 && ch <= 0x28ff:
			c.braille(x, py, uint8(ch-0x2800))
		case ch >= 0x2580 && ch <= 0x2593:
			c.block(x, py, ch)
		default:
			c.box(x, py, boxes[ch])
		}
	}
}

func (c *canvas) rect(x, y, w, h float64) {
	fmt.Fprintf(&c.shapes, `<rect x="%.5g" y="%.5g" width="%.5g" height="%.5g"/>`, x, y, w, h)
}

// bar draws a stretch of one horizontal character as one shape.
func (c *canvas) bar(x, y, width int, ch rune) {
	switch ch {
	case '█':
		c.rect(float64(x), float64(y), float64(width), cellH)
	case '━':
		c.rect(float64(x), float64(y)+cellH/2.0-1.5, float64(width), 3)
	default:
		c.rect(float64(x), float64(y)+cellH/2.0-0.5, float64(width), 1)
	}
}

// braille draws the dots of U+2800 + bits.
func (c *canvas) braille(x, y int, bits uint8) {
	places := [8][2]int{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}, {0, 3}, {1, 3}}
	for i, p := range places {
		if bits&(1<<i) != 0 {
			fmt.Fprintf(&c.shapes, `<circle cx="%.5g" cy="%.5g" r="1.45"/>`,
				float64(x)+cellW*(0.25+0.5*float64(p[0])), float64(y)+cellH*(0.125+0.25*float64(p[1])))
		}
	}
}

// block draws U+2580 … U+2593.
func (c *canvas) block(x, y int, ch rune) {
	fx, fy := float64(x), float64(y)
	switch {
	case ch == '▀':
		c.rect(fx, fy, cellW, cellH/2.0)
	case ch <= '█': // lower eighths
		h := cellH * float64(ch-0x2580) / 8
		c.rect(fx, fy+cellH-h, cellW, h)
	case ch <= '▏': // left eighths, 7 down to 1
		c.rect(fx, fy, cellW*float64(0x2590-ch)/8, cellH)
	case ch == '▐':
		c.rect(fx+cellW/2.0, fy, cellW/2.0, cellH)
	default: // shades ░▒▓
		fmt.Fprintf(&c.shapes, `<rect x="%d" y="%d" width="%d" height="%d" opacity="%.2f"/>`,
			x, y, cellW, cellH, 0.25*float64(ch-'░'+1))
	}
}

// box draws lines from the middle of the cell to its edges.
func (c *canvas) box(x, y int, a arms) {
	fx, fy := float64(x), float64(y)
	mx, my := fx+cellW/2.0, fy+cellH/2.0
	if a.arc {
		ex, ey := fx, fy
		if a.right > 0 {
			ex = fx + cellW
		}
		if a.down > 0 {
			ey = fy + cellH
		}
		fmt.Fprintf(&c.shapes, `<path d="M%.5g %.5gQ%.5g %.5g %.5g %.5g" fill="none" stroke-width="1"/>`, ex, my, mx, my, mx, ey)
		return
	}
	line := func(x1, y1, x2, y2 float64, weight int) {
		if weight == 0 {
			return
		}
		dash := ""
		if a.dashed {
			dash = ` stroke-dasharray="2 2.75"`
		}
		width := 1
		if weight == 2 {
			width = 3
		}
		fmt.Fprintf(&c.shapes, `<path d="M%.5g %.5gL%.5g %.5g" stroke-width="%d"%s/>`, x1, y1, x2, y2, width, dash)
	}
	line(fx, my, mx, my, a.left)
	line(mx, fy, mx, my, a.up)
	line(mx, my, fx+cellW, my, a.right)
	line(mx, my, mx, fy+cellH, a.down)
}
