package widget

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"lathe/themes"
	"lathe/tui/internal/golden"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

var (
	dark       = themes.Must(themes.Options{Name: "dark"})
	plainTheme = themes.Must(themes.Options{Name: "mono", Profile: colorprofile.ASCII, ASCII: true})
)

// nasty are texts that break layouts drawn by the careless.
var nasty = []string{
	"", "short", strings.Repeat("long ", 60), "日本語の質問です。返品できますか", "tab\there", "\x1b[31mred\x1b[0m", "a\u202eb",
	"👨‍👩‍👧 ❤️ नमस्ते กำ", "line\nbreak", "\xff\xfe", "\u0301", strings.Repeat("\u200b", 9),
}

// drawings are all widgets as functions of a size, over texts.
func drawings(th *themes.Theme, text string) map[string]func(w, h int) string {
	table := &Table{
		Columns: []Column{{Title: text, Width: 7, Align: Right}, {Title: "b", Weight: 2}, {Title: "c", Min: 9}},
		Rows:    func() int { return 1000 },
		Cell:    func(row, col int) Cell { return Cell{Text: text + fmt.Sprint(row, col), Note: "n"} },
		Focused: true,
	}
	table.Select(500)
	in := NewInput(th, ":", "command")
	in.SetValue(Sanitize(text))
	ed := NewEditor(th, "prompt")
	ed.SetValue(Sanitize(text))
	stacked := Stacked{Capacity: 1 << 34, Shares: []Share{{Name: text, Planned: 1 << 33, Used: 1 << 32}, {Name: "b", Planned: 5, Used: -1}}}
	keys := []Binding{{Keys: []string{"a", "b"}, Help: text, Group: "g"}, {Keys: []string{"c"}, Help: "h", Group: text, Disabled: text}}
	row := func(f func(w int) string) func(w, h int) string {
		return func(w, h int) string {
			if h <= 0 {
				return ""
			}
			return Block(f(w), w, h)
		}
	}
	return map[string]func(w, h int) string{
		"table": func(w, h int) string { return table.View(th, w, h) },
		"list": func(w, h int) string {
			l := NewList(func() int { return 30 }, func(int) Item { return Item{Text: text, Info: text} })
			return l.View(th, w, h)
		},
		"empty": func(w, h int) string { return Empty(th, w, h, text, text, "hint") },
		"frame": func(w, h int) string {
			return Frame{Title: text, Info: text, Foot: text, Focused: true}.View(th, Sanitize(text), w, h)
		},
		"stacked": func(w, h int) string { return stacked.View(th, w, h) },
		"editor":  ed.View,
		"input":   row(in.View),
		"gauge":   row(func(w int) string { return Gauge{Label: text, Frac: 0.5, LabelWidth: 9}.View(th, w) }),
		"progress": row(func(w int) string {
			return Progress{Label: text, Done: 5, Total: 9, Unit: "steps", Rate: "1 tok/s", Left: time.Hour}.View(th, w)
		}),
		"bar": row(func(w int) string { return Bar(th, 0.37, w, themes.Good) }),
		"sparkline": row(func(w int) string {
			return Sparkline(th, []float64{1, 2, math.NaN(), -math.MaxFloat64, math.MaxFloat64}, w, themes.Series1)
		}),
		"help line": row(func(w int) string { return HelpLine(th, keys, w) }),
		"status": row(func(w int) string {
			return StatusBar(th, w, []Segment{{Text: text}, {Text: "x", Rank: 2}}, []Segment{{Text: text, Rank: 1}})
		}),
		"tabs":   row(func(w int) string { return Tabs(th, w, []Tab{{Title: text, Badge: text}, {Title: "b"}}, 0) }),
		"notice": row(func(w int) string { return Notice{Kind: NoticeBad, Text: text}.View(th, w) }),
		"rule":   row(func(w int) string { return Rule(th, text, w) }),
	}
}

// Every drawing has exactly the size that it was asked for, whatever the text
// and the size.
func TestSizes(t *testing.T) {
	sizes := [][2]int{{0, 0}, {1, 1}, {2, 5}, {3, 3}, {7, 2}, {20, 6}, {40, 12}, {80, 24}, {200, 60}}
	for _, th := range []*themes.Theme{dark, plainTheme} {
		for _, text := range nasty {
			for name, draw := range drawings(th, text) {
				for _, s := range sizes {
					t.Run(fmt.Sprintf("%s/%q/%d×%d", name, clipName(text), s[0], s[1]), func(t *testing.T) {
						golden.Size(t, draw(s[0], s[1]), s[0], s[1])
					})
				}
			}
		}
	}
}

func clipName(s string) string { return s[:min(len(s), 8)] }

