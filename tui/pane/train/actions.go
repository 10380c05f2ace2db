package train

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// askStop stops the run after a question: it ends what may have taken hours.
func askStop(c pane.Context) tea.Cmd {
	s := c.Session
	d := &dialog.Confirm{
		Title: "Stop " + c.View.Run.Name + "?",
		Body:  fmt.Sprintf("The run ends after this step (%d of %d) with a checkpoint; :resume goes on from there with the same bits.", c.View.Run.Step, c.View.Run.TotalSteps),
		Yes:   "Stop", No: "Train on",
		OnYes: func() tea.Cmd { return pane.Send(s, session.Stop{}) },
	}
	return func() tea.Msg { return pane.Open{Dialog: d} }
}

func refuseRuns(c pane.Context) string {
	if len(c.View.Runs) == 0 {
		return "no run in this workspace yet: :train FILE starts one"
	}
	return ""
}

// openRuns lists the workspace's runs, the newest first.
func openRuns(c pane.Context) tea.Cmd {
	var b strings.Builder
	for _, r := range slices.Backward(c.View.Runs) {
		loss := "–"
		if r.Step > 0 {
			loss = widget.Number(r.Loss)
		}
		name := widget.Fit(widget.Sanitize(r.Name), 16, widget.Left, c.Theme.Glyphs.Ellipsis)
		steps := widget.Group(int64(r.Step)) + "/" + widget.Group(int64(r.TotalSteps))
		fmt.Fprintf(&b, "%s  %-9s  %s  %13s  loss %s\n", r.Started.Format("2006-01-02 15:04"), r.State, name, steps, loss)
	}
	d := &dialog.Message{Title: "Runs of this workspace", Body: strings.TrimRight(b.String(), "\n")}
	return func() tea.Msg { return pane.Open{Dialog: d} }
}

func refuseCopy(c pane.Context) string {
	if c.View.Run.Name == "" {
		return "no run to copy yet"
	}
	return ""
}

// copyMarkdown puts the run on the clipboard of the terminal (OSC 52), wherever that is.
func copyMarkdown(c pane.Context) tea.Cmd {
	text := Markdown(c.View.Run)
	told := func() tea.Msg { return pane.Told{Text: fmt.Sprintf("copied %d bytes of Markdown", len(text))} }
	return tea.Batch(tea.SetClipboard(text), told)
}

// Markdown is a run as a table: where it is, its evaluations, its checkpoints.
func Markdown(r session.RunView) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Run %s: %s\n\n| | |\n| --- | --- |\n", r.Name, r.State)
	fmt.Fprintf(&b, "| model | %s (%s) |\n| step | %d of %d |\n| loss | %s |\n", filepath.Base(r.Config.ModelNameOrPath), r.Config.Method, r.Step, r.TotalSteps, widget.Number(r.Loss))
	if r.Last.Step > 0 {
		fmt.Fprintf(&b, "| learning rate | %s |\n| gradient norm | %s |\n| tokens/s | %.0f |\n| tokens | %d |\n",
			widget.Number(r.Last.LearningRate), widget.Number(r.Last.GradNorm), r.Last.TokensPerSec, r.Last.TotalTokens)
	}
	if len(r.Evals) > 0 {
		b.WriteString("\n| step | eval loss | perplexity |\n| ---: | ---: | ---: |\n")
		for _, e := range r.Evals {
			fmt.Fprintf(&b, "| %d | %.4f | %.3f |\n", e.Step, e.EvalLoss, e.Perplexity)
		}
	}
	if len(r.Saved) > 0 {
		b.WriteString("\nCheckpoints:\n\n")
		for _, s := range r.Saved {
			fmt.Fprintf(&b, "- step %d: `%s`\n", s.Step, s.Path)
		}
	}
	return b.String()
}

// export writes the shown chart as SVG beside the run's output.
func (p *Pane) export(c pane.Context) tea.Cmd {
	r, k := c.View.Run, kinds[p.shown()]
	svg := drawSVG(c.Theme, p.charts.all[p.shown()], fmt.Sprintf("%s of %s, step %d of %d", k.name, r.Name, r.Step, r.TotalSteps), r.Output)
	name := fmt.Sprintf("%s-step-%d.svg", strings.NewReplacer(" ", "-", "/", "-").Replace(k.name), r.Step)
	return func() tea.Msg {
		path := filepath.Join(r.Output, name)
		if err := os.MkdirAll(r.Output, 0o755); err != nil {
			return pane.Told{Text: fmt.Sprintf("export chart: %v", err), Err: true}
		}
		if err := os.WriteFile(path, []byte(svg), 0o644); err != nil {
			return pane.Told{Text: fmt.Sprintf("export chart: %v", err), Err: true}
		}
		return pane.Told{Text: "chart written to " + path}
	}
}
