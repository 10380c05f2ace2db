package parity

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

// part is one figure of a column's cells: what is compared, and how far it may be off.
type part struct {
	name      string  // "" where the column's name says it
	tolerance float64 // 0: equal to the last bit
	unit      string  // what the tolerance is of: absolute, relative, …
}

func (p part) limit() string {
	if p.tolerance == 0 {
		return "equal"
	}
	if p.share() {
		return fmt.Sprintf("%g %s", p.tolerance, p.unit)
	}
	return fmt.Sprintf("%s %s", strconv.FormatFloat(p.tolerance, 'e', 0, 64), p.unit)
}

// share says that figures are shares of something near them, and no small errors.
func (p part) share() bool { return p.tolerance > 1 }

// figure is a measured error, or why there is none.
type figure struct {
	value  float64
	note   string
	stored bool // read from a file, not measured here: it stands in the document as it is there
}

func measured(values ...float64) []figure {
	figures := make([]figure, len(values))
	for i, v := range values {
		figures[i].value = v
	}
	return figures
}

// explained says why a part has no figure.
func explained(why string) figure { return figure{note: why} }

// column is one thing that is compared.
type column[R any] struct {
	name    string
	parts   []part
	measure func(t testing.TB, r R) []figure
}

// table is a part of docs/PARITY.md.
type table[R any] struct {
	title, first string
	columns      []column[R]
	rows         []R
	name         func(R) string
}

// cells are figures by row, column and part.
type cells map[string][]figure

func at(row, column string) string { return row + " | " + column }

// measure fills the table, each cell a test of its own. A cell whose measurement failed is left out, and has failed its test.
func (tb table[R]) measure(t *testing.T) cells {
	all := cells{}
	for _, r := range tb.rows {
		t.Run(tb.name(r), func(t *testing.T) {
			for _, c := range tb.columns {
				t.Run(c.name, func(t *testing.T) {
					figures := c.measure(t, r)
					if len(figures) != len(c.parts) {
						t.Fatalf("%d figures for %d parts", len(figures), len(c.parts))
					}
					for i, f := range figures {
						if p := c.parts[i]; f.note == "" && !(f.value <= p.tolerance) {
							t.Errorf("%s: off by %.3g, tolerance %s", p.name, f.value, p.limit())
						}
					}
					all[at(tb.name(r), c.name)] = figures
				})
			}
		})
	}
	return all
}

// notes numbers the explanations in the order of their first use.
type notes []string

func (n *notes) mark(why string) string {
	for i, w := range *n {
		if w == why {
			return fmt.Sprintf("–[%d]", i+1)
		}
	}
	*n = append(*n, why)
	return fmt.Sprintf("–[%d]", len(*n))
}

func (f figure) text(p part, n *notes) string {
	switch {
	case f.note != "":
		return n.mark(f.note)
	case p.tolerance == 0 && f.value == 0:
		return "equal"
	case f.value == 0:
		return "0"
	case p.share():
		return strconv.FormatFloat(f.value, 'f', 2, 64)
	}
	return strconv.FormatFloat(f.value, 'e', 1, 64)
}

// write renders the table as Markdown.
func (tb table[R]) write(w *strings.Builder, all cells, n *notes) {
	head, rule, limit := []string{tb.first}, []string{"---"}, []string{"*tolerance*"}
	for _, c := range tb.columns {
		var names, limits []string
		for _, p := range c.parts {
			names, limits = append(names, p.name), append(limits, p.limit())
		}
		title := c.name
		if len(c.parts) > 1 {
			title += ": " + strings.Join(names, " / ")
		}
		head, rule, limit = append(head, title), append(rule, "---"), append(limit, strings.Join(limits, " / "))
	}
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	fmt.Fprintf(w, "## %s\n\n", tb.title)
	line(head)
	line(rule)
	line(limit)
	for _, r := range tb.rows {
		row := []string{tb.name(r)}
		for _, c := range tb.columns {
			texts := []string{"failed"}
			if figures, ok := all[at(tb.name(r), c.name)]; ok {
				texts = nil
				for i, f := range figures {
					texts = append(texts, f.text(c.parts[i], n))
				}
			}
			row = append(row, strings.Join(texts, " / "))
		}
		line(row)
	}
	w.WriteString("\n")
}

// read finds the table in the committed document and gives the cells as they stand there.
func (tb table[R]) read(t *testing.T, doc string) map[string][]string {
	t.Helper()
	_, text, ok := strings.Cut(doc, "## "+tb.title+"\n")
	if !ok {
		t.Fatalf("docs/PARITY.md has no table %q; write it with go test ./internal/parity -update", tb.title)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	committed := map[string][]string{}
	var header int
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if header++; header <= 3 { // names, rule, tolerances
			continue
		}
		fields := strings.Split(strings.Trim(line, "| "), " | ")
		if len(fields) != len(tb.columns)+1 {
			t.Fatalf("docs/PARITY.md: %q has %d cells, not %d; go test ./internal/parity -update", line, len(fields), len(tb.columns)+1)
		}
		for i, c := range tb.columns {
			committed[at(fields[0], c.name)] = strings.Split(fields[i+1], " / ")
		}
	}
	return committed
}

