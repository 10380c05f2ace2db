package dialog

import (
	"lathe/themes"
	"lathe/tui/widget"

	tea "charm.land/bubbletea/v2"
)

// Field is one row of a Form.
type Field struct {
	Label    string
	Value    string
	Help     string             // what it means, shown while the field is edited
	Validate func(string) error // may be nil
}

// Form asks for several values at once. Make it with NewForm.
type Form struct {
	Title    string
	OnDone   func(values []string) tea.Cmd // in the order of the fields, when all are valid
	OnCancel func() tea.Cmd                // may be nil
	fields   []Field
	lines    []*widget.Input
	at       int
	err      error
	th       *themes.Theme
}

// NewForm makes a form with the cursor in its first field.
func NewForm(th *themes.Theme, title string, fields []Field, onDone func([]string) tea.Cmd) *Form {
	f := &Form{Title: title, OnDone: onDone, fields: fields, th: th}
	for _, field := range fields {
		in := widget.NewInput(th, "", "")
		in.SetValue(field.Value)
		in.CursorEnd()
		in.Blur()
		f.lines = append(f.lines, in)
	}
	f.focus(0)
	return f
}

// focus moves the cursor to a field, around the ends.
func (f *Form) focus(at int) {
	if len(f.lines) == 0 {
		return
	}
	f.lines[f.at].Blur()
	f.at = (at + len(f.lines)) % len(f.lines)
	f.lines[f.at].Focus()
	f.lines[f.at].CursorEnd()
}

// Update walks the fields by tab and arrows and edits them; enter accepts them all.
func (f *Form) Update(msg tea.Msg) (bool, tea.Cmd) {
	if key, ok := msg.(tea.KeyPressMsg); ok {
		switch key.String() {
		case "enter":
			return f.accept()
		case "down", "tab", "ctrl+n":
			f.focus(f.at + 1)
			return false, nil
		case "up", "shift+tab", "ctrl+p":
			f.focus(f.at - 1)
			return false, nil
		}
	}
	if len(f.lines) == 0 {
		return false, nil
	}
	changed, cmd := f.lines[f.at].Update(msg)
	if changed {
		f.err = nil
	}
	return false, cmd
}

// accept closes the form when every field is valid; otherwise it goes to the first that is not.
func (f *Form) accept() (bool, tea.Cmd) {
	values := make([]string, len(f.lines))
	for i, in := range f.lines {
		values[i] = in.Value()
		if f.fields[i].Validate == nil {
			continue
		}
		if f.err = f.fields[i].Validate(values[i]); f.err != nil {
			f.focus(i)
			return false, nil
		}
	}
	if f.OnDone == nil {
		return true, nil
	}
	return true, f.OnDone(values)
}

// Cancel is called on esc.
func (f *Form) Cancel() tea.Cmd { return call(f.OnCancel) }

// View draws a row for each field, and below them what the one under the cursor means or what is wrong with it.
func (f *Form) View(th *themes.Theme, width, height int) string {
	if th != f.th {
		for _, in := range f.lines {
			in.SetTheme(th)
		}
		f.th = th
	}
	label, want := 0, 44
	for _, field := range f.fields {
		label = max(label, widget.Width(field.Label))
		want = max(want, min(widget.Width(field.Help), 64))
	}
	w := fitWidth(want, 34, width)
	inner := max(w-4, 1)
	label = min(label, inner/2)
	var rows []string
	for i, in := range f.lines {
		l := widget.NewLine(th, label+4)
		pen := themes.FG(themes.Muted)
		if i == f.at {
			pen = themes.FG(themes.Accent)
			l.Repeat(pen, th.Glyphs.Pointer, 1)
		}
		l.FillTo(2).Field(pen, f.fields[i].Label, label, widget.Left)
		rows = append(rows, l.String()+in.View(max(inner-label-4, 1)))
	}
	room := max(height-5, 1) // frame, a line below the fields, hints with their blank
	if first := max(f.at-room+1, 0); len(rows) > room {
		rows = rows[first : first+room]
	}
	foot := widget.NewLine(th, inner)
	switch {
	case f.err != nil:
		foot.Add(themes.FG(themes.Bad), f.err.Error())
	case f.at < len(f.fields):
		foot.Add(themes.FG(themes.Faint), f.fields[f.at].Help)
	}
	body := append(rows, foot.String())
	return box(th, f.Title, themes.None, body, hint(th, inner, "enter", "accept", "tab", "next", "esc", "cancel"), w)
}
