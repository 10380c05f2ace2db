package data

import (
	tea "charm.land/bubbletea/v2"

	"lathe/datasets"
	"lathe/session"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
	"lathe/tui/widget/tokenview"
)

const (
	keptRows    = 4096 // rows of the table that are kept
	keptDetails = 8    // rows that are kept whole
	previewSize = 240  // runes of a row's preview
	leastWindow = 100  // rows that are fetched around the cursor at least: as tall as screens are
)

// Pane is the data pane. Make it with New.
type Pane struct {
	c       pane.Context // of the last message: what the table draws from
	table   widget.Table
	columns []column // of the table, by its width

	opened  session.View // what the caches belong to: see sync
	era     int          // counts datasets; what was asked of another one is dropped
	rows    *lru[int, line]
	loading bool // rows are on their way

	details *lru[int, detail]
	reading bool // a detail is on its way
	way     way
	inside  bool // the keys go to the detail
	at      place
	text    *written
	pager   prose.Pager
	tokens  *tokenview.Model
	tokened tokened

	findings map[int][]int // of each row, indices into View.Data.Findings
	faulty   []int         // rows with findings, in order
	marked   stamp
	chosen   int // finding of the row that is lit

	labels []labelKey
	counts counts
	queue  []session.Command // labels on their way, in order; the first has been sent

	filter *search // nil: all rows
	typing *widget.Input
	before string // the filter to go back to on esc

	wanted *pane.ShowRow // a row to go to as soon as it is there, nil for none
}

// line is a row of the table, small enough to be kept by the thousand.
type line struct {
	format  datasets.Format
	preview string
	at      int // line in the file
	problem string
}

// New makes the pane.
func New() *Pane {
	p := &Pane{rows: newLRU[int, line](keptRows), details: newLRU[int, detail](keptDetails), labels: defaultLabels}
	p.table = widget.Table{Rows: p.length, Cell: p.cell}
	return p
}

// Name is "data".
func (p *Pane) Name() string { return "data" }

// Capturing tells that a filter is being typed.
func (p *Pane) Capturing() bool { return p.typing != nil }

// length is the number of rows in the table.
func (p *Pane) length() int {
	if p.filter != nil {
		return len(p.filter.hits)
	}
	return p.c.View.Data.Rows
}

// row is the dataset's row at a place of the table, -1 for none.
func (p *Pane) row(at int) int {
	switch {
	case at < 0 || at >= p.length():
		return -1
	case p.filter != nil:
		return int(p.filter.hits[at])
	}
	return at
}

// current is the row under the cursor, -1 for none.
func (p *Pane) current() int { return p.row(p.table.Cursor()) }

// Update takes what was read, what is typed and what has changed.
func (p *Pane) Update(msg tea.Msg, c pane.Context) tea.Cmd {
	p.sync(c)
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case rowsRead:
		p.takeRows(msg)
	case detailRead:
		p.takeDetail(msg)
	case searched:
		cmd = p.takeHits(msg)
	case answered:
		cmd = p.takeAnswer(msg)
	case chosenFilter:
		cmd = p.setFilter(string(msg))
	case pane.ShowRow:
		p.wanted = &msg
	case rowFound:
		cmd = p.takeFound(msg)
	case tea.KeyPressMsg:
		if p.typing != nil {
			cmd = p.typed(msg)
		}
	case tea.PasteMsg:
		if p.typing != nil {
			cmd = p.edit(msg)
		}
	case tea.MouseWheelMsg:
		p.wheel(msg.Mouse())
	case tea.MouseClickMsg:
		p.click(msg.Mouse())
	}
	return tea.Batch(cmd, p.seek(), p.fetch())
}

// sync makes the pane follow the view: another dataset empties it, other findings and labels are counted anew.
func (p *Pane) sync(c pane.Context) {
	old, now := p.opened, c.View
	p.c = c
	switch {
	case old.Data.Opened != now.Data.Opened:
		p.forget()
	case old.Config != now.Config || old.Run.ID != now.Run.ID || old.Run.HasModel != now.Run.HasModel:
		p.details = newLRU[int, detail](keptDetails) // another tokenizer or template
		p.text, p.tokened = nil, tokened{}
		p.era++
		p.reading = false
		p.loading = false
	}
	p.opened = now
	p.indexFindings(now.Data)
	p.countLabels(now.Data)
}

// forget empties the pane for another dataset.
func (p *Pane) forget() {
	p.era++
	p.rows, p.details = newLRU[int, line](keptRows), newLRU[int, detail](keptDetails)
	p.loading, p.reading, p.inside = false, false, false
	p.text, p.tokened, p.chosen = nil, tokened{}, 0
	p.stopFilter()
	p.typing = nil
	p.queue = p.queue[:min(len(p.queue), 1)] // what waits was for the dataset before
	p.table.Select(0)
}

// fetch asks for what the screen lacks: one batch of rows and one detail at a time.
func (p *Pane) fetch() tea.Cmd {
	var cmds []tea.Cmd
	if want := p.missing(); len(want) > 0 && !p.loading {
		p.loading = true
		cmds = append(cmds, readRows(p.c.Session, p.era, want))
	}
	if i := p.current(); i >= 0 && !p.reading && !p.details.has(i) {
		p.reading = true
		cmds = append(cmds, readDetail(p.c.Session, p.era, i))
	}
	return tea.Batch(cmds...)
}

// missing are the rows around the cursor that are not there yet, those in sight first.
func (p *Pane) missing() []int {
	n := p.length()
	if n == 0 {
		return nil
	}
	at, page := p.table.Cursor(), max(p.table.Page(), leastWindow/2)
	var want []int
	for d := range page + 1 {
		for _, place := range [2]int{at + d, at - d} {
			if i := p.row(place); i >= 0 && !p.rows.has(i) && (d > 0 || place == at) {
				want = append(want, i)
			}
		}
	}
	return want
}

// rowsRead answers readRows.
type rowsRead struct {
	era   int
	at    []int
	lines []line
}

// readRows reads rows for the table.
func readRows(s pane.Session, era int, at []int) tea.Cmd {
	return func() tea.Msg {
		read := rowsRead{era: era, at: at}
		for _, i := range at {
			read.lines = append(read.lines, readLine(s, i))
		}
		return read
	}
}

func readLine(s pane.Session, i int) line {
	row, err := s.Row(i)
	if err != nil {
		return line{problem: err.Error()}
	}
	return line{format: row.Format, preview: row.Preview(previewSize), at: row.Line, problem: row.Problem}
}

func (p *Pane) takeRows(m rowsRead) {
	if m.era != p.era {
		return
	}
	p.loading = false
	for n, i := range m.at {
		p.rows.put(i, m.lines[n])
	}
}

// goTo puts the cursor on a row of the dataset, or on the next one that the filter shows, and says whether it is the row.
func (p *Pane) goTo(row int) bool {
	at := row
	if p.filter != nil {
		at = p.filter.place(row)
	}
	p.table.Select(at)
	p.chosen = 0
	return p.current() == row
}

// levelPen is the pen of a level.
func levelPen(l datasets.Level) themes.Pen {
	switch l {
	case datasets.LevelError:
		return themes.FG(themes.Bad)
	case datasets.LevelWarn:
		return themes.FG(themes.Warn)
	}
	return themes.FG(themes.Info)
}
