package compare

import (
	"fmt"
	"strings"

	"lathe/session"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
)

// kept is an answer that is set already.
type kept struct {
	of   keptOf
	rows []prose.Row
}

type keptOf struct {
	id                  int64
	tokens, other       int
	finish, otherFinish string
	width               int
	heat                bool
	theme               *themes.Theme
}

// pairBody draws a comparison: the prompt, the two answers, and how much of them is alike.
func (p *Pane) pairBody(width, height int) string {
	of, ok := p.current()
	if !ok {
		return p.noPair(width, height)
	}
	th := p.c.Theme
	rows := prose.Wrap([]prose.Span{{Text: of[0].Prompt, Pen: themes.FG(themes.Title)}}, max(width-2, 1), 0)
	if most := max(height/4, 1); len(rows) > most {
		rows = rows[:most]
	}
	var head []string
	for i, r := range rows {
		l := widget.NewLine(th, width)
		if i == 0 {
			l.Repeat(themes.FG(themes.Accent), th.Glyphs.Pointer, 1)
		}
		l.FillTo(2)
		r.Append(l)
		head = append(head, l.String())
	}
	foot := p.likeness(of, width)
	h := height - len(head) - 1
	if h < 4 {
		return widget.Block(widget.JoinV(head...), width, height)
	}
	panels := make([]panel, 2)
	for side := range of {
		panels[side].rows = func(w int) []prose.Row { return p.answer(of, side, w) }
	}
	body := p.draw(panels, func(side, w int) string { return p.playHead(of, side, w) }, width, h)
	return widget.JoinV(append(head, body, foot)...)
}

func (p *Pane) noPair(width, height int) string {
	if !p.c.View.Run.HasModel {
		return widget.Empty(p.c.Theme, width, height, "No model is in memory", ":train FILE starts a run; compare its versions while it trains or when it is done.")
	}
	return widget.Empty(p.c.Theme, width, height, "Two versions, one prompt, one seed",
		"i types the prompt, a and b choose the versions, s swaps them.", "What both say alike is quiet; where they part, they have their colours.")
}

// playName is the version that answered, with its step.
func (p *Pane) playName(play session.Play) string {
	step := play.Step
	if play.Version != session.VersionLive {
		step = pane.VersionStep(p.c.View.Run, play.Version)
	}
	return pane.VersionText(p.c.Theme, play.Version, step)
}

// playHead is the line above an answer: side and version, how it went.
func (p *Pane) playHead(of pair, side, width int) string {
	th, play := p.c.Theme, of[side]
	l := widget.NewLine(th, width)
	l.Add(sidePen(th, side), sideNames[side]).Space(1).Add(themes.FG(themes.Text), p.playName(play))
	facts, pen := p.facts(of, side), themes.FG(themes.Faint)
	if !play.Ended() {
		pen = themes.FG(themes.Info)
	}
	// Both sides leave the same facts out: columns differ by a cell, names by more.
	room := width&^1 - 4 - max(widget.Width(widget.Sanitize(p.playName(of[sideA]))), widget.Width(widget.Sanitize(p.playName(of[sideB]))))
	for facts != "" && widget.Width(facts) > room { // the least important is in front
		_, facts, _ = strings.Cut(facts, " "+th.Glyphs.Dot+" ")
	}
	if facts != "" {
		l.Space(l.Left()-widget.Width(facts)).Add(pen, facts)
	}
	return l.String()
}

// facts are how an answer went, the most important last; or what it waits for.
func (p *Pane) facts(of pair, side int) string {
	play, dot := of[side], " "+p.c.Theme.Glyphs.Dot+" "
	switch {
	case play.Err != "":
		return "failed"
	case play.Finish != "":
		words := []string{fmt.Sprintf("%d tokens", len(play.Tokens))}
		if play.TokensPerSecond > 0 {
			words = append(words, widget.Count(play.TokensPerSecond)+" tok/s")
		}
		end := map[string]string{"stop": "ended by itself", "length": "cut at the limit", session.FinishStopped: "stopped by you"}[play.Finish]
		if end == "" {
			end = play.Finish
		}
		return strings.Join(append(words, end), dot)
	case len(play.Tokens) > 0:
		return fmt.Sprintf("writing%s%d tokens", dot, len(play.Tokens))
	case side == sideB && !of[sideA].Ended():
		return "waiting for A"
	case p.c.View.Run.State == session.Running || p.c.View.Run.State == session.Pausing:
		return "waiting for the step's end"
	}
	return "reading the prompt"
}

