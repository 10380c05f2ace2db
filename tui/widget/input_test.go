package widget

import (
	"strings"
	"testing"

	"lathe/tui/internal/golden"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

func typeText(in *Input, text string) {
	for _, r := range text {
		in.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

func TestInputHistory(t *testing.T) {
	in := NewInput(dark, ":", "")
	in.Remember("open a")
	in.Remember("open b")
	in.Remember("open b")
	typeText(in, "dra")
	up, down := tea.KeyPressMsg{Code: tea.KeyUp}, tea.KeyPressMsg{Code: tea.KeyDown}
	for _, c := range []struct {
		key  tea.KeyPressMsg
		want string
	}{{up, "open b"}, {up, "open a"}, {up, "open a"}, {down, "open b"}, {down, "dra"}, {down, "dra"}} {
		if in.Update(c.key); in.Value() != c.want {
			t.Errorf("after %s the line is %q, want %q", c.key, in.Value(), c.want)
		}
	}
	typeText(in, "ft")
	if in.Value() != "draft" {
		t.Errorf("the line after typing on is %q", in.Value())
	}
}

func TestInputKeepsItsWidth(t *testing.T) {
	in := NewInput(dark, "/", "regular expression")
	golden.Size(t, in.View(12), 12, 1)
	typeText(in, strings.Repeat("日本 long ", 8))
	for _, w := range []int{1, 2, 5, 12, 80} {
		golden.Size(t, in.View(w), w, 1)
	}
	if !strings.Contains(ansi.Strip(in.View(20)), "long") {
		t.Error("the end of a long line, where the cursor is, is not shown")
	}
	if changed, _ := in.Update(tea.KeyPressMsg{Code: tea.KeyLeft}); changed {
		t.Error("moving the cursor counts as a change")
	}
	if changed, _ := in.Update(tea.PasteMsg{Content: "a\x1b[31mb\n"}); !changed {
		t.Error("a paste is no change")
	}
	golden.Size(t, in.View(30), 30, 1)
}

func TestEditor(t *testing.T) {
	e := NewEditor(dark, "prompt")
	if changed, _ := e.Update(tea.PasteMsg{Content: "line one\nline two"}); !changed || e.Value() != "line one\nline two" {
		t.Errorf("the text is %q", e.Value())
	}
	view := e.View(20, 4)
	golden.Size(t, view, 20, 4)
	if !strings.Contains(ansi.Strip(view), "line two") {
		t.Errorf("the editor shows %q", ansi.Strip(view))
	}
}

// Pasted text does not turn the row that it is edited on; it is kept as it is.
func TestPasteDoesNotTurnTheRow(t *testing.T) {
	const text = "a\u202eb"
	in, e := NewInput(dark, "/", ""), NewEditor(dark, "")
	in.Update(tea.PasteMsg{Content: text})
	e.Update(tea.PasteMsg{Content: text})
	for name, got := range map[string][2]string{"line": {in.View(20), in.Value()}, "editor": {e.View(20, 2), e.Value()}} {
		if strings.Contains(got[0], "\u202e") || got[1] != text {
			t.Errorf("%s draws %q and keeps %q", name, got[0], got[1])
		}
	}
}

func TestPrompt(t *testing.T) {
	p := NewPrompt("say something")
	history := []string{"first", "second"}
	press := func(code rune, mod tea.KeyMod, text string) bool {
		send, _ := p.Update(tea.KeyPressMsg{Code: code, Mod: mod, Text: text}, history)
		return send
	}
	press('x', 0, "x")
	if p.Value() != "" || p.Typing() {
		t.Fatal("a closed prompt takes text")
	}
	if got := p.View(dark, "hint", 20, 1); !strings.HasPrefix(got, "hint") {
		t.Errorf("a closed prompt shows %q", got)
	}
	p.Open(dark)
	press('x', 0, "x")
	press(tea.KeyEnter, tea.ModAlt, "")
	press('y', 0, "y")
	if got := p.Value(); got != "x\ny" || p.Rows(9) != 2 {
		t.Errorf("text %q in %d rows", got, p.Rows(9))
	}
	press(tea.KeyUp, 0, "") // into the first line
	press(tea.KeyUp, 0, "")
	press(tea.KeyUp, 0, "")
	press(tea.KeyUp, 0, "")
	if got := p.Value(); got != "first" {
		t.Errorf("up recalls %q", got)
	}
	press(tea.KeyDown, 0, "")
	press(tea.KeyDown, 0, "")
	if got := p.Value(); got != "x\ny" {
		t.Errorf("down goes back to %q", got)
	}
	if !press(tea.KeyEnter, 0, "") {
		t.Error("enter does not send")
	}
	p.Clear()
	press(tea.KeyEscape, 0, "")
	if p.Value() != "" || p.Typing() {
		t.Error("esc does not leave")
	}
}
