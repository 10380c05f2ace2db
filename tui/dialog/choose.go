package dialog

import (
	"strconv"
	"strings"

	"lathe/themes"
	"lathe/tui/widget"

	tea "charm.land/bubbletea/v2"
)

// Option is a row of a Choose dialog.
type Option struct {
	Text string
	Note string // at the right
	Off  string // why it cannot be chosen; empty when it can
}

// Choose asks for one of several options. Typing narrows them down. Make it
// with NewChoose.
type Choose struct {
	Title    string
	Body     string                  // said above the options, "" for nothing
	Tone     themes.Token            // of the frame; None for the usual one
	Later    string                  // what esc does; "cancel" unless set
	Plain    bool                    // a few options, chosen by number instead of narrowed down by typing
	OnDone   func(index int) tea.Cmd // index into the options given
	OnCancel func() tea.Cmd          // may be nil
	options  []Option
	shown    []int
	list     *widget.List
	line     *widget.Input
	th       *themes.Theme
	why      string
}

// NewChoose makes a choice with the cursor on an option.
func NewChoose(th *themes.Theme, title string, options []Option, at int, onDone func(int) tea.Cmd) *Choose {
	c := &Choose{Title: title, OnDone: onDone, options: options, th: th}
	c.line = widget.NewInput(th, "/", "type to narrow down")
	c.list = widget.NewList(
		func() int { return len(c.shown) },
		func(i int) widget.Item {
			o := c.options[c.shown[i]]
			pen := themes.FG(themes.Text)
			if o.Off != "" {
				pen = themes.FG(themes.Faint)
			}
			text := o.Text
			if c.Plain {
				text = strconv.Itoa(c.shown[i]+1) + "  " + text
			}
			return widget.Item{Text: text, Info: o.Note, Pen: pen}
		})
	c.list.Focused = true
	c.list.Empty = "nothing matches"
	c.narrow()
	c.list.Select(at)
	return c
}

func (c *Choose) narrow() {
	f := c.line.Value()
	c.shown = c.shown[:0]
	for i, o := range c.options {
		if widget.Fuzzy(f, o.Text) {
			c.shown = append(c.shown, i)
		}
	}
	c.list.Select(0)
}

// Update walks the list by arrows, ctrl+p and ctrl+n and pages, narrows it by
// letters, chooses by enter.
func (c *Choose) Update(msg tea.Msg) (bool, tea.Cmd) {
	if key, ok := msg.(tea.KeyPressMsg); ok {
		switch k := key.String(); k {
		case "enter":
			return c.choose()
		case "ctrl+p":
			c.list.Move(-1)
			return false, nil
		case "ctrl+n", "tab":
			c.list.Move(1)
			return false, nil
		case "up", "down", "pgup", "pgdown":
			c.list.Key(k)
			c.why = ""
			return false, nil
		default:
			if c.Plain {
				return c.number(k)
			}
		}
	}
	if c.Plain {
		return false, nil
	}
	changed, cmd := c.line.Update(msg)
	if changed {
		c.why = ""
		c.narrow()
	}
	return false, cmd
}

// number chooses the option of that number; other keys walk the list.
func (c *Choose) number(key string) (bool, tea.Cmd) {
	c.why = ""
	if len(key) == 1 && key[0] >= '1' && int(key[0]-'1') < len(c.options) {
		c.list.Select(int(key[0] - '1'))
		return c.choose()
	}
	c.list.Key(key)
	return false, nil
}

func (c *Choose) choose() (bool, tea.Cmd) {
	at := c.list.Cursor()
	if at < 0 || at >= len(c.shown) {
		return false, nil
	}
	i := c.shown[at]
	if c.why = c.options[i].Off; c.why != "" {
		return false, nil
	}
	if c.OnDone == nil {
		return true, nil
	}
	return true, c.OnDone(i)
}

// Cancel is called on esc.
func (c *Choose) Cancel() tea.Cmd { return call(c.OnCancel) }

// View draws the line and the options below it.
func (c *Choose) View(th *themes.Theme, width, height int) string {
	if th != c.th {
		c.line.SetTheme(th)
		c.th = th
	}
	want := widget.Width(c.Title) + 4
	for _, o := range c.options[:min(len(c.options), 200)] {
		// a list leaves a note out that takes more than two thirds of its row
		want = max(want, widget.Width(o.Text)+widget.Width(o.Note)+9, widget.Width(o.Note)*3/2+4)
	}
	w := fitWidth(min(max(want, longest(c.Body)), 72), 40, width)
	inner := max(w-4, 1)
	rows := min(max(len(c.options), 1), max(height-6, 1))
	var said []string
	if c.Body != "" {
		said = clipRows(paragraph(th, themes.FG(themes.Text), c.Body, inner), max(height-rows-6, 1))
		said = append(said, "")
	}
	body := []string{c.line.View(inner), widget.Rule(th, "", inner), c.list.View(th, inner, rows)}
	if c.Plain {
		body = []string{c.list.View(th, inner, rows), ""}
	}
	body = append(said, body...)
	foot := hint(th, inner, "enter", "choose", "esc", orText(c.Later, "cancel"))
	if c.why != "" {
		foot = widget.NewLine(th, inner).Add(themes.FG(themes.Warn), c.why).String()
	}
	f := widget.Frame{Title: c.Title, Focused: true, Tone: c.Tone}
	return f.View(th, strings.Join(append(body, foot), "\n"), w, rows+len(body)+2)
}
