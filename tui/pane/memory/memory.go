// Package memory is the pane of the device's memory: what the plan gives to whom, what is in use, and what the plan says.
package memory

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// Pane is the Memory pane. Make it with New.
type Pane struct {
	top, rows, height int // of the window, as it was drawn last
}

// New makes the pane.
func New() *Pane { return &Pane{} }

// Name is "memory".
func (*Pane) Name() string { return "memory" }

// Capturing is false.
func (*Pane) Capturing() bool { return false }

// Commands are none.
func (*Pane) Commands() []pane.Word { return nil }

// Update has nothing to do.
func (*Pane) Update(tea.Msg, pane.Context) tea.Cmd { return nil }

// Keys are the pane's rows of the key table.
func (p *Pane) Keys() []pane.Key {
	return []pane.Key{
		{Keys: []string{"Y"}, Help: "copy as Markdown", Reason: refuseCopy, Run: copyMarkdown},
		p.scroll("more below", func() int { return 1 }, "down", "j"),
		p.scroll("more above", func() int { return -1 }, "up", "k"),
		p.scroll("page down", func() int { return p.height }, "pgdown", "ctrl+f"),
		p.scroll("page up", func() int { return -p.height }, "pgup", "ctrl+b"),
	}
}

func (p *Pane) scroll(help string, by func() int, keys ...string) pane.Key {
	return pane.Key{
		Keys: keys, Help: help,
		Reason: func(pane.Context) string {
			if p.rows <= p.height {
				return "all of it is in sight"
			}
			return ""
		},
		Run: func(pane.Context) tea.Cmd {
			p.top = p.clamp(p.top + by())
			return nil
		},
	}
}

func (p *Pane) clamp(top int) int { return max(min(top, p.rows-p.height), 0) }

// plan is the forecast that is shown: the run's own, else that of the run.yaml on the table.
func plan(c pane.Context) (*trainer.Plan, *trainer.Config) {
	if c.View.Run.Plan != nil && (c.View.Run.State.Active() || c.View.Plan == nil) {
		return c.View.Run.Plan, &c.View.Run.Config
	}
	if c.View.Plan != nil {
		return c.View.Plan, c.View.Config
	}
	return nil, nil
}

// View draws gauges, owners, the plan's other numbers and its offers; a pane in focus scrolls where they are too many.
func (p *Pane) View(width, height int, c pane.Context) string {
	f := widget.Frame{Title: "Memory", Focused: c.Focused}
	w, h := f.Inner(width, height)
	forecast, cfg := plan(c)
	if forecast == nil {
		p.rows, p.height = 0, h
		return f.View(c.Theme, empty(c, w, h), width, height)
	}
	if !forecast.Fits {
		f.Tone = themes.Bad
	}
	if cfg != nil {
		f.Info = string(cfg.Method)
	}
	rows := content(c, *forecast, w)
	if p.rows, p.height = len(rows), h; c.Focused && len(rows) > h && w > 4 {
		rows = p.window(c.Theme, content(c, *forecast, w-2), h)
	}
	return f.View(c.Theme, strings.Join(rows, "\n"), width, height)
}

// window is what is in sight of rows, each with its part of a scroll bar.
func (p *Pane) window(th *themes.Theme, rows []string, h int) []string {
	p.rows = len(rows)
	p.top = p.clamp(p.top)
	shown := slices.Clone(rows[p.top:min(p.top+h, len(rows))])
	width := 0
	for _, row := range rows {
		width = max(width, widget.Width(row))
	}
	for i, row := range shown {
		shown[i] = row + strings.Repeat(" ", width-widget.Width(row)+1) + widget.ScrollCell(th, i, h, p.top, len(rows))
	}
	return shown
}

// content is all that there is to say, in rows of w cells.
func content(c pane.Context, p trainer.Plan, w int) []string {
	rows := append(gauges(c, p, w), "")
	rows = append(rows, owners(c.Theme, p.Memory, w)...)
	rows = append(rows, holders(c, w)...)
	parts := [][]string{facts(c.Theme, p, w), offers(c.Theme, p, w), idle(c, w)}
	if !p.Fits { // what makes it fit comes first
		parts[0], parts[1] = parts[1], parts[0]
	}
	for _, part := range parts {
		if len(part) > 0 {
			rows = append(append(rows, ""), part...)
		}
	}
	return rows
}

func empty(c pane.Context, w, h int) string {
	if c.View.PlanErr != "" {
		return widget.Empty(c.Theme, w, h, "No plan", c.View.PlanErr)
	}
	if c.View.Config != nil {
		return widget.Empty(c.Theme, w, h, "Planning"+c.Theme.Glyphs.Ellipsis, "sizes come from the model's headers and a dry step")
	}
	return widget.Empty(c.Theme, w, h, "No plan yet", ":config FILE plans the memory of a run.yaml", "before its first step")
}

