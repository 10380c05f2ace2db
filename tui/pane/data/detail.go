package data

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/datasets"
	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
	"lathe/tui/widget/prose"
	"lathe/tui/widget/tokenview"
)

// way is how the selected row is shown.
type way uint8

const (
	asRaw way = iota
	asRendered
	asTokens
	ways
)

var wayNames = [ways]string{"raw", "rendered", "tokens"}

// shownBytes is how much of a row's text is drawn: what nobody reads must not be wrapped either.
const shownBytes = 128 << 10

// detail is a row with all that is known of it.
type detail struct {
	row       datasets.Row
	rowErr    string
	tokens    datasets.View
	tokensErr string
}

// detailRead answers readDetail.
type detailRead struct {
	era, at int
	detail  detail
}

func readDetail(s pane.Session, era, i int) tea.Cmd {
	return func() tea.Msg {
		var d detail
		row, err := s.Row(i)
		if err != nil {
			d.rowErr = err.Error()
		}
		d.row = row
		if d.tokens, err = s.Tokens(i); err != nil {
			d.tokensErr = err.Error()
		}
		return detailRead{era, i, d}
	}
}

func (p *Pane) takeDetail(m detailRead) {
	if m.era != p.era {
		return
	}
	p.reading = false
	p.details.put(m.at, m.detail)
}

// written is the text of the selected row, wrapped; it is kept until one of the things that it depends on changes.
type written struct {
	row, width, chosen int
	way                way
	rows               []prose.Row
	cut                int // bytes that are not shown
}

// tokened says which row the token view holds.
type tokened struct {
	row, era, chosen int
	ok               bool
}

// write wraps the row's text, or returns what was wrapped before.
func (p *Pane) write(d *detail, row, width int) *written {
	if t := p.text; t != nil && t.row == row && t.width == width && t.way == p.way && t.chosen == p.chosen {
		return t
	}
	fresh := p.text == nil || p.text.row != row || p.text.way != p.way
	t := &written{row: row, width: width, chosen: p.chosen, way: p.way}
	if p.way == asRendered {
		t.rows, t.cut = rendered(d, p.chosenSpan(d, row), width)
	} else {
		t.rows, t.cut = p.rawRows(d, row, width)
	}
	p.text = t
	if fresh {
		p.pager.Top()
	}
	for i, r := range t.rows {
		if r.Anchored() {
			p.pager.Reveal(i)
			break
		}
	}
	return t
}

// rawRows is the row's JSON with its findings marked.
func (p *Pane) rawRows(d *detail, row, width int) (rows []prose.Row, cut int) {
	raw := d.row.Raw
	if len(raw) > shownBytes {
		raw, cut = raw[:shownBytes], len(raw)-shownBytes
	}
	found := p.findingsOf(row)
	if text := bytes.TrimLeft(raw, " \t\r\n"); len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return prose.Wrap([]prose.Span{{Text: string(raw), Pen: themes.FG(themes.Text)}}, width, 0), cut
	}
	for _, l := range layJSON(raw, func(path string, from, to int) []mark { return marks(found, p.chosen, raw, path, from, to) }) {
		const step = 2
		indent := min(l.indent*step, width/3)
		spans := l.spans
		if indent > 0 {
			spans = append([]prose.Span{{Text: widget.Fit("", indent, widget.Left, "")}}, spans...)
		}
		rows = append(rows, prose.Wrap(spans, width, indent+step)...)
	}
	return rows, cut
}

// marks are the findings of one value; where the path is empty, of the row's bytes.
func marks(found []datasets.Finding, chosen int, raw []byte, path string, from, to int) []mark {
	var out []mark
	for i, f := range found {
		if f.Field != path {
			continue
		}
		m := mark{from: from, to: to, pen: levelPen(f.Level).With(themes.Underline), anchor: i == chosen}
		switch {
		case path == "" && f.Span[1] <= f.Span[0]:
			continue // the row as a whole
		case path == "":
			m.from, m.to = f.Span[0], f.Span[1]
		case f.Span[1] > f.Span[0] && raw[from] == '"':
			a, b := rawRange(raw[from:to], f.Span)
			m.from, m.to = from+a, from+b
		}
		if i == chosen {
			m.pen = m.pen.On(themes.Select)
			out = append([]mark{m}, out...)
			continue
		}
		out = append(out, m)
	}
	// What comes last wins where marks overlap: the chosen one.
	if len(out) > 1 && out[0].anchor {
		out = append(out[1:], out[0])
	}
	return out
}

