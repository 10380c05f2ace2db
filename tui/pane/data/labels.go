package data

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"lathe/session"
	"lathe/tui/pane"
	"lathe/tui/widget"
)

// labelKey is a key that gives the row under the cursor a label.
type labelKey struct{ key, label string }

var defaultLabels = []labelKey{{"g", "good"}, {"b", "bad"}, {"u", "unsure"}}

// takenKeys are those of the workbench and of this pane, which labels cannot have.
const takenKeys = "0123456789 ?:qLMnNflvVzYjkJKG/"

// parseLabels reads "g=good b=bad".
func parseLabels(args string) ([]labelKey, error) {
	var keys []labelKey
	for _, word := range strings.Fields(args) {
		key, label, found := strings.Cut(word, "=")
		switch {
		case !found || label == "":
			return nil, fmt.Errorf("%q is not KEY=NAME: write :labels g=good b=bad", word)
		case utf8.RuneCountInString(key) != 1:
			return nil, fmt.Errorf("the key of label %q is %q, not a single character", label, key)
		case strings.Contains(takenKeys, key):
			return nil, fmt.Errorf("key %q does something else here: choose another one for label %q", key, label)
		case slices.ContainsFunc(keys, func(k labelKey) bool { return k.key == key }):
			return nil, fmt.Errorf("key %q has two labels", key)
		}
		keys = append(keys, labelKey{key, label})
	}
	return keys, nil
}

// counts are the labels and how many rows have them, most first.
type counts struct {
	of    stamp
	list  []count
	total int
}

type count struct {
	label string
	n     int
}

func (p *Pane) countLabels(d session.DataView) {
	now := stampOf(d.Labels)
	if now == p.counts.of {
		return
	}
	n := map[string]int{}
	for _, label := range d.Labels {
		n[label]++
	}
	p.counts = counts{of: now, total: len(d.Labels)}
	for _, label := range slices.Sorted(maps.Keys(n)) {
		p.counts.list = append(p.counts.list, count{label, n[label]})
	}
	slices.SortStableFunc(p.counts.list, func(a, b count) int { return cmp.Compare(b.n, a.n) })
}

// label gives the row under the cursor a label and moves on; an empty one takes it away and stays.
func (p *Pane) label(label string) tea.Cmd {
	row := p.current()
	if row < 0 {
		return nil
	}
	if label != "" {
		p.table.Move(1)
		p.chosen = 0
	}
	return p.send(session.SetLabel{Row: row, Label: label})
}

// answered says that the session has taken a command of the queue, or why not.
type answered struct{ err error }

// send gives the session a command after those before it: a second label for the same row must not overtake the first, as it
// might if each key had a goroutine of its own.
func (p *Pane) send(cmd session.Command) tea.Cmd {
	p.queue = append(p.queue, cmd)
	if len(p.queue) > 1 {
		return nil
	}
	return p.sendFirst()
}

func (p *Pane) sendFirst() tea.Cmd {
	s, cmd := p.c.Session, p.queue[0]
	return func() tea.Msg { return answered{s.Do(cmd)} }
}

// takeAnswer tells a refusal and sends what waits.
func (p *Pane) takeAnswer(m answered) tea.Cmd {
	var cmds []tea.Cmd
	if m.err != nil {
		cmds = append(cmds, told(m.err.Error(), true))
	}
	if p.queue = p.queue[1:]; len(p.queue) > 0 {
		cmds = append(cmds, p.sendFirst())
	}
	return tea.Batch(cmds...)
}

// undo takes the last label back and shows its row.
func (p *Pane) undo() tea.Cmd {
	if undo := p.c.View.Data.Undo; len(undo) > 0 {
		p.goTo(undo[len(undo)-1].Row)
	}
	return p.send(session.UndoLabel{})
}

// labelled is a line of an export.
type labelled struct {
	Row   int    `json:"row"`
	Line  int    `json:"line"`
	Label string `json:"label"`
}

// exportLabels writes the labels, by row, to a new file.
func exportLabels(s pane.Session, labels map[int]string, path string) tea.Cmd {
	return func() tea.Msg {
		if err := writeLabels(s, labels, path); err != nil {
			return pane.Told{Text: fmt.Sprintf("export labels: %v", err), Err: true}
		}
		what := "labels"
		if len(labels) == 1 {
			what = "label"
		}
		return pane.Told{Text: fmt.Sprintf("%s %s written to %s", widget.Group(int64(len(labels))), what, path)}
	}
}

func writeLabels(s pane.Session, labels map[int]string, path string) error {
	if len(labels) == 0 {
		return errors.New("no row has a label")
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists: name a new file", path)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".labels-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(encodeLabels(s, labels, tmp), tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// A link fails where the name has been taken meanwhile; some file systems have none.
	switch err := os.Link(tmp.Name(), path); {
	case err == nil:
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s exists: name a new file", path)
	default:
		if err := os.Rename(tmp.Name(), path); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(path))
}

func encodeLabels(s pane.Session, labels map[int]string, to *os.File) error {
	lines := bufio.NewWriter(to)
	out := json.NewEncoder(lines)
	out.SetEscapeHTML(false)
	for _, row := range slices.Sorted(maps.Keys(labels)) {
		r, err := s.Row(row)
		if err != nil {
			return err
		}
		if err := out.Encode(labelled{Row: row, Line: r.Line, Label: labels[row]}); err != nil {
			return err
		}
	}
	return lines.Flush()
}

// syncFolder makes a new name last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
