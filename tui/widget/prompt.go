package widget

import (
	"lathe/themes"

	tea "charm.land/bubbletea/v2"
)

// Prompt is an Editor for a text that is sent as a whole: enter sends it, alt+enter, shift+enter and ctrl+j break the line,
// esc leaves it as it is; up on the first line and down on the last go through what was sent before. Make it with NewPrompt.
type Prompt struct {
	placeholder string
	editor      *Editor // nil before it was opened
	open        bool
	recall      int // texts back in history; 0 is the one being typed
	draft       string
	margin      Cache[promptMargin]
}

type promptMargin struct {
	th     *themes.Theme
	height int
}

// NewPrompt makes a closed, empty prompt.
func NewPrompt(placeholder string) *Prompt { return &Prompt{placeholder: placeholder} }

// Open begins to type.
func (p *Prompt) Open(th *themes.Theme) tea.Cmd {
	if p.editor == nil {
		p.editor = NewEditor(th, p.placeholder)
	}
	p.open, p.recall = true, 0
	return p.editor.Focus()
}

// Typing tells that the prompt takes the keys.
func (p *Prompt) Typing() bool { return p.open }

// Leave ends typing; what was typed stays.
func (p *Prompt) Leave() {
	p.open = false
	if p.editor != nil {
		p.editor.Blur()
	}
}

// Value is the text.
func (p *Prompt) Value() string {
	if p.editor == nil {
		return ""
	}
	return p.editor.Value()
}

// SetValue puts a text into the prompt.
func (p *Prompt) SetValue(th *themes.Theme, text string) {
	if p.editor == nil {
		p.editor = NewEditor(th, p.placeholder)
		p.editor.Blur()
	}
	p.editor.SetValue(text)
	p.editor.MoveToEnd()
}

// Clear empties the prompt, after its text was sent.
func (p *Prompt) Clear() {
	p.recall, p.draft = 0, ""
	if p.editor != nil {
		p.editor.Reset()
	}
}

// Update handles a key or a paste while Typing; history are the texts sent before, the newest last. send is true for enter.
func (p *Prompt) Update(msg tea.Msg, history []string) (send bool, cmd tea.Cmd) {
	if !p.open {
		return false, nil
	}
	if key, ok := msg.(tea.KeyPressMsg); ok {
		switch key.String() {
		case "esc":
			p.Leave()
			return false, nil
		case "enter":
			return true, nil
		case "alt+enter", "shift+enter", "ctrl+enter", "ctrl+j":
			p.editor.InsertString("\n")
			return false, nil
		case "tab", "shift+tab":
			return false, nil
		case "ctrl+p":
			p.remember(history, 1)
			return false, nil
		case "ctrl+n":
			p.remember(history, -1)
			return false, nil
		case "up":
			if p.editor.Line() == 0 {
				p.remember(history, 1)
				return false, nil
			}
		case "down":
			if p.editor.Line() == p.editor.LineCount()-1 {
				p.remember(history, -1)
				return false, nil
			}
		}
	}
	_, cmd = p.editor.Update(msg)
	return false, cmd
}

// remember puts an earlier text in place of the one being typed.
func (p *Prompt) remember(history []string, by int) {
	next := min(max(p.recall+by, 0), len(history))
	if next == p.recall {
		return
	}
	if p.recall == 0 {
		p.draft = p.editor.Value()
	}
	p.recall = next
	text := p.draft
	if next > 0 {
		text = history[len(history)-next]
	}
	p.editor.SetValue(text)
	p.editor.MoveToEnd()
}

// Rows is how tall the prompt wants to be, at most limit: 1 while there is nothing to show.
func (p *Prompt) Rows(limit int) int {
	if p.editor == nil || !p.open && p.editor.Value() == "" {
		return 1
	}
	return min(max(p.editor.LineCount(), 2), max(limit, 1))
}

// View draws the text behind a pointer in width × height; hint stands there while there is none.
func (p *Prompt) View(th *themes.Theme, hint string, width, height int) string {
	if p.editor == nil || !p.open && p.editor.Value() == "" {
		return Block(hint, width, height)
	}
	p.editor.SetTheme(th)
	margin := p.margin.Get(promptMargin{th, height}, func() string {
		return Block(th.Paint(themes.Accent, th.Glyphs.Pointer), 2, height)
	})
	if width < 4 {
		return p.editor.View(width, height)
	}
	return JoinH(margin, p.editor.View(width-2, height))
}
