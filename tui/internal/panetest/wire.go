package panetest

import (
	"bytes"
	"testing"

	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
)

// Wire counts what drawings cost on the line to a terminal, through Bubble Tea's own renderer. That renderer writes each row
// that has a wide character anew with every frame, whether it has changed or not.
type Wire struct {
	t             testing.TB
	out           bytes.Buffer
	r             *uv.TerminalRenderer
	width, height int
}

// NewWire is the line to a terminal of width × height cells.
func NewWire(t testing.TB, width, height int) *Wire {
	w := &Wire{t: t, width: width, height: height}
	w.r = uv.NewTerminalRenderer(&w.out, []string{"TERM=xterm-256color", "COLORTERM=truecolor"})
	w.r.SetColorProfile(colorprofile.TrueColor)
	w.r.SetFullscreen(true)
	w.r.Resize(width, height)
	return w
}

// Frame is how many bytes turn the screen into a drawing.
func (w *Wire) Frame(view string) int {
	w.t.Helper()
	buf := uv.NewScreenBuffer(w.width, w.height)
	uv.NewStyledString(view).Draw(buf, buf.Bounds())
	w.out.Reset()
	w.r.Render(buf.RenderBuffer)
	if err := w.r.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return w.out.Len()
}
