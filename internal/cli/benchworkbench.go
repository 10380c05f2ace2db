package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"lathe/internal/performance"
	"lathe/session"
	"lathe/trainer"
	"lathe/tui"
)

// workbenchFlags choose how long and how hard somebody scrolls.
type workbenchFlags struct {
	trainBench
	rows, keys, pairs, phase int
	front                    string
}

// benchWorkbenchCommand times one run that trains by turns without a screen and with the workbench open.
func benchWorkbenchCommand(e *env) *cobra.Command {
	f := workbenchFlags{trainBench: trainBench{method: string(trainer.MethodLoRA), dtype: performance.Float32, r: 16, trains: rowsFull}}
	const short = "Training speed with the workbench open and somebody scrolling a long file, against headless"
	cmd := benchLeaf(e, "workbench", short, func(ctx context.Context, _ []string) (report, error) {
		r, err := e.benchWorkbench(ctx, f)
		return report{json: r, rows: workbenchRows(r)}, err
	})
	sizeFlag(cmd, &f.size, "60m")
	cmd.Flags().IntVar(&f.batch, "batch", 1, "rows of a step")
	cmd.Flags().IntVar(&f.length, "length", 256, "tokens of a row")
	cmd.Flags().IntVar(&f.rows, "rows", 1_000_000, "rows of the file that is scrolled through")
	cmd.Flags().IntVar(&f.keys, "keys", 15, "keys a second, as a held key repeats them over SSH")
	cmd.Flags().IntVar(&f.pairs, "pairs", 12, "phases with the screen, each between two without")
	cmd.Flags().IntVar(&f.phase, "phase", 4, "steps of a phase; the first one, in which the screen opens or closes, is not counted")
	cmd.Flags().StringVar(&f.front, "pane", "data", "pane in front; keys scroll in data and do nothing in train")
	return cmd
}

// benchWorkbench makes the model, the rows and the long file, and runs the phases.
func (e *env) benchWorkbench(ctx context.Context, f workbenchFlags) (r performance.Workbench, err error) {
	if f.batch < 1 || f.length < 2 || f.rows < 1 || f.keys < 1 || f.pairs < 1 || f.phase < 2 {
		return r, usage("--batch, --rows, --keys and --pairs are at least 1, --length and --phase 2")
	}
	f.steps = (2*f.pairs + 1) * f.phase
	dir, remove, err := benchFolder("")
	if err != nil {
		return r, err
	}
	defer remove()
	host, err := e.newHostBencher()
	if err != nil {
		return r, err
	}
	defer host.close()
	run, _, err := host.prepare(dir, f.trainBench)
	if err != nil {
		return r, err
	}
	long := filepath.Join(dir, "long.jsonl")
	if err := writeLongFile(long, f.rows); err != nil {
		return r, err
	}
	b := &workbenchBench{flags: f, steps: make(chan float64, f.steps+1), bar: newProgress(e.stderr)}
	defer b.bar.clear()
	if err := b.run(ctx, dir, long, run); err != nil {
		return r, err
	}
	r = b.result()
	r.Head, err = host.head(performance.WhatWorkbench)
	return r, err
}

// writeLongFile writes rows such as people fine-tune on, of 60 to 300 bytes.
func writeLongFile(path string, rows int) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	words := []string{"a", "the", "train", "loss", "of", "seven", "apples", "buys", "and", "then", "how", "many", "left", "über", "模型"}
	w, r := bufio.NewWriterSize(out, 1<<20), rand.New(rand.NewPCG(3, 4))
	var text []byte
	sentence := func(least int) string {
		text = text[:0]
		for range least + r.IntN(12) {
			text = append(append(text, words[r.IntN(len(words))]...), ' ')
		}
		return string(text)
	}
	for i := range rows {
		if _, err := fmt.Fprintf(w, "{\"prompt\":\"%d: %s\",\"completion\":\"%s\"}\n", i, sentence(8), sentence(3)); err != nil {
			return err
		}
	}
	return w.Flush()
}

// workbenchBench is one run and the screen that comes and goes.
type workbenchBench struct {
	flags   workbenchFlags
	steps   chan float64 // tokens a second of each step, as it is done
	bar     *progress
	written atomic.Int64

	headless, open []float64 // means of the phases
	seconds        float64   // that the screen was open
}

// run trains, and opens and closes the screen between phases.
func (b *workbenchBench) run(ctx context.Context, dir, long string, cfg trainer.Config) error {
	s, err := session.Open(session.Options{Dir: dir, Device: "cpu", OpenDevice: openDevice, OnEvent: func(e session.Event) {
		if t, ok := e.Body.(session.Training); ok {
			if done, ok := t.Event.(trainer.StepDone); ok {
				b.steps <- done.TokensPerSec
			}
		}
	}})
	if err != nil {
		return err
	}
	err = b.phases(ctx, s, long, cfg)
	return errors.Join(err, s.Close())
}

