package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lathe/internal/demo"
	"lathe/session"
)

func demoCommand(e *env) *cobra.Command {
	var headless bool
	var dir string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The whole job on the built-in model: check, train, pause, prompt, resume, evaluate, compare, export",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := demoFiles(dir)
			if err != nil {
				return err
			}
			if headless || e.json || !isTerminal(e.stdout) || !isTerminal(e.stdin) {
				return e.demoHeadless(cmd.Context(), files)
			}
			return e.demoWorkbench(cmd.Context(), files)
		},
	}
	cmd.Flags().BoolVar(&headless, "headless", false, "a report instead of the workbench; so it is without a terminal")
	cmd.Flags().StringVar(&dir, "dir", "", "folder for the demo's files (default: a new temporary one)")
	return cmd
}

func demoFiles(dir string) (demo.Files, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "lathe-demo-"); err != nil {
			return demo.Files{}, fmt.Errorf("make a demo folder: %w; name one with --dir", err)
		}
	}
	return demo.Write(dir)
}

// demoHeadless plays the demo with a report: scenes and training lines as they come, a table at the end.
func (e *env) demoHeadless(ctx context.Context, files demo.Files) error {
	printer := newTrainPrinter(e)
	s, err := openSession(e, session.Options{Dir: files.Dir, OnEvent: printer.event})
	if err != nil {
		return err
	}
	if !e.json {
		printer.say("demo in %s", files.Dir)
	}
	result, err := demo.Play(ctx, s, files, func(scene demo.Scene) {
		if !e.json {
			printer.say("\n== %s", scene.Text)
		}
	})
	err = errors.Join(err, s.Close())
	printer.close()
	if err != nil {
		return err
	}
	if e.json {
		return writeJSON(e.stdout, result)
	}
	e.demoReport(files, result)
	return nil
}

// demoReport prints what the demo found: answers, measures, where things are.
func (e *env) demoReport(files demo.Files, r demo.Result) {
	fmt.Fprintf(e.stdout, "\n== Answers to %q\n", demo.Question)
	for _, p := range r.Answers {
		name := session.VersionName(p.Version)
		if p.Version == session.VersionLive {
			name = fmt.Sprintf("live, paused at step %d", p.Step)
		}
		fmt.Fprintf(e.stdout, "\n[%s]\n%s\n", name, indent(p.Text))
	}
	fmt.Fprintf(e.stdout, "\n== Held-out prompts (%d): before and after\n", r.Before.N)
	rows := [][]string{{"version", "step", "format KPI", "95% interval", "perplexity"}}
	for _, m := range append([]demo.Measure{r.Before}, r.Epochs...) {
		rows = append(rows, []string{
			m.Version, fmt.Sprint(m.Step), fmt.Sprintf("%.0f%%", 100*m.Format),
			fmt.Sprintf("%.0f–%.0f%%", 100*m.Low, 100*m.High), fmt.Sprintf("%.3f", m.Perplexity),
		})
	}
	table(e.stdout, rows)
	fmt.Fprintf(e.stdout, "\nadapter (PEFT): %s\nrun again:      lathe train -c %s\nworkbench:      lathe %s\ntook %.1f s\n",
		r.Adapter, filepath.Join(files.Dir, "run.yaml"), files.Dir, r.Seconds)
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}
