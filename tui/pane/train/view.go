package train

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"lathe/session"
	"lathe/themes"
	"lathe/trainer"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// View draws the run, what could be started where there is none, or which key to press.
func (p *Pane) View(width, height int, c pane.Context) string {
	p.charts.follow(c.Theme, c.View.Run)
	f := p.frame(c)
	w, h := f.Inner(width, height)
	if w <= 0 || h <= 0 {
		return f.View(c.Theme, "", width, height)
	}
	var body string
	switch {
	case c.View.Run.Name == "" && c.View.Config == nil:
		body = widget.Empty(c.Theme, w, h, "No run yet", ":train FILE starts the run of a run.yaml",
			":config FILE looks at its data and its plan first", "lathe demo shows the whole job on a built-in model")
	case c.View.Run.Name == "":
		body = drawTable(c, w, h)
	default:
		body = p.drawRun(c, w, h)
	}
	return f.View(c.Theme, body, width, height)
}

func (p *Pane) frame(c pane.Context) widget.Frame {
	r := c.View.Run
	f := widget.Frame{Title: "Train", Focused: c.Focused}
	if r.Name == "" {
		return f
	}
	f.Title = "Train " + r.Name
	f.Info = fmt.Sprintf("%s of %s", methodName(r.Config), filepath.Base(r.Config.ModelNameOrPath))
	if p := r.Plan; p != nil && r.Config.Method != trainer.MethodFull && p.Parameters > 0 {
		f.Info += fmt.Sprintf(", %.2g%% trained", 100*float64(p.Trainable)/float64(p.Parameters))
	}
	if r.State == session.Failed {
		f.Tone = themes.Bad
	}
	return f
}

// drawRun draws, from the top: progress, what the state asks for, charts, rates or the crosshair's reading, the log.
func (p *Pane) drawRun(c pane.Context, w, h int) string {
	head := append([]string{drawProgress(c, w)}, banner(c, w)...)
	rates := p.drawRates(c, w)
	log := p.logHeight(c, h)
	left := h - len(head) - len(rates) - log
	rows := append(head, p.drawCharts(1+len(head), w, max(left, 0))...)
	rows = append(rows, rates...)
	if log > 0 {
		rows = append(rows, widget.Rule(c.Theme, "log", w))
		rows = append(rows, pane.LogRows(c.Theme, c.View.Log, w, log-1)...)
	}
	return strings.Join(rows, "\n")
}

// logHeight is the rows of the log with its rule: none where a pane beside shows it.
func (p *Pane) logHeight(c pane.Context, h int) int {
	for _, name := range c.Beside {
		if name == "log" {
			return 0
		}
	}
	if h < 14 {
		return 0
	}
	return min(4+max(h-24, 0)/4, 10)
}

func drawProgress(c pane.Context, w int) string {
	r := c.View.Run
	if r.State == session.Starting {
		stage := r.Stage.Stage
		if stage == "" {
			stage = "getting ready"
		}
		return widget.Progress{Label: stage, Done: float64(r.Stage.Done), Total: float64(r.Stage.Total), Left: -1, Tok: themes.Info}.View(c.Theme, w)
	}
	bar := widget.Progress{
		Label: epochs(r), Done: float64(r.Step), Total: float64(r.TotalSteps), Unit: "steps", Left: -1, Tok: tone(r.State),
	}
	if r.State.Training() && r.Last.Step > 0 {
		bar.Left = seconds(r.Last.SecondsLeft)
	}
	return bar.View(c.Theme, w)
}

// epochs is "epoch 1.34 of 3".
func epochs(r session.RunView) string {
	if r.Plan == nil || r.Plan.Epochs == 0 {
		return ""
	}
	return fmt.Sprintf("epoch %.2f of %.3g", r.Last.Epoch, r.Plan.Epochs)
}