// share is a part of the plan.
type share struct {
	name, doc string
	bytes     int64
	tok       themes.Token
	fill      int
}

func shares(m trainer.MemoryPlan) []share {
	all := []share{
		{"base", "frozen weights", m.Base, themes.Series1, 0},
		{"adapters", "trained weights", m.Adapters, themes.Series2, 1},
		{"gradients", "of trained weights", m.Gradients, themes.Series3, 2},
		{"optimizer", "AdamW's two moments", m.Optimizer, themes.Series4, 3},
		{"activations", "largest micro-batch", m.Activations, themes.Series5, 4},
		{"workspace", "the device's own", m.Workspace, themes.Series6, 5},
	}
	return all
}

const (
	label = 11 // cells of the owners' names
	docs  = 22 // what their explanations take at most, with the space before them
)

// gauges are the device, the plan against what is free of it, and what is in use against the plan.
func gauges(c pane.Context, p trainer.Plan, w int) []string {
	var rows []string
	gauge := func(name string, part float64, value string, tok themes.Token) {
		g := widget.Gauge{Label: name, LabelWidth: 6, Frac: part, Value: value, ValueWidth: 20, Tok: tok}
		rows = append(rows, g.View(c.Theme, w))
	}
	of := func(part, all int64) string { return widget.Bytes(part) + " of " + widget.Bytes(all) }
	mem, total := c.View.Memory, p.Memory.Total()
	gpus, _ := gpus(c)
	switch {
	case len(gpus) > 0:
		rows = devices(c.Theme, gpus, w)
	case mem.Total > 0:
		gauge("device", quotient(mem.Total-mem.Free, mem.Total), of(mem.Total-mem.Free, mem.Total), themes.None)
	}
	if p.Available > 0 {
		gauge("plan", quotient(total, p.Available), of(total, p.Available), themes.None)
	}
	if mem.Used > 0 && c.View.Run.HasModel {
		tok := themes.Accent
		if mem.Peak > total+p.Memory.KV {
			tok = themes.Warn // more than was planned
		}
		gauge("in use", quotient(mem.Used, max(total, mem.Peak)), widget.Bytes(mem.Used)+", peak "+widget.Bytes(mem.Peak), tok)
	}
	return append(rows, live(c, gpus, w)...)
}

func quotient(part, all int64) float64 { return float64(part) / float64(max(all, 1)) }

// owners are the plan's parts: one bar of them all, and a row for each.
func owners(th *themes.Theme, m trainer.MemoryPlan, w int) []string {
	total := max(m.Total(), 1)
	rows := []string{stack(th, m, w), ""}
	for _, s := range shares(m) {
		part := float64(s.bytes) / float64(total)
		l := widget.NewLine(th, w).Repeat(themes.FG(s.tok), th.Glyphs.Fills[s.fill], 1).Space(1)
		l.Field(themes.FG(themes.Text), s.name, label, widget.Left).Field(themes.FG(themes.Text), widget.Bytes(s.bytes), 9, widget.Right)
		l.Field(themes.FG(themes.Muted), widget.Percent(part), 6, widget.Right)
		if l.Left() >= docs {
			l.Space(3).Add(themes.FG(themes.Faint), s.doc)
		}
		rows = append(rows, l.String())
	}
	l := widget.NewLine(th, w).Space(2).Field(themes.FG(themes.Muted), "sum", label, widget.Left)
	rows = append(rows, l.Field(themes.FG(themes.Text, themes.Bold), widget.Bytes(m.Total()), 9, widget.Right).String())
	l = widget.NewLine(th, w).Space(2).Field(themes.FG(themes.Muted), "kv cache", label, widget.Left).Field(themes.FG(themes.Muted), widget.Bytes(m.KV), 9, widget.Right)
	if doc := "for the Playground"; l.Left() >= docs+6 {
		l.Space(9).Add(themes.FG(themes.Faint), doc)
	}
	return append(rows, l.String())
}

// stack is one bar of all parts. Every part that is there at all has a cell; the others are dealt by size, with borders
// rounded from the running sum, so that rounding does not add up.
func stack(th *themes.Theme, m trainer.MemoryPlan, w int) string {
	all := slices.DeleteFunc(shares(m), func(s share) bool { return s.bytes <= 0 })
	l := widget.NewLine(th, w)
	rest := max(w-len(all), 0)
	var sum int64
	for i, s := range all {
		sum += s.bytes
		to := i + 1 + int(quotient(sum, m.Total())*float64(rest))
		l.Repeat(themes.FG(s.tok), th.Glyphs.Fills[s.fill], to-(w-l.Left()))
	}
	return l.String()
}

