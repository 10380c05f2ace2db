package train

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// guarded opens the guard's dialog when it has ended the run on screen; what it had ended before the workbench was opened
// only shows in the pane.
func (p *Pane) guarded(c pane.Context) tea.Cmd {
	trouble, first := c.View.Run.Trouble, !p.looked
	known := p.trouble
	p.trouble, p.looked = trouble, true
	if trouble == nil || trouble == known || first {
		return nil
	}
	text := fmt.Sprintf("the run has stopped at step %d: g in the Train pane shows the ways on", trouble.Step)
	return func() tea.Msg { return pane.Open{Dialog: guardDialog(c), Unasked: text} }
}

func refuseGuard(c pane.Context) string {
	switch {
	case c.View.Run.Trouble == nil:
		return "nothing went wrong with this run: loss, gradients and weights are finite"
	case c.View.Run.State.Active():
		return "the run goes on already"
	}
	return ""
}

func openGuard(c pane.Context) tea.Cmd {
	return func() tea.Msg { return pane.Open{Dialog: guardDialog(c)} }
}

// way is a row of the guard's dialog.
type way struct {
	option dialog.Option
	run    func() tea.Cmd
}

// guardDialog says what was not finite, where and in which rows, and asks how to go on.
func guardDialog(c pane.Context) dialog.Dialog {
	t := c.View.Run.Trouble
	ways := guardWays(c.Session, t)
	options := make([]dialog.Option, len(ways))
	for i, w := range ways {
		options[i] = w.option
	}
	d := dialog.NewChoose(c.Theme, fmt.Sprintf("The run has stopped at step %d", t.Step), options, 0, func(i int) tea.Cmd { return ways[i].run() })
	d.Plain, d.Tone, d.Later, d.Body = true, themes.Bad, "decide later", guardFacts(t)
	return d
}

// guardFacts are the lines above the options.
func guardFacts(t *trainer.NonFiniteError) string {
	var b strings.Builder
	fmt.Fprintf(&b, "What   %s\n", t.What)
	if t.Where != "" {
		fmt.Fprintf(&b, "Where  %s\n", t.Where)
	}
	if t.Tensor != "" {
		fmt.Fprintf(&b, "In     %s, element %s\n", t.Tensor, widget.Group(int64(t.Index)))
	}
	if len(t.Rows) > 0 {
		fmt.Fprintf(&b, "Rows   %s\n", shortRows(t.Rows))
	}
	b.WriteString("The weights are those before this step; every checkpoint is kept.")
	return b.String()
}

// shortRows names the first rows by their file's own name.
func shortRows(rows []string) string {
	const most = 4
	var names []string
	for _, row := range rows[:min(len(rows), most)] {
		names = append(names, filepath.Base(row))
	}
	text := strings.Join(names, ", ")
	if more := len(rows) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// guardWays are the offers, and a look at the rows.
func guardWays(s pane.Session, t *trainer.NonFiniteError) []way {
	from := func(path string) string {
		if path == "" {
			return "from the beginning"
		}
		return "from " + filepath.Base(path)
	}
	back := dialog.Option{Text: "Roll back and wait", Note: from(t.Checkpoint)}
	if t.Checkpoint == "" {
		back.Note, back.Off = "no checkpoint yet", "the run has no checkpoint to go back to"
	}
	ways := []way{{back, func() tea.Cmd { return pane.Send(s, session.RollBack{}) }}}
	if n := len(t.Rows); n > 0 {
		start := t.Checkpoint
		if t.Before != "" {
			start = t.Before
		}
		name := "Go on without the row"
		if n > 1 {
			name = fmt.Sprintf("Go on without the %d rows", n)
		}
		ways = append(ways, way{dialog.Option{Text: name, Note: from(start)}, func() tea.Cmd { return pane.Send(s, session.SkipRows{}) }})
	}
	half := "Go on at half the rate"
	if t.RateScale != 1 {
		half = fmt.Sprintf("Go on at half, %g of run.yaml's rate", t.RateScale/2)
	}
	ways = append(ways, way{
		dialog.Option{Text: half, Note: from(t.Slower())},
		func() tea.Cmd { return pane.Send(s, session.HalveRate{}) },
	})
	if path, line, ok := splitRow(t.Rows); ok {
		ways = append(ways, way{dialog.Option{Text: "Look at the first row", Note: filepath.Base(t.Rows[0])}, func() tea.Cmd {
			return func() tea.Msg { return pane.ShowRow{Path: path, Line: line} }
		}})
	}
	return ways
}

// splitRow takes the first row's file and line apart.
func splitRow(rows []string) (path string, line int, ok bool) {
	if len(rows) == 0 {
		return "", 0, false
	}
	colon := strings.LastIndexByte(rows[0], ':')
	if colon < 0 {
		return "", 0, false
	}
	line, err := strconv.Atoi(rows[0][colon+1:])
	return rows[0][:colon], line, err == nil
}
