package dialog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"lathe/themes"
	"lathe/tui/internal/golden"
	"lathe/tui/widget"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

var dark = themes.Must(themes.Options{Name: "dark"})

// press makes the message of a key by its name, as tea.KeyPressMsg.String
// writes it.
func press(name string) tea.KeyPressMsg {
	codes := map[string]rune{
		"esc": tea.KeyEscape, "enter": tea.KeyEnter, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft,
		"right": tea.KeyRight, "pgdown": tea.KeyPgDown, "backspace": tea.KeyBackspace,
	}
	if c, ok := codes[name]; ok {
		return tea.KeyPressMsg{Code: c}
	}
	if name == "space" {
		return tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
	}
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(rest[0]), Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// said is a message by which callbacks are told apart.
type said string

func say(s string) func() tea.Cmd {
	return func() tea.Cmd { return func() tea.Msg { return said(s) } }
}

// play presses keys and returns what was said, joined.
func play(s *Stack, keys ...string) string {
	var out []string
	for _, k := range keys {
		_, cmd := s.Update(press(k))
		if cmd == nil {
			continue
		}
		if m, ok := cmd().(said); ok {
			out = append(out, string(m))
		}
	}
	return strings.Join(out, " ")
}

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		danger bool
		keys   string
		want   string
	}{
		{false, "enter", "yes"},
		{true, "enter", "no"},
		{true, "tab enter", "yes"},
		{true, "y", "yes"},
		{false, "n", "no"},
		{false, "esc", "no"},
		{false, "ctrl+c", "no"},
		{false, "left right space", "yes"},
		{false, "x z", ""},
	} {
		var s Stack
		s.Push(&Confirm{Title: "Stop?", Danger: c.danger, OnYes: say("yes"), OnNo: say("no")})
		if got := play(&s, strings.Fields(c.keys)...); got != c.want {
			t.Errorf("danger %v, keys %q: said %q, want %q", c.danger, c.keys, got, c.want)
		}
		if open := c.want == ""; open != (s.Len() == 1) {
			t.Errorf("keys %q: %d dialogs are open", c.keys, s.Len())
		}
	}
}

func TestInput(t *testing.T) {
	var s Stack
	var got string
	in := NewInput(dark, "Name", "run", func(text string) tea.Cmd { got = text; return nil })
	in.Validate = func(text string) error {
		if strings.Contains(text, " ") {
			return errors.New("a name has no space")
		}
		return nil
	}
	s.Push(in)
	play(&s, "-", "1", "space", "enter")
	if s.Len() != 1 || !strings.Contains(ansi.Strip(s.View(dark, widget.Block("", 60, 20), 60, 20)), "a name has no space") {
		t.Error("a name that is not valid must keep the dialog open and say why")
	}
	play(&s, "backspace", "enter")
	if got != "run-1" || s.Len() != 0 {
		t.Errorf("got %q, %d dialogs open", got, s.Len())
	}
}

func TestForm(t *testing.T) {
	var got []string
	number := func(s string) error {
		if _, err := strconv.Atoi(s); err != nil {
			return errors.New("a whole number is asked for")
		}
		return nil
	}
	var s Stack
	fields := []Field{{Label: "top-k", Value: "40", Validate: number}, {Label: "seed", Value: "1", Validate: number}}
	s.Push(NewForm(dark, "Sampling", fields, func(values []string) tea.Cmd { got = values; return nil }))
	play(&s, "down", "x", "up", "0", "enter")
	if s.Len() != 1 || !strings.Contains(ansi.Strip(s.View(dark, widget.Block("", 60, 20), 60, 20)), "a whole number is asked for") {
		t.Error("a value that is not valid must keep the dialog open and say why")
	}
	play(&s, "backspace", "2", "enter")
	if s.Len() != 0 || fmt.Sprint(got) != "[400 12]" {
		t.Errorf("got %v, %d dialogs open", got, s.Len())
	}
}

func TestChoose(t *testing.T) {
	options := []Option{{Text: "checkpoint-100"}, {Text: "checkpoint-200", Off: "it is not complete"}, {Text: "final"}}
	got := -1
	var s Stack
	open := func() {
		got = -1
		s.Push(NewChoose(dark, "Which?", options, 2, func(i int) tea.Cmd { got = i; return nil }))
	}
	open()
	if play(&s, "enter"); got != 2 {
		t.Errorf("the preselected option is %d, want 2", got)
	}
	open()
	if play(&s, "up", "enter"); got != -1 || s.Len() != 1 {
		t.Errorf("an option that is off was chosen: %d", got)
	}
	if !strings.Contains(ansi.Strip(s.View(dark, widget.Block("", 60, 20), 60, 20)), "it is not complete") {
		t.Error("the dialog does not say why")
	}
	if play(&s, "up", "enter"); got != 0 {
		t.Errorf("chosen %d, want 0", got)
	}
	open()
	if play(&s, "f", "i", "n", "enter"); got != 2 {
		t.Errorf("narrowed down to %d, want 2", got)
	}
	open()
	if play(&s, "z", "z", "enter"); got != -1 || s.Len() != 1 {
		t.Error("nothing matches, yet something was chosen")
	}
	play(&s, "esc")
	if s.Len() != 0 {
		t.Error("esc does not close")
	}
}

