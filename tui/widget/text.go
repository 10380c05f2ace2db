package widget

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"lathe/themes"
)

// Align places text in a field.
type Align uint8

// The alignments of a field.
const (
	Left Align = iota
	Right
	Center
)

// Width is the number of cells that s takes, escape sequences not counted. What most rows are made of is counted here, and the rest by
// clusters, for six times as long.
func Width(s string) int {
	n := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c >= 0x20 && c < 0x7f:
			n, i = n+1, i+1
		case c == ansi.ESC:
			pen := themes.PenLen(s[i:])
			if pen == 0 {
				return ansi.StringWidth(s)
			}
			i += pen
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if !oneCell(r) {
				return ansi.StringWidth(s)
			}
			n, i = n+1, i+size
		}
	}
	return n
}

// oneCell tells that a character is one cell wide, whatever stands beside it: accented letters, lines, blocks, braille, dots.
func oneCell(r rune) bool {
	return r >= 0xc0 && r < 0x2b0 || r >= 0x2500 && r < 0x25a0 || r >= 0x2800 && r < 0x2900 || r == '…' || r == '·'
}

// Truncate cuts s to width cells and ends it with tail where it was cut. It
// keeps escape sequences.
func Truncate(s string, width int, tail string) string {
	switch {
	case width <= 0:
		return ""
	case Width(s) <= width:
		return s
	case Width(tail) > width:
		tail = ""
	}
	return ansi.Truncate(s, width, tail)
}

// TruncateLeft cuts the beginning, for paths whose end matters.
func TruncateLeft(s string, width int, head string) string {
	over := Width(s) - width
	switch {
	case width <= 0:
		return ""
	case over <= 0:
		return s
	}
	return ansi.TruncateLeft(s, over+Width(head), head)
}

// Fit makes s exactly width cells wide: truncated with tail, or padded.
func Fit(s string, width int, a Align, tail string) string {
	if width <= 0 {
		return ""
	}
	s = Truncate(s, width, tail)
	pad := width - Width(s)
	switch {
	case pad <= 0:
		return s
	case a == Right:
		return spaces(pad) + s
	case a == Center:
		return spaces(pad/2) + s + spaces(pad-pad/2)
	default:
		return s + spaces(pad)
	}
}

// Block makes s exactly width × height: lines cut or padded, missing lines
// blank, further ones dropped.
func Block(s string, width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	var b strings.Builder
	b.Grow(len(s) + width)
	rest, more := s, true
	for i := range height {
		var line string
		if more {
			line, rest, more = strings.Cut(rest, "\n")
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(Fit(line, width, Left, ""))
		if !more {
			line = ""
		}
	}
	return b.String()
}

// Wrap breaks plain text into lines of at most width cells, at spaces where
// it can and inside words where it must. Newlines stay breaks.
func Wrap(s string, width int) []string {
	if width <= 0 {
		return nil
	}
	return strings.Split(ansi.Wrap(s, width, ""), "\n")
}

const blanks = "                                                                                "

func spaces(n int) string {
	if n <= len(blanks) {
		return blanks[:max(n, 0)]
	}
	return strings.Repeat(" ", n)
}

// lines counts the lines of a block.

// JoinH puts blocks of equal height side by side. Each must be as wide as it
// says on every line, as what View returns is; nothing is measured.
func JoinH(blocks ...string) string {
	if len(blocks) == 1 {
		return blocks[0]
	}
	rests := make([]string, 0, len(blocks))
	size := 0
	for _, s := range blocks {
		if s != "" {
			rests = append(rests, s)
			size += len(s)
		}
	}
	var b strings.Builder
	b.Grow(size)
	for more := len(rests) > 0; more; {
		more = false
		for i, s := range rests {
			line, rest, ok := strings.Cut(s, "\n")
			b.WriteString(line)
			rests[i] = rest
			more = more || ok
		}
		if more {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// JoinV stacks blocks, leaving out empty ones.
func JoinV(blocks ...string) string {
	kept := blocks[:0:0]
	for _, s := range blocks {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, "\n")
}
