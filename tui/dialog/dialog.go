// Package dialog is the stack of modal windows over the workbench: confirm,
// message, input, choose and help. The topmost takes all keys, esc closes it,
// and what was decided comes back through the callback it was made with.
package dialog

import (
	"strings"

	"lathe/themes"
	"lathe/tui/widget"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// Dialog is one modal window.
type Dialog interface {
	// Update handles a message; done closes the dialog.
	Update(msg tea.Msg) (done bool, cmd tea.Cmd)
	// Cancel is called when esc or ctrl+c closes the dialog.
	Cancel() tea.Cmd
	// View draws the window, at most width × height cells, smaller if its
	// content is.
	View(th *themes.Theme, width, height int) string
}

// Stack holds the open dialogs. The zero value is empty and ready.
type Stack struct {
	open []Dialog
}

// Push opens d above what is open.
func (s *Stack) Push(d Dialog) { s.open = append(s.open, d) }

// Len is the number of open dialogs.
func (s *Stack) Len() int { return len(s.open) }

// Top is the dialog that takes the keys, nil when none is open.
func (s *Stack) Top() Dialog {
	if len(s.open) == 0 {
		return nil
	}
	return s.open[len(s.open)-1]
}

// Clear closes all without calling them.
func (s *Stack) Clear() { s.open = nil }

// Update gives a message to the topmost dialog and closes it when it is done.
// handled is true for key, paste and mouse messages while one is open: they
// must go nowhere else.
func (s *Stack) Update(msg tea.Msg) (handled bool, cmd tea.Cmd) {
	d := s.Top()
	if d == nil {
		return false, nil
	}
	switch m := msg.(type) {
	case tea.KeyPressMsg:
		if k := m.String(); k == "esc" || k == "ctrl+c" {
			s.remove(d)
			return true, d.Cancel()
		}
		handled = true
	case tea.KeyMsg, tea.MouseMsg, tea.PasteMsg:
		handled = true
	}
	done, cmd := d.Update(msg)
	if done {
		s.remove(d)
	}
	return handled, cmd
}

// remove closes d, which may have opened another above itself meanwhile.
func (s *Stack) remove(d Dialog) {
	for i := len(s.open) - 1; i >= 0; i-- {
		if s.open[i] == d {
			s.open = append(s.open[:i], s.open[i+1:]...)
			return
		}
	}
}

// View draws the open dialogs over the background, which is width × height.
func (s *Stack) View(th *themes.Theme, background string, width, height int) string {
	for _, d := range s.open {
		// A margin around the window keeps the place in view.
		w, h := max(width-4, min(width, 20)), max(height-2, min(height, 5))
		background = Overlay(background, d.View(th, w, h), width, height)
	}
	return background
}

// Overlay puts the window in the middle of the background of width × height.
// Both keep their colours.
func Overlay(background, window string, width, height int) string {
	if window == "" {
		return background
	}
	rows := strings.Split(window, "\n")
	w := widget.Width(rows[0])
	x, y := max((width-w)/2, 0), max((height-len(rows))/2, 0)
	lines := strings.Split(background, "\n")
	for i, row := range rows {
		at := y + i
		if at >= len(lines) {
			break
		}
		lines[at] = splice(lines[at], row, x, w, width)
	}
	return strings.Join(lines, "\n")
}

// splice replaces the cells [x, x+w) of a line. A wide character that is cut
// in two leaves a blank.
func splice(line, row string, x, w, width int) string {
	left := ansi.Truncate(line, x, "")
	if gap := x - widget.Width(left); gap > 0 {
		left += strings.Repeat(" ", gap)
	}
	right := ansi.TruncateLeft(line, x+w, "")
	if widget.Width(right) > width-x-w { // it begins within a wide character
		right = ansi.TruncateLeft(line, x+w+1, "")
	}
	if gap := width - x - w - widget.Width(right); gap > 0 {
		right = strings.Repeat(" ", gap) + right
	}
	return left + ansi.ResetStyle + row + ansi.ResetStyle + right
}

// box frames the lines of a dialog: body rows, a blank row, a foot
// of key hints. Rows must be width-4 cells wide at most.
func box(th *themes.Theme, title string, tone themes.Token, body []string, foot string, width int) string {
	f := widget.Frame{Title: title, Focused: true, Tone: tone}
	rows := body
	if foot != "" {
		rows = append(append(rows[:len(rows):len(rows)], ""), foot)
	}
	return f.View(th, strings.Join(rows, "\n"), width, len(rows)+2)
}

// hint is a row of keys and what they do.
func hint(th *themes.Theme, width int, pairs ...string) string {
	l := widget.NewLine(th, width)
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			l.Space(3)
		}
		l.Add(themes.FG(themes.Accent), pairs[i]).Space(1).Add(themes.FG(themes.Muted), pairs[i+1])
	}
	return l.String()
}

// paragraph wraps text in the pen.
func paragraph(th *themes.Theme, p themes.Pen, text string, width int) []string {
	var out []string
	for _, l := range widget.SanitizeLines(text) {
		for _, w := range widget.Wrap(l, width) {
			out = append(out, widget.NewLine(th, width).Add(p, w).String())
		}
	}
	return out
}

// fitWidth is the width of a window for content of want cells.
func fitWidth(want, least, most int) int { return min(max(want+4, least), most) }

// longest is the width of the widest line of a text.
func longest(text string) int {
	w := 0
	for _, l := range widget.SanitizeLines(text) {
		w = max(w, widget.Width(l))
	}
	return w
}
