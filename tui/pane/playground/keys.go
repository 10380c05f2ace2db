package playground

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// sampling and chosen are the answers of dialogs.
type (
	sampling session.PlayOptions
	chosen   string
)

const (
	groupAsk  = "Playground"
	groupRead = "Answers"
)

// Keys are the keys of the pane.
func (p *Pane) Keys() []pane.Key {
	return []pane.Key{
		{Keys: []string{"i", "enter"}, Help: "type a prompt", Group: groupAsk, Reason: p.needModel, Run: p.act(func() tea.Cmd { return p.prompt.Open(p.c.Theme) })},
		{Keys: []string{"v"}, Help: "next version", Group: groupAsk, Reason: p.needModel, Run: p.act(p.nextVersion)},
		{Keys: []string{"V"}, Help: "choose a version", Group: groupAsk, Reason: p.needModel, Run: p.act(p.chooseVersion)},
		{Keys: []string{"o"}, Help: "sampling", Group: groupAsk, Run: p.act(p.chooseSampling)},
		{Keys: []string{"s"}, Help: "another seed", Group: groupAsk, Run: p.act(p.reseed)},
		{Keys: []string{"r"}, Help: "ask again", Group: groupAsk, Reason: p.needAgain, Run: p.act(p.again)},
		{Keys: []string{"x"}, Help: "stop the answer", Group: groupAsk, Reason: pane.Refusal(stop), Run: p.act(func() tea.Cmd { return pane.Send(p.c.Session, stop(p.c)) })},
		{Keys: []string{"h"}, Help: "heat of log-probabilities", Group: groupRead, Reason: p.needPlay, Run: p.act(func() tea.Cmd { p.heat = !p.heat; return nil })},
		{Keys: []string{"Y"}, Help: "copy the last answer", Group: groupRead, Reason: p.needPlay, Run: p.act(p.copyLast)},
		{Keys: []string{"A"}, Help: "copy all as Markdown", Group: groupRead, Reason: p.needPlay, Run: p.act(p.copyAll)},
		p.scroll("up", "line up", "k"),
		p.scroll("down", "line down", "j"),
		p.scroll("pgup", "page up", "ctrl+b", "ctrl+u"),
		p.scroll("pgdown", "page down", "ctrl+f", "ctrl+d"),
		p.scroll("home", "the first answer"),
		p.scroll("end", "the last answer", "G"),
	}
}

func (p *Pane) scroll(key, help string, more ...string) pane.Key {
	return pane.Key{
		Keys: append([]string{key}, more...), Help: help, Group: groupRead, Reason: p.needPlay,
		Run: p.act(func() tea.Cmd { p.pager.Key(key); return nil }),
	}
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
	return pane.Refusal(func(pane.Context) session.Command {
		return session.Prompt{Text: "?", Versions: []string{p.asked()}}
	})(c)
}

func (p *Pane) needPlay(c pane.Context) string {
	p.follow(c)
	if len(p.plays()) == 0 {
		return "no answer yet: i types a prompt"
	}
	return ""
}

func (p *Pane) needAgain(c pane.Context) string {
	if why := p.needPlay(c); why != "" {
		return why
	}
	return p.needModel(c)
}

func stop(pane.Context) session.Command { return session.StopAnswers{} }

func (p *Pane) nextVersion() tea.Cmd {
	versions := p.c.View.Run.Versions()
	if len(versions) > 0 {
		p.version = versions[(slices.Index(versions, p.asked())+1)%len(versions)]
	}
	return nil
}

func (p *Pane) chooseVersion() tea.Cmd {
	run := p.c.View.Run
	versions := run.Versions()
	d := dialog.NewChoose(p.c.Theme, "Version to prompt", pane.VersionOptions(run, versions), max(slices.Index(versions, p.asked()), 0),
		func(i int) tea.Cmd { return func() tea.Msg { return chosen(versions[i]) } })
	return func() tea.Msg { return pane.Open{Dialog: d} }
}

func (p *Pane) chooseSampling() tea.Cmd {
	d := pane.SamplingForm(p.c.Theme, p.options, func(o session.PlayOptions) tea.Cmd {
		return func() tea.Msg { return sampling(o) }
	})
	return func() tea.Msg { return pane.Open{Dialog: d} }
}

func (p *Pane) reseed() tea.Cmd {
	p.options.Seed = rand.Uint64N(1_000_000)
	return nil
}

// again gives the last prompt to the version chosen now.
func (p *Pane) again() tea.Cmd {
	plays := p.plays()
	p.pager.Tail = true
	return ask(p.c.Session, p.command(plays[len(plays)-1].Prompt))
}

func (p *Pane) copyLast() tea.Cmd {
	plays := p.plays()
	text := plays[len(plays)-1].Text
	return clip(text, fmt.Sprintf("copied the answer, %s", widget.Bytes(int64(len(text)))))
}

// copyAll writes the conversation as Markdown.
func (p *Pane) copyAll() tea.Cmd {
	var b strings.Builder
	plays := p.plays()
	for _, play := range plays {
		fmt.Fprintf(&b, "**User:** %s\n\n**%s** (%s):\n\n%s\n\n", play.Prompt, p.name(play), pane.SamplingText(play.Options), play.Text)
	}
	return clip(b.String(), fmt.Sprintf("copied %d answers, %s", len(plays), widget.Bytes(int64(b.Len()))))
}

// clip puts text into the clipboard of the terminal, over OSC 52.
func clip(text, said string) tea.Cmd {
	return tea.Batch(tea.SetClipboard(text), told(said, false))
}

// Commands are the pane's words of the command line.
func (p *Pane) Commands() []pane.Word {
	return []pane.Word{
		{Name: "sampling", Args: "[NAME=VALUE ...]", Help: "how the playground samples: temperature, top-p, top-k, max-new-tokens, seed", Run: p.samplingWord},
		{Name: "version", Args: "[NAME]", Help: "the version that the playground prompts: base, live or a checkpoint", Run: p.versionWord},
	}
}

func (p *Pane) samplingWord(_ pane.Context, args string) tea.Cmd {
	o, err := pane.ParseSampling(p.options, args)
	if err != nil {
		return told(err.Error(), true)
	}
	p.options = o
	return told("sampling: "+pane.SamplingText(o), false)
}

func (p *Pane) versionWord(c pane.Context, args string) tea.Cmd {
	p.follow(c)
	name := strings.TrimSpace(args)
	if name == "" {
		return told("prompts go to "+session.VersionName(p.asked()), false)
	}
	var names []string
	for _, v := range c.View.Run.Versions() {
		if v == name || session.VersionName(v) == name {
			p.version = v
			return told("prompts go to "+session.VersionName(v), false)
		}
		names = append(names, session.VersionName(v))
	}
	if len(names) == 0 {
		return told(p.needModel(c), true)
	}
	return told(fmt.Sprintf("no version %q: there are %s", name, strings.Join(names, ", ")), true)
}
