package tui

import (
	"errors"
	"io"
	"os"

	"lathe/session"
	"lathe/tui/pane"
)

// Feed is where the newest View comes from: a *session.Listener is one.
type Feed interface {
	// Changed is readable when the View has changed since the last Take.
	Changed() <-chan struct{}
	Take() session.View
	Close()
}

// Options of [New] and [Run].
type Options struct {
	Session pane.Session
	// Feed, when nil, is Session's own Listen.
	Feed Feed
	// Panes are the tabs, in their order; nil means [DefaultPanes]. Aside are panes without a tab, which stand beside others
	// where there is room.
	Panes, Aside []pane.Pane
	// Front names the pane that is shown first; empty for the first one, or Train while a run is at work.
	Front string
	// Guide brings panes to the front while the user has not chosen one: the demo's scenes.
	Guide <-chan pane.Show
	// Theme is a palette's name, empty for one that fits the terminal's background. ASCII asks for plain characters.
	Theme string
	ASCII bool

	// Input, Output and Env are the terminal's; standard input and output and the process's environment unless set.
	Input  io.Reader
	Output io.Writer
	Env    []string
	// Width and Height are the terminal's size where Output is no terminal that could be asked.
	Width, Height int
}

// What [Run] returns when the screen has ended and the training has not. The caller then waits for the run.
var (
	// ErrTerminalGone says that the terminal hung up or failed: the training goes on to its end.
	ErrTerminalGone = errors.New("the terminal is gone")
	// ErrDetached says that the user left and wants the training to go on to its end.
	ErrDetached = errors.New("the workbench was left, the training goes on")
)

func (o Options) withDefaults() Options {
	if o.Input == nil {
		o.Input = os.Stdin
	}
	if o.Output == nil {
		o.Output = os.Stdout
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	if o.Panes == nil {
		o.Panes, o.Aside = DefaultPanes()
	}
	if o.Feed == nil {
		if s, ok := o.Session.(interface{ Listen() *session.Listener }); ok {
			o.Feed = s.Listen()
		}
	}
	return o
}
