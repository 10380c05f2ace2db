package dialog

import (
	"lathe/themes"
	"lathe/tui/widget"

	tea "charm.land/bubbletea/v2"
)

// Input asks for a line of text. Make it with NewInput.
type Input struct {
	Title    string
	Body     string                    // shown above the line; may be empty
	Validate func(string) error        // may be nil; its error shows and keeps the dialog open
	OnDone   func(text string) tea.Cmd // with the text, on enter
	OnCancel func() tea.Cmd            // may be nil
	line     *widget.Input
	err      error
	th       *themes.Theme
}

// NewInput makes an input with a text to begin with.
func NewInput(th *themes.Theme, title, value string, onDone func(string) tea.Cmd) *Input {
	in := &Input{Title: title, OnDone: onDone, line: widget.NewInput(th, "", ""), th: th}
	in.line.SetValue(value)
	in.line.CursorEnd()
	return in
}

// Update edits the line; enter ends it.
func (in *Input) Update(msg tea.Msg) (bool, tea.Cmd) {
	if key, ok := msg.(tea.KeyPressMsg); ok && key.String() == "enter" {
		if in.Validate != nil {
			if in.err = in.Validate(in.line.Value()); in.err != nil {
				return false, nil
			}
		}
		if in.OnDone == nil {
			return true, nil
		}
		return true, in.OnDone(in.line.Value())
	}
	changed, cmd := in.line.Update(msg)
	if changed {
		in.err = nil
	}
	return false, cmd
}

// Cancel is called on esc.
func (in *Input) Cancel() tea.Cmd { return call(in.OnCancel) }

// View draws the line under its text.
func (in *Input) View(th *themes.Theme, width, height int) string {
	if th != in.th {
		in.line.SetTheme(th)
		in.th = th
	}
	w := fitWidth(56, 30, width)
	inner := max(w-4, 1)
	var body []string
	if in.Body != "" {
		body = append(clipRows(paragraph(th, themes.FG(themes.Muted), in.Body, inner), height-7), "")
	}
	body = append(body, in.line.View(inner), widget.Rule(th, "", inner))
	if in.err != nil {
		body = append(body, paragraph(th, themes.FG(themes.Bad), in.err.Error(), inner)...)
	}
	return box(th, in.Title, themes.None, body, hint(th, inner, "enter", "accept", "esc", "cancel"), w)
}
