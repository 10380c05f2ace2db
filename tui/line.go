package tui

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"lathe/themes"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// commandLine is the open command line.
type commandLine struct {
	input *widget.Input
	// found are completions of what stands before the cursor, at the one that was put in last.
	found []string
	head  string // what stands before the completed word
	at    int
	asked int // counts requests: an answer to an older one is dropped
}

// completions answers a request for completions.
type completions struct {
	asked int
	head  string
	found []string
}

func (m *model) openLine() tea.Cmd {
	m.line = &commandLine{input: widget.NewInput(m.theme, ":", "")}
	for _, h := range m.history {
		m.line.input.Remember(h)
	}
	return nil
}

// lineKey edits the command line: enter runs it, esc leaves it, tab completes.
func (m *model) lineKey(msg tea.KeyPressMsg) tea.Cmd {
	l := m.line
	switch msg.String() {
	case "esc", "ctrl+c", "ctrl+g":
		m.line = nil
		return nil
	case "enter":
		m.line = nil
		text := strings.TrimSpace(l.input.Value())
		if text != "" {
			m.history = append(m.history, text)
		}
		return m.execute(text)
	case "tab":
		return l.complete(m, 1)
	case "shift+tab":
		return l.complete(m, -1)
	case "backspace":
		if l.input.Value() == "" {
			m.line = nil
			return nil
		}
	}
	changed, cmd := l.input.Update(msg)
	if changed {
		l.found = nil
		l.asked++
	}
	return cmd
}

// complete puts the next completion in, after asking for them.
func (l *commandLine) complete(m *model, by int) tea.Cmd {
	if len(l.found) > 0 {
		l.at = (l.at + by + len(l.found)) % len(l.found)
		l.put()
		return nil
	}
	text := l.input.Value()
	name, arg, spaced := strings.Cut(strings.TrimLeft(text, " "), " ")
	l.asked++
	asked := l.asked
	if !spaced {
		var found []string
		for _, w := range m.words() {
			if strings.HasPrefix(w.Name, name) {
				found = append(found, w.Name+" ")
			}
		}
		m.handleCompletions(completions{asked, "", found})
		return nil
	}
	word, ok := m.word(name)
	if !ok || word.complete == nil {
		return nil
	}
	c := m.context(m.front)
	return func() tea.Msg { return completions{asked, name + " ", word.complete(c, strings.TrimLeft(arg, " "))} }
}

func (m *model) handleCompletions(c completions) {
	l := m.line
	if l == nil || l.asked != c.asked || len(c.found) == 0 {
		return
	}
	l.found, l.head, l.at = c.found, c.head, 0
	l.put()
	if len(l.found) == 1 {
		l.found = nil // tab goes on from here, into the folder say
	}
}

func (l *commandLine) put() {
	l.input.SetValue(l.head + l.found[l.at])
	l.input.CursorEnd()
}

// status is the row below the open command line: completions, the word's usage, or the words that fit so far.
func (l *commandLine) status(m *model) string {
	if len(l.found) > 1 {
		return l.choices(m)
	}
	name, _, spaced := strings.Cut(strings.TrimLeft(l.input.Value(), " "), " ")
	if w, ok := m.word(name); ok {
		left := []widget.Segment{
			{Text: strings.TrimSpace(w.Name + " " + w.Args), Pen: themes.FG(themes.Accent)},
			{Text: w.Help, Pen: themes.FG(themes.Text), Rank: 1},
		}
		return widget.StatusBar(m.theme, m.width, left, []widget.Segment{{Text: "tab completes", Rank: 2}})
	}
	var names []string
	for _, w := range m.words() {
		if strings.HasPrefix(w.Name, name) {
			names = append(names, w.Name)
		}
	}
	if spaced || len(names) == 0 {
		text := "no command " + quote(name)
		if near := m.nearestWord(name); near != "" {
			text += ": did you mean " + near + "?"
		}
		return widget.StatusBar(m.theme, m.width, []widget.Segment{{Text: text, Pen: themes.FG(themes.Warn)}}, nil)
	}
	l2 := widget.NewLine(m.theme, m.width).On(themes.Panel).Space(1)
	return l2.Field(themes.FG(themes.Muted), strings.Join(names, "  "), l2.Left(), widget.Left).String()
}

