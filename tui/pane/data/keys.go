package data

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/datasets"
	"lathe/session"
	"lathe/tui/dialog"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

const (
	groupRows   = "Rows"
	groupLabels = "Labels"
)

// Keys are the keys of the pane, those of the labels among them.
func (p *Pane) Keys() []pane.Key {
	keys := []pane.Key{
		{Keys: []string{"enter"}, Help: "read", Group: groupRows, Reason: p.needRow, Run: p.act(p.enter)},
		{Keys: []string{"v"}, Help: "raw, rendered, tokens", Group: groupRows, Reason: p.needRow, Run: p.act(func() tea.Cmd { return p.turn(1) })},
		{Keys: []string{"n"}, Help: "next finding", Group: groupRows, Reason: p.needFindings, Run: p.act(func() tea.Cmd { return p.nextFinding(1) })},
		{Keys: []string{"N"}, Help: "finding before", Group: groupRows, Reason: p.needFindings, Run: p.act(func() tea.Cmd { return p.nextFinding(-1) })},
		{Keys: []string{"/"}, Help: "filter", Group: groupRows, Reason: needData, Run: p.typeFilterKey},
		{Keys: []string{"f"}, Help: "filter by kind", Group: groupRows, Reason: needData, Run: p.chooseFilter},
		{Keys: []string{"l"}, Help: "check", Group: groupRows, Reason: pane.Refusal(lint), Run: p.act(func() tea.Cmd { return pane.Send(p.c.Session, session.Lint{}) })},
		{Keys: []string{"Y"}, Help: "copy the row", Group: groupRows, Reason: p.needRow, Run: p.act(p.copyRow)},
		{Keys: []string{"esc"}, Help: "back: rows, no filter", Group: groupRows, Reason: p.needInside, Run: p.act(p.leave)},
		{Keys: []string{"up", "k"}, Help: "row above", Group: groupRows, Reason: p.needRow, Run: p.walk("up")},
		{Keys: []string{"down", "j"}, Help: "row below", Group: groupRows, Reason: p.needRow, Run: p.walk("down")},
		{Keys: []string{"pgup", "ctrl+b"}, Help: "page up", Group: groupRows, Reason: p.needRow, Run: p.walk("pgup")},
		{Keys: []string{"pgdown", "ctrl+f"}, Help: "page down", Group: groupRows, Reason: p.needRow, Run: p.walk("pgdown")},
		{Keys: []string{"home"}, Help: "first row", Group: groupRows, Reason: p.needRow, Run: p.walk("home")},
		{Keys: []string{"end", "G"}, Help: "last row", Group: groupRows, Reason: p.needRow, Run: p.walk("end")},
		{Keys: []string{"left"}, Help: "token before", Group: groupRows, Reason: p.needTokens, Run: p.walk("left")},
		{Keys: []string{"right"}, Help: "token after", Group: groupRows, Reason: p.needTokens, Run: p.walk("right")},
		{Keys: []string{"V"}, Help: "the view before", Group: groupRows, Reason: p.needRow, Run: p.act(func() tea.Cmd { return p.turn(-1) })},
		{Keys: []string{"J"}, Help: "scroll the row down", Group: groupRows, Reason: p.needRow, Run: p.act(func() tea.Cmd { return p.scroll(3) })},
		{Keys: []string{"K"}, Help: "scroll the row up", Group: groupRows, Reason: p.needRow, Run: p.act(func() tea.Cmd { return p.scroll(-3) })},
	}
	for _, l := range p.labels {
		keys = append(keys, pane.Key{
			Keys: []string{l.key}, Help: "label " + widget.Sanitize(l.label), Group: groupLabels, Reason: p.needRow,
			Run: p.act(func() tea.Cmd { return p.label(l.label) }),
		})
	}
	return append(keys,
		pane.Key{Keys: []string{"backspace"}, Help: "take the label away", Group: groupLabels, Reason: p.needLabel, Run: p.act(func() tea.Cmd { return p.label("") })},
		pane.Key{
			Keys: []string{"z", "ctrl+z"}, Help: "undo a label", Group: groupLabels,
			Reason: pane.Refusal(func(pane.Context) session.Command { return session.UndoLabel{} }), Run: p.act(p.undo),
		})
}

// act makes a key's action: it sees the newest view, and what the screen lacks afterwards is fetched.
func (p *Pane) act(f func() tea.Cmd) func(pane.Context) tea.Cmd {
	return func(c pane.Context) tea.Cmd {
		p.sync(c)
		cmd := f()
		return tea.Batch(cmd, p.fetch())
	}
}

func lint(pane.Context) session.Command { return session.Lint{} }

func needData(c pane.Context) string {
	if c.View.Data.Path == "" {
		return "no dataset is open: open one with :open FILE"
	}
	return ""
}

