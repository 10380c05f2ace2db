package widget

import (
	"strings"

	"lathe/themes"
)

// Binding is a row of the key table, from which help is drawn.
type Binding struct {
	Keys     []string // as shown: "space", "ctrl+k"
	Help     string   // what it does, in two or three words
	Group    string   // heading in the help panel
	Disabled string   // why it cannot act now; empty when it can
	Hidden   bool     // not shown
}

// HelpLine is the short help of a status line: "space pause  ? help", as many
// as fit, disabled ones left out.
func HelpLine(th *themes.Theme, bindings []Binding, width int) string {
	l := NewLine(th, width).Space(1)
	for _, b := range bindings {
		if b.Hidden || b.Disabled != "" || len(b.Keys) == 0 {
			continue
		}
		w := Width(b.Keys[0]) + 1 + Width(b.Help)
		gap := 0
		if l.used > 1 {
			gap = 2
		}
		if gap+w > l.Left() {
			break
		}
		l.Space(gap).Add(themes.FG(themes.Accent), b.Keys[0]).Space(1).Add(themes.FG(themes.Muted), b.Help)
	}
	return l.String()
}

// HelpRows are the rows of the help panel: groups with their keys, set in as
// many columns as width has room for, all of one width that is at most width.
// Scroll them in a dialog or pane.
func HelpRows(th *themes.Theme, bindings []Binding, width int) []string {
	groups := groupBindings(bindings)
	if len(groups) == 0 || width <= 0 {
		return nil
	}
	keyw, helpw := 6, 12
	for _, b := range bindings {
		if b.Hidden {
			continue
		}
		keyw = max(keyw, min(Width(joinKeys(b)), 22))
		helpw = max(helpw, min(Width(helpText(b)), 48))
	}
	const gap = 4
	cols := min(max((width+gap)/(keyw+2+helpw+gap), 1), len(groups))
	colw := min((width-gap*(cols-1))/cols, keyw+2+helpw)
	columns := balance(groups, cols)
	blocks := make([][]string, cols)
	rows := 0
	for i, gs := range columns {
		for j, g := range gs {
			if j > 0 {
				blocks[i] = append(blocks[i], spaces(colw))
			}
			blocks[i] = append(blocks[i], g.rows(th, colw, keyw)...)
		}
		rows = max(rows, len(blocks[i]))
	}
	out := make([]string, rows)
	for r := range out {
		var b strings.Builder
		for i, col := range blocks {
			if i > 0 {
				b.WriteString(spaces(gap))
			}
			if r < len(col) {
				b.WriteString(col[r])
			} else {
				b.WriteString(spaces(colw))
			}
		}
		out[r] = Truncate(b.String(), width, "")
	}
	return out
}

type helpGroup struct {
	name     string
	bindings []Binding
}

func groupBindings(bindings []Binding) []helpGroup {
	var groups []helpGroup
	at := map[string]int{}
	for _, b := range bindings {
		if b.Hidden || len(b.Keys) == 0 {
			continue
		}
		i, ok := at[b.Group]
		if !ok {
			i = len(groups)
			at[b.Group] = i
			groups = append(groups, helpGroup{name: b.Group})
		}
		groups[i].bindings = append(groups[i].bindings, b)
	}
	return groups
}

// balance deals groups to columns in order, so that the tallest column is as
// short as order allows.
func balance(groups []helpGroup, cols int) [][]helpGroup {
	total := 0
	for _, g := range groups {
		total += g.height()
	}
	for limit := (total + cols - 1) / cols; ; limit++ {
		out := [][]helpGroup{nil}
		used := 0
		for _, g := range groups {
			if used > 0 && used+g.height() > limit {
				out = append(out, nil)
				used = 0
			}
			out[len(out)-1] = append(out[len(out)-1], g)
			used += g.height()
		}
		if len(out) <= cols {
			return append(out, make([][]helpGroup, cols-len(out))...)
		}
	}
}

// height counts the heading and the blank row after the group.
func (g helpGroup) height() int { return len(g.bindings) + 2 }

func (g helpGroup) rows(th *themes.Theme, width, keyw int) []string {
	var out []string
	if g.name != "" {
		out = append(out, NewLine(th, width).Add(themes.FG(themes.Title), g.name).String())
	}
	for _, b := range g.bindings {
		key, text := themes.FG(themes.Accent), themes.FG(themes.Text)
		if b.Disabled != "" {
			key, text = themes.FG(themes.Faint), themes.FG(themes.Faint)
		}
		l := NewLine(th, width).Field(key, joinKeys(b), min(keyw, width/2), Left).Space(2)
		out = append(out, l.Field(text, helpText(b), l.Left(), Left).String())
	}
	return out
}

// helpText is the help with the reason why it cannot act now.
func helpText(b Binding) string {
	if b.Disabled != "" {
		return b.Help + " (" + b.Disabled + ")"
	}
	return b.Help
}

func joinKeys(b Binding) string { return strings.Join(b.Keys, " ") }