// choices shows the completions around the one that was put in.
func (l *commandLine) choices(m *model) string {
	line := widget.NewLine(m.theme, m.width).On(themes.Panel).Space(1)
	first, used := 0, 0
	for i := range l.at + 1 { // begin so that the chosen one is in sight
		used += widget.Width(short(l.found[i])) + 2
		for used > m.width-2 && first < i {
			used -= widget.Width(short(l.found[first])) + 2
			first++
		}
	}
	for i := first; i < len(l.found) && line.Left() > 0; i++ {
		pen := themes.FG(themes.Muted)
		if i == l.at {
			pen = themes.FG(themes.Accent, themes.Bold)
		}
		line.Add(pen, short(l.found[i])).Space(2)
	}
	return line.String()
}

// short is a completion as the row of choices shows it: a path's last part.
func short(s string) string {
	s = strings.TrimSpace(s)
	if base := filepath.Base(s); len(base) > 1 && strings.Contains(s, "/") {
		if strings.HasSuffix(s, "/") {
			return base + "/"
		}
		return base
	}
	return s
}

// execute runs a command line.
func (m *model) execute(text string) tea.Cmd {
	name, args, _ := strings.Cut(text, " ")
	args = strings.TrimSpace(args)
	if name == "" {
		return nil
	}
	if w, ok := m.word(name); ok {
		return w.start(m, args)
	}
	if i := m.paneNamed(name); i >= 0 && i < m.tabbed {
		m.choose(i)
		return nil
	}
	why := "no command " + quote(name)
	if near := m.nearestWord(name); near != "" {
		why += ": did you mean :" + near + "?"
	}
	m.told(pane.Told{Text: why + " (? lists them all)", Err: true})
	return nil
}

// files completes a path on the disk. Folders end in a slash; hidden files show when asked for.
func files(_ pane.Context, prefix string) []string {
	dir, base := filepath.Split(prefix)
	from := dir
	switch {
	case from == "":
		from = "."
	case strings.HasPrefix(from, "~/"):
		if home, err := os.UserHomeDir(); err == nil {
			from = filepath.Join(home, from[2:])
		}
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil
	}
	const most = 200
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || base == "" && strings.HasPrefix(name, ".") || len(found) == most {
			continue
		}
		if isFolder(from, e) {
			name += "/"
		}
		found = append(found, dir+name)
	}
	return found
}

// isFolder follows links: a model's folder often is one.
func isFolder(dir string, e os.DirEntry) bool {
	if e.Type()&os.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err == nil && info.IsDir()
}

// path resolves ~ in a path that was typed.
func path(text string) string {
	if rest, ok := strings.CutPrefix(text, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return text
}

// nearestWord is the command whose name is closest to a mistyped one, "" where none is close.
func (m *model) nearestWord(name string) string {
	best, least := "", len(name)/2+2
	for _, w := range m.words() {
		if d := distance(name, w.Name); d < least {
			best, least = w.Name, d
		}
	}
	return best
}

// distance is Levenshtein's: the fewest letters to put in, take out or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func quote(s string) string { return "“" + s + "”" }

// start runs a word with its arguments, guarded where it is a pane's.
func (w word) start(m *model, args string) tea.Cmd {
	if w.need && args == "" {
		m.told(pane.Told{Text: "usage: :" + w.Name + " " + w.Args, Err: true})
		return nil
	}
	if w.slot == none {
		return w.run(m, args)
	}
	return m.guarded(w.slot, func() tea.Cmd {
		m.slots[w.slot].touch()
		return w.Run(m.context(w.slot), args)
	})
}

func (m *model) word(name string) (word, bool) {
	words := m.words()
	i := slices.IndexFunc(words, func(w word) bool { return w.Name == name })
	if i < 0 {
		return word{}, false
	}
	return words[i], true
}
