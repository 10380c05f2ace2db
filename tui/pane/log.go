package pane

import (
	"strings"

	"lathe/datasets"
	"lathe/session"
	"lathe/themes"
	"lathe/tui/widget"
)

// LogRows draws the newest events in width × height: as many as fit, whole, the newest last. Long ones go over several rows.
func LogRows(th *themes.Theme, log []session.LogLine, width, height int) []string {
	clock := "15:04:05"
	if width < 60 {
		clock = "15:04"
	}
	margin := len(clock) + 3 // a blank, the sign, a blank
	var blocks [][]string
	used := 0
	for i := len(log) - 1; i >= 0 && used < height; i-- {
		block := logRows(th, log[i], clock, width, max(width-margin, 1))
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

func logRows(th *themes.Theme, line session.LogLine, clock string, width, text int) []string {
	sign, tone, ink := th.Glyphs.Dot, themes.Faint, themes.Muted
	switch line.Level {
	case datasets.LevelWarn:
		sign, tone, ink = th.Glyphs.Warning, themes.Warn, themes.Text
	case datasets.LevelError:
		sign, tone, ink = th.Glyphs.Times, themes.Bad, themes.Text
	}
	var rows []string
	const most = 6 // rows of one event: a stack trace must not push everything else out
	for i, part := range wrap(widget.Sanitize(line.Text), text) {
		if i == most {
			break
		}
		l := widget.NewLine(th, width)
		if i == 0 {
			l.Add(themes.FG(themes.Faint), line.Time.Format(clock)).Space(1).Repeat(themes.FG(tone), sign, 1).Space(1)
		} else {
			l.Space(width - text)
		}
		rows = append(rows, l.Add(themes.FG(ink), part).String())
	}
	return rows
}

// wrap breaks text at blanks alone: the names of files and settings stay whole where they can.
func wrap(text string, width int) []string {
	var rows []string
	row := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case row == "":
			row = word
		case widget.Width(row)+1+widget.Width(word) <= width:
			row += " " + word
		default:
			rows = append(rows, row)
			row = word
		}
		for widget.Width(row) > width {
			parts := widget.Wrap(row, width)
			rows = append(rows, parts[:len(parts)-1]...)
			row = parts[len(parts)-1]
		}
	}
	if row != "" {
		rows = append(rows, row)
	}
	return rows
}
