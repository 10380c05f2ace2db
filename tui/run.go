package tui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"

	"lathe/themes"
)

// giveUp is how long a terminal that takes no output may hold up the end of the program.
const giveUp = 2 * time.Second

// framesPerSecond bounds how often keys are answered on screen; the session's frames are fewer. Bubble Tea looks modesPerSecond times a second,
// which wakes a thread each time, whether there is something of its own to write: the screen's beginning and end, modes, the clipboard.
const (
	framesPerSecond = 30
	modesPerSecond  = 15
)

// Run shows the workbench until the user leaves it, the context ends or the terminal is gone. It owns the terminal
// meanwhile. [ErrDetached] and [ErrTerminalGone] say that a run should go on without a screen; a panic of the interface
// comes as ErrTerminalGone too, with what it was.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if o.Feed != nil {
		defer o.Feed.Close()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := newLink(o.Output)
	defer l.abandon()
	m := newModel(o, l)
	m.holds, m.painter = true, newPainter(l)
	defer close(m.closed)
	go l.watch(ctx, cancel)
	go m.painter.run(ctx, cancel)

	p := tea.NewProgram(m, programOptions(ctx, o, m.painter)...)
	_, err := p.Run()
	switch {
	case l.lost():
		return ErrTerminalGone
	case m.outcome != nil:
		return m.outcome
	case errors.Is(err, tea.ErrProgramPanic):
		return fmt.Errorf("%w: %w", ErrTerminalGone, err)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("run workbench: %w", err)
	}
	return nil
}

// watch ends the program when the terminal is gone or hangs up, and lets go of a terminal that hangs when the program ends.
func (l *link) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	select {
	case <-hangup:
		l.fail()
		cancel(ErrTerminalGone)
	case <-l.gone:
		cancel(ErrTerminalGone)
	case <-ctx.Done():
		select {
		case <-time.After(giveUp):
			l.abandon()
		case <-l.gone:
		}
	}
}

func programOptions(ctx context.Context, o Options, p *painter) []tea.ProgramOption {
	options := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithEnvironment(o.Env), tea.WithColorProfile(themes.Detect(o.Output, o.Env)),
		tea.WithFPS(modesPerSecond), tea.WithoutSignalHandler(), tea.WithFilter(filter),
	}
	if f, ok := o.Output.(*os.File); ok {
		options = append(options, tea.WithOutput(painterFile{p, f}))
	} else {
		options = append(options, tea.WithOutput(p))
	}
	if f, ok := o.Input.(*os.File); ok {
		options = append(options, tea.WithInput(watchedFile{f, p.link}))
	} else {
		options = append(options, tea.WithInput(watched{o.Input, p.link}))
	}
	if o.Width > 0 && o.Height > 0 {
		options = append(options, tea.WithWindowSize(o.Width, o.Height))
	}
	return options
}

// filter drops what must never reach the program: a suspension would stop the whole process, the training with it.
func filter(_ tea.Model, msg tea.Msg) tea.Msg {
	if _, ok := msg.(tea.SuspendMsg); ok {
		return nil
	}
	return msg
}