// rendered is the text that the model sees, trained stretches and control tokens marked, what is cut struck out.
func rendered(d *detail, lit [2]int, width int) (rows []prose.Row, cut int) {
	text := d.tokens.Text
	end := min(len(text), shownBytes)
	var spans []prose.Span
	at := 0
	var add func(to int, pen themes.Pen)
	add = func(to int, pen themes.Pen) {
		if to = min(to, end); to <= at {
			return
		}
		for _, edge := range lit { // what a finding means stands apart
			if at < edge && edge < to {
				add(edge, pen)
			}
		}
		if lit[0] <= at && at < lit[1] {
			spans = append(spans, prose.Span{Text: text[at:to], Pen: pen.On(themes.Select).With(themes.Underline), Anchor: true})
			at = to
			return
		}
		if n := len(spans); n > 0 && spans[n-1].Pen == pen {
			spans[n-1].Text += text[at:to]
		} else {
			spans = append(spans, prose.Span{Text: text[at:to], Pen: pen})
		}
		at = to
	}
	for _, t := range d.tokens.Tokens {
		if t.Span[1] <= at {
			continue
		}
		add(t.Span[0], themes.FG(themes.Faint))
		add(t.Span[1], tokenPen(t))
	}
	rest := themes.FG(themes.Faint)
	if d.tokens.Cut > 0 {
		rest = rest.With(themes.Strike)
	}
	add(end, rest)
	return prose.Wrap(spans, width, 0), len(text) - end
}

// chosenSpan is where the text that the lit finding means stands in the rendered text; [0,0] where that is not known.
func (p *Pane) chosenSpan(d *detail, row int) [2]int {
	found := p.findingsOf(row)
	if p.chosen >= len(found) || found[p.chosen].Field == "" {
		return [2]int{}
	}
	f := found[p.chosen]
	text := fieldText(d.row, f.Field)
	at := strings.Index(d.tokens.Text, text)
	if at < 0 || text == "" || f.Span[0] < 0 || f.Span[1] <= f.Span[0] || f.Span[1] > len(text) {
		return [2]int{}
	}
	return [2]int{at + f.Span[0], at + f.Span[1]}
}

func tokenPen(t datasets.Token) themes.Pen {
	switch {
	case t.Special && t.Trained:
		return themes.FG(themes.Special, themes.Bold)
	case t.Special:
		return themes.FG(themes.Special)
	case t.Trained:
		return themes.FG(themes.Trained)
	}
	return themes.FG(themes.Masked)
}

// fillTokens puts the row's tokens into the token view, once.
func (p *Pane) fillTokens(d *detail, row int) {
	if p.tokens == nil {
		p.tokens = tokenview.New(p.c.Theme)
	}
	p.tokens.SetTheme(p.c.Theme)
	p.tokens.Focused = p.inside && p.c.Focused
	if now := (tokened{row, p.era, p.chosen, true}); p.tokened != now {
		fresh := p.tokened.row != row || p.tokened.era != p.era || !p.tokened.ok
		p.tokened = now
		defer p.selectFinding(d, row)
		if !fresh {
			return
		}
		tokens := make([]tokenview.Token, len(d.tokens.Tokens))
		for i, t := range d.tokens.Tokens {
			tokens[i] = tokenview.Token{Text: t.Text, ID: int(t.ID), Trained: t.Trained, Special: t.Special, Heat: math.NaN()}
		}
		p.tokens.SetTokens(tokens)
	}
}

// selectFinding puts the token cursor on what the lit finding means.
func (p *Pane) selectFinding(d *detail, row int) {
	lit := p.chosenSpan(d, row)
	if lit[1] == 0 {
		return
	}
	for i, t := range d.tokens.Tokens {
		if t.Span[1] > lit[0] {
			p.tokens.Select(i)
			return
		}
	}
}

// unquote decodes a JSON string; what is none stays as it is.
func unquote(raw []byte) string {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return string(raw)
	}
	return s
}
