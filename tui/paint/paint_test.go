package paint

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// grid is a terminal: it knows what Paint writes, and nothing else.
type grid struct {
	t             *testing.T
	cells         [][]string // pen and text; a covered column holds ""
	x, y          int
	pen           string
	width, height int
}

func newGrid(t *testing.T, width, height int) *grid {
	g := &grid{t: t, width: width, height: height}
	g.erase()
	return g
}

func (g *grid) erase() {
	g.cells = make([][]string, g.height)
	for y := range g.cells {
		g.cells[y] = slices.Repeat([]string{" "}, g.width)
	}
}

func (g *grid) write(out string) {
	g.t.Helper()
	for p := ansi.NewParser(); out != ""; {
		seq, width, n, _ := ansi.DecodeSequence(out, ansi.NormalState, p)
		out = out[n:]
		switch {
		case width > 0:
			g.put(seq, width)
		case seq == "\u0301": // the decoder parts it from its letter
			g.cells[g.y][g.x-1] += seq
		case !strings.HasPrefix(seq, "\x1b["):
			g.t.Fatalf("%q is written to the terminal", seq)
		default:
			g.control(seq)
		}
	}
}

func (g *grid) control(seq string) {
	var y, x int
	switch seq[len(seq)-1] {
	case 'm':
		if seq == ansi.ResetStyle || strings.HasPrefix(seq, "\x1b[0;") {
			g.pen = ""
		}
		if seq != ansi.ResetStyle {
			g.pen += seq
		}
	case 'J':
		g.erase()
	case 'H':
		fmt.Sscanf(seq, "\x1b[%d;%dH", &y, &x)
		g.x, g.y = x-1, y-1
	case 'G':
		fmt.Sscanf(seq, "\x1b[%dG", &x)
		if g.x != x-1 {
			g.t.Fatalf("column %d is gone to from %d", x-1, g.x)
		}
	default:
		g.t.Fatalf("%q is written to the terminal", seq)
	}
}

func (g *grid) put(text string, width int) {
	if g.y >= g.height || g.x+width > g.width {
		g.t.Fatalf("%q is written at column %d of row %d, the screen is %d×%d", text, g.x, g.y, g.width, g.height)
	}
	row := g.cells[g.y]
	for i := g.x; i < g.x+width; i++ { // a wide character that loses a half loses both
		if row[i] == "" && i == g.x {
			row[i-1] = "?"
		}
		if i+1 < g.width && i+1 == g.x+width && row[i+1] == "" {
			row[i+1] = "?"
		}
		row[i] = ""
	}
	row[g.x] = g.pen + text
	if text == " " && !fills(g.pen) {
		row[g.x] = " "
	}
	g.x += width
}

// The terminal shows the same after any drawing as one that shows it anew.
func TestPaintEqualsDrawingAnew(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Screen
	width, height := 30, 6
	g := newGrid(t, width, height)
	content := screenOf(r, width, height)
	for i := range 1000 {
		switch r.IntN(40) {
		case 0:
			width, height = 1+r.IntN(40), 1+r.IntN(8)
			g = newGrid(t, width, height)
			content = screenOf(r, width, height)
		case 1:
			g.erase() // as Bubble Tea does it
			s.Forget()
		case 2:
			content = screenOf(r, width, height)
		default:
			lines := strings.Split(content, "\n")
			lines[r.IntN(len(lines))] = lineOf(r, r.IntN(width+4))
			content = strings.Join(lines, "\n")
		}
		g.write(string(s.Paint(content, width, height, colorprofile.TrueColor)))
		anew := newGrid(t, width, height)
		anew.write(string((&Screen{}).Paint(content, width, height, colorprofile.TrueColor)))
		if got, want := fmt.Sprintf("%q", g.cells), fmt.Sprintf("%q", anew.cells); got != want {
			t.Fatalf("drawing %d of %d×%d: the screen is\n%s\nwant\n%s", i, width, height, got, want)
		}
		if again := s.Paint(content, width, height, colorprofile.TrueColor); len(again) != 0 {
			t.Fatalf("the same drawing again writes %q", again)
		}
	}
}

func screenOf(r *rand.Rand, width, height int) string {
	lines := make([]string, height)
	for i := range lines {
		lines[i] = lineOf(r, width)
	}
	return strings.Join(lines, "\n")
}

func lineOf(r *rand.Rand, pieces int) string {
	all := []string{"a", "b", "c", "x", " ", " ", " ", "   ", "│", "模", "型", "é", "e\u0301", "👨‍👩‍👧", "\x1b[m", "\x1b[0;38;2;1;48;3m", "\x1b[0;1;48;5;7m", "\x1b[4m", "\x1b[31m", "\x1b[0m"}
	var b strings.Builder
	for range pieces {
		b.WriteString(all[r.IntN(len(all))])
	}
	return b.String()
}

// What a terminal shows of a line is what another reader of escape sequences makes of it.
func TestParse(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const width = 24
	s := Screen{}
	s.clear(width, 1, colorprofile.TrueColor)
	for range 1000 {
		line := lineOf(r, 20)
		want := uv.NewScreenBuffer(width, 1)
		want.Method = ansi.GraphemeWidth
		uv.NewStyledString(line).Draw(want, want.Bounds())
		got := row{line, s.parse(line)}
		for x, c := range got.cells {
			var style uv.Style
			p := ansi.NewParser()
			for q := s.kinds[c.pen].sequence; q != ""; {
				_, _, n, _ := ansi.DecodeSequence(q, ansi.NormalState, p)
				uv.ReadStyle(p.Params(), &style)
				q = q[n:]
			}
			cell := want.CellAt(x, 0)
			text := " "
			switch {
			case c.at == covered:
				text = ""
			case c.n > 0:
				text = got.content(c)
			}
			if blank := text == " " && cell.Content == " " && !fills(cell.Style.String()) && c.pen == 0; text != cell.Content || !blank && text != "" && !style.Equal(&cell.Style) {
				t.Fatalf("%q, column %d: %q in %q, want %q in %q", line, x, text, style.String(), cell.Content, cell.Style.String())
			}
		}
		s.spare = got.cells
	}
}
