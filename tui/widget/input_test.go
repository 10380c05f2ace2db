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
