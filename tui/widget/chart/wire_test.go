package chart

import (
	"bytes"
	"testing"

	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
)

// What a frame costs on the line, through Bubble Tea's own renderer: a full
// screen of 120×40 with two live series, a step at a time. The first frame is
// paid once; later ones must stay small, or a session over a bad SSH line
// stalls.
func TestBytesOnTheWire(t *testing.T) {
	const width, height, frames = 120, 40, 60
	var out bytes.Buffer
	r := uv.NewTerminalRenderer(&out, []string{"TERM=xterm-256color", "COLORTERM=truecolor"})
	r.SetColorProfile(colorprofile.TrueColor)
	r.SetFullscreen(true)
	r.Resize(width, height)
	c := New(dark)
	step := 0
	frame := func() int {
		step++
		c.Push("train", step, loss(step))
		c.Push("eval", step, loss(step)+0.5)
		buf := uv.NewScreenBuffer(width, height)
		uv.NewStyledString(c.View(width, height)).Draw(buf, buf.Bounds())
		out.Reset()
		r.Render(buf.RenderBuffer)
		if err := r.Flush(); err != nil {
			t.Fatal(err)
		}
		return out.Len()
	}
	for step < 400 {
		frame()
	}
	total, most := 0, 0
	var first int
	for range frames {
		n := frame()
		total += n
		most = max(most, n)
	}
	fresh := uv.NewTerminalRenderer(&out, []string{"TERM=xterm-256color"})
	fresh.SetColorProfile(colorprofile.TrueColor)
	fresh.Resize(width, height)
	buf := uv.NewScreenBuffer(width, height)
	uv.NewStyledString(c.View(width, height)).Draw(buf, buf.Bounds())
	out.Reset()
	fresh.Render(buf.RenderBuffer)
	_ = fresh.Flush()
	first = out.Len()
	mean := total / frames
	t.Logf("first frame %d bytes; then %d a frame on average, %d at most", first, mean, most)
	if mean > 300 {
		t.Errorf("a frame costs %d bytes on average, want about 200, at most 300", mean)
	}
	if first > 8000 {
		t.Errorf("the first frame costs %d bytes, want at most 8000", first)
	}
}