func TestAsciiIsAscii(t *testing.T) {
	for name, draw := range drawings(plainTheme, "text") {
		for _, r := range ansi.Strip(draw(60, 12)) {
			if r > 0x7e {
				t.Errorf("%s draws %q in an ASCII theme", name, r)
				break
			}
		}
	}
}

func TestGoldens(t *testing.T) {
	for _, s := range [][2]int{{36, 8}, {76, 12}} {
		w, h := s[0], s[1]
		name := func(n string) string { return fmt.Sprintf("%s-%dx%d", n, w, h) }
		draw := drawings(dark, "Explain our company refund policy.")
		for _, n := range []string{"table", "list", "frame", "stacked", "progress", "gauge", "status", "tabs"} {
			golden.Plain(t, name(n), draw[n](w, h))
		}
		golden.Plain(t, name("help"), strings.Join(HelpRows(dark, testBindings, w), "\n"))
	}
	golden.Styled(t, "table-styled", drawings(dark, "text")["table"](30, 4))
}

var testBindings = []Binding{
	{Keys: []string{"space"}, Help: "pause", Group: "Run"},
	{Keys: []string{"e"}, Help: "evaluate now", Group: "Run", Disabled: "not running"},
	{Keys: []string{"y"}, Help: "log axis", Group: "Chart"},
	{Keys: []string{"+", "-"}, Help: "zoom", Group: "Chart"},
	{Keys: []string{"?"}, Help: "help", Group: "Workbench"},
	{Keys: []string{"f12"}, Help: "not shown", Group: "Workbench", Hidden: true},
}

