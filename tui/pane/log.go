package pane

import (
	"lathe/datasets"
	"lathe/session"
	"lathe/themes"
	"lathe/tui/widget"
)

// LogRows draws the newest events in width × height: as many as fit, whole, the newest last. Long ones go over several rows.
func LogRows(th *themes.Theme, log []session.LogLine, width, height int) []string {
	const margin = 11 // of "15:04:05 ✓ "
	var blocks [][]string
	used := 0
	for i := len(log) - 1; i >= 0 && used < height; i-- {
		block := logRows(th, log[i], width, max(width-margin, 1))
		if used+len(block) > height && used > 0 {
			break
		}
		blocks = append(blocks, block[:min(len(block), height-used)])
		used += len(block)
	}
	rows := make([]string, 0, height)
	for i := len(blocks) - 1; i >= 0; i-- {
		rows = append(rows, blocks[i]...)
	}
	return rows
}

func logRows(th *themes.Theme, line session.LogLine, width, text int) []string {
	sign, tone, ink := th.Glyphs.Dot, themes.Faint, themes.Muted
	switch line.Level {
	case datasets.LevelWarn:
		sign, tone, ink = th.Glyphs.Warning, themes.Warn, themes.Text
	case datasets.LevelError:
		sign, tone, ink = th.Glyphs.Times, themes.Bad, themes.Text
	}
	var rows []string
	const most = 6 // rows of one event: a stack trace must not push everything else out
	for i, part := range widget.Wrap(widget.Sanitize(line.Text), text) {
		if i == most {
			break
		}
		l := widget.NewLine(th, width)
		if i == 0 {
			l.Add(themes.FG(themes.Faint), line.Time.Format("15:04:05")).Space(1).Repeat(themes.FG(tone), sign, 1).Space(1)
		} else {
			l.Space(width - text)
		}
		rows = append(rows, l.Add(themes.FG(ink), part).String())
	}
	return rows
}
