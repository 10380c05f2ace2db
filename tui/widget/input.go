package widget

import (
	"image/color"
	"strings"

	"lathe/themes"

	"charm.land/bubbles/v2/textarea"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
)

// Input is a line of text to edit: a filter, a command, a name. It is
// bubbles' textinput in the theme's colours, with a cursor that does not
// blink (a blink is traffic on a slow line) and a history.
type Input struct {
	textinput.Model
	history []string
	at      int // position in history; len(history) is the line being edited
	draft   string
}

// NewInput makes a focused line with a prompt such as "/" or ":".
func NewInput(th *themes.Theme, prompt, placeholder string) *Input {
	m := textinput.New()
	m.Prompt = prompt
	m.Placeholder = placeholder
	in := &Input{Model: m}
	in.SetTheme(th)
	in.Focus()
	return in
}

// SetTheme recolours the line.
func (in *Input) SetTheme(th *themes.Theme) {
	state := textinput.StyleState{
		Text: th.Style(themes.Text), Placeholder: th.Style(themes.Faint),
		Suggestion: th.Style(themes.Faint), Prompt: th.Style(themes.Accent),
	}
	blurred := state
	blurred.Prompt = th.Style(themes.Muted)
	in.SetStyles(textinput.Styles{
		Focused: state, Blurred: blurred,
		Cursor: textinput.CursorStyle{Color: cursorColor(th), Shape: tea.CursorBlock, Blink: false},
	})
}

// cursorColor is nil where the theme has no colour: reverse video alone.
func cursorColor(th *themes.Theme) color.Color {
	if c := th.Color(themes.Cursor); c != (lipgloss.NoColor{}) {
		return c
	}
	return nil
}

// Update handles a key or a paste and says whether the text changed.
func (in *Input) Update(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	before := in.Value()
	if key, ok := msg.(tea.KeyPressMsg); ok && len(in.history) > 0 {
		switch key.String() {
		case "up", "ctrl+p":
			in.recall(-1)
			return in.Value() != before, nil
		case "down", "ctrl+n":
			in.recall(1)
			return in.Value() != before, nil
		}
	}
	in.Model, cmd = in.Model.Update(msg)
	return in.Value() != before, cmd
}

// Remember appends the line to the history, once.
func (in *Input) Remember(line string) {
	if line != "" && (len(in.history) == 0 || in.history[len(in.history)-1] != line) {
		in.history = append(in.history, line)
	}
	in.at = len(in.history)
}

func (in *Input) recall(delta int) {
	if in.at == len(in.history) {
		in.draft = in.Value()
	}
	in.at = min(max(in.at+delta, 0), len(in.history))
	if in.at == len(in.history) {
		in.SetValue(in.draft)
	} else {
		in.SetValue(in.history[in.at])
	}
	in.CursorEnd()
}

// View draws the line exactly width cells wide.
func (in *Input) View(width int) string {
	in.SetWidth(max(width-Width(in.Prompt)-1, 1))
	return Fit(unturned(in.Model.View()), width, Left, "")
}

// Editor is a text of several lines to edit: a prompt of the playground. It
// is bubbles' textarea in the theme's colours.
type Editor struct {
	textarea.Model
}

// NewEditor makes a focused editor.
func NewEditor(th *themes.Theme, placeholder string) *Editor {
	m := textarea.New()
	m.Prompt = ""
	m.Placeholder = placeholder
	m.ShowLineNumbers = false
	m.CharLimit = 0
	m.MaxHeight = 0
	e := &Editor{Model: m}
	e.SetTheme(th)
	e.Focus()
	return e
}

// SetTheme recolours the editor.
func (e *Editor) SetTheme(th *themes.Theme) {
	state := textarea.StyleState{
		Text: th.Style(themes.Text), Placeholder: th.Style(themes.Faint), Prompt: th.Style(themes.Accent),
		EndOfBuffer: th.Style(themes.Faint), CursorLine: th.Style(themes.Text),
	}
	e.SetStyles(textarea.Styles{
		Focused: state, Blurred: state,
		Cursor: textarea.CursorStyle{Color: cursorColor(th), Shape: tea.CursorBlock, Blink: false},
	})
}

// Update handles a key or a paste and says whether the text changed.
func (e *Editor) Update(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	before := e.Value()
	e.Model, cmd = e.Model.Update(msg)
	return e.Value() != before, cmd
}

// View draws the editor in width × height.
func (e *Editor) View(width, height int) string {
	if width <= 0 || height <= 0 {
		return ""
	}
	e.SetWidth(width)
	e.SetHeight(height)
	return Block(unturned(e.Model.View()), width, height)
}

// unturned leaves out of a drawing what would turn the writing direction of the row: pasted text may have it. The text that is
// edited keeps it. bubbles' own sanitiser has taken the other control characters.
func unturned(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c {
			return -1
		}
		return r
	}, s)
}