// A dialog opened by a dialog's answer stays, and the answered one goes.
func TestStackNests(t *testing.T) {
	var s Stack
	s.Push(&Confirm{Title: "first", OnYes: func() tea.Cmd {
		s.Push(&Message{Title: "second"})
		return nil
	}})
	play(&s, "y")
	if s.Len() != 1 || s.Top().(*Message).Title != "second" {
		t.Fatalf("%d dialogs are open", s.Len())
	}
	play(&s, "enter")
	if handled, _ := s.Update(press("x")); handled || s.Top() != nil {
		t.Error("an empty stack takes keys")
	}
}

func TestStackTakesInput(t *testing.T) {
	var s Stack
	s.Push(&Message{Title: "m"})
	for _, msg := range []tea.Msg{press("x"), tea.PasteMsg{Content: "x"}, tea.MouseClickMsg{}} {
		if handled, _ := s.Update(msg); !handled {
			t.Errorf("%T goes through a dialog", msg)
		}
	}
	if handled, _ := s.Update(tea.WindowSizeMsg{}); handled {
		t.Error("a resize must reach the panes too")
	}
}

func all(th *themes.Theme, text string) map[string]Dialog {
	var options []Option
	var keys []widget.Binding
	for i := range 40 {
		options = append(options, Option{Text: text + fmt.Sprint(i), Note: text})
		keys = append(keys, widget.Binding{Keys: []string{"ctrl+k"}, Help: text, Group: fmt.Sprint("group ", i/9)})
	}
	input := NewInput(th, text, widget.Sanitize(text), nil)
	input.Body = text
	return map[string]Dialog{
		"confirm": &Confirm{Title: text, Body: text, Danger: true},
		"message": &Message{Title: text, Body: strings.Repeat(text+"\n", 30), Kind: widget.NoticeBad},
		"input":   input,
		"choose":  NewChoose(th, text, options, 7, nil),
		"help":    &Help{Bindings: keys},
		"form":    NewForm(th, text, []Field{{Label: "temperature", Value: "0.7", Help: text}, {Label: "top-p", Value: "1"}, {Label: "seed", Value: "42"}}, nil),
	}
}

// The screen keeps its size whatever lies over it.
func TestSizes(t *testing.T) {
	for _, text := range []string{"short", "", strings.Repeat("日本語 ", 30), "\x1b[31m\u202e\tx"} {
		for name, d := range all(dark, text) {
			for _, size := range [][2]int{{80, 24}, {120, 40}, {30, 8}, {12, 4}} {
				var s Stack
				s.Push(d)
				bg := widget.Block(strings.Repeat(strings.Repeat("日", size[0]/2)+"\n", size[1]), size[0], size[1])
				t.Run(fmt.Sprintf("%s/%d", name, size[0]), func(t *testing.T) {
					golden.Size(t, s.View(dark, bg, size[0], size[1]), size[0], size[1])
				})
			}
		}
	}
}

func TestGoldens(t *testing.T) {
	for name, d := range all(dark, "The last checkpoint is step 400.") {
		var s Stack
		s.Push(d)
		bg := widget.Block(strings.Repeat(strings.Repeat("background ", 8)+"\n", 20), 72, 20)
		golden.Plain(t, name, s.View(dark, bg, 72, 20))
	}
}

func TestOverlayKeepsColours(t *testing.T) {
	red := dark.Paint(themes.Bad, strings.Repeat("r", 10))
	got := Overlay(red, "[]", 10, 1)
	if ansi.Strip(got) != "rrrr[]rrrr" {
		t.Errorf("overlay is %q", ansi.Strip(got))
	}
	pen := strings.TrimSuffix(dark.Paint(themes.Bad, ""), "\x1b[m")
	if i := strings.Index(got, "[]"); !strings.Contains(got[i:], pen) {
		t.Errorf("the right part lost its colour: %q", got)
	}
}

func TestScroll(t *testing.T) {
	m := &Message{Body: strings.Repeat("line\n", 99) + "last"}
	var s Stack
	s.Push(m)
	bg := widget.Block("", 60, 20)
	s.View(dark, bg, 60, 20)
	play(&s, "G")
	if !strings.Contains(s.View(dark, bg, 60, 20), "last") {
		t.Error("the end is not shown after G")
	}
	play(&s, "down", "pgdown", "g")
	if m.top != 0 {
		t.Errorf("at %d after g", m.top)
	}
}
