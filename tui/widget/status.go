package widget

import (
	"strconv"
	"time"

	"lathe/themes"
)

// Segment is a piece of the status bar. Where room is short, segments of the
// highest Rank go first.
type Segment struct {
	Text string
	Pen  themes.Pen
	Rank int
}

// StatusBar draws one row: left segments from the left, right ones at the
// right edge, on Panel.
func StatusBar(th *themes.Theme, width int, left, right []Segment) string {
	l := NewLine(th, width).On(themes.Panel)
	left, right = dropSegments(width-2, left, right)
	l.Space(1)
	dot := themes.FG(themes.Faint)
	add := func(segs []Segment) {
		for i, s := range segs {
			if i > 0 {
				l.Space(1).Repeat(dot, th.Glyphs.Dot, 1).Space(1)
			}
			l.Add(penOr(s.Pen, themes.Muted), s.Text)
		}
	}
	add(left)
	l.Space(l.Left() - segmentsWidth(right) - 1)
	add(right)
	return l.String()
}

func penOr(p themes.Pen, t themes.Token) themes.Pen {
	if p.FG == themes.None {
		p.FG = t
	}
	return p
}

func segmentsWidth(segs []Segment) int {
	w := 0
	for i, s := range segs {
		if i > 0 {
			w += 3
		}
		w += Width(Sanitize(s.Text))
	}
	return w
}

// dropSegments leaves out empty segments, then those of the highest rank
// until the rest fits.
func dropSegments(width int, left, right []Segment) ([]Segment, []Segment) {
	keep := func(in []Segment, skip int) []Segment {
		out := in[:0:0]
		for i, s := range in {
			if s.Text != "" && i != skip {
				out = append(out, s)
			}
		}
		return out
	}
	left, right = keep(left, -1), keep(right, -1)
	for len(left)+len(right) > 1 {
		gap := 0
		if len(left) > 0 && len(right) > 0 {
			gap = 2
		}
		if segmentsWidth(left)+segmentsWidth(right)+gap <= width {
			break
		}
		worst, at, inRight := -1, 0, false
		for i, s := range left {
			if s.Rank >= worst {
				worst, at, inRight = s.Rank, i, false
			}
		}
		for i, s := range right {
			if s.Rank > worst {
				worst, at, inRight = s.Rank, i, true
			}
		}
		if inRight {
			right = keep(right, at)
		} else {
			left = keep(left, at)
		}
	}
	return left, right
}

// Tab is one tab of a tab row.
type Tab struct {
	Title string
	Badge string // a count or a sign after the title
	Tone  themes.Token
}

// Tabs draws a row of numbered tabs: " 1 Data  2 Train ". Where they do not
// fit, titles of inactive tabs are left out.
func Tabs(th *themes.Theme, width int, tabs []Tab, active int) string {
	full := 0
	for _, t := range tabs {
		full += Width(t.Title) + Width(t.Badge) + 5
	}
	l := NewLine(th, width)
	for i, t := range tabs {
		number, title, bg := themes.FG(themes.Faint), themes.FG(themes.Muted), themes.None
		if i == active {
			number, title = themes.FG(themes.OnCursor), themes.FG(themes.OnCursor, themes.Bold)
			bg = themes.Cursor
		}
		l.Add(number.On(bg), " "+strconv.Itoa(i+1)+" ")
		if full <= width || i == active {
			l.Add(title.On(bg), t.Title+" ")
		}
		if t.Badge != "" {
			tone := penOr(themes.FG(t.Tone), themes.Warn)
			if i == active {
				tone = title
			}
			l.Add(tone.On(bg), t.Badge+" ")
		}
	}
	return l.String()
}

// NoticeKind sets the sign and tone of a notice.
type NoticeKind uint8

// The kinds, which have a colour each.
const (
	NoticeInfo NoticeKind = iota
	NoticeGood
	NoticeWarn
	NoticeBad
)

// Notice is a message that goes away by itself.
type Notice struct {
	Kind  NoticeKind
	Text  string
	Until time.Time
}

// Notices is the queue of messages of which the newest shows.
type Notices struct {
	list []Notice
}

// Push shows a message from now on: news for 4 seconds, trouble for 10.
func (n *Notices) Push(now time.Time, kind NoticeKind, text string) {
	span := 4 * time.Second
	if kind >= NoticeWarn {
		span = 10 * time.Second
	}
	n.Tick(now)
	n.list = append(n.list, Notice{kind, text, now.Add(span)})
	if len(n.list) > 16 {
		n.list = n.list[len(n.list)-16:]
	}
}

// Tick drops what has had its time and says whether something changed.
func (n *Notices) Tick(now time.Time) bool {
	kept := n.list[:0]
	for _, m := range n.list {
		if now.Before(m.Until) {
			kept = append(kept, m)
		}
	}
	changed := len(kept) != len(n.list)
	n.list = kept
	return changed
}

// Clear drops all.
func (n *Notices) Clear() { n.list = nil }

// Current is the message to show; ok is false when there is none. Trouble
// outlasts later news.
func (n *Notices) Current() (Notice, bool) {
	best := -1
	for i, m := range n.list {
		if best < 0 || m.Kind >= n.list[best].Kind || n.list[best].Kind < NoticeWarn {
			best = i
		}
	}
	if best < 0 {
		return Notice{}, false
	}
	return n.list[best], true
}

// View draws the current message as one row, blank when there is none.
func (n *Notices) View(th *themes.Theme, width int) string {
	m, ok := n.Current()
	if !ok {
		return spaces(width)
	}
	return m.View(th, width)
}

// View draws the message with its sign: "✓ saved checkpoint-40".
func (m Notice) View(th *themes.Theme, width int) string {
	sign, tok := m.Sign(th)
	l := NewLine(th, width).Repeat(themes.FG(tok), sign, 1).Space(1)
	pen := themes.FG(themes.Text)
	if m.Kind >= NoticeWarn {
		pen = themes.FG(tok)
	}
	return l.Field(pen, m.Text, l.Left(), Left).String()
}

// Sign is the glyph and tone of the kind.
func (m Notice) Sign(th *themes.Theme) (string, themes.Token) {
	switch m.Kind {
	case NoticeGood:
		return th.Glyphs.Check, themes.Good
	case NoticeWarn:
		return th.Glyphs.Warning, themes.Warn
	case NoticeBad:
		return th.Glyphs.Times, themes.Bad
	default:
		return th.Glyphs.Bullet, themes.Info
	}
}
