package playground

import (
	"fmt"
	"math"
	"strings"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
)

// block is a play set in rows.
type block struct {
	rows []prose.Row
	of   blockKey
}

// blockKey is what a block's rows depend on.
type blockKey struct {
	text, tokens int
	finish, err  string
	waiting      string
}

// keptFor is what all blocks depend on.
type keptFor struct {
	width int
	heat  bool
	theme *themes.Theme
}

// View draws the conversation, the options and the prompt below it.
func (p *Pane) View(width, height int, c pane.Context) string {
	p.follow(c)
	f := widget.Frame{Title: "Playground", Info: p.state(), Foot: p.foot(), Focused: c.Focused}
	w, h := f.Inner(width, height)
	if w <= 0 || h <= 0 {
		return f.View(c.Theme, "", width, height)
	}
	prompt := p.prompt.Rows(max(h/3, 1))
	talk := max(h-prompt-1, 0)
	body := []string{p.talk(w, talk)}
	if h > prompt {
		body = append(body, p.settings(w))
	}
	return f.View(c.Theme, widget.JoinV(append(body, p.prompt.View(c.Theme, p.hint(w), w, min(prompt, h)))...), width, height)
}

// state is what the model is doing.
func (p *Pane) state() string {
	r := p.c.View.Run
	if !r.HasModel {
		return ""
	}
	return fmt.Sprintf("%s %s step %s", r.State, p.c.Theme.Glyphs.Dot, widget.Group(int64(r.Step)))
}

func (p *Pane) foot() string {
	if p.prompt.Typing() {
		return "enter send  ctrl+j new line  esc done"
	}
	return ""
}

// hint stands where the prompt will.
func (p *Pane) hint(width int) string {
	l := widget.NewLine(p.c.Theme, width)
	if why := p.needModel(p.c); why != "" {
		return l.Add(themes.FG(themes.Faint), why).String()
	}
	return l.Add(themes.FG(themes.Accent), "i").Add(themes.FG(themes.Faint), " types a prompt").String()
}

// settings is the line between conversation and prompt: the version that is asked, and how it samples.
func (p *Pane) settings(width int) string {
	th := p.c.Theme
	options := pane.SamplingText(p.options)
	l := widget.NewLine(th, width)
	name := session.VersionName(p.asked())
	l.Add(themes.FG(themes.Accent), name)
	full := pane.VersionText(th, p.asked(), pane.VersionStep(p.c.View.Run, p.asked()))
	l.Add(themes.FG(themes.Muted), strings.TrimPrefix(full, name)).Space(1)
	if room := l.Left() - widget.Width(options) - 1; room > 0 {
		l.Repeat(themes.FG(themes.Border), th.Glyphs.Horizontal, room).Space(1)
	}
	return l.Add(themes.FG(themes.Muted), options).String()
}

// talk draws the conversation, its end in sight.
func (p *Pane) talk(width, height int) string {
	plays := p.plays()
	if len(plays) == 0 {
		return p.empty(width, height)
	}
	legend := ""
	if p.heat && height > 3 {
		legend = heatLegend(p.c.Theme, width)
		height--
	}
	rows := p.fit(plays, width, height)
	// An answer that is being written must not move the screen with each line: room for it is made in leaps.
	if leap := max(height/3, 1); len(rows) > height {
		rows = append(rows, make([]prose.Row, (leap-(len(rows)-height)%leap)%leap)...)
	}
	return widget.JoinV(p.pager.View(p.c.Theme, rows, width, height), legend)
}

// fit sets the plays in the whole width, or beside a scroll bar where they are too many.
func (p *Pane) fit(plays []session.Play, width, height int) []prose.Row {
	const bar = 2
	if p.barred {
		rows := p.rows(plays, width-bar)
		if p.barred = len(rows) > height; p.barred {
			return rows
		}
	}
	rows := p.rows(plays, width)
	if len(rows) <= height {
		return rows
	}
	p.barred = true
	return p.rows(plays, width-bar)
}

func (p *Pane) empty(width, height int) string {
	r := p.c.View.Run
	if !r.HasModel {
		return widget.Empty(p.c.Theme, width, height, "No model is in memory", ":train FILE starts a run; prompt it while it trains, or pause it with space.")
	}
	return widget.Empty(p.c.Theme, width, height, "Ask the model something",
		"i types a prompt, v chooses base, a checkpoint or live.", "While the run trains, the answer comes at the end of a step.")
}

// rows sets all plays, those that have not changed from what was kept.
func (p *Pane) rows(plays []session.Play, width int) []prose.Row {
	now := keptFor{width, p.heat, p.c.Theme}
	if p.keptAt != now {
		p.keptAt, p.kept = now, map[int64]block{}
	}
	var rows []prose.Row
	busy := false
	for i, play := range plays {
		waiting := ""
		if !play.Ended() {
			waiting = p.waiting(play, busy)
			busy = true
		}
		of := blockKey{len(play.Text), len(play.Tokens), play.Finish, play.Err, waiting}
		b, ok := p.kept[play.ID]
		if !ok || b.of != of {
			b = block{p.set(play, waiting, width), of}
			p.kept[play.ID] = b
		}
		if i > 0 {
			rows = append(rows, nil)
		}
		rows = append(rows, b.rows...)
	}
	return rows
}

