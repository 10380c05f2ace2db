package memory

import (
	"fmt"
	"strings"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// gpus are the gauges of the GPUs that the run computes on, and of the host's others.
func gpus(c pane.Context) (used, idle []session.Gauge) {
	all := c.View.Gauges.GPUs
	for i, g := range all { // those in use come first
		if !g.InUse {
			return all[:i], all[i:]
		}
	}
	return all, nil
}

// devices are the memory of the GPUs in use: this process's part, then the others'.
func devices(th *themes.Theme, used []session.Gauge, w int) []string {
	if len(used) > 1 {
		var rows []string
		for _, g := range used {
			rows = append(rows, line(th, g, w))
		}
		return rows
	}
	g := used[0]
	return []string{memoryGauge(g, "device", bytesOf(g.Used)+" of "+bytesOf(g.Total), 20).View(th, w)}
}

func memoryGauge(g session.Gauge, name, value string, valueWidth int) widget.Gauge {
	own, rest := g.Used, int64(0)
	if g.Own > 0 && g.Used >= g.Own {
		own, rest = g.Own, g.Used-g.Own
	}
	gauge := widget.Gauge{Label: name, LabelWidth: 6, Value: value, ValueWidth: valueWidth, Tok: themes.Accent}
	gauge.Frac, gauge.Rest = quotient(max(own, 0), g.Total), quotient(rest, g.Total)
	return gauge
}

// line is a GPU in one row.
func line(th *themes.Theme, g session.Gauge, w int) string {
	value := widget.Fit(bytesOf(g.Used), 9, widget.Right, "")
	if w >= 60 {
		value += " of " + widget.Fit(bytesOf(g.Total), 8, widget.Left, "")
	}
	value += widget.Fit(unit(g.Busy, "%"), 5, widget.Right, "")
	if w >= 60 {
		value += widget.Fit(unit(g.Power, " W"), 7, widget.Right, "") + widget.Fit(unit(g.Temperature, " °C"), 7, widget.Right, "")
	}
	if g.Note != "" && g.Used < 0 { // nothing but the note is known
		l := widget.NewLine(th, w).Field(themes.FG(themes.Muted), g.Label, 6, widget.Left).Space(1)
		return l.Field(themes.FG(themes.Warn), g.Note, l.Left(), widget.Left).String()
	}
	return memoryGauge(g, g.Label, value, 0).View(th, w)
}

// live is what one GPU in use does now; several have said it in their lines. Where there are no gauges it says why.
func live(c pane.Context, used []session.Gauge, w int) []string {
	var rows []string
	if len(used) == 1 {
		rows = one(c.Theme, used[0], w)
	}
	if err := c.View.Gauges.Err; err != "" {
		pen := themes.FG(themes.Muted)
		if len(used) > 0 {
			pen = themes.FG(themes.Warn)
		} else {
			err = "no GPU gauges: " + err
		}
		parts := widget.Wrap(widget.Sanitize(err), w)
		for _, part := range parts[:min(len(parts), 3)] {
			rows = append(rows, widget.NewLine(c.Theme, w).Add(pen, part).String())
		}
	}
	return rows
}

// one is a GPU's load, power and, in words, the rest.
func one(th *themes.Theme, g session.Gauge, w int) []string {
	var rows []string
	if g.Busy >= 0 {
		gauge := widget.Gauge{Label: "busy", LabelWidth: 6, Frac: float64(g.Busy) / 100, Value: unit(g.Busy, "%"), ValueWidth: 20, Tok: themes.Good}
		rows = append(rows, gauge.View(th, w))
	}
	if g.Power >= 0 && g.PowerLimit > 0 {
		value := fmt.Sprintf("%d of %d W", g.Power, g.PowerLimit)
		gauge := widget.Gauge{Label: "power", LabelWidth: 6, Frac: quotient(int64(g.Power), int64(g.PowerLimit)), Value: value, ValueWidth: 20, Tok: themes.Info}
		rows = append(rows, gauge.View(th, w))
	}
	l := widget.NewLine(th, w).Space(7)
	sep := ""
	say := func(pen themes.Pen, text string) {
		if text != "" && widget.Width(sep+text) <= l.Left() {
			l.Add(themes.FG(themes.Faint), sep).Add(pen, text)
			sep = " " + th.Glyphs.Dot + " "
		}
	}
	say(themes.FG(themes.Text), unit(g.Temperature, " °C"))
	say(themes.FG(themes.Warn), strings.Join(g.Throttle, ", "))
	say(themes.FG(themes.Warn), g.Note)
	if g.ClockSM > 0 {
		say(themes.FG(themes.Muted), "SM "+widget.Group(int64(g.ClockSM))+" MHz")
	}
	if g.ClockMemory > 0 {
		say(themes.FG(themes.Muted), "memory "+widget.Group(int64(g.ClockMemory))+" MHz")
	}
	if sep != "" {
		rows = append(rows, l.String())
	}
	return rows
}

// holders stand below the plan's owners: what NVML says that this process holds, which is more than the
// plan's sum by CUDA's own context, and who else is there.
func holders(c pane.Context, w int) []string {
	used, _ := gpus(c)
	own, others, known := int64(0), int64(0), false
	var names []string
	for _, g := range used {
		if g.Own >= 0 {
			own, known = own+g.Own, true
		}
		for _, h := range g.Others {
			others += max(h.Bytes, 0)
			names = append(names, h.Name)
		}
	}
	row := func(tok themes.Token, glyph, name, size, doc string) string {
		l := widget.NewLine(c.Theme, w).Repeat(themes.FG(tok), glyph, 1).Space(1)
		l.Field(themes.FG(themes.Text), name, label, widget.Left).Field(themes.FG(themes.Text), size, 9, widget.Right)
		gap := 9 // where the owners have their shares
		if l.Left() < gap+widget.Width(doc) {
			gap = 2
		}
		return l.Space(gap).Field(themes.FG(themes.Faint), doc, l.Left(), widget.Left).String()
	}
	var rows []string
	if known {
		rows = append(rows, row(themes.Accent, c.Theme.Glyphs.BarFull, "process", widget.Bytes(own), "by NVML"))
	}
	if len(names) > 0 {
		doc := names[0]
		if n := len(names) - 1; n > 0 {
			doc += fmt.Sprintf(", %d more", n)
		}
		rows = append(rows, row(themes.Warn, c.Theme.Glyphs.BarHalf, "others", widget.Bytes(others), doc))
	}
	return rows
}

// idle are the host's GPUs that the run does not use.
func idle(c pane.Context, w int) []string {
	_, rest := gpus(c)
	if len(rest) == 0 {
		return nil
	}
	rows := []string{widget.NewLine(c.Theme, w).Add(themes.FG(themes.Muted), "this host's other GPUs").String()}
	for _, g := range rest {
		rows = append(rows, line(c.Theme, g, w))
	}
	return rows
}

func bytesOf(n int64) string {
	if n < 0 {
		return "?"
	}
	return widget.Bytes(n)
}

// unit is a number with its unit, empty where it is not known.
func unit(n int, of string) string {
	if n < 0 {
		return ""
	}
	return fmt.Sprintf("%d%s", n, of)
}
