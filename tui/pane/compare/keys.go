package compare

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

const (
	groupAsk  = "Compare"
	groupRead = "Answers"
)

// Keys are the keys of the pane.
func (p *Pane) Keys() []pane.Key {
	choose := func(side int) func() tea.Cmd { return func() tea.Cmd { return p.choose(side) } }
	move := func(key string) func() tea.Cmd {
		return func() tea.Cmd {
			for i := range p.pagers {
				p.pagers[i].Key(key)
			}
			return nil
		}
	}
	keys := []pane.Key{
		{Keys: []string{"i", "enter"}, Help: "type a prompt", Group: groupAsk, Reason: p.needModel, Run: p.act(func() tea.Cmd { p.way = asPrompts; return p.prompt.Open(p.c.Theme) })},
		{Keys: []string{"v"}, Help: "prompts, cases, reports", Group: groupAsk, Run: p.act(func() tea.Cmd { return p.turn(1) })},
		{Keys: []string{"n"}, Help: "next", Group: groupRead, Reason: p.needNext(1), Run: p.act(func() tea.Cmd { return p.next(1) })},
		{Keys: []string{"N"}, Help: "the one before", Group: groupRead, Reason: p.needNext(-1), Run: p.act(func() tea.Cmd { return p.next(-1) })},
		{Keys: []string{"a"}, Help: "choose A", Group: groupAsk, Reason: p.needModel, Run: p.act(choose(sideA))},
		{Keys: []string{"b"}, Help: "choose B", Group: groupAsk, Reason: p.needModel, Run: p.act(choose(sideB))},
		{Keys: []string{"s"}, Help: "swap A and B", Group: groupAsk, Run: p.act(p.swap)},
		{Keys: []string{"r"}, Help: "ask this prompt again", Group: groupAsk, Reason: p.needAgain, Run: p.act(func() tea.Cmd { return p.ask(p.command(p.promptShown())) })},
		{Keys: []string{"o"}, Help: "sampling", Group: groupAsk, Run: p.act(p.chooseSampling)},
		{Keys: []string{"x"}, Help: "stop the answers", Group: groupAsk, Reason: pane.Refusal(stop), Run: p.act(func() tea.Cmd { return pane.Send(p.c.Session, stop(p.c)) })},
		{Keys: []string{"d"}, Help: "only cases that differ", Group: groupRead, Reason: p.needDiffering, Run: p.act(p.toggleDiffering)},
		{Keys: []string{"h"}, Help: "heat of log-probabilities", Group: groupRead, Reason: p.needPair, Run: p.act(func() tea.Cmd { p.heat = !p.heat; return nil })},
		{Keys: []string{"Y"}, Help: "copy as Markdown", Group: groupRead, Reason: p.needCopy, Run: p.act(p.copy)},
		{Keys: []string{"V"}, Help: "the view before", Group: groupAsk, Run: p.act(func() tea.Cmd { return p.turn(-1) })},
		{Keys: []string{"left"}, Help: "version before", Group: groupRead, Reason: p.needColumns, Run: p.act(func() tea.Cmd { p.column++; return nil })},
		{Keys: []string{"right"}, Help: "next version", Group: groupRead, Reason: p.needColumns, Run: p.act(func() tea.Cmd { p.column = max(p.column-1, 0); return nil })},
	}
	for _, k := range [][]string{{"up", "k"}, {"down", "j"}, {"pgup", "ctrl+b"}, {"pgdown", "ctrl+f"}, {"home"}, {"end", "G"}} {
		help := map[string]string{"up": "line up", "down": "line down", "pgup": "page up", "pgdown": "page down", "home": "to the top", "end": "to the end"}[k[0]]
		keys = append(keys, pane.Key{Keys: k, Help: help, Group: groupRead, Run: p.act(move(k[0]))})
	}
	return keys
}

// act makes a key's action, which sees the newest view.
func (p *Pane) act(f func() tea.Cmd) func(pane.Context) tea.Cmd {
	return func(c pane.Context) tea.Cmd {
		p.follow(c)
		return f()
	}
}

func (p *Pane) needModel(c pane.Context) string {
	p.follow(c)
	if err := p.command("?").Refusal(c.View); err != nil {
		return err.Error()
	}
	return ""
}

func (p *Pane) needPair(c pane.Context) string {
	p.follow(c)
	switch {
	case p.way != asPrompts:
		return "log-probabilities are known of prompts: v shows them"
	case len(p.pairs) == 0:
		return "nothing compared yet: i types a prompt"
	}
	return ""
}

// promptShown is the prompt of what is shown, "" where there is none.
func (p *Pane) promptShown() string {
	if p.way == asPrompts {
		if of, ok := p.current(); ok {
			return of[0].Prompt
		}
		return ""
	}
	if p.way == asCases && p.item < len(p.cases) {
		return p.cases[p.item].Prompt
	}
	return ""
}

func (p *Pane) needAgain(c pane.Context) string {
	if why := p.needModel(c); why != "" {
		return why
	}
	if p.promptShown() == "" {
		return "no prompt is shown: i types one"
	}
	return ""
}

// needNext says why there is no further comparison or case in a direction.
func (p *Pane) needNext(dir int) func(pane.Context) string {
	return func(c pane.Context) string {
		p.follow(c)
		switch {
		case p.way == asReports:
			return "v shows the cases of the reports"
		case p.way == asPrompts && len(p.pairs) == 0:
			return "nothing compared yet: i types a prompt"
		case p.way == asCases && len(p.cases) == 0:
			return "no evaluation has answered cases yet"
		case p.way == asPrompts && dir > 0 && p.back == 0, p.way == asCases && dir > 0 && p.item+1 >= len(p.cases):
			return "this is the last one"
		case p.way == asPrompts && dir < 0 && p.back+1 >= len(p.pairs), p.way == asCases && dir < 0 && p.item == 0:
			return "this is the first one"
		}
		return ""
	}
}

