// Package paint writes to a terminal what of a screen has changed.
//
// A renderer that looks at every cell of every drawing, as Bubble Tea's does with 112 bytes a cell, takes 2 ms for 160×48, of a processor
// that may have a run to compute. Here a row of the same text costs one comparison of strings, and only the others are taken apart.
package paint

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"lathe/themes"
)

const (
	gap      = 4    // cells between two changes that are written again: the way over them would be longer
	manyPens = 4096 // that are kept; a screen has some dozens
)

// cell is one column of a row. Its text is n bytes of the row's, from at on; a blank has none, nor has a column that the wide character
// before it covers, where at is covered.
type cell struct {
	at  uint32
	n   uint16
	pen uint16
}

const covered = math.MaxUint32

// row is a line of a drawing, taken apart.
type row struct {
	text  string
	cells []cell
}

func (r *row) content(c cell) string { return r.text[c.at:][:c.n] }

// Screen is what a terminal shows by all that was written to it. The zero value is a screen of which nothing is known.
type Screen struct {
	width   int
	rows    []row
	spare   []cell // of the row that was painted over last
	known   bool
	profile colorprofile.Profile

	pens  map[string]uint16 // by their escape sequence
	kinds []pen
	force uint16 // the pen in force

	out []byte
}

// pen is how text looks: an escape sequence that depends on nothing before it.
type pen struct {
	sequence string
	blank    uint16 // the pen of a blank that looks the same
}

// Forget says that what the terminal shows is no longer known.
func (s *Screen) Forget() { s.known = false }

// Paint returns what makes the terminal show content, its lines cut or filled to width × height, in the colours of a profile. The bytes are
// valid until the next call; there are none where nothing has changed.
func (s *Screen) Paint(content string, width, height int, profile colorprofile.Profile) []byte {
	s.out = s.out[:0]
	if !s.known || width != s.width || height != len(s.rows) || profile != s.profile || len(s.kinds) > manyPens {
		s.clear(width, height, profile)
	}
	more := true
	for y := range s.rows {
		var line string
		if more {
			line, content, more = strings.Cut(content, "\n")
		}
		if line == s.rows[y].text {
			s.rows[y].text = line // lets go of the drawing that it was a part of
			continue
		}
		s.paint(y, line)
	}
	s.take(0)
	return s.out
}

// clear begins with a blank screen.
func (s *Screen) clear(width, height int, profile colorprofile.Profile) {
	*s = Screen{
		width: width, rows: make([]row, height), known: true, profile: profile, out: s.out,
		pens: map[string]uint16{ansi.ResetStyle: 0, "\x1b[0m": 0}, kinds: []pen{{sequence: ansi.ResetStyle}},
	}
	for y := range s.rows {
		s.rows[y].cells = make([]cell, width)
	}
	s.out = append(s.out, ansi.ResetStyle+ansi.EraseEntireScreen...)
}

// paint writes the cells of row y that differ.
func (s *Screen) paint(y int, line string) {
	old, now := &s.rows[y], row{line, s.parse(line)}
	differ := func(x int) bool {
		a, b := old.cells[x], now.cells[x]
		return a.pen != b.pen || a.n != b.n || a.n == 0 && a.at != b.at || a.n > 0 && old.content(a) != now.content(b)
	}
	for x := 0; x < s.width; x++ {
		if !differ(x) {
			continue
		}
		end := x + 1
		for i := end; i < s.width && i-end <= gap; i++ {
			if differ(i) {
				end = i + 1
			}
		}
		s.write(&now, y, x, end)
		x = end
	}
	s.spare, *old = old.cells, now
}

