package data

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"lathe/datasets"
	"lathe/session"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// noLabel is what label: says of rows without one.
const noLabel = "none"

// terms is a filter line: words such as code:empty_output, level:error, label:good, format:alpaca in front, and text as in
// every filter line (a regular expression, !inverse, ~fuzzy) behind them. Words of one kind are alternatives.
type terms struct {
	codes, levels, labels, formats []string
	text                           widget.Filter
}

func parseTerms(line string) terms {
	var t terms
	kinds := map[string]*[]string{"code": &t.codes, "level": &t.levels, "label": &t.labels, "format": &t.formats}
	rest := strings.TrimLeft(line, " ")
	for {
		word, after, _ := strings.Cut(rest, " ")
		kind, value, found := strings.Cut(word, ":")
		list := kinds[kind]
		if !found || list == nil || value == "" {
			break
		}
		*list = append(*list, value)
		rest = strings.TrimLeft(after, " ")
	}
	t.text = widget.ParseFilter(rest)
	return t
}

// reads tells whether rows must be read to be judged.
func (t terms) reads() bool { return t.text.Active() || len(t.formats) > 0 }

// findings says whether one of a row's findings is asked for.
func (t terms) finding(f datasets.Finding) bool {
	return (len(t.codes) == 0 || slices.Contains(t.codes, f.Code)) && (len(t.levels) == 0 || slices.Contains(t.levels, string(f.Level)))
}

// known judges by what is known without reading: nil when every row is still possible, else the possible ones.
func (t terms) known(d session.DataView, rows int) []int32 {
	var out []int32
	if len(t.codes)+len(t.levels) > 0 {
		seen := map[int]bool{}
		for _, f := range d.Findings {
			if t.finding(f) && !seen[f.Row] && f.Row < rows && t.label(d.Labels[f.Row]) {
				seen[f.Row] = true
				out = append(out, int32(f.Row))
			}
		}
		slices.Sort(out)
		if out == nil {
			out = []int32{}
		}
		return out
	}
	if len(t.labels) == 0 {
		return nil
	}
	out = []int32{}
	if slices.Contains(t.labels, noLabel) {
		for i := range rows {
			if t.label(d.Labels[i]) {
				out = append(out, int32(i))
			}
		}
		return out
	}
	for row, label := range d.Labels {
		if row < rows && t.label(label) {
			out = append(out, int32(row))
		}
	}
	slices.Sort(out)
	return out
}

func (t terms) label(label string) bool {
	if len(t.labels) == 0 {
		return true
	}
	if label == "" {
		return slices.Contains(t.labels, noLabel)
	}
	return slices.Contains(t.labels, label)
}

// row judges a row that was read.
func (t terms) row(r datasets.Row) bool {
	if len(t.formats) > 0 && !slices.Contains(t.formats, string(r.Format)) {
		return false
	}
	return !t.text.Active() || t.text.Match(r.Text())
}

// search is a filter at work: rows are judged in slices of time by commands, one after the other, so that the screen never
// waits and a search that nobody wants any more ends.
type search struct {
	line  string
	terms terms
	data  session.DataView // as it was when the search began
	stale atomic.Bool

	// What follows belongs to the pane; commands are given copies.
	hits    []int32 // rows shown, in order
	rows    int     // of the dataset, when the search began or was carried on
	done    bool
	judged  int // rows
	err     string
	wanted  int // row that the cursor stood on, -1 when it has been found again
	started bool
}

// slice is how long a command judges rows before it tells what it has found.
const slice = 40 * time.Millisecond

// searched is what a command has found.
type searched struct {
	of     *search
	hits   []int32
	from   []int32 // candidates; nil: all rows
	next   int     // the first that is not judged
	end    int     // behind the last
	failed error
}

// run judges rows from next on. candidates are found first, where next is below 0.
func (s *search) run(reader pane.Session, candidates []int32, next, rows int) tea.Cmd {
	return func() tea.Msg {
		if next < 0 {
			candidates, next = s.terms.known(s.data, rows), 0
		}
		m := searched{of: s, from: candidates, next: next, end: rows}
		if candidates != nil {
			m.end = len(candidates)
		}
		if candidates != nil && !s.terms.reads() {
			m.hits, m.next = candidates, m.end
			return m
		}
		for deadline := time.Now().Add(slice); m.next < m.end && !s.stale.Load(); m.next++ {
			i := m.next
			if candidates != nil {
				i = int(candidates[m.next])
			}
			row, err := reader.Row(i)
			if err != nil {
				m.failed = err
				return m
			}
			if s.terms.row(row) {
				m.hits = append(m.hits, int32(i))
			}
			if m.next%16 == 15 && time.Now().After(deadline) {
				m.next++
				break
			}
		}
		return m
	}
}

