package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"lathe/themes"
	"lathe/tui/widget"
	"lathe/tui/widget/chart"
	"lathe/tui/widget/tokenview"
)

// page is a full screen of widgets.
type page struct {
	name string
	draw func(th *themes.Theme, width, height int) string
}

var pages = []page{
	{"train", train},
	{"charts", charts},
	{"data", data},
	{"heat", heat},
	{"memory", memory},
	{"help", help},
	{"confirm", confirm},
	{"choose", choose},
	{"ink", ink},
}

func pageNames() []string {
	var names []string
	for _, p := range pages {
		names = append(names, p.name)
	}
	return names
}

// bindings is a key table of a plausible length.
var bindings = []widget.Binding{
	{Keys: []string{"space"}, Help: "pause", Group: "Run"},
	{Keys: []string{"e"}, Help: "evaluate now", Group: "Run"},
	{Keys: []string{"c"}, Help: "checkpoint now", Group: "Run"},
	{Keys: []string{"S"}, Help: "stop after this step", Group: "Run", Disabled: "not running"},
	{Keys: []string{"y"}, Help: "log axis", Group: "Chart"},
	{Keys: []string{"s"}, Help: "smoothing", Group: "Chart"},
	{Keys: []string{"+", "-"}, Help: "zoom", Group: "Chart"},
	{Keys: []string{"[", "]"}, Help: "pan", Group: "Chart"},
	{Keys: []string{"x"}, Help: "crosshair", Group: "Chart"},
	{Keys: []string{"tab", "1-9"}, Help: "pane", Group: "Workbench"},
	{Keys: []string{":"}, Help: "command", Group: "Workbench"},
	{Keys: []string{"/"}, Help: "filter", Group: "Workbench"},
	{Keys: []string{"Y"}, Help: "copy pane", Group: "Workbench"},
	{Keys: []string{"?"}, Help: "help", Group: "Workbench"},
	{Keys: []string{"q"}, Help: "quit", Group: "Workbench"},
}

// shell is the workbench around a body: tabs above, status below.
func shell(th *themes.Theme, active, width, height int, body func(w, h int) string) string {
	tabs := []widget.Tab{
		{Title: "Data", Badge: th.Glyphs.Warning + "3"},
		{Title: "Train", Badge: th.Glyphs.Resume, Tone: themes.Good},
		{Title: "Playground"},
		{Title: "Compare"},
		{Title: "Memory"},
	}
	status := widget.StatusBar(th, width,
		[]widget.Segment{
			{Text: "refund-tone", Pen: themes.FG(themes.Text, themes.Bold)},
			{Text: th.Glyphs.Resume + " training", Pen: themes.FG(themes.Good)},
			{Text: "step 420/1,200"},
			{Text: "12.3k tok/s", Rank: 1},
			{Text: "3m12s left", Rank: 1},
		},
		[]widget.Segment{{Text: "12 ms  204 B/s  5 fps", Rank: 3}, {Text: "cpu avx512", Rank: 2}, {Text: "? help"}})
	return widget.JoinV(widget.Tabs(th, width, tabs, active), body(width, height-3), status, widget.HelpLine(th, bindings, width))
}

// wave is a loss curve with noise that is the same on every run.
func wave(step int) float64 {
	x := float64(step)
	noise := math.Sin(x*12.9898) * 43758.5453
	noise -= math.Floor(noise)
	return 0.9 + 3.2*math.Exp(-x/120) + (noise-0.5)*0.5*math.Exp(-x/400)
}

func lossChart(th *themes.Theme) *chart.Chart {
	c := chart.New(th)
	c.SetTotal(1200)
	c.Series("train")
	c.Series("eval").Nodes = true
	for s := 1; s <= 760; s++ {
		v := wave(s)
		if s == 515 {
			v = math.NaN()
		}
		c.Push("train", s, v)
		if s%100 == 0 {
			c.Push("eval", s, wave(s)+0.12)
			c.Mark(s, chart.Eval, "")
		}
		if s%200 == 0 {
			c.Mark(s, chart.Checkpoint, fmt.Sprint("checkpoint-", s))
		}
	}
	c.Mark(330, chart.Pause, "")
	c.Mark(345, chart.Resume, "")
	c.SetSmoothing(0.8)
	return c
}