// waiting says what an answer that has not begun is waiting for.
func (p *Pane) waiting(play session.Play, busy bool) string {
	r := p.c.View.Run
	switch {
	case !r.HasModel:
		return "never answered: lathe ended before"
	case len(play.Tokens) > 0:
		return fmt.Sprintf("writing %s %d tokens", p.c.Theme.Glyphs.Dot, len(play.Tokens))
	case busy:
		return "waiting for the answer before"
	case r.State == session.Running || r.State == session.Pausing:
		return "waiting for the step's end"
	}
	return "reading the prompt"
}

// set is a play: what was asked, who answers and how it went, the answer.
func (p *Pane) set(play session.Play, waiting string, width int) []prose.Row {
	th := p.c.Theme
	rows := indented([]prose.Span{{Text: play.Prompt, Pen: themes.FG(themes.Title)}}, width)
	rows[0] = append(prose.Plain(themes.FG(themes.Accent), th.Glyphs.Pointer+" "), rows[0][1:]...)
	rows = append(rows, p.about(play, waiting, width))
	if play.Err != "" {
		return append(rows, indented([]prose.Span{{Text: play.Err, Pen: themes.FG(themes.Bad)}}, width)...)
	}
	switch {
	case play.Text == "" && (play.Finish == "" || play.Finish == session.FinishStopped):
		return rows
	case play.Text == "":
		return append(rows, indented([]prose.Span{{Text: "an empty answer", Pen: themes.FG(themes.Faint)}}, width)...)
	}
	return append(rows, indented(p.spans(play), width)...)
}

// indented sets text below its heading.
func indented(spans []prose.Span, width int) []prose.Row {
	rows := prose.Wrap(spans, max(width-2, 1), 0)
	for i, r := range rows {
		rows[i] = append(prose.Plain(themes.Pen{}, "  "), r...)
	}
	return rows
}

// spans are the answer's text in the pens that it is shown in.
func (p *Pane) spans(play session.Play) []prose.Span {
	if !p.heat || len(play.Tokens) == 0 {
		return []prose.Span{{Text: play.Text, Pen: themes.FG(themes.Text)}}
	}
	var spans []prose.Span
	n := 0
	for _, t := range play.Tokens {
		spans = append(spans, prose.Span{Text: t.Text, Pen: heat(t.LogProb)})
		n += len(t.Text)
	}
	if n < len(play.Text) { // bytes of a character that never came
		spans = append(spans, prose.Span{Text: play.Text[n:], Pen: themes.FG(themes.Text)})
	}
	return spans
}

// coldest and hottest bound the heat: ln p of a token that was certain, and of one in a hundred and fifty.
const hottest = -5

func heat(logprob float32) themes.Pen { return themes.Heat(float64(logprob) / hottest) }

func heatLegend(th *themes.Theme, width int) string {
	l := widget.NewLine(th, width).Add(themes.FG(themes.Muted), "ln p  0 ")
	for i := range themes.NumHeat {
		l.Add(themes.Heat((float64(i)+0.5)/themes.NumHeat), "  ")
	}
	return l.Add(themes.FG(themes.Muted), fmt.Sprintf(" %d", hottest)).String()
}

// name is a play's version, with its step.
func (p *Pane) name(play session.Play) string {
	step := play.Step
	switch play.Version {
	case session.VersionBase:
		return "base"
	case session.VersionLive:
	default:
		step = pane.VersionStep(p.c.View.Run, play.Version)
	}
	return pane.VersionText(p.c.Theme, play.Version, step)
}

// about is the line between question and answer: version left, how it went right.
func (p *Pane) about(play session.Play, waiting string, width int) prose.Row {
	muted, faint := themes.FG(themes.Muted), themes.FG(themes.Faint)
	row := append(prose.Plain(themes.Pen{}, "  "), prose.Plain(muted, p.name(play))...)
	used := 2 + widget.Width(widget.Sanitize(p.name(play)))
	facts := p.facts(play)
	if waiting != "" {
		facts = waiting
	}
	for facts != "" && used+2+widget.Width(facts) > width { // the least important is in front
		_, rest, _ := strings.Cut(facts, " "+p.c.Theme.Glyphs.Dot+" ")
		facts = rest
	}
	if facts == "" {
		return row
	}
	pen := faint
	if waiting != "" {
		pen = themes.FG(themes.Info)
	}
	row = append(row, prose.Plain(themes.Pen{}, strings.Repeat(" ", width-used-widget.Width(facts)))...)
	return append(row, prose.Plain(pen, facts)...)
}

// facts are the numbers of a finished play, the most important last.
func (p *Pane) facts(play session.Play) string {
	var words []string
	if p.heat && len(play.Tokens) > 0 {
		sum := 0.0
		for _, t := range play.Tokens {
			sum += float64(t.LogProb)
		}
		words = append(words, "perplexity "+widget.Number(math.Exp(-sum/float64(len(play.Tokens)))))
	}
	words = append(words, pane.SamplingText(play.Options))
	if n := len(play.Tokens); n > 0 {
		words = append(words, fmt.Sprintf("%d tokens", n))
	}
	if play.TokensPerSecond > 0 {
		words = append(words, widget.Count(play.TokensPerSecond)+" tok/s")
	}
	switch play.Finish {
	case "length":
		words = append(words, "cut at the limit")
	case session.FinishStopped:
		words = append(words, "stopped by you")
	case "stop":
		words = append(words, "ended by itself")
	case "":
	default:
		words = append(words, play.Finish)
	}
	return strings.Join(words, " "+p.c.Theme.Glyphs.Dot+" ")
}
