package tui

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"lathe/tui/paint"
)

// blankScreen is all that Bubble Tea gets to draw of a screen that a painter draws.
const blankScreen = " "

// painter draws on the terminal that Bubble Tea has made ready: modes, size and input are Bubble Tea's, the cells and what the terminal tells
// of a run outside them are the painter's. What Bubble Tea writes goes through it, so that it knows when the screen is there and when it was erased.
type painter struct {
	*link
	wake chan struct{}

	newest   sync.Mutex // guards what follows
	picture  picture
	together bool // the terminal shows at once what synchronised output holds

	line   sync.Mutex // one writes at a time; guards what follows
	screen paint.Screen
	signs  signs // as the terminal has them
	there  bool
	out    []byte
}

// picture is a screen to be shown.
type picture struct {
	content       string
	width, height int
	profile       colorprofile.Profile
	signs         signs
}

// signs are what a terminal shows of a run where it shows windows: a title, and the escape sequence of a bar, empty for none.
type signs struct{ title, bar string }

// take takes out of a view what the painter draws, and leaves the rest to Bubble Tea.
func take(v *tea.View, width, height int, profile colorprofile.Profile) picture {
	p := picture{v.Content, width, height, profile, signs{v.WindowTitle, bar(v.ProgressBar)}}
	v.Content, v.WindowTitle, v.ProgressBar = blankScreen, "", nil
	return p
}

// bar is the escape sequence of a bar, or empty.
func bar(b *tea.ProgressBar) string {
	if b == nil {
		return ""
	}
	switch b.State {
	case tea.ProgressBarDefault:
		return ansi.SetProgressBar(b.Value)
	case tea.ProgressBarWarning:
		return ansi.SetWarningProgressBar(b.Value)
	case tea.ProgressBarError:
		return ansi.SetErrorProgressBar(b.Value)
	case tea.ProgressBarIndeterminate:
		return ansi.SetIndeterminateProgressBar
	}
	return ""
}

// sequence makes the terminal show other signs than it does.
func (s signs) sequence(now signs) (out string) {
	if now.title != s.title {
		out = ansi.SetWindowTitle(now.title)
	}
	if now.bar != s.bar {
		out += cmp.Or(now.bar, ansi.ResetProgressBar)
	}
	return out
}

func newPainter(l *link) *painter { return &painter{link: l, wake: make(chan struct{}, 1)} }

// show has the newest picture painted as soon as the terminal takes it.
func (p *painter) show(now picture) {
	p.newest.Lock()
	changed := now != p.picture
	p.picture = now
	p.newest.Unlock()
	if changed {
		p.nudge()
	}
}

func (p *painter) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// synchronise says that the terminal knows synchronised output.
func (p *painter) synchronise() {
	p.newest.Lock()
	p.together = true
	p.newest.Unlock()
}

// Write passes on what Bubble Tea writes. After it has made or erased the screen, all of the picture is painted.
func (p *painter) Write(b []byte) (int, error) {
	p.line.Lock()
	defer p.line.Unlock()
	n, err := p.link.Write(b)
	begins := bytes.Contains(b, []byte(ansi.SetModeAltScreenSaveCursor))
	switch {
	case bytes.Contains(b, []byte(ansi.ResetModeAltScreenSaveCursor)):
		p.send(p.signs.sequence(signs{}), nil)
		p.signs, p.there = signs{}, false
	case begins, bytes.Contains(b, []byte(ansi.EraseEntireScreen)):
		p.there = p.there || begins
		p.screen.Forget()
		p.nudge()
	}
	return n, err
}

// run paints until the program ends. What goes wrong in it ends the screen, not the training.
func (p *painter) run(ctx context.Context, end context.CancelCauseFunc) {
	defer func() {
		if r := recover(); r != nil {
			end(fmt.Errorf("%w: paint the screen: %v", ErrTerminalGone, r))
		}
	}()
	for {
		select {
		case <-p.wake:
			p.paint()
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(time.Second / framesPerSecond):
		case <-ctx.Done():
			return
		}
	}
}

// paint writes what has changed.
func (p *painter) paint() {
	p.newest.Lock()
	now, together := p.picture, p.together
	p.newest.Unlock()
	p.line.Lock()
	defer p.line.Unlock()
	if !p.there || now.width == 0 {
		return
	}
	changes := p.screen.Paint(now.content, now.width, now.height, now.profile)
	before := p.signs.sequence(now.signs)
	if together && len(changes) > 0 {
		before, changes = before+ansi.SetModeSynchronizedOutput, append(changes, ansi.ResetModeSynchronizedOutput...)
	}
	p.send(before, changes)
	p.signs = now.signs
}

// send writes two things as one.
func (p *painter) send(before string, changes []byte) {
	p.out = append(append(p.out[:0], before...), changes...)
	if len(p.out) > 0 {
		_, _ = p.link.Write(p.out) // the link itself notices a terminal that is gone
	}
}

// painterFile is a painter on a terminal that Bubble Tea may ask for its size.
type painterFile struct {
	*painter
	file *os.File
}

func (f painterFile) Read(p []byte) (int, error) { return f.file.Read(p) }
func (f painterFile) Close() error               { return nil } // it is the caller's
func (f painterFile) Fd() uintptr                { return f.file.Fd() }