func train(th *themes.Theme, width, height int) string {
	return shell(th, 1, width, height, func(w, h int) string {
		side := 38
		if widget.Compact(w) {
			side = 0
		}
		rows := widget.Split(h, widget.Flex(3, 8), widget.Fixed(3), widget.Flex(1, 5))
		cols := widget.Split(w, widget.Flex(1, 30), widget.Fixed(side))
		loss := framed(th, widget.Frame{Title: "Loss", Info: "refund-tone", Focused: true}, cols[0], rows[0], lossChart(th).View)
		progress := widget.Frame{Title: "Progress"}.View(th, widget.Progress{
			Label: "epoch 2/3", Done: 760, Total: 1200, Unit: "steps", Rate: "12.3k tok/s", Left: 192 * time.Second,
		}.View(th, max(cols[0]-4, 0)), cols[0], rows[1])
		lr := chart.New(th)
		lr.SetTotal(1200)
		for s := 1; s <= 760; s++ {
			lr.Push("learning rate", s, 2e-4*(1-float64(s)/1200))
		}
		rate := framed(th, widget.Frame{Title: "Learning rate"}, cols[0], rows[2], lr.View)
		left := widget.JoinV(loss, progress, rate)
		if side == 0 {
			return left
		}
		return widget.JoinH(left, framed(th, widget.Frame{Title: "Events", Info: "142"}, side, h, func(w, h int) string {
			return events().View(th, w, h)
		}))
	})
}

func framed(th *themes.Theme, f widget.Frame, w, h int, view func(w, h int) string) string {
	iw, ih := f.Inner(w, h)
	return f.View(th, view(iw, ih), w, h)
}

func events() *widget.List {
	kinds := []struct {
		text string
		tok  themes.Token
	}{
		{"saved checkpoint-600", themes.Info},
		{"eval loss 1.021", themes.Text},
		{"loss is NaN at step 515", themes.Bad},
		{"resumed", themes.Good},
		{"paused at step 330", themes.Warn},
	}
	l := widget.NewList(func() int { return 142 }, func(i int) widget.Item {
		k := kinds[i%len(kinds)]
		return widget.Item{Text: k.text, Info: fmt.Sprintf("%02d:%02d", 12-i/12, 59-i%60), Pen: themes.FG(k.tok)}
	})
	l.Select(2)
	return l
}

func charts(th *themes.Theme, width, height int) string {
	rows := widget.Split(height, widget.Flex(1, 6), widget.Flex(1, 6))
	cols := widget.Split(width, widget.Flex(1, 30), widget.Flex(1, 30))
	logged := lossChart(th)
	logged.SetLog(true)
	zoomed := lossChart(th)
	zoomed.SetCrosshair(400)
	zoomed.Zoom(4)
	empty := chart.New(th)
	empty.Series("train")
	many := chart.New(th)
	for i := range 6 {
		for s := 1; s < 2000; s += 3 {
			many.Push(fmt.Sprint("run ", i), s, float64(i+1)*1000*math.Exp(-float64(s)/700)+wave(s)*300)
		}
	}
	return widget.JoinV(
		widget.JoinH(
			framed(th, widget.Frame{Title: "Log axis"}, cols[0], rows[0], logged.View),
			framed(th, widget.Frame{Title: "Zoom and crosshair", Focused: true}, cols[1], rows[0], zoomed.View)),
		widget.JoinH(
			framed(th, widget.Frame{Title: "Nothing yet"}, cols[0], rows[1], empty.View),
			framed(th, widget.Frame{Title: "Six series"}, cols[1], rows[1], many.View)))
}

