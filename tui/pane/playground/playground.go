// Package playground is the pane in which a version of the model is prompted, while the run is paused and while it trains: the
// answer then comes between two steps.
package playground

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
)

// Pane is the playground. Make it with New.
type Pane struct {
	c       pane.Context
	version string // empty: the live one
	options session.PlayOptions
	heat    bool

	prompt *widget.Prompt

	pager  prose.Pager
	barred bool // the conversation has a scroll bar
	kept   map[int64]block
	keptAt keptFor
}

// New makes the pane.
func New() *Pane {
	return &Pane{options: pane.DefaultSampling, prompt: widget.NewPrompt("What would a user say?"), pager: prose.Pager{Tail: true}, kept: map[int64]block{}}
}

// Name is "playground".
func (p *Pane) Name() string { return "playground" }

// Capturing tells that a prompt is being typed.
func (p *Pane) Capturing() bool { return p.prompt.Typing() }

// Update takes what is typed, the answers of dialogs and the mouse.
func (p *Pane) Update(msg tea.Msg, c pane.Context) tea.Cmd {
	p.follow(c)
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		if k := msg.String(); k == "pgup" || k == "pgdown" {
			p.pager.Key(k) // to read while one types
			return nil
		}
		return p.typed(msg)
	case tea.PasteMsg:
		return p.typed(msg)
	case sampling:
		p.options = session.PlayOptions(msg)
	case chosen:
		p.version = string(msg)
	case refused:
		return p.refuse(msg)
	case tea.MouseWheelMsg:
		switch msg.Mouse().Button {
		case tea.MouseWheelUp:
			p.pager.Move(-3)
		case tea.MouseWheelDown:
			p.pager.Move(3)
		}
	}
	return nil
}

// follow takes the newest view. A checkpoint that has gone is no longer chosen.
func (p *Pane) follow(c pane.Context) {
	p.c = c
	if p.version != "" && c.View.Run.HasModel && !slices.Contains(c.View.Run.Versions(), p.version) {
		p.version = ""
	}
}

// asked is the version that prompts go to.
func (p *Pane) asked() string {
	if p.version == "" {
		return session.VersionLive
	}
	return p.version
}

// plays are those of the playground: comparisons have a pane of their own.
func (p *Pane) plays() []session.Play {
	all := p.c.View.Plays
	of := map[int64]int{}
	for _, play := range all {
		of[play.Group]++
	}
	var out []session.Play
	for _, play := range all {
		if of[play.Group] == 1 || play.Group == 0 {
			out = append(out, play)
		}
	}
	return out[max(len(out)-maxPlays, 0):]
}

// maxPlays is how many plays the conversation goes back.
const maxPlays = 200

// prompts are the prompts given so far, each once, newest last.
func (p *Pane) prompts() []string {
	var out []string
	for _, play := range p.c.View.Plays {
		if i := slices.Index(out, play.Prompt); i >= 0 {
			out = slices.Delete(out, i, i+1)
		}
		out = append(out, play.Prompt)
	}
	return out
}

// typed handles what goes to the prompt.
func (p *Pane) typed(msg tea.Msg) tea.Cmd {
	send, cmd := p.prompt.Update(msg, p.prompts())
	if send {
		return p.send()
	}
	return cmd
}

// refused brings a prompt back that the session did not take.
type refused struct {
	text string
	err  error
}

// send gives the prompt to the session.
func (p *Pane) send() tea.Cmd {
	text := p.prompt.Value()
	if strings.TrimSpace(text) == "" {
		return told("an empty prompt: type something first", true)
	}
	cmd := p.command(text)
	if err := cmd.Refusal(p.c.View); err != nil {
		return told(err.Error(), true)
	}
	p.prompt.Clear()
	p.pager.Tail = true
	return ask(p.c.Session, cmd)
}

func (p *Pane) command(text string) session.Prompt {
	return session.Prompt{Text: text, Versions: []string{p.asked()}, Options: p.options}
}

// ask sends a prompt; a refusal brings the text back.
func ask(s pane.Session, cmd session.Prompt) tea.Cmd {
	return func() tea.Msg {
		if err := s.Do(cmd); err != nil {
			return refused{cmd.Text, err}
		}
		return nil
	}
}

func (p *Pane) refuse(m refused) tea.Cmd {
	if p.prompt.Value() == "" {
		p.prompt.SetValue(p.c.Theme, m.text)
	}
	return told(m.err.Error(), true)
}

func told(text string, err bool) tea.Cmd {
	return func() tea.Msg { return pane.Told{Text: text, Err: err} }
}