// answer sets one side's text.
func (p *Pane) answer(of pair, side, width int) []prose.Row {
	play, other := of[side], of[1-side]
	k := keptOf{play.ID, len(play.Tokens), len(other.Tokens), play.Finish + play.Err, other.Finish + other.Err, width, p.heat, p.c.Theme}
	if p.heat || len(other.Tokens) > len(play.Tokens) && !play.Ended() {
		k.other = 0 // more of the other changes nothing here
	}
	if p.kept[side].of == k {
		return p.kept[side].rows
	}
	var spans []prose.Span
	switch {
	case play.Err != "":
		spans = []prose.Span{{Text: play.Err, Pen: themes.FG(themes.Bad)}}
	case p.heat:
		for _, t := range play.Tokens {
			spans = append(spans, prose.Span{Text: t.Text, Pen: themes.Heat(float64(t.LogProb) / hottest)})
		}
	case len(other.Tokens) == 0:
		spans = []prose.Span{{Text: play.Text, Pen: themes.FG(themes.Text)}}
	default:
		spans = p.diffSpans(of, side)
	}
	rows := prose.Wrap(spans, width, 0)
	p.kept[side] = kept{k, rows}
	return rows
}

// hottest is the ln p that is drawn hottest; 0, certainty, is coldest.
const hottest = -5

// diffSpans colours a side's tokens: quiet where both begin alike, plain where the other has them too, else the side's colour.
func (p *Pane) diffSpans(of pair, side int) []prose.Span {
	d := diff(of[sideA].Tokens, of[sideB].Tokens, !of[sideA].Ended() || !of[sideB].Ended())
	has := [2][]bool{d.a, d.b}[side]
	own := themes.FG(themes.Series(side))
	if p.c.Theme.Mono() {
		own = own.With(themes.Underline)
	}
	var spans []prose.Span
	for i, t := range of[side].Tokens {
		pen := own
		switch {
		case i < d.prefix:
			pen = themes.FG(themes.Muted)
		case has[i]:
			pen = themes.FG(themes.Text)
		}
		if n := len(spans); n > 0 && spans[n-1].Pen == pen {
			spans[n-1].Text += t.Text
			continue
		}
		spans = append(spans, prose.Span{Text: t.Text, Pen: pen})
	}
	return spans
}

// likeness sums a comparison up, or explains the heat.
func (p *Pane) likeness(of pair, width int) string {
	th := p.c.Theme
	l := widget.NewLine(th, width)
	faint := themes.FG(themes.Faint)
	if p.heat {
		l.Add(themes.FG(themes.Muted), "ln p  0 ")
		for i := range themes.NumHeat {
			l.Add(themes.Heat((float64(i)+0.5)/themes.NumHeat), "  ")
		}
		return l.Add(themes.FG(themes.Muted), fmt.Sprintf(" %d", hottest)).String()
	}
	a, b := of[sideA], of[sideB]
	if !a.Ended() || !b.Ended() || len(a.Tokens) == 0 || len(b.Tokens) == 0 {
		return l.String()
	}
	d := diff(a.Tokens, b.Tokens, false)
	if d.prefix == len(a.Tokens) && d.prefix == len(b.Tokens) {
		return l.Add(faint, fmt.Sprintf("all %d tokens alike", d.prefix)).String()
	}
	return l.Add(faint, fmt.Sprintf("%d tokens alike before they part, in all %d of A's %d and B's %d", d.prefix, d.same(), len(a.Tokens), len(b.Tokens))).String()
}