// growth is how much worse or better than the committed figure a processor may measure, and a floor, as a share of the tolerance, below
// which a figure is noise: other vector units sum in another order.
const (
	growth = 4
	floor  = 0.1
)

// compare checks the measured cells against the committed ones.
func (tb table[R]) compare(t *testing.T, all cells, doc string) {
	t.Helper()
	committed := tb.read(t, doc)
	for _, r := range tb.rows {
		for _, c := range tb.columns {
			key := at(tb.name(r), c.name)
			texts := committed[key]
			delete(committed, key)
			figures, ok := all[key]
			if !ok {
				continue // its own test has failed, or was not asked for
			}
			if len(texts) != len(figures) {
				t.Errorf("%s: docs/PARITY.md has %d figures, measured %d; go test ./internal/parity -update", key, len(texts), len(figures))
				continue
			}
			for i, f := range figures {
				if fault := f.differs(texts[i], c.parts[i]); fault != "" {
					t.Errorf("%s, %s: %s", key, c.parts[i].name, fault)
				}
			}
		}
	}
	for key := range committed {
		t.Errorf("docs/PARITY.md has the cell %s, which is not measured any more; go test ./internal/parity -update", key)
	}
}

// differs says what is wrong with a figure beside the committed one.
func (f figure) differs(text string, p part) string {
	was, err := strconv.ParseFloat(text, 64)
	noise := floor * p.tolerance
	if p.share() { // of roundings to bfloat16, which are others where vector units sum in another order
		noise = p.tolerance
	}
	switch {
	case text == "equal":
		was, err = 0, nil
	case strings.HasPrefix(text, "–"):
		was, err = math.NaN(), nil
	}
	switch {
	case err != nil:
		return fmt.Sprintf("docs/PARITY.md says %q, which is no figure", text)
	case f.note != "" && !math.IsNaN(was):
		return fmt.Sprintf("docs/PARITY.md says %s, now there is none: %s", text, f.note)
	case f.note == "" && math.IsNaN(was):
		return fmt.Sprintf("docs/PARITY.md explains it away, but %.2g was measured", f.value)
	case f.note != "":
		return ""
	case f.stored && text != f.text(p, nil):
		return fmt.Sprintf("docs/PARITY.md says %s, %s has %s", text, peerFile, f.text(p, nil))
	case was > p.tolerance:
		return fmt.Sprintf("docs/PARITY.md says %s, beyond the tolerance of %s", text, p.limit())
	case f.value > max(growth*was, noise):
		return fmt.Sprintf("%.3g is more than %d times the committed %s", f.value, growth, text)
	case was > max(growth*f.value, noise):
		return fmt.Sprintf("the committed %s is more than %d times the measured %.3g", text, growth, f.value)
	}
	return ""
}

// What the comparison is for: a figure that grows, comes or goes is told.
func TestDiffers(t *testing.T) {
	p, share := part{"x", 2e-4, "absolute"}, part{"x", 3, "of another"}
	for _, test := range []struct {
		now  figure
		was  string
		part part
		told bool
	}{
		{figure{value: 1e-5}, "9.0e-06", p, false},
		{figure{value: 1.9e-5}, "1.0e-07", p, false}, // below the floor
		{figure{value: 9e-5}, "2.1e-05", p, true},
		{figure{value: math.Inf(1)}, "2.1e-05", p, true},
		{figure{value: 1e-6}, "9.0e-05", p, true},
		{figure{value: 1e-4}, "3.0e-04", p, true},
		{figure{value: 1e-6, stored: true}, "1.0e-06", p, false},
		{figure{value: 1e-6, stored: true}, "1.1e-06", p, true},
		{figure{note: "why"}, "–[3]", p, false},
		{figure{note: "why"}, "1.0e-05", p, true},
		{figure{value: 1e-5}, "–[3]", p, true},
		{figure{value: 1e-5}, "failed", p, true},
		{figure{value: 2.4}, "0.50", share, false}, // other roundings
		{figure{value: 3.1}, "0.50", share, true},
		{figure{}, "equal", exact, false},
		{figure{value: 1}, "equal", exact, true},
	} {
		if fault := test.now.differs(test.was, test.part); (fault != "") != test.told {
			t.Errorf("%+v beside %s: %q", test.now, test.was, fault)
		}
	}
}

// A document that has been tampered with is told from what is measured.
func TestCompareReadsTheDocument(t *testing.T) {
	tb := table[family]{
		title: "Some", first: "family", rows: []family{{name: "a"}, {name: "b"}}, name: func(f family) string { return f.name },
		columns: []column[family]{{"x", []part{{"one", 1, "absolute"}, {"two", 1, "absolute"}}, nil}, {"y", []part{exact}, nil}},
	}
	all := cells{"a | x": measured(0.5, 0), "a | y": measured(0), "b | x": {{value: 0.25}, explained("why")}, "b | y": measured(0)}
	var text strings.Builder
	var n notes
	tb.write(&text, all, &n)
	got := tb.read(t, text.String())
	for key, want := range map[string]string{"a | x": "5.0e-01 / 0", "a | y": "equal", "b | x": "2.5e-01 / –[1]", "b | y": "equal"} {
		if strings.Join(got[key], " / ") != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	tb.compare(t, all, text.String())
}
