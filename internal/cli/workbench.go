package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lathe/datasets"
	"lathe/internal/demo"
	"lathe/session"
	"lathe/trainer"
	"lathe/tui"
	"lathe/tui/pane"
)

// addWorkbench makes the bare command open the workbench on a folder.
func addWorkbench(e *env, root *cobra.Command) {
	screen := addScreenFlags(root)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return usage("%s is no folder to open a workbench on, and no command: see lathe --help", dir)
		}
		if !isTerminal(e.stdin) || !isTerminal(e.stdout) {
			return usage("the workbench needs a terminal: use a command such as `lathe train -c run.yaml` without one (lathe --help)")
		}
		return e.workbench(cmd.Context(), dir, *screen, nil)
	}
}

// screenFlags say how the workbench looks.
type screenFlags struct {
	theme string
	ascii bool
}

func addScreenFlags(cmd *cobra.Command) *screenFlags {
	f := &screenFlags{}
	cmd.Flags().StringVar(&f.theme, "theme", "", "dark, light, colorblind, contrast or mono; by the terminal's background when left out")
	cmd.Flags().BoolVar(&f.ascii, "ascii", false, "plain characters, for terminals that break braille")
	return f
}

// workbench shows a session until the user leaves. play, when given, drives the session meanwhile.
func (e *env) workbench(ctx context.Context, dir string, f screenFlags, play func(*session.Session, chan<- pane.Show)) error {
	s, err := session.Open(session.Options{Dir: dir, Device: e.device, OpenDevice: openDevice, PauseOnSaveError: true})
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE)
	guide := make(chan pane.Show)
	if play != nil {
		go play(s, guide)
	} else {
		loadRunFile(s, dir)
	}
	err = tui.Run(ctx, tui.Options{Session: s, Theme: f.theme, ASCII: f.ascii, Guide: guide})
	signal.Ignore(syscall.SIGHUP) // a dropped line ended the screen, not the process: what trains goes on
	if errors.Is(err, tui.ErrDetached) || errors.Is(err, tui.ErrTerminalGone) {
		fmt.Fprintln(e.stderr, "lathe: the training goes on without a screen; interrupt to save and stop")
		err = e.outlive(ctx, s)
	}
	return errors.Join(err, s.Close())
}

// loadRunFile puts the folder's run.yaml on the table, where there is one.
func loadRunFile(s *session.Session, dir string) {
	path := filepath.Join(dir, "run.yaml")
	if _, err := os.Stat(path); err != nil {
		return
	}
	cfg, err := trainer.LoadConfig(path)
	if err == nil {
		err = s.Do(session.LoadConfig{Path: path, Config: cfg})
	}
	if err != nil {
		_ = s.Do(session.Note{Level: datasets.LevelError, Text: err.Error()}) // a session that has ended shows nothing anyway
	}
}

// outlive waits for the run at work to come to its end; an interrupt stops it with a checkpoint.
func (e *env) outlive(ctx context.Context, s *session.Session) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Do(session.Stop{}) }) // one that has just ended refuses, which is as good
	defer stop()
	v, err := s.Wait(context.WithoutCancel(ctx), func(v session.View) bool {
		if v.Run.State == session.Paused && ctx.Err() == nil { // nobody is left who could resume it
			_ = s.Do(session.Resume{})
		}
		return !v.Run.State.Active()
	})
	if err != nil {
		return err
	}
	if v.Run.State == session.Failed {
		return errors.New(v.Run.Reason)
	}
	return nil
}

// sceneTime is how long a scene of the demo stays at least: long enough to be read.
const sceneTime = 4 * time.Second

// demoWorkbench plays the demo on a screen: the scenes bring their panes to the front until the user chooses one.
func (e *env) demoWorkbench(ctx context.Context, files demo.Files, f screenFlags) error {
	return e.workbench(ctx, files.Dir, f, func(s *session.Session, guide chan<- pane.Show) {
		var next <-chan time.Time
		show := func(scene demo.Scene) {
			if next != nil {
				select {
				case <-next:
				case <-ctx.Done():
				}
			}
			next = time.After(sceneTime)
			select {
			case guide <- pane.Show{Pane: scene.Pane, Caption: scene.Text}:
			case <-ctx.Done():
			}
		}
		r, err := demo.Play(ctx, s, files, show)
		if err != nil {
			_ = s.Do(session.Note{Level: datasets.LevelError, Text: "demo: " + err.Error()})
			return
		}
		show(demo.Scene{Pane: "compare", Text: fmt.Sprintf(
			"Done in %.0f s: format %.0f%% → %.0f%%, perplexity %.1f → %.2f; adapter in %s; look around, q leaves",
			r.Seconds, 100*r.Before.Format, 100*r.After.Format, r.Before.Perplexity, r.After.Perplexity, r.Adapter)})
	})
}
