// Package cli is lathe's command line: it names the devices, wires sessions to terminals and prints. Nothing here knows how
// to train.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"

	"lathe/trainer"
)

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1 // the thing asked for failed, or findings at error level
	exitUsage  = 2 // bad usage or configuration
)

// usageError is a mistake in the command line or in a configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// configError gives an error its exit code: what the user wrote is at fault (an option, a path that is not there or is of
// another kind), or what lies there.
func configError(err error) error {
	for _, cause := range []error{trainer.ErrConfig, fs.ErrNotExist, fs.ErrExist, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP} {
		if errors.Is(err, cause) {
			return usageError{err}
		}
	}
	return err
}

// errQuiet fails a command whose output has already said why.
var errQuiet = errors.New("failed")

// Main runs lathe and returns the process's exit code.
func Main(args []string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go interrupts(signals, cancel, func() {
		fmt.Fprintln(os.Stderr, "lathe: ended without saving; --resume goes on from the last checkpoint")
		os.Exit(exitFailed)
	})
	return run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}

// repeated is how soon a second signal is the first one again: timeout(1), for one, signals the process and its group.
const repeated = 300 * time.Millisecond

// interrupts asks for an orderly end at the first signal, and ends at once at the next.
func interrupts(signals <-chan os.Signal, end, endNow func()) {
	<-signals
	end()
	time.Sleep(repeated)
	for len(signals) > 0 {
		<-signals
	}
	<-signals
	endNow()
}

// run is Main with its surroundings handed in.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "lathe: internal error: %v; this is a bug, please report it with what follows\n%s", p, debug.Stack())
			code = exitFailed
		}
	}()
	e := &env{stdin: stdin, stdout: &checkedWriter{w: stdout}, stderr: stderr}
	root := newRoot(e)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout) // help, in colours on a terminal
	root.SetErr(stderr)
	err := fang.Execute(ctx, root, fang.WithVersion(version()), fang.WithErrorHandler(printError), fang.WithoutManpage())
	switch {
	case err == nil && e.outputLost():
		fmt.Fprintf(stderr, "lathe: write output: %v\n", e.stdout.err)
		return exitFailed
	case err == nil:
		return exitDone
	case errors.As(err, new(usageError)):
		return exitUsage
	default:
		return exitFailed
	}
}

// printError prints one line, whatever the terminal: errors are read by people, scripts and logs alike.
func printError(w io.Writer, _ fang.Styles, err error) {
	if !errors.Is(err, errQuiet) {
		fmt.Fprintf(w, "lathe: %v\n", err)
	}
}

// env is what commands share: streams and the flags that every command has.
type env struct {
	stdin  io.Reader
	stdout *checkedWriter
	stderr io.Writer
	json   bool
	device string
	trains bool          // a run does not fail because nobody reads its events
	looks  look          // of the workbench: flags of the bare command and of demo
	peak   time.Duration // for which bench measures the CPU's
}

// checkedWriter remembers that a write failed, so that no command has to look after each line.
type checkedWriter struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
	}
	return n, err
}

// outputLost tells that the output is what the command was for, and could not be written.
func (e *env) outputLost() bool {
	e.stdout.mu.Lock()
	defer e.stdout.mu.Unlock()
	return e.stdout.err != nil && !e.trains
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "lathe [WORKSPACE]",
		Short: "A terminal workbench for fine-tuning open-weight language models",
		Long: "lathe opens a workbench on a folder: look at data, train with LoRA or QLoRA, watch, pause, prompt, resume, compare.\n" +
			"Every command also runs headless; --json makes its output one JSON object (or JSON lines) on stdout.",
		Args:          maxArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().BoolVar(&e.json, "json", false, "machine-readable output on stdout, messages on stderr")
	root.PersistentFlags().StringVar(&e.device, "device", "auto", "auto, cpu, cuda or cuda:N; train and plan take several GPUs too: cuda:0,1")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		text, _, _ := strings.Cut(err.Error(), ": strconv.") // what Go's parser thinks says nothing more
		return usage("%s", text)
	})
	root.AddCommand(
		demoCommand(e), trainCommand(e), planCommand(e), scoreCommand(e), tokenizeCommand(e), renderCommand(e),
		generateCommand(e), exportCommand(e), dataCommand(e), inspectCommand(e), doctorCommand(e), benchCommand(e), rankCommand(e),
	)
	addWorkbench(e, root)
	return root
}

// group makes a command that only has commands below it refuse what is none of them.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return usage("%s has no command %q%s; %s --help lists what it has", cmd.CommandPath(), args[0], nearest(cmd, args[0]), cmd.CommandPath())
	}
	return cmd
}

// nearest is ": did you mean X?" where a command's name is near.
func nearest(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2 // letters
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return ": did you mean " + near[0] + "?"
	}
	return ""
}

// maxArgs, exactArgs and minArgs are cobra's checks with usage errors' exit code, and with how to call the command.
func maxArgs(n int) cobra.PositionalArgs { return argsBetween(0, n) }

func exactArgs(n int) cobra.PositionalArgs { return argsBetween(n, n) }

func minArgs(n int) cobra.PositionalArgs { return argsBetween(n, math.MaxInt) }

func argsBetween(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage("something is missing; use: %s", cmd.UseLine())
		case len(args) > most:
			return usage("%q is one argument too many; use: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}

// version is the module's version as the build recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
