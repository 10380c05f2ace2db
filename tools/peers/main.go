// Command peers measures lathe beside other programs on the same checkpoint and rows, in turn (A B A B), and puts the result
// into a file of docs/performance. One call does one goal:
//
//	go run ./tools/peers -goal lora-float32 -lathe ./lathe -python venv/bin/python -out docs/performance/DATE-MACHINE.json
//
// README.md beside it says what is needed and what each goal is.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"lathe/internal/performance"
)

// options are the command line.
type options struct {
	goal, lathe, python, out, dir string
	rounds, steps                 int
	size                          string
	batch, length, threads        int
	llama, tokenizers, corpus     string
}

// goals are what can be measured, by name.
var goals = map[string]func(options) (performance.Pair, error){}

func init() {
	for _, rows := range []string{"full", "ragged"} {
		for _, method := range []string{"lora", "qlora", "full"} {
			for _, dtype := range []string{performance.Float32, performance.BFloat16} {
				name := method + "-" + dtype
				if rows == "ragged" {
					name = "ragged-" + name
				}
				goals[name] = func(o options) (performance.Pair, error) { return train(o, method, dtype, rows) }
			}
		}
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	var o options
	f.StringVar(&o.goal, "goal", "", "what to measure: "+strings.Join(names(), ", "))
	f.StringVar(&o.lathe, "lathe", "./lathe", "the binary, built beforehand")
	f.StringVar(&o.python, "python", "python3", "Python with tools/refdump/requirements.txt")
	f.StringVar(&o.out, "out", "", "file of docs/performance that takes the result; empty only prints it")
	f.StringVar(&o.dir, "dir", "", "folder for model and rows, kept for the next call (default: a temporary one)")
	f.IntVar(&o.rounds, "rounds", 2, "times that both run")
	f.IntVar(&o.steps, "steps", 2, "steps that are timed in each process, after one that is not")
	f.StringVar(&o.size, "size", "60m", "the random llama's size, as `lathe bench train --size`")
	f.IntVar(&o.batch, "batch", 4, "rows of a step")
	f.IntVar(&o.length, "length", 512, "tokens of a row")
	f.IntVar(&o.threads, "threads", 2, "threads of both")
	f.StringVar(&o.tokenizers, "tokenizers", "", "folder with gpt2.json and phi3.json, for tokenize-…")
	f.StringVar(&o.corpus, "corpus", "", "JSON lines whose strings are tokenised, for tokenize-…")
	f.StringVar(&o.llama, "llamacpp", "", "folder with llama.cpp's programs, for generate")
	if err := f.Parse(args); err != nil {
		return err
	}
	measure, ok := goals[o.goal]
	if !ok {
		return fmt.Errorf("-goal %q: use one of %s", o.goal, strings.Join(names(), ", "))
	}
	if reason := missing(o.goal); reason != "" {
		fmt.Printf("%s: skipped: %s\n", o.goal, reason)
		return nil
	}
	if o.rounds < 1 || o.steps < 1 {
		return errors.New("-rounds and -steps are at least 1")
	}
	p, err := measure(o)
	if err != nil {
		return fmt.Errorf("%s: %w", o.goal, err)
	}
	p.Goal, p.Date, p.Command = o.goal, time.Now().Format(time.DateOnly), "go run ./tools/peers -goal "+o.goal
	p.Compare()
	return keep(p, o.out)
}

func names() []string {
	var all []string
	for name := range goals {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// missing says why a goal means nothing on this processor: peers emulate bfloat16 where it has none, ten times as slowly.
func missing(goal string) string {
	if !strings.HasSuffix(goal, performance.BFloat16) {
		return ""
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || strings.Contains(string(info), "avx512_bf16") || strings.Contains(string(info), "amx_bf16") {
		return ""
	}
	return "this processor has neither avx512_bf16 nor amx_bf16"
}

// keep prints a pair and puts it into the file.
func keep(p performance.Pair, path string) error {
	line, err := json.Marshal(p)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	fmt.Fprintf(os.Stderr, "%s: %s %.1f, lathe %.1f %s: %.2f times %.2f\n", p.Goal, p.Peer.Name, p.Peer.Figure, p.Lathe.Figure, p.Lathe.Unit, p.Ratio, p.Ratios)
	if path == "" {
		return nil
	}
	file, err := performance.Load(path)
	if err != nil {
		return err
	}
	if err := file.Add(line); err != nil {
		return err
	}
	return file.Save(path)
}