// banner says what the run's state asks of the user; nothing while it simply runs.
func banner(c pane.Context, w int) []string {
	r := c.View.Run
	text := ""
	switch r.State {
	case session.Paused:
		text = fmt.Sprintf("paused after step %d: prompt it in the Playground, space resumes", r.Step)
		if r.Released > 0 {
			text = fmt.Sprintf("paused after step %d, %s of memory given back: space takes it again and resumes", r.Step, widget.Bytes(r.Released))
		}
	case session.Pausing:
		text = "pausing at the end of this step"
	case session.Stopping:
		text = "stopping: the checkpoint is being written"
	case session.Stopped:
		text = stopped(r)
	case session.Failed:
		text = "failed: " + r.Reason
		if t := r.Trouble; t != nil {
			text = fmt.Sprintf("stopped before the weights changed at step %d: %s", t.Step, t.What)
			if t.Where != "" {
				text += "; " + t.Where
			}
			if len(t.Rows) > 0 {
				text += "; " + shortRows(t.Rows)
			}
			text += " (g: roll back, skip rows or halve the rate)"
		}
	case session.Done:
		text = done(r)
	}
	if text == "" {
		return nil
	}
	const most = 4
	var rows []string
	for _, part := range widget.Wrap(widget.Sanitize(text), w) {
		if len(rows) < most {
			rows = append(rows, widget.NewLine(c.Theme, w).Add(themes.FG(tone(r.State)), part).String())
		}
	}
	return rows
}

func stopped(r session.RunView) string {
	if r.Reason != "" {
		return r.Reason
	}
	return fmt.Sprintf("stopped after step %d; :resume goes on from there with the same bits", r.Step)
}

func done(r session.RunView) string {
	text := "done"
	if d := r.Done; d != nil {
		text += " in " + widget.Duration(seconds(d.Seconds))
		if d.BestStep > 0 {
			text += fmt.Sprintf("; best eval loss %s at step %d", widget.Number(d.BestEvalLoss), d.BestStep)
		}
		if d.Path != "" {
			text += "; saved in " + d.Path
		}
	}
	return text
}

// drawCharts draws the loss, and another chart below it where there is room for two; top is their row in the pane.
func (p *Pane) drawCharts(top, w, h int) []string {
	const enough = 22 // rows for two charts and a blank between them
	p.two = h >= enough
	if !p.two {
		p.places = []place{{p.main, top, h}}
		return strings.Split(p.charts.all[p.main].View(w, h), "\n")
	}
	below := max(h*2/5, 8)
	above := h - below - 1
	p.places = []place{{lossKind, top, above}, {p.shown(), top + above + 1, below}}
	rows := strings.Split(p.charts.all[lossKind].View(w, above), "\n")
	return append(append(rows, ""), strings.Split(p.charts.all[p.shown()].View(w, below), "\n")...)
}

// drawRates is what the newest step, or the one under the crosshair, says.
func (p *Pane) drawRates(c pane.Context, w int) []string {
	at, on := p.charts.crosshair()
	if at.Step == 0 {
		return nil
	}
	if on {
		return []string{p.reading(c.Theme, at, w)}
	}
	columns := []struct {
		label, value string
		of           func(trainer.StepDone) float64
		tok          themes.Token
	}{
		{"tok/s", widget.Count(at.TokensPerSec), kinds[4].value, themes.Series5},
		{"grad norm", widget.Number(at.GradNorm), kinds[2].value, themes.Series4},
		{"lr", widget.Number(at.LearningRate), kinds[3].value, themes.Series3},
	}
	const gap, value = 3, 8
	each := (w - gap*(len(columns)-1)) / len(columns)
	var row strings.Builder
	for i, col := range columns {
		if i > 0 {
			row.WriteString(strings.Repeat(" ", gap))
		}
		text := min(widget.Width(col.label)+1+value, each)
		row.WriteString(widget.NewLine(c.Theme, text).Add(themes.FG(themes.Muted), col.label).Space(1).Add(themes.FG(themes.Text), col.value).String())
		row.WriteString(widget.Fit(widget.Sparkline(c.Theme, p.tail(col.of, each-text), each-text, col.tok), each-text, widget.Right, ""))
	}
	return []string{row.String()}
}

// tail are the newest n values of something.
func (p *Pane) tail(of func(trainer.StepDone) float64, n int) []float64 {
	points := p.charts.points
	points = points[max(len(points)-n, 0):]
	values := make([]float64, len(points))
	for i, s := range points {
		values[i] = of(s.StepDone)
	}
	return values
}