// facts are the plan's other numbers.
func facts(th *themes.Theme, p trainer.Plan, w int) []string {
	n := func(v int) string { return widget.Group(int64(v)) }
	list := [][2]string{
		{"steps", fmt.Sprintf("%s, %.3g epochs of %s", n(p.Steps), p.Epochs, n(p.StepsPerEpoch))},
		{"rows", fmt.Sprintf("%s, longest %s tokens", n(p.Rows), n(p.Longest))},
		{"tokens", fmt.Sprintf("%s, %s trained", widget.Count(float64(p.Tokens)), widget.Count(float64(p.TrainedTokens)))},
		{"parameters", fmt.Sprintf("%s, %s trained", widget.Count(float64(p.Parameters)), widget.Count(float64(p.Trainable)))},
		{"batch", fmt.Sprintf("%s tokens at most", n(p.BatchTokens))},
	}
	if p.LargestBatch > 0 {
		list = append(list, [2]string{"would fit", "per_device_train_batch_size " + n(p.LargestBatch)})
	}
	list = append(list, [2]string{"checkpoint", widget.Bytes(p.CheckpointSize)})
	if p.CutRows > 0 {
		list = append(list, [2]string{"cut", n(p.CutRows) + " rows by max_seq_length"})
	}
	var rows []string
	for _, f := range list {
		l := widget.NewLine(th, w).Space(2).Field(themes.FG(themes.Muted), f[0], label, widget.Left)
		rows = append(rows, l.Field(themes.FG(themes.Text), f[1], w-label-2, widget.Left).String())
	}
	return rows
}

// offers are the changes of run.yaml that the plan knows to save memory: what each saves, and the largest batch it leaves room
// for. A plan that does not fit says first what makes it fit.
func offers(th *themes.Theme, p trainer.Plan, w int) []string {
	var rows []string
	if !p.Fits {
		for _, part := range widget.Wrap(widget.Sanitize(p.Verdict), w) {
			rows = append(rows, widget.NewLine(th, w).Add(themes.FG(themes.Bad), part).String())
		}
	}
	if len(p.Offers) == 0 {
		return rows
	}
	const saves, batch = 9, 13
	l := widget.NewLine(th, w).Space(2).Field(themes.FG(themes.Muted), "change of run.yaml", w-2-saves-batch, widget.Left)
	l.Field(themes.FG(themes.Muted), "saves", saves, widget.Right).Field(themes.FG(themes.Muted), "batch up to", batch, widget.Right)
	rows = append(rows, l.String())
	for _, o := range p.Offers {
		pen, mark := themes.FG(themes.Text), " "
		if !p.Fits && o.Fits {
			pen, mark = themes.FG(themes.Good), th.Glyphs.Check
		}
		most := "none"
		if o.LargestBatch > 0 {
			most = widget.Group(int64(o.LargestBatch))
		}
		l := widget.NewLine(th, w).Field(pen, mark, 1, widget.Left).Space(1).Field(pen, o.Text(), w-2-saves-batch, widget.Left)
		rows = append(rows, l.Field(pen, widget.Bytes(o.Saves), saves, widget.Right).Field(themes.FG(themes.Muted), most, batch, widget.Right).String())
	}
	return rows
}

func refuseCopy(c pane.Context) string {
	if p, _ := plan(c); p == nil {
		return "no plan to copy yet: :config FILE makes one"
	}
	return ""
}

func copyMarkdown(c pane.Context) tea.Cmd {
	p, _ := plan(c)
	var b strings.Builder
	b.WriteString("| owner | planned |\n| --- | ---: |\n")
	for _, s := range shares(p.Memory) {
		fmt.Fprintf(&b, "| %s | %s |\n", s.name, widget.Bytes(s.bytes))
	}
	fmt.Fprintf(&b, "| **sum** | %s |\n| kv cache | %s |\n| available | %s |\n", widget.Bytes(p.Memory.Total()), widget.Bytes(p.Memory.KV), widget.Bytes(p.Available))
	gpus, _ := gpus(c)
	for _, g := range gpus {
		fmt.Fprintf(&b, "| %s by NVML: this process | %s |\n| %s by NVML: all | %s |\n", g.Label, bytesOf(g.Own), g.Label, bytesOf(g.Used))
	}
	text := b.String()
	told := func() tea.Msg { return pane.Told{Text: fmt.Sprintf("copied %d bytes of Markdown", len(text))} }
	return tea.Batch(tea.SetClipboard(text), told)
}