func TestHelp(t *testing.T) {
	all := ansi.Strip(strings.Join(HelpRows(dark, testBindings, 100), "\n"))
	for _, want := range []string{"Run", "space", "evaluate now (not running)", "+ -", "Workbench"} {
		if !strings.Contains(all, want) {
			t.Errorf("help lacks %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "not shown") {
		t.Error("help shows a hidden binding")
	}
	line := ansi.Strip(HelpLine(dark, testBindings, 40))
	if !strings.HasPrefix(line, " space pause  y log axis  + zoom") || strings.Contains(line, "evaluate") {
		t.Errorf("help line is %q", line)
	}
}

// A table of a million rows asks for what is visible and no more.
func TestTableIsVirtual(t *testing.T) {
	asked := map[int]bool{}
	cells := 0
	table := &Table{
		Columns: []Column{{Title: "row", Width: 8}, {Title: "text"}},
		Rows:    func() int { return 1_000_000 },
		Cell: func(row, _ int) Cell {
			asked[row] = true
			cells++
			return Cell{Text: fmt.Sprint(row)}
		},
	}
	table.View(dark, 80, 21)
	if len(asked) != 20 || cells != 40 {
		t.Errorf("asked for %d rows and %d cells, want 20 and 40", len(asked), cells)
	}
	for _, c := range []struct {
		key  string
		want int
	}{{"G", 999_999}, {"k", 999_998}, {"pgup", 999_978}, {"g", 0}, {"up", 0}, {"pgdown", 20}, {"ctrl+d", 30}, {"ctrl+u", 20}} {
		if !table.Key(c.key) {
			t.Errorf("key %q is not known", c.key)
		}
		if got := table.Cursor(); got != c.want {
			t.Errorf("after %q the cursor is at %d, want %d", c.key, got, c.want)
		}
		view := ansi.Strip(table.View(dark, 80, 21))
		if !strings.Contains(view, "▸ "+fmt.Sprint(c.want)) {
			t.Errorf("after %q the cursor is out of sight:\n%s", c.key, view)
		}
	}
	if table.Key("x") {
		t.Error("key x is not a list's")
	}
	if got := []int{table.At(0), table.At(2), table.At(40)}; fmt.Sprint(got) != fmt.Sprint([]int{-1, table.offset + 1, -1}) {
		t.Errorf("the rows at lines 0, 2 and 40 are %v", got)
	}
}

func TestTableShrinks(t *testing.T) {
	n := 10
	table := &Table{Columns: []Column{{}}, Rows: func() int { return n }, Cell: func(int, int) Cell { return Cell{Text: "x"} }, Empty: "no rows"}
	table.Select(9)
	n = 3
	if got := table.Cursor(); got != 2 {
		t.Errorf("cursor at %d after the rows shrank to 3", got)
	}
	n = 0
	if got := table.Cursor(); got != -1 {
		t.Errorf("cursor at %d without rows, want -1", got)
	}
	if view := table.View(dark, 30, 5); !strings.Contains(view, "no rows") {
		t.Errorf("empty table shows %q", view)
	}
	n = 4
	table.Key("down")
	if got := table.Cursor(); got != 1 {
		t.Errorf("cursor at %d after rows came back and one step down, want 1", got)
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		total int
		parts []Part
		want  []int
	}{
		{100, []Part{Fixed(30), Flex(1, 10)}, []int{30, 70}},
		{100, []Part{Flex(2, 10), Flex(1, 10)}, []int{67, 33}},
		{100, []Part{Flex(1, 0), Flex(1, 60)}, []int{40, 60}},
		{25, []Part{Flex(1, 20), Fixed(10)}, []int{25, 0}},
		{5, []Part{Flex(1, 20), Fixed(10)}, []int{5, 0}},
		{0, []Part{Flex(1, 0), Fixed(10)}, []int{0, 0}},
	} {
		if got := Split(c.total, c.parts...); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("Split(%d, %v) = %v, want %v", c.total, c.parts, got, c.want)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var parts []Part
		flexible := false
		for range rnd.IntN(5) + 1 {
			if rnd.IntN(2) == 0 {
				parts = append(parts, Fixed(rnd.IntN(40)))
			} else {
				parts = append(parts, Flex(rnd.IntN(4), rnd.IntN(30)))
				flexible = flexible || parts[len(parts)-1].Min == 0
			}
		}
		total, sum := rnd.IntN(200), 0
		got := Split(total, parts...)
		for _, n := range got {
			if n < 0 {
				t.Fatalf("Split(%d, %v) = %v has a negative size", total, parts, got)
			}
			sum += n
		}
		if sum > total || flexible && sum != total {
			t.Fatalf("Split(%d, %v) = %v adds up to %d", total, parts, got, sum)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		filter, text string
		want         bool
	}{
		{"", "anything", true},
		{"refund", "Our Refund policy", true},
		{"Refund", "our refund policy", false},
		{"^our", "our refund", true},
		{"!refund", "our refund", false},
		{"!refund", "delivery", true},
		{"!", "anything", true},
		{"~rfd", "refund", true},
		{"~dfr", "refund", false},
		{"!~rfd", "refund", false},
		{"a.c", "abc", true},
		{"(", "f(x)", true},
		{"[z", "x[z", true},
		{`\d+`, "42", true},
	} {
		if got := ParseFilter(c.filter).Match(c.text); got != c.want {
			t.Errorf("filter %q on %q: %v, want %v", c.filter, c.text, got, c.want)
		}
	}
	if f := ParseFilter("("); f.Err == nil || !f.Active() {
		t.Error("an open bracket is not an expression and must say so")
	}
	if (Filter{}).Active() || !(Filter{}).Match("x") {
		t.Error("the zero filter must keep all")
	}
}

func TestFormats(t *testing.T) {
	for want, got := range map[string]string{
		"512 B": Bytes(512), "3.42 GiB": Bytes(3672197632), "1.00 MiB": Bytes(1 << 20), "1.00 GiB": Bytes(1<<30 - 1), "-1.00 KiB": Bytes(-1024),
		"999": Count(999), "1.00k": Count(1000), "12.3k": Count(12345), "1.50M": Count(1.5e6), "0.50": Count(0.5), "-": Count(math.NaN()),
		"12,345": Group(12345), "-1,000": Group(-1000), "7": Group(7), "123,456": Group(123456),
		"1.2346": Number(1.23456), "12.346": Number(12.3456), "2.00e-4": Number(2e-4), "NaN": Number(math.NaN()), "-Inf": Number(math.Inf(-1)),
		"1.00e6": Number(1e6), "0": Number(0), "1234.6": Number(1234.56),
		"4.2s": Duration(4200 * time.Millisecond), "42s": Duration(42 * time.Second), "3m12s": Duration(192 * time.Second),
		"1h04m": Duration(64 * time.Minute), "2d03h": Duration(51 * time.Hour), "1m00s": Duration(59999 * time.Millisecond),
		"99%": Percent(0.999), "100%": Percent(1), "0%": Percent(0.001), "29%": Percent(0.29),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if Percent(math.NaN()) != "-" || Duration(-1) != "-" {
		t.Error("what is not known is a dash")
	}
}

// A bar shows the beginning and does not show the end before it.
func TestBarEnds(t *testing.T) {
	for frac, want := range map[float64]string{
		0: "──────────", 0.001: "╸─────────", 0.5: "━━━━━─────", 0.55: "━━━━━╸────", 0.9999: "━━━━━━━━━╸", 1: "━━━━━━━━━━", 7: "━━━━━━━━━━", math.Inf(-1): "──────────",
	} {
		if got := ansi.Strip(Bar(dark, frac, 10, themes.Good)); got != want {
			t.Errorf("bar of %v is %s, want %s", frac, got, want)
		}
	}
	if a, b := Bar(dark, 0.5001, 40, themes.Good), Bar(dark, 0.504, 40, themes.Good); a != b {
		t.Error("a trembling value redraws the bar")
	}
}

func TestStatusBarDropsByRank(t *testing.T) {
	left := []Segment{{Text: "run refund-tone"}, {Text: "12.3k tok/s", Rank: 1}}
	right := []Segment{{Text: "204 B/s", Rank: 3}, {Text: "? help"}}
	for width, want := range map[int]string{
		60: " run refund-tone · 12.3k tok/s           204 B/s · ? help ",
		40: " run refund-tone · 12.3k tok/s   ? help ",
		30: " run refund-tone       ? help ",
	} {
		got := ansi.Strip(StatusBar(dark, width, left, right))
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("at %d: %q, want %q", width, got, want)
		}
	}
}

func TestNotices(t *testing.T) {
	var n Notices
	now := time.Unix(1000, 0)
	n.Push(now, NoticeBad, "disk full")
	n.Push(now, NoticeInfo, "saved")
	if m, _ := n.Current(); m.Text != "disk full" {
		t.Errorf("news hides trouble: %q", m.Text)
	}
	if !n.Tick(now.Add(5 * time.Second)) {
		t.Error("the news should have gone after 5 s")
	}
	if !n.Tick(now.Add(11 * time.Second)) {
		t.Error("the trouble should have gone after 11 s")
	}
	if _, ok := n.Current(); ok || n.Tick(now.Add(time.Hour)) {
		t.Error("messages are left")
	}
	n.Push(now, NoticeInfo, "one")
	n.Push(now, NoticeGood, "two")
	if m, _ := n.Current(); m.Text != "two" {
		t.Errorf("the newest of two news is %q", m.Text)
	}
}

func TestLineMergesRuns(t *testing.T) {
	l := NewLine(dark, 20).Add(themes.FG(themes.Good), "ab").Space(2).Add(themes.FG(themes.Good), "cd").Add(themes.FG(themes.Bad), "e").String()
	if got := strings.Count(l, "\x1b["); got != 3 { // good, bad, reset
		t.Errorf("%d sequences, want 3: %q", got, l)
	}
	if got := ansi.Strip(l); got != "ab  cde             " {
		t.Errorf("text is %q", got)
	}
}

func TestJoinAndBlock(t *testing.T) {
	if got := JoinH("ab\ncd", "", "12\n34"); got != "ab12\ncd34" {
		t.Errorf("JoinH: %q", got)
	}
	if got := JoinV("a", "", "b"); got != "a\nb" {
		t.Errorf("JoinV: %q", got)
	}
	if got := Block("abc\nd", 2, 3); got != "ab\nd \n  " {
		t.Errorf("Block: %q", got)
	}
	if got := TruncateLeft("/a/long/path", 6, "…"); got != "…/path" {
		t.Errorf("TruncateLeft: %q", got)
	}
}

func TestCache(t *testing.T) {
	var c Cache[[2]int]
	drawn := 0
	draw := func() string { drawn++; return "x" }
	c.Get([2]int{1, 2}, draw)
	c.Get([2]int{1, 2}, draw)
	c.Get([2]int{1, 3}, draw)
	c.Drop()
	c.Get([2]int{1, 3}, draw)
	if drawn != 3 {
		t.Errorf("drawn %d times, want 3", drawn)
	}
}

// Two owners of one bar: each has a cell if it has anything, and they never overflow it.
func TestGaugeOfTwo(t *testing.T) {
	th := themes.Must(themes.Options{Name: "mono", Profile: 1, ASCII: true})
	for _, c := range []struct {
		own, rest float64
		want      string
	}{{0.25, 0.5, "==----.."}, {0, 0.001, "-......."}, {1, 0.5, "=======-"}, {0.999, 0.001, "=======-"}, {0.5, 7, "====----"}, {0.5, 0, "====...."}} {
		got := ansi.Strip(Gauge{Frac: c.own, Rest: c.rest, Value: "v", ValueWidth: 4}.View(th, 13))
		if bar := strings.Fields(got)[0]; bar != c.want {
			t.Errorf("%g and %g draw %q, want %q", c.own, c.rest, bar, c.want)
		}
	}
}

// Widths that are counted here are those of the clusters.
func TestWidthIsThatOfClusters(t *testing.T) {
	pieces := []string{"a", " ", "é", "│", "█", "⣿", "…", "·", "\x1b[0;38;2;1;2;3m", "\x1b[m", "\x1b[2K", "\x1b", "模", "e\u0301", "👨‍👩‍👧", "❤️", "\t"}
	for r := rune(0x80); r < 0x3000; r++ {
		if oneCell(r) {
			pieces = append(pieces, string(r))
		}
	}
	random := rand.New(rand.NewPCG(7, 8))
	for range 20000 {
		var s string
		for range random.IntN(6) {
			if random.IntN(2) == 0 {
				s += pieces[random.IntN(17)]
			} else {
				s += pieces[random.IntN(len(pieces))]
			}
		}
		if got, want := Width(s), ansi.StringWidth(s); got != want {
			t.Fatalf("%q is %d cells wide, want %d", s, got, want)
		}
	}
}
