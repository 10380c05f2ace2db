// Package compare is the pane that puts versions of the model side by side: two on one prompt with the same seed, the reports
// of evaluations, and the answers to a case of the suite.
package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/evalsuite"
	"lathe/session"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
)

// way is what the pane shows.
type way uint8

const (
	asPrompts way = iota
	asCases
	asReports
	ways
)

var wayNames = [ways]string{"prompts", "cases", "reports"}

// side is A or B.
const (
	sideA = iota
	sideB
)

// Pane is the comparison. Make it with New.
type Pane struct {
	c       pane.Context
	way     way
	chosen  [2]string // versions; empty: the default
	options session.PlayOptions
	heat    bool
	prompt  *widget.Prompt

	back      int  // comparisons back from the newest
	item      int  // case shown
	differing bool // only cases that tell versions apart
	column    int  // versions of a case between the window and the newest
	fits      int  // columns that the last View had room for
	pagers    [maxColumns]prose.Pager

	pairs    []pair
	newest   int64 // group of the newest comparison, to notice another one
	reports  []report
	apart    int // cases that tell versions apart
	cases    []evalsuite.Case
	known    stamp
	reported string // what reports and cases were made of
	narrowed bool
	kept     [2]kept
}

// stamp tells views apart by what the pane takes from them.
type stamp struct {
	plays, tokens, reports int
	last                   int64
	finish                 string
}

// pair is a comparison: two plays of one command.
type pair [2]session.Play

// New makes the pane. Comparisons are greedy until told otherwise: what differs is the versions, not the dice.
func New() *Pane {
	o := pane.DefaultSampling
	o.Temperature = 0
	return &Pane{options: o, prompt: widget.NewPrompt("What shall both versions answer?")}
}

// Name is "compare".
func (p *Pane) Name() string { return "compare" }

// Capturing tells that a prompt is being typed.
func (p *Pane) Capturing() bool { return p.prompt.Typing() }

// sampling, picked and refused are answers of dialogs and of the session.
type (
	sampling session.PlayOptions
	picked   struct {
		side    int
		version string
	}
	refused struct {
		text string
		err  error
	}
)

// Update takes what is typed, the answers of dialogs and the mouse.
func (p *Pane) Update(msg tea.Msg, c pane.Context) tea.Cmd {
	p.follow(c)
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		return p.typed(msg)
	case tea.PasteMsg:
		return p.typed(msg)
	case sampling:
		p.options = session.PlayOptions(msg)
	case picked:
		p.chosen[msg.side] = msg.version
	case refused:
		if p.prompt.Value() == "" {
			p.prompt.SetValue(c.Theme, msg.text)
		}
		return told(msg.err.Error(), true)
	case tea.MouseWheelMsg:
		switch msg.Mouse().Button {
		case tea.MouseWheelUp:
			p.scroll(-3)
		case tea.MouseWheelDown:
			p.scroll(3)
		}
	}
	return nil
}

func (p *Pane) scroll(by int) {
	for i := range p.pagers {
		p.pagers[i].Move(by)
	}
}

func (p *Pane) top() {
	for i := range p.pagers {
		p.pagers[i].Top()
	}
}

// typed handles what goes to the prompt.
func (p *Pane) typed(msg tea.Msg) tea.Cmd {
	if !p.prompt.Typing() {
		return nil
	}
	send, cmd := p.prompt.Update(msg, p.history())
	if !send {
		return cmd
	}
	text := p.prompt.Value()
	if strings.TrimSpace(text) == "" {
		return told("an empty prompt: type something first", true)
	}
	command := p.command(text)
	if err := command.Refusal(p.c.View); err != nil {
		return told(err.Error(), true)
	}
	p.prompt.Clear()
	p.prompt.Leave()
	return p.ask(command)
}

// history are the prompts compared so far.
func (p *Pane) history() []string {
	var out []string
	for _, of := range p.pairs {
		if i := slices.Index(out, of[0].Prompt); i >= 0 {
			out = slices.Delete(out, i, i+1)
		}
		out = append(out, of[0].Prompt)
	}
	return out
}

func (p *Pane) command(text string) session.Prompt {
	v := p.versions()
	return session.Prompt{Text: text, Versions: v[:], Options: p.options}
}

// ask gives both versions a prompt, and shows what they say.
func (p *Pane) ask(cmd session.Prompt) tea.Cmd {
	p.way, p.back = asPrompts, 0
	s := p.c.Session
	return func() tea.Msg {
		if err := s.Do(cmd); err != nil {
			return refused{cmd.Text, err}
		}
		return nil
	}
}

// versions are A and B: those chosen, as long as they exist, else the last two checkpoints, else base and live.
func (p *Pane) versions() [2]string {
	r := p.c.View.Run
	out := [2]string{session.VersionBase, session.VersionLive}
	if n := len(r.Saved); n >= 2 && r.Saved[n-1].Path != r.Saved[n-2].Path {
		out = [2]string{r.Saved[n-2].Path, r.Saved[n-1].Path}
	}
	exist := r.Versions()
	for side, v := range p.chosen {
		if v != "" && (exist == nil || slices.Contains(exist, v)) {
			out[side] = v
		}
	}
	return out
}