func (b *workbenchBench) phases(ctx context.Context, s *session.Session, long string, cfg trainer.Config) error {
	if err := s.Do(session.OpenData{Path: long}); err != nil {
		return err
	}
	if _, err := s.Wait(ctx, func(v session.View) bool { return v.Data.Path == long && !v.Data.Linting && v.Data.Rows > 0 }); err != nil {
		return err
	}
	if err := s.Do(session.Start{Config: cfg}); err != nil {
		return err
	}
	for i := range 2*b.flags.pairs + 1 {
		if i%2 == 0 {
			mean, err := b.phase(ctx, s)
			if err != nil {
				return err
			}
			b.headless = append(b.headless, mean)
			continue
		}
		mean, err := b.withScreen(ctx, s)
		if err != nil {
			return err
		}
		b.open = append(b.open, mean)
	}
	return nil
}

// phase is the mean speed of a phase's steps but the first.
func (b *workbenchBench) phase(ctx context.Context, s *session.Session) (float64, error) {
	ended, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		view, err := s.Wait(ended, func(v session.View) bool { return v.Run.State == session.Failed })
		if err == nil {
			stop(errors.New(view.Run.Reason))
		}
	}()
	var inverse float64
	for i := range b.flags.phase {
		select {
		case speed := <-b.steps:
			if i > 0 {
				inverse += 1 / speed // equal tokens a step: the mean speed is the harmonic one
			}
			b.bar.set("step", int64((len(b.headless)+len(b.open))*b.flags.phase+i+1), int64(b.flags.steps), "")
		case <-ended.Done():
			return 0, context.Cause(ended)
		}
	}
	return float64(b.flags.phase-1) / inverse, nil
}

// withScreen is a phase with the workbench open on a terminal in memory, and keys that arrive on its line.
func (b *workbenchBench) withScreen(ctx context.Context, s *session.Session) (float64, error) {
	screen, leave := context.WithCancel(ctx)
	defer leave()
	keys, line := io.Pipe()
	began, closed := time.Now(), make(chan error, 1)
	go func() {
		closed <- tui.Run(screen, tui.Options{
			Session: s, Front: b.flags.front, Input: keys, Output: counter{&b.written}, Width: 160, Height: 48,
			Env: []string{"TERM=xterm-256color", "COLORTERM=truecolor"},
		})
	}()
	go b.scroll(screen, line)
	mean, err := b.phase(ctx, s)
	b.seconds += time.Since(began).Seconds()
	leave()
	ended := <-closed
	line.Close() // not before: the end of its input is a terminal that hangs up
	if !errors.Is(ended, context.Canceled) {
		err = errors.Join(err, ended)
	}
	return mean, err
}

// scroll holds the down key, with a page every tenth time.
func (b *workbenchBench) scroll(ctx context.Context, line io.Writer) {
	every := time.NewTicker(time.Second / time.Duration(b.flags.keys))
	defer every.Stop()
	for i := 1; ; i++ {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		key := "\x1b[B"
		if i%10 == 0 {
			key = "\x1b[6~"
		}
		if _, err := io.WriteString(line, key); err != nil {
			return
		}
	}
}

// counter is a terminal that takes everything at once.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func (b *workbenchBench) result() performance.Workbench {
	ratios := make([]float64, len(b.open))
	for i := range ratios {
		ratios[i] = 2 * b.open[i] / (b.headless[i] + b.headless[i+1]) // what makes the machine faster or slower for a while does so to all three
	}
	slices.Sort(ratios)
	from, to := medianRanks(len(ratios))
	return performance.Workbench{
		Size: b.flags.size, Length: b.flags.batch * b.flags.length, Rows: b.flags.rows, Keys: b.flags.keys, Pairs: b.flags.pairs,
		Headless: performance.Median(b.headless), Open: performance.Median(b.open),
		Ratio: performance.Median(ratios), From: ratios[from], To: ratios[to], Lowest: ratios[0], Highest: ratios[len(ratios)-1],
		BytesPerSecond: float64(b.written.Load()) / b.seconds,
	}
}

// medianRanks are the places of the sorted samples between which the median lies with 95% certainty, whatever its distribution: the number of
// samples below it is binomial, here by its normal approximation.
func medianRanks(n int) (from, to int) {
	half := 1.96 * math.Sqrt(float64(n)) / 2
	from = max(0, int(math.Floor(float64(n)/2-half)))
	return from, n - 1 - from
}

func workbenchRows(r performance.Workbench) [][]string {
	return [][]string{
		headRow(r.Head),
		{"work", fmt.Sprintf("%d phases with the screen, each between two without; %d keys a second in a file of %s rows", r.Pairs, r.Keys, count(int64(r.Rows)))},
		{"headless", fmt.Sprintf("%s tokens/s", count(int64(r.Headless)))},
		{"open", fmt.Sprintf("%s tokens/s, %.1f%% of headless (median; 95%% certain: %.1f%% to %.1f%%, all: %.1f%% to %.1f%%)",
			count(int64(r.Open)), 100*r.Ratio, 100*r.From, 100*r.To, 100*r.Lowest, 100*r.Highest)},
		{"line", fmt.Sprintf("%s a second to the terminal", bytesText(int64(r.BytesPerSecond)))},
	}
}