func (p *Pane) needRow(c pane.Context) string {
	if why := needData(c); why != "" {
		return why
	}
	p.sync(c)
	switch {
	case p.current() >= 0:
		return ""
	case p.filter != nil:
		return "the filter shows no row: esc shows all"
	}
	return "the dataset has no row yet"
}

func (p *Pane) needFindings(c pane.Context) string {
	d := c.View.Data
	switch {
	case d.Path == "":
		return needData(c)
	case len(d.Findings) > 0:
		return ""
	case d.Summary == nil && d.Linting:
		return "the dataset is being checked"
	case d.Summary == nil:
		return "the dataset has not been checked: l checks it"
	}
	return "the check has found nothing"
}

func (p *Pane) needLabel(c pane.Context) string {
	if why := p.needRow(c); why != "" {
		return why
	}
	if c.View.Data.Labels[p.current()] == "" {
		return "the row has no label"
	}
	return ""
}

func (p *Pane) needTokens(c pane.Context) string {
	if !p.inside || p.way != asTokens {
		return "enter walks the tokens of a row, in the tokens view"
	}
	return p.needRow(c)
}

func (p *Pane) needInside(pane.Context) string {
	if !p.inside && p.filter == nil {
		return "nothing to go back from"
	}
	return ""
}

func (p *Pane) enter() tea.Cmd { p.inside = !p.inside; return nil }

// leave goes back to the rows, then to all rows.
func (p *Pane) leave() tea.Cmd {
	if p.inside {
		p.inside = false
		return nil
	}
	return p.setFilter("")
}

func (p *Pane) turn(dir int) tea.Cmd {
	p.way = way((int(p.way) + dir + int(ways)) % int(ways))
	return nil
}

// walk moves in the rows, or in the row that is read.
func (p *Pane) walk(key string) func(pane.Context) tea.Cmd {
	return p.act(func() tea.Cmd {
		switch {
		case p.inside && p.way == asTokens && p.tokens != nil:
			p.tokens.Key(key)
		case p.inside:
			p.pager.Key(key)
		default:
			p.table.Key(key)
			p.chosen = 0
		}
		return nil
	})
}

func (p *Pane) scroll(by int) tea.Cmd {
	if p.way == asTokens && p.tokens != nil {
		p.tokens.Scroll(by)
	} else {
		p.pager.Move(by)
	}
	return nil
}

func (p *Pane) nextFinding(dir int) tea.Cmd {
	around, ok := p.step(dir)
	switch {
	case !ok:
		return told("no finding in the rows shown: esc shows all rows", true)
	case around && p.unlisted() > 0:
		return told(fmt.Sprintf("the first %s findings are listed, %s more are not: mend these first", widget.Group(int64(len(p.c.View.Data.Findings))), widget.Group(int64(p.unlisted()))), true)
	case around && dir > 0:
		return told("after the last finding: on from the first", false)
	case around:
		return told("before the first finding: on from the last", false)
	}
	return nil
}

func told(text string, err bool) tea.Cmd {
	return func() tea.Msg { return pane.Told{Text: text, Err: err} }
}

func (p *Pane) typeFilterKey(c pane.Context) tea.Cmd {
	p.sync(c)
	return p.typeFilter(c)
}

// chooseFilter opens the list of what rows can be filtered by.
func (p *Pane) chooseFilter(c pane.Context) tea.Cmd {
	p.sync(c)
	options, lines, at := p.filters()
	d := dialog.NewChoose(c.Theme, "Show rows", options, at, func(i int) tea.Cmd {
		return func() tea.Msg { return chosenFilter(lines[i]) }
	})
	return func() tea.Msg { return pane.Open{Dialog: d} }
}

// chosenFilter is the answer of the filter dialog.
type chosenFilter string

// filters are what the rows can be filtered by, with the filter lines that do it; at is the one in force.
func (p *Pane) filters() (options []dialog.Option, lines []string, at int) {
	add := func(text string, n int, line string) {
		o := dialog.Option{Text: text, Note: widget.Group(int64(n))}
		if p.filter != nil && p.filter.line == line {
			at = len(options)
		}
		options, lines = append(options, o), append(lines, line)
	}
	d := p.c.View.Data
	add("all rows", d.Rows, "")
	codes, levels := map[string]map[int]bool{}, map[string]map[int]bool{}
	for _, f := range d.Findings {
		tally(codes, f.Code, f.Row)
		tally(levels, string(f.Level), f.Row)
	}
	for _, level := range []datasets.Level{datasets.LevelError, datasets.LevelWarn, datasets.LevelInfo} {
		if rows := levels[string(level)]; len(rows) > 0 {
			add("level "+string(level), len(rows), "level:"+string(level))
		}
	}
	names := make([]string, 0, len(codes))
	for code := range codes {
		names = append(names, code)
	}
	slices.Sort(names)
	for _, code := range names {
		add("code "+code, len(codes[code]), "code:"+code)
	}
	for _, l := range p.counts.list {
		if !strings.ContainsAny(l.label, " ") {
			add("label "+l.label, l.n, "label:"+l.label)
		}
	}
	if p.counts.total > 0 {
		add("without a label", d.Rows-p.counts.total, "label:"+noLabel)
	}
	if d.Summary != nil && len(d.Summary.Formats) > 1 {
		for _, format := range datasets.Formats {
			if n := d.Summary.Formats[format]; n > 0 {
				add("format "+string(format), n, "format:"+string(format))
			}
		}
	}
	return options, lines, at
}