// reading is the row of the crosshair; what does not fit is left out from the right.
func (p *Pane) reading(th *themes.Theme, at session.StepPoint, w int) string {
	parts := [][2]string{
		{"step", widget.Group(int64(at.Step))},
		{"loss", widget.Number(at.Loss)},
		{"lr", widget.Number(at.LearningRate)},
		{"grad", widget.Number(at.GradNorm)},
	}
	if s, ok := p.charts.nearest(at.Step); ok {
		where := "here"
		switch d := at.Step - s.Step; {
		case d > 0:
			where = fmt.Sprintf("%d before", d)
		case d < 0:
			where = fmt.Sprintf("%d after", -d)
		}
		parts = append(parts, [2]string{filepath.Base(s.Path), where})
	}
	parts = append(parts, [2]string{"tokens", widget.Group(int64(at.Tokens))})
	l := widget.NewLine(th, w)
	for i, part := range parts {
		gap := 0
		if i > 0 {
			gap = 3
		}
		if gap+widget.Width(part[0])+1+widget.Width(part[1]) > l.Left() {
			break
		}
		l.Space(gap).Add(themes.FG(themes.Muted), part[0]).Space(1).Add(themes.FG(themes.Accent), part[1])
	}
	return l.String()
}

// drawTable shows the run.yaml on the table: what t would start.
func drawTable(c pane.Context, w, h int) string {
	cfg := c.View.Config
	rows := [][2]string{
		{"run.yaml", c.View.ConfigPath},
		{"model", cfg.ModelNameOrPath},
		{"method", method(*cfg)},
		{"data", strings.Join(cfg.TrainFile, ", ")},
		{"output", cfg.OutputDir},
	}
	note, tok := "t starts it", themes.Accent
	switch plan := c.View.Plan; {
	case c.View.PlanErr != "":
		note, tok = c.View.PlanErr, themes.Bad
	case plan == nil:
		note, tok = "planning"+c.Theme.Glyphs.Ellipsis, themes.Muted
	default:
		rows = append(rows, planRows(*plan)...)
		if !plan.Fits {
			note, tok = "it will not fit: shorten max_seq_length, lower per_device_train_batch_size, or use qlora", themes.Bad
		}
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, widget.NewLine(c.Theme, w).Field(themes.FG(themes.Muted), r[0], 10, widget.Left).Space(1).
			Field(themes.FG(themes.Text), r[1], w-11, widget.Left).String())
	}
	lines = append(lines, "")
	for _, part := range widget.Wrap(widget.Sanitize(note), w) {
		lines = append(lines, widget.NewLine(c.Theme, w).Add(themes.FG(tok), part).String())
	}
	return widget.Block(strings.Join(lines, "\n"), w, h)
}

func method(c trainer.Config) string {
	text := methodName(c)
	if c.LoadIn4bit {
		text += ", base in 4 bits (" + c.QuantType + ")"
	}
	return text
}

// methodName is what the field calls the method of a run.
func methodName(c trainer.Config) string {
	switch c.Method {
	case trainer.MethodFull:
		return "full fine-tuning"
	case trainer.MethodPrefix:
		return "prefix tuning"
	case trainer.MethodAdapter:
		if name := c.Adapter.Config; name != "" {
			return strings.ToUpper(name[:1]) + name[1:] + " adapters"
		}
		return "adapters"
	}
	name := "LoRA"
	switch {
	case c.LoRA.UseDoRA:
		name = "DoRA"
	case c.LoRA.UseRSLoRA:
		name = "rsLoRA"
	}
	if c.Method == trainer.MethodQLoRA {
		name = "Q" + name
	}
	return name
}

func planRows(p trainer.Plan) [][2]string {
	rows := [][2]string{
		{"course", fmt.Sprintf("%s steps, %.3g epochs of %s", widget.Group(int64(p.Steps)), p.Epochs, widget.Group(int64(p.StepsPerEpoch)))},
		{"rows", fmt.Sprintf("%s, longest %s tokens, %s tokens in all", widget.Group(int64(p.Rows)), widget.Group(int64(p.Longest)), widget.Count(float64(p.Tokens)))},
		{"trained", fmt.Sprintf("%s of %s parameters", widget.Count(float64(p.Trainable)), widget.Count(float64(p.Parameters)))},
		{"memory", memoryText(p)},
	}
	if p.SecondsEstimate > 0 {
		rows = append(rows, [2]string{"time", "about " + widget.Duration(seconds(p.SecondsEstimate).Round(time.Second))})
	}
	return rows
}

func memoryText(p trainer.Plan) string {
	text := widget.Bytes(p.Memory.Total())
	if p.Available > 0 {
		text += " of " + widget.Bytes(p.Available)
		if p.Fits {
			text += ": fits"
		}
	}
	return text
}
