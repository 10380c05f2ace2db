package tui

import (
	"bytes"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// The painter paints when the screen is there, what has changed while it is, all of it after it was erased, and nothing afterwards.
func TestPainter(t *testing.T) {
	var out bytes.Buffer
	l := newLink(&out)
	defer l.abandon()
	p := newPainter(l)
	written := func() string {
		defer out.Reset()
		return out.String()
	}
	show := func(content string, percent int) {
		v := tea.View{Content: content, WindowTitle: "lathe", ProgressBar: tea.NewProgressBar(tea.ProgressBarDefault, percent)}
		p.show(take(&v, 10, 2, colorprofile.TrueColor))
		p.paint()
		if v.Content != blankScreen || v.WindowTitle != "" || v.ProgressBar != nil {
			t.Errorf("Bubble Tea gets %+v to draw", v)
		}
	}
	write := func(s string) {
		if _, err := p.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	show("one\ntwo", 1)
	if got := written(); got != "" {
		t.Errorf("before there is a screen %q is written", got)
	}
	write(ansi.SetModeAltScreenSaveCursor + ansi.EraseEntireScreen)
	written()
	if len(p.wake) == 0 {
		t.Error("a new screen does not wake the painter")
	}
	p.paint()
	if got := written(); !strings.Contains(got, "one") || !strings.Contains(got, "two") ||
		!strings.Contains(got, ansi.SetWindowTitle("lathe")) || !strings.Contains(got, ansi.SetProgressBar(1)) {
		t.Errorf("on a new screen %q is written", got)
	}
	p.synchronise()
	show("one\nsix", 2)
	if got, want := written(), ansi.SetProgressBar(2)+ansi.SetModeSynchronizedOutput+"\x1b[2;1Hsix"+ansi.ResetModeSynchronizedOutput; got != want {
		t.Errorf("of a change %q is written, want %q", got, want)
	}
	write(ansi.EraseEntireScreen)
	written()
	p.paint()
	if got := written(); !strings.Contains(got, "one") || !strings.Contains(got, "six") {
		t.Errorf("on an erased screen %q is written", got)
	}
	write(ansi.ResetModeAltScreenSaveCursor)
	if got := written(); !strings.Contains(got, ansi.SetWindowTitle("")) || !strings.Contains(got, ansi.ResetProgressBar) {
		t.Errorf("leaving writes %q", got)
	}
	show("last\nwords", 3)
	if got := written(); got != "" {
		t.Errorf("on the terminal's own screen %q is written", got)
	}
}
