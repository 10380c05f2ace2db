package widget

import (
	"math"

	"lathe/themes"
)

// Share is one owner's part of a stacked gauge, in bytes.
type Share struct {
	Name    string
	Planned int64
	Used    int64 // < 0: not known
	Tok     themes.Token
}

// Stacked is a gauge of a capacity split by owner, with what was planned
// above what is used and a table as its legend.
type Stacked struct {
	Capacity int64 // 0: the larger of both sums
	Shares   []Share
}

// Height is the number of rows View draws when it is given room: two bars,
// a header, a row for each share and the sum.
func (s Stacked) Height() int { return len(s.Shares) + 5 }

// View draws the gauge in width × height; legend rows that do not fit are
// left out.
func (s Stacked) View(th *themes.Theme, width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	planned, used, known := s.sums()
	capacity := s.Capacity
	if capacity <= 0 {
		capacity = max(planned, used, 1)
	}
	rows := []string{s.bar(th, "planned", capacity, width, func(h Share) int64 { return h.Planned })}
	if known {
		rows = append(rows, s.bar(th, "used", capacity, width, func(h Share) int64 { return h.Used }))
	} else {
		rows = append(rows, NewLine(th, width).Field(themes.FG(themes.Muted), "used", stackedLabel, Left).
			Space(1).Add(themes.FG(themes.Faint), "known from step 1 on").String())
	}
	rows = append(rows, "", s.header(th, width))
	for i, h := range s.Shares {
		rows = append(rows, s.row(th, h, s.fill(th, i), tokOf(h, i), width))
	}
	sum := Share{Name: "sum", Planned: planned, Used: used}
	if !known {
		sum.Used = -1
	}
	rows = append(rows, s.row(th, sum, " ", themes.Text, width))
	return Block(JoinV(keepBlank(rows)...), width, height)
}

// keepBlank keeps empty rows through JoinV.
func keepBlank(rows []string) []string {
	for i, r := range rows {
		if r == "" {
			rows[i] = " "
		}
	}
	return rows
}

const (
	stackedLabel = 8 // cells of "planned " and "used    "
	stackedShare = 9 // cells of "  of plan"
)

func (s Stacked) sums() (planned, used int64, known bool) {
	for _, h := range s.Shares {
		planned += max(h.Planned, 0)
		if h.Used >= 0 {
			used += h.Used
			known = true
		}
	}
	return planned, used, known
}

func tokOf(h Share, i int) themes.Token {
	if h.Tok != themes.None {
		return h.Tok
	}
	return themes.Series(i)
}

func (s Stacked) fill(th *themes.Theme, i int) string {
	return th.Glyphs.Fills[i%len(th.Glyphs.Fills)]
}

// bar draws one row: label, a block for each share, the sum.
func (s Stacked) bar(th *themes.Theme, label string, capacity int64, width int, of func(Share) int64) string {
	var sum int64
	for _, h := range s.Shares {
		sum += max(of(h), 0)
	}
	text := Bytes(sum) + " of " + Bytes(capacity)
	l := NewLine(th, width).Field(themes.FG(themes.Muted), label, stackedLabel, Left).Space(1)
	w := width - stackedLabel - 1 - 24
	if w < 8 {
		w, text = width-stackedLabel-1, ""
	}
	done, cells := int64(0), 0
	for i, h := range s.Shares {
		done += max(of(h), 0)
		// Borders are rounded from the running sum, so that rounding does
		// not add up.
		to := min(int(math.Round(float64(done)/float64(capacity)*float64(w))), w)
		l.Repeat(themes.FG(tokOf(h, i)), s.fill(th, i), to-cells)
		cells = max(cells, to)
	}
	l.Repeat(themes.FG(themes.Track), th.Glyphs.Dot, w-cells)
	tone := themes.Text
	if sum > capacity {
		tone = themes.Bad
	}
	return l.Field(themes.FG(tone), text, l.Left(), Right).String()
}

func (s Stacked) header(th *themes.Theme, width int) string {
	l := NewLine(th, width)
	p := themes.FG(themes.Muted)
	name, num := s.fields(width)
	return l.Space(2).Field(p, "owner", name, Left).Field(p, "planned", num, Right).Field(p, "used", num, Right).
		Field(p, "of plan", stackedShare, Right).String()
}

func (s Stacked) row(th *themes.Theme, h Share, fill string, tok themes.Token, width int) string {
	l := NewLine(th, width)
	name, num := s.fields(width)
	used, share := "-", "-"
	tone := themes.Text
	if h.Used >= 0 {
		used = Bytes(h.Used)
		if h.Planned > 0 {
			share = Percent(float64(h.Used) / float64(h.Planned))
		}
		if h.Used > h.Planned {
			tone = themes.Bad
		}
	}
	l.Repeat(themes.FG(tok), fill, 1).Space(1).Field(themes.FG(themes.Text), h.Name, name, Left)
	return l.Field(themes.FG(themes.Text), Bytes(h.Planned), num, Right).
		Field(themes.FG(tone), used, num, Right).Field(themes.FG(themes.Muted), share, stackedShare, Right).String()
}

// fields are the widths of the name and of the number columns.
func (s Stacked) fields(width int) (name, num int) {
	num = 11
	name = 10
	for _, h := range s.Shares {
		name = max(name, Width(h.Name))
	}
	return min(name, max(width-2-2*num, 0)), num
}