// follow takes what the newest view has for this pane.
func (p *Pane) follow(c pane.Context) {
	p.c = c
	now := stampOf(c.View)
	if now == p.known {
		return
	}
	p.known = now
	p.refresh()
	p.back = min(p.back, max(len(p.pairs)-1, 0))
	p.item = min(p.item, max(len(p.cases)-1, 0))
	if n := len(p.pairs); n > 0 && p.pairs[n-1][0].Group != p.newest {
		if p.newest != 0 {
			p.back = 0
		}
		p.newest = p.pairs[n-1][0].Group
		p.top()
	}
}

// refresh takes plays and reports apart anew.
func (p *Pane) refresh() {
	p.pairs = pairsOf(p.c.View.Plays)
	if now := stampOfReports(p.c.View.Reports); now != p.reported || p.differing != p.narrowed {
		p.reported, p.narrowed = now, p.differing
		p.refreshReports()
	}
}

func (p *Pane) refreshReports() {
	p.reports = reportsOf(p.c.View.Reports)
	p.cases = casesOf(p.reports)
	apart := differing(p.cases, p.reports)
	p.apart = len(apart)
	if p.differing {
		p.cases = apart
	}
}

// stampOfReports tells lists of reports apart: they only grow, but begin anew with another run.
func stampOfReports(all []session.Evaluated) string {
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return fmt.Sprint(len(all), " ", last.Step, " ", last.Version, " ", last.Report.Perplexity)
}

func stampOf(v session.View) stamp {
	s := stamp{plays: len(v.Plays), reports: len(v.Reports)}
	for _, play := range v.Plays[max(len(v.Plays)-8, 0):] { // those being written are the newest
		s.tokens += len(play.Tokens)
		s.last = play.ID
		s.finish += play.Finish + play.Err + "/"
	}
	return s
}

// pairsOf are the comparisons among the plays, oldest first.
func pairsOf(plays []session.Play) []pair {
	var out []pair
	for i := 0; i < len(plays); {
		n := i + 1
		for n < len(plays) && plays[n].Group == plays[i].Group && plays[i].Group != 0 {
			n++
		}
		if n-i == 2 {
			out = append(out, pair{plays[i], plays[i+1]})
		}
		i = n
	}
	return out
}

// current is the comparison shown; ok is false when there is none.
func (p *Pane) current() (of pair, ok bool) {
	if len(p.pairs) == 0 {
		return pair{}, false
	}
	return p.pairs[len(p.pairs)-1-p.back], true
}

// report is an evaluation with its answers by case.
type report struct {
	session.Evaluated
	answers map[string]evalsuite.Answer
}

// answer is what the version said to a case.
func (r report) answer(c evalsuite.Case) (evalsuite.Answer, bool) {
	a, ok := r.answers[caseKey(c)]
	return a, ok
}

// reportsOf are the newest reports of each version, by step.
func reportsOf(all []session.Evaluated) []report {
	var out []report
	for _, e := range all {
		r := report{e, make(map[string]evalsuite.Answer, len(e.Report.Answers))}
		for _, a := range e.Report.Answers {
			r.answers[caseKey(a.Case)] = a
		}
		out = append(slices.DeleteFunc(out, func(o report) bool { return o.Version == e.Version }), r)
	}
	slices.SortStableFunc(out, func(a, b report) int {
		return cmp.Or(cmp.Compare(rank(a.Version), rank(b.Version)), cmp.Compare(a.Step, b.Step))
	})
	return out
}

// rank puts the base first and the live version last.
func rank(version string) int {
	switch version {
	case session.VersionBase:
		return 0
	case session.VersionLive:
		return 2
	}
	return 1
}

// casesOf are all cases of the reports, in the order of the first that has them.
func casesOf(reports []report) []evalsuite.Case {
	var out []evalsuite.Case
	seen := map[string]bool{}
	for _, r := range reports {
		for _, a := range r.Report.Answers {
			if k := caseKey(a.Case); !seen[k] {
				seen[k] = true
				out = append(out, a.Case)
			}
		}
	}
	return out
}

// differing are the cases of which the versions do not meet the same KPIs.
func differing(cases []evalsuite.Case, reports []report) []evalsuite.Case {
	var out []evalsuite.Case
	for _, c := range cases {
		var first []bool
		for _, r := range reports {
			a, ok := r.answer(c)
			if !ok {
				continue
			}
			if first == nil {
				first = a.Scores
			} else if !slices.Equal(first, a.Scores) {
				out = append(out, c)
				break
			}
		}
	}
	return out
}

// caseKey tells cases apart.
func caseKey(c evalsuite.Case) string { return c.ID + "\x00" + c.Prompt }

func told(text string, err bool) tea.Cmd {
	return func() tea.Msg { return pane.Told{Text: text, Err: err} }
}