func tally(of map[string]map[int]bool, name string, row int) {
	if of[name] == nil {
		of[name] = map[int]bool{}
	}
	of[name][row] = true
}

// copyRow puts the row, or its rendered text where that is shown, into the clipboard of the terminal.
func (p *Pane) copyRow() tea.Cmd {
	s, row, way := p.c.Session, p.current(), p.way
	return func() tea.Msg {
		var text, what string
		switch way {
		case asRendered:
			v, err := s.Tokens(row)
			if err != nil {
				return pane.Told{Text: err.Error(), Err: true}
			}
			text, what = v.Text, "the rendered text of row"
		default:
			r, err := s.Row(row)
			if err != nil {
				return pane.Told{Text: err.Error(), Err: true}
			}
			text, what = string(r.Raw), "row"
		}
		said := pane.Told{Text: fmt.Sprintf("copied %s %s, %s", what, widget.Group(int64(row)), widget.Bytes(int64(len(text))))}
		if len(text) > clipboardBytes {
			said.Text += ": more than some terminals take"
		}
		return tea.Batch(tea.SetClipboard(text), func() tea.Msg { return said })()
	}
}

// clipboardBytes is what xterm and its kin take in one OSC 52 sequence: 100,000 characters of base64.
const clipboardBytes = 74_994

// Commands are the pane's words of the command line.
func (p *Pane) Commands() []pane.Word {
	return []pane.Word{
		{Name: "row", Args: "N", Help: "go to row N, counted from 0", Run: p.goToWord},
		{Name: "filter", Args: "[TEXT]", Help: "show the rows that match: text, !not, ~fuzzy, code: level: label: format:", Run: func(c pane.Context, args string) tea.Cmd {
			if why := needData(c); why != "" {
				return told(why, true)
			}
			return p.act(func() tea.Cmd { return p.setFilter(args) })(c)
		}},
		{Name: "label", Args: "[NAME]", Help: "label the row; no name takes the label away", Run: func(c pane.Context, args string) tea.Cmd {
			if why := p.needRow(c); why != "" {
				return told(why, true)
			}
			return p.act(func() tea.Cmd { return p.label(strings.TrimSpace(args)) })(c)
		}},
		{Name: "labels", Args: "g=good b=bad", Help: "choose the keys that label", Run: p.labelsWord},
		{Name: "labels-export", Args: "FILE", Help: "write the labels to a new JSONL file", Run: func(c pane.Context, args string) tea.Cmd {
			switch path := strings.TrimSpace(args); {
			case needData(c) != "":
				return told(needData(c), true)
			case path == "":
				return told("name the file to write: :labels-export FILE", true)
			default:
				return exportLabels(c.Session, c.View.Data.Labels, path)
			}
		}},
	}
}

func (p *Pane) goToWord(c pane.Context, args string) tea.Cmd {
	if why := needData(c); why != "" {
		return told(why, true)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(strings.TrimSpace(args), ",", ""))
	rows := c.View.Data.Rows
	switch {
	case err != nil:
		return told(fmt.Sprintf("%q is not the number of a row: write :row 17", args), true)
	case n < 0 || n >= rows && c.View.Data.Indexed:
		return told(fmt.Sprintf("the dataset has %s rows, from 0 on", widget.Group(int64(rows))), true)
	case n >= rows:
		return told(fmt.Sprintf("row %d is not indexed yet: %s rows are", n, widget.Group(int64(rows))), true)
	}
	return p.act(func() tea.Cmd {
		if !p.goTo(n) {
			return told(fmt.Sprintf("the filter hides row %d: this is the next one", n), false)
		}
		return nil
	})(c)
}

func (p *Pane) labelsWord(_ pane.Context, args string) tea.Cmd {
	if strings.TrimSpace(args) == "" {
		return told("labels: "+labelsText(p.labels), false)
	}
	keys, err := parseLabels(args)
	if err != nil {
		return told(err.Error(), true)
	}
	p.labels = keys
	return told("labels: "+labelsText(keys), false)
}

// labelsText writes the keys as :labels reads them.
func labelsText(keys []labelKey) string {
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = k.key + "=" + k.label
	}
	return strings.Join(words, " ")
}