// sample is a rendered conversation as tokens.
func sample() []tokenview.Token {
	prompt := []string{"<s>", "[INST]", " Explain", " our", " company", " refund", " policy", ".", "\n", "Ref", "und", "s", ":", " ", "30", " days", "\t", "ü", "ber", " 日本", "語", " cafe", "\u0301", "[/INST]"}
	answer := []string{" Thank", " you", " for", " asking", "!", "\n", " Ref", "unds", " are", " accepted", " within", " ", "30", " days", " of", " the", " purchase", ".", "\n", " Next", " step", ":", " reply", " with", " your", " order", " number", ".", " 🙂", "\xf0\x9f", "</s>"}
	var out []tokenview.Token
	for i, s := range append(append([]string{}, prompt...), answer...) {
		special := strings.HasPrefix(s, "<") || strings.HasPrefix(s, "[")
		out = append(out, tokenview.Token{
			Text: s, ID: 100 + i*37, Special: special, Trained: i >= len(prompt), Heat: math.Abs(math.Sin(float64(i)*1.3)) * 4,
		})
	}
	return out
}

func data(th *themes.Theme, width, height int) string {
	return dataPage(th, width, height, tokenview.Mask)
}

func heat(th *themes.Theme, width, height int) string {
	return dataPage(th, width, height, tokenview.Heat)
}

func dataPage(th *themes.Theme, width, height int, mode tokenview.Mode) string {
	return shell(th, 0, width, height, func(w, h int) string {
		rows := widget.Split(h, widget.Flex(1, 6), widget.Flex(1, 6))
		table := rowsTable()
		table.Focused = true
		table.Select(5)
		top := framed(th, widget.Frame{Title: "train.jsonl", Info: "1,000,000 rows", Foot: "6 of 1,000,000", Focused: true}, w, rows[0], func(w, h int) string {
			return table.View(th, w, h)
		})
		tv := tokenview.New(th)
		tv.SetTokens(sample())
		tv.SetMode(mode)
		tv.SetHeat(0, 0)
		tv.Focused = true
		tv.Select(30)
		bottom := framed(th, widget.Frame{Title: "Tokens", Info: "row 5", Foot: "8 of 10"}, w, rows[1], func(w, h int) string {
			return widget.JoinV(tv.Legend(w), tv.View(w, h-2), tv.Detail(w))
		})
		return widget.JoinV(top, bottom)
	})
}

func rowsTable() *widget.Table {
	texts := []string{
		"Explain our company refund policy.", "Wie lange dauert die Lieferung?\tBitte kurz.", "日本語の質問です。返品できますか?",
		"Hidden \u202eoverride and \x1b[31mcolour", "Where is my order? It was due last week and nobody answers the phone any more, which I find odd",
		"A family 👨‍👩‍👧 and a heart ❤️ and नमस्ते",
	}
	t := &widget.Table{
		Columns: []widget.Column{
			{Title: "row", Width: 9, Align: widget.Right},
			{Title: "instruction", Weight: 3},
			{Title: "tokens", Width: 6, Align: widget.Right},
			{Title: "finding", Width: 18},
			{Title: "label", Min: 8},
		},
		Rows: func() int { return 1000000 },
	}
	t.Cell = func(row, col int) widget.Cell {
		switch col {
		case 0:
			return widget.Cell{Text: widget.Group(int64(row)), Pen: themes.FG(themes.Muted)}
		case 1:
			return widget.Cell{Text: texts[row%len(texts)]}
		case 2:
			return widget.Cell{Text: widget.Group(int64(row*7919%1500 + 12))}
		case 3:
			if row%4 == 3 {
				return widget.Cell{Text: "bidi_override", Pen: themes.FG(themes.Bad)}
			}
			if row%4 == 1 {
				return widget.Cell{Text: "edge_whitespace", Pen: themes.FG(themes.Warn)}
			}
			return widget.Cell{}
		default:
			return widget.Cell{Text: []string{"good", "", "tone"}[row%3], Pen: themes.FG(themes.Good)}
		}
	}
	return t
}