func (p *Pane) needColumns(c pane.Context) string {
	p.follow(c)
	if p.way != asCases || len(p.reports) <= max(p.fits, 1) {
		return "all versions are in sight"
	}
	return ""
}

func (p *Pane) needCopy(c pane.Context) string {
	p.follow(c)
	if p.markdown() == "" {
		return "nothing to copy yet"
	}
	return ""
}

func (p *Pane) turn(dir int) tea.Cmd {
	p.way = way((int(p.way) + dir + int(ways)) % int(ways))
	p.top()
	return nil
}

func (p *Pane) next(dir int) tea.Cmd {
	if p.way == asCases {
		p.item = min(max(p.item+dir, 0), max(len(p.cases)-1, 0))
	} else {
		p.back = min(max(p.back-dir, 0), max(len(p.pairs)-1, 0))
	}
	p.top()
	return nil
}

func (p *Pane) swap() tea.Cmd {
	v := p.versions()
	p.chosen = [2]string{v[1], v[0]}
	return nil
}

func (p *Pane) choose(side int) tea.Cmd {
	run := p.c.View.Run
	versions := run.Versions()
	d := dialog.NewChoose(p.c.Theme, "Version "+sideNames[side], pane.VersionOptions(run, versions), max(slices.Index(versions, p.versions()[side]), 0),
		func(i int) tea.Cmd { return func() tea.Msg { return picked{side, versions[i]} } })
	return func() tea.Msg { return pane.Open{Dialog: d} }
}

var sideNames = [2]string{"A", "B"}

func (p *Pane) chooseSampling() tea.Cmd {
	d := pane.SamplingForm(p.c.Theme, p.options, func(o session.PlayOptions) tea.Cmd {
		return func() tea.Msg { return sampling(o) }
	})
	return func() tea.Msg { return pane.Open{Dialog: d} }
}

func stop(pane.Context) session.Command { return session.StopAnswers{} }

// needDiffering says why the cases cannot be narrowed down to those whose KPIs the versions meet differently.
func (p *Pane) needDiffering(c pane.Context) string {
	p.follow(c)
	switch {
	case p.way != asCases:
		return "v shows the cases first"
	case !p.differing && p.apart == 0:
		return "no case tells the versions apart"
	}
	return ""
}

func (p *Pane) toggleDiffering() tea.Cmd {
	p.differing = !p.differing
	p.item = 0
	p.refresh()
	p.top()
	return nil
}

// copy puts what is shown into the clipboard of the terminal, over OSC 52.
func (p *Pane) copy() tea.Cmd {
	text := p.markdown()
	return tea.Batch(tea.SetClipboard(text), told(fmt.Sprintf("copied as Markdown, %s", widget.Bytes(int64(len(text)))), false))
}

// markdown is what is shown, to be pasted: "" where there is nothing.
func (p *Pane) markdown() string {
	var b strings.Builder
	switch p.way {
	case asPrompts:
		of, ok := p.current()
		if !ok {
			return ""
		}
		fmt.Fprintf(&b, "**Prompt:** %s\n\n%s\n", of[0].Prompt, pane.SamplingText(of[0].Options))
		for side, play := range of {
			fmt.Fprintf(&b, "\n**%s: %s**\n\n%s\n", sideNames[side], p.playName(play), play.Text)
		}
	case asCases:
		if p.item >= len(p.cases) {
			return ""
		}
		fmt.Fprintf(&b, "**Prompt:** %s\n", p.cases[p.item].Prompt)
		for _, r := range p.reports {
			if a, ok := r.answer(p.cases[p.item]); ok {
				fmt.Fprintf(&b, "\n**%s**\n\n%s\n", pane.VersionText(p.c.Theme, r.Version, r.Step), a.Text)
			}
		}
	case asReports:
		return p.reportMarkdown()
	}
	return b.String()
}

// Commands are the pane's words of the command line.
func (p *Pane) Commands() []pane.Word {
	return []pane.Word{
		{Name: "compare", Args: "TEXT", Help: "ask both versions of the Compare pane", Run: func(c pane.Context, args string) tea.Cmd {
			p.follow(c)
			if strings.TrimSpace(args) == "" {
				return told("write what both shall answer: :compare TEXT", true)
			}
			return tea.Sequence(p.ask(p.command(args)), func() tea.Msg { return pane.Show{Pane: p.Name()} })
		}},
		{Name: "versions", Args: "[A B]", Help: "the versions to compare: base, live or checkpoints", Run: p.versionsWord},
	}
}

func (p *Pane) versionsWord(c pane.Context, args string) tea.Cmd {
	p.follow(c)
	names := strings.Fields(args)
	if len(names) == 0 {
		v := p.versions()
		return told(fmt.Sprintf("A %s, B %s", session.VersionName(v[0]), session.VersionName(v[1])), false)
	}
	if len(names) != 2 {
		return told("name two versions: :versions base live", true)
	}
	if why := p.needModel(c); why != "" && len(c.View.Run.Versions()) == 0 {
		return told(why, true)
	}
	var next [2]string
	for side, name := range names {
		for _, v := range c.View.Run.Versions() {
			if v == name || session.VersionName(v) == name {
				next[side] = v
			}
		}
		if next[side] == "" {
			return told(fmt.Sprintf("no version %q in this run", name), true)
		}
	}
	p.chosen = next
	return told(fmt.Sprintf("A %s, B %s", names[0], names[1]), false)
}
