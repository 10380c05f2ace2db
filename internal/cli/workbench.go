package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
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

// look is how the workbench is drawn.
type look struct {
	theme string
	ascii bool
}

// addWorkbench makes the bare command open the workbench.
func addWorkbench(e *env, root *cobra.Command) {
	root.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return usage("%s is no command and no folder%s: name a workspace folder, or a new one after mkdir", dir, nearest(cmd, dir))
		}
		return e.workbench(cmd.Context(), dir)
	}
	for _, cmd := range append(root.Commands(), root) {
		if cmd == root || cmd.Name() == "demo" {
			cmd.Flags().StringVar(&e.looks.theme, "theme", "", "colours: auto, dark, light, colorblind, contrast or mono")
			cmd.Flags().BoolVar(&e.looks.ascii, "ascii", false, "plain characters, for terminals and fonts without braille")
		}
	}
}

// workbench opens the screen on a workspace folder.
func (e *env) workbench(ctx context.Context, dir string) error {
	if !isTerminal(e.stdin) || !isTerminal(e.stdout) {
		return usage("the workbench needs a terminal; headless: lathe train -c run.yaml, lathe demo --headless (lathe --help lists the rest)")
	}
	e.trains = true
	voice := &voice{printer: newTrainPrinter(e)}
	s, err := openSession(e, session.Options{Dir: dir, PauseOnSaveError: true, OnEvent: voice.event, OpenGauges: openGauges})
	if err != nil {
		return err
	}
	go layOut(s, filepath.Join(dir, "run.yaml"))
	alone, err := e.screen(ctx, s, voice, tui.Options{})
	if alone {
		err = trainOn(ctx, s)
	}
	err = errors.Join(err, s.Close())
	say(voice.printer.close)
	return err
}

// layOut puts the folder's run.yaml on the table where none lies there yet.
func layOut(s *session.Session, file string) {
	if s.View().Config != nil {
		return
	}
	cfg, err := trainer.LoadConfig(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		_ = s.Do(session.Note{Level: datasets.LevelWarn, Text: err.Error()})
	default:
		_ = s.Do(session.LoadConfig{Path: file, Config: cfg}) // what is wrong with it is in the log
	}
}

// screen shows the workbench. alone tells that the screen ended before the work: the terminal is gone, or the user has left
// it to train on.
func (e *env) screen(ctx context.Context, s *session.Session, v *voice, o tui.Options) (alone bool, err error) {
	// A hang-up ends the screen, never the process; a pipe that is gone is an error of a write, not a death.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP, syscall.SIGPIPE)
	o.Session, o.Theme, o.ASCII = s, e.looks.theme, e.looks.ascii
	err = tui.Run(ctx, o)
	switch {
	case errors.Is(err, context.Canceled): // a signal: the session is closed with a checkpoint
		return false, nil
	case errors.Is(err, tui.ErrDetached):
		fmt.Fprintln(e.stderr, "lathe: training goes on; an interrupt saves a checkpoint and stops")
	case errors.Is(err, tui.ErrTerminalGone):
		if s.View().Run.State.Active() {
			_ = s.Do(session.Note{Level: datasets.LevelWarn, Text: "the terminal is gone: training goes on without it"})
		}
	default:
		return false, err
	}
	v.on.Store(true)
	return true, nil
}

// trainOn waits for the run at work. A paused one is stopped with a checkpoint: nobody is left to resume it.
func trainOn(ctx context.Context, s *session.Session) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Do(session.Stop{}) }) // a run that has just ended refuses, which is as good
	defer stop()
	view, err := s.Wait(context.WithoutCancel(ctx), func(view session.View) bool {
		return !view.Run.State.Active() || view.Run.State == session.Paused
	})
	if err == nil && view.Run.State == session.Paused {
		_ = s.Do(session.Stop{})
		view, err = s.Wait(context.WithoutCancel(ctx), func(view session.View) bool { return !view.Run.State.Active() })
	}
	if err != nil {
		return err
	}
	if view.Run.State == session.Failed {
		return errors.New(view.Run.Reason)
	}
	return nil
}

// voice prints a run's events once the screen is gone.
type voice struct {
	printer *trainPrinter
	on      atomic.Bool
}

func (v *voice) event(e session.Event) {
	if v.on.Load() {
		v.printer.event(e)
	}
}

// dwell is how long each scene of the demo is seen at least.
const dwell = 3 * time.Second

// demoWorkbench plays the demo in the workbench: it brings up the pane of each scene while the user leads nowhere else.
func (e *env) demoWorkbench(ctx context.Context, files demo.Files) error {
	e.trains = true
	voice := &voice{printer: newTrainPrinter(e)}
	s, err := openSession(e, session.Options{Dir: files.Dir, PauseOnSaveError: true, OnEvent: voice.event, OpenGauges: openGauges})
	if err != nil {
		return err
	}
	guide := make(chan pane.Show, 16)
	played := make(chan demoResult, 1)
	script, end := context.WithCancel(ctx)
	defer end()
	go func() {
		r, err := demo.Play(script, s, files, scenes(script, guide))
		played <- demoResult{r, err}
		if script.Err() == nil {
			guide <- lastScene(r, err)
		}
	}()
	alone, err := e.screen(ctx, s, voice, tui.Options{Guide: guide, Front: "data"})
	if !alone {
		end()
	}
	result := playOn(s, played)
	err = errors.Join(err, s.Close())
	say(func() {
		voice.printer.close()
		if result.err == nil {
			e.demoReport(files, result.Result)
		} else if err == nil {
			fmt.Fprintf(e.stdout, "left before its end; the demo's files are in %s, and `lathe %s` goes on with them\n", files.Dir, files.Dir)
		}
	})
	return err
}

// say prints what is left to say; a terminal that takes no output does not hold up the end of the process.
func say(words func()) {
	done := make(chan struct{})
	go func() {
		words()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(dwell):
	}
}

// playOn waits for the demo's end. A pause that lasts is the user's, who is gone: the run is resumed.
func playOn(s *session.Session, played <-chan demoResult) demoResult {
	ticker := time.NewTicker(2 * dwell)
	defer ticker.Stop()
	paused := -1 // the step at which the last look found the run paused
	for {
		select {
		case r := <-played:
			return r
		case <-ticker.C:
		}
		v := s.View()
		switch {
		case v.Run.State != session.Paused:
			paused = -1
		case v.Run.Step == paused:
			_ = s.Do(session.Resume{}) // refused where somebody was quicker, which is as good
		default:
			paused = v.Run.Step
		}
	}
}

type demoResult struct {
	demo.Result
	err error
}

// scenes tells the workbench of each scene, one after the other, none for less than dwell.
func scenes(ctx context.Context, guide chan<- pane.Show) func(demo.Scene) {
	var last time.Time
	return func(scene demo.Scene) {
		select {
		case <-time.After(time.Until(last.Add(dwell))):
		case <-ctx.Done():
			return
		}
		last = time.Now()
		select {
		case guide <- pane.Show{Pane: scene.Pane, Caption: scene.Text}:
		case <-ctx.Done():
		}
	}
}

func lastScene(r demo.Result, err error) pane.Show {
	if err != nil {
		return pane.Show{Pane: "train", Caption: "The demo ends here: " + err.Error()}
	}
	return pane.Show{Pane: "compare", Caption: fmt.Sprintf("Done: format %.0f%% before, %.0f%% after; the workbench is yours, q leaves", 100*r.Before.Format, 100*r.After.Format)}
}