// setFilter shows the rows that a line lets through; an empty one shows all.
func (p *Pane) setFilter(line string) tea.Cmd {
	row := p.current()
	p.stopFilter()
	if strings.TrimSpace(line) == "" || p.c.View.Data.Path == "" {
		if row >= 0 {
			p.goTo(row)
		}
		return nil
	}
	s := &search{line: line, terms: parseTerms(line), data: p.c.View.Data, rows: p.c.View.Data.Rows, wanted: row}
	p.filter = s
	p.table.Select(0)
	return s.run(p.c.Session, nil, -1, s.rows)
}

// stopFilter shows all rows.
func (p *Pane) stopFilter() {
	if p.filter != nil {
		p.filter.stale.Store(true)
		p.filter = nil
	}
}

// takeHits adds what was found and asks for more.
func (p *Pane) takeHits(m searched) tea.Cmd {
	s := m.of
	if s != p.filter {
		return nil
	}
	s.started = true
	s.hits = append(s.hits, m.hits...)
	s.judged = m.next
	if s.wanted >= 0 && len(s.hits) > 0 && int(s.hits[len(s.hits)-1]) >= s.wanted {
		if p.table.Cursor() == 0 { // it was not moved meanwhile
			p.table.Select(s.place(s.wanted))
			p.chosen = 0
		}
		s.wanted = -1
	}
	switch {
	case m.failed != nil:
		s.done, s.err = true, m.failed.Error()
		return nil
	case m.next < m.end:
		s.rows = m.end
		return s.run(p.c.Session, m.from, m.next, m.end)
	case m.from == nil && p.c.View.Data.Rows > m.end: // the index has grown meanwhile
		s.rows = p.c.View.Data.Rows
		return s.run(p.c.Session, nil, m.next, s.rows)
	}
	s.done = true
	return nil
}

// place is where a row stands among the hits, or the next one.
func (s *search) place(row int) int {
	at, _ := slices.BinarySearch(s.hits, int32(row))
	return at
}

// shows tells whether a row is among the hits.
func (s *search) shows(row int) bool {
	_, found := slices.BinarySearch(s.hits, int32(row))
	return found
}

// status says how far the search is.
func (s *search) status(rows int) string {
	found := fmt.Sprintf("%s of %s rows", widget.Group(int64(len(s.hits))), widget.Group(int64(rows)))
	switch {
	case s.err != "":
		return found + ", then " + s.err
	case !s.done && s.rows > 0:
		return fmt.Sprintf("%s, %s searched", found, widget.Percent(float64(s.judged)/float64(s.rows)))
	}
	return found
}

// type begins to type a filter.
func (p *Pane) typeFilter(c pane.Context) tea.Cmd {
	p.typing = widget.NewInput(c.Theme, "/", "text, !not, ~fuzzy, code: level: label: format:")
	p.before = ""
	if p.filter != nil {
		p.before = p.filter.line
		p.typing.SetValue(p.before)
		p.typing.CursorEnd()
	}
	return nil
}

// typed handles a key of the filter line: the rows follow while it is typed.
func (p *Pane) typed(key tea.KeyPressMsg) tea.Cmd {
	switch key.String() {
	case "enter":
		p.typing = nil
		return nil
	case "esc", "ctrl+c":
		p.typing = nil
		if p.filter == nil && p.before == "" || p.filter != nil && p.filter.line == p.before {
			return nil
		}
		return p.setFilter(p.before)
	case "up", "down", "pgup", "pgdown":
		p.table.Key(key.String())
		p.chosen = 0
		return nil
	}
	return p.edit(key)
}

func (p *Pane) edit(msg tea.Msg) tea.Cmd {
	changed, cmd := p.typing.Update(msg)
	if !changed {
		return cmd
	}
	return tea.Batch(cmd, p.setFilter(p.typing.Value()))
}