// write puts the columns from x to end of a row on the terminal.
func (s *Screen) write(r *row, y, x, end int) {
	s.out = append(s.out, "\x1b["...)
	s.out = append(strconv.AppendInt(s.out, int64(y+1), 10), ';')
	s.out = append(strconv.AppendInt(s.out, int64(x+1), 10), 'H')
	for ; x < end; x++ {
		switch c := r.cells[x]; {
		case c.at == covered:
		case c.n == 0:
			if s.kinds[s.force].blank != c.pen { // else it looks the same with the pen in force
				s.take(c.pen)
			}
			s.out = append(s.out, ' ')
		default:
			s.take(c.pen)
			text := r.content(c)
			s.out = append(s.out, text...)
			if c.n > 1 && x+1 < end && utf8.RuneCountInString(text) > 1 { // terminals differ in how wide they draw it
				after := x + 1
				for after < s.width && r.cells[after].at == covered {
					after++
				}
				s.out = append(strconv.AppendInt(append(s.out, "\x1b["...), int64(after+1), 10), 'G')
			}
		}
	}
}

// take puts a pen in force.
func (s *Screen) take(id uint16) {
	if s.force != id {
		s.out, s.force = append(s.out, s.kinds[id].sequence...), id
	}
}

// parse takes a line apart into the screen's width of cells.
func (s *Screen) parse(line string) []cell {
	cells := s.spare[:0]
	var force uint16
	for i := 0; i < len(line) && len(cells) < s.width; {
		c := line[i]
		alone := i+1 == len(line) || line[i+1] < utf8.RuneSelf // no mark follows that would belong to it
		switch {
		case c == ' ' && alone:
			cells = append(cells, cell{pen: s.kinds[force].blank})
			i++
		case c > ' ' && c < 0x7f && alone:
			cells = append(cells, cell{at: uint32(i), n: 1, pen: force})
			i++
		case c == ansi.ESC:
			n := themes.PenLen(line[i:])
			if n > 0 {
				force = s.after(force, line[i:i+n])
			} else {
				_, _, n, _ = ansi.DecodeSequence(line[i:], ansi.NormalState, nil)
			}
			i += max(n, 1)
		default:
			text, width := ansi.FirstGraphemeCluster(line[i:], ansi.GraphemeWidth)
			switch {
			case width <= 0 || c < ' ' || len(text) > math.MaxUint16: // shows nothing
			case len(cells)+width > s.width: // half of it does not fit
				for len(cells) < s.width {
					cells = append(cells, cell{pen: s.kinds[force].blank})
				}
			default:
				cells = append(cells, cell{at: uint32(i), n: uint16(len(text)), pen: force})
				for range width - 1 {
					cells = append(cells, cell{at: covered, pen: force})
				}
			}
			i += len(text)
		}
	}
	for len(cells) < s.width {
		cells = append(cells, cell{})
	}
	return cells
}

// after is the pen that a sequence makes of another. Most begin with a 0, and make the same of all.
func (s *Screen) after(from uint16, sequence string) uint16 {
	if id, ok := s.pens[sequence]; ok {
		return id
	}
	key := sequence
	if !strings.HasPrefix(key, "\x1b[0;") {
		key = s.kinds[from].sequence + sequence
		if id, ok := s.pens[key]; ok {
			return id
		}
	}
	id := uint16(len(s.kinds))
	if id == math.MaxUint16 {
		return from // the next drawing begins anew
	}
	var b strings.Builder
	w := colorprofile.Writer{Forward: &b, Profile: s.profile}
	_, _ = w.WriteString(key)
	p := pen{sequence: b.String()}
	if fills(key) {
		p.blank = id
	}
	s.kinds = append(s.kinds, p)
	s.pens[strings.Clone(key)] = id
	return id
}

// fills tells that a blank shows a style: a background, a line, or both colours reversed.
func fills(style string) bool {
	fields := strings.FieldsFunc(style, func(c rune) bool { return c < '0' || c > '9' })
	for i := 0; i < len(fields); i++ {
		switch code, _ := strconv.Atoi(fields[i]); {
		case code == 38 && i+1 < len(fields): // the foreground, by number or by its three parts
			if fields[i+1] == "5" {
				i += 2
			} else {
				i += 4
			}
		case code == 4, code == 7, code == 9, code == 21, code >= 40 && code <= 48, code >= 51 && code <= 53, code >= 100 && code <= 107:
			return true
		}
	}
	return false
}
