package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"lathe/internal/performance"
)

// raggedSteps are, with the first one, all 64 ragged rows in batches of four: what padding costs differs from step to step by a third.
const raggedSteps = 15

// train runs PEFT and lathe in turn on what `lathe bench train --keep` wrote.
func train(o options, method, dtype, rows string) (performance.Pair, error) {
	p := performance.Pair{
		Work:  fmt.Sprintf("%s, %s, %s llama, %d rows of %d tokens a step", method, dtype, o.size, o.batch, o.length),
		Peer:  performance.Side{Name: "PEFT", Unit: "tokens/s", ComputedIn: dtype},
		Lathe: performance.Side{Name: "lathe", Unit: "tokens/s", ComputedIn: dtype},
	}
	if rows == "ragged" {
		p.Work = fmt.Sprintf("%s, %s, %s llama, %d rows of GSM8K's lengths a step, questions masked", method, dtype, o.size, o.batch)
		o.steps = max(o.steps, raggedSteps)
	}
	dir := o.dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "lathe-peers-"); err != nil {
			return p, err
		}
		defer os.RemoveAll(dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return p, err
	}
	write := exec.Command(o.lathe, "bench", "train", "--keep", dir, "--steps", "0", "--json", "--size", o.size, "--method", method, "--dtype", dtype,
		"--rows", rows, "--batch", strconv.Itoa(o.batch), "--length", strconv.Itoa(o.length))
	if out, err := write.CombinedOutput(); err != nil {
		return p, fmt.Errorf("%v: %w: %s", write.Args, err, out)
	}
	// A first import reads 2 GB of libraries from disk, which is no property of a start.
	if out, err := exec.Command(o.python, "-c", "import torch, transformers, peft, bitsandbytes").CombinedOutput(); err != nil {
		return p, fmt.Errorf("%s cannot import PEFT: %w: %s", o.python, err, out)
	}
	config, threads, steps := filepath.Join(dir, "run.yaml"), strconv.Itoa(o.threads), strconv.Itoa(o.steps+1)
	for range o.rounds {
		peer, err := watch(exec.Command(o.python, "tools/peers/peft_train.py", "--run", config, "--steps", steps, "--threads", threads))
		if err != nil {
			return p, err
		}
		if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil {
			return p, err
		}
		mine := exec.Command(o.lathe, "train", "-c", config, "--json", "--device", "cpu", "--max-steps", steps)
		mine.Env = append(os.Environ(), "LATHE_THREADS="+threads)
		lathe, err := watch(mine)
		if err != nil {
			return p, err
		}
		if math.Abs(peer.firstLoss-lathe.firstLoss) > 0.02*peer.firstLoss {
			return p, fmt.Errorf("the losses of step 1 are %.5f and %.5f: the two do not train the same", peer.firstLoss, lathe.firstLoss)
		}
		peer.into(&p.Peer)
		lathe.into(&p.Lathe)
	}
	return p, nil
}

// trace is what one process did, by the clock of whoever started it.
type trace struct {
	ends      []float64 // seconds from the process's start to each step's line
	tokens    []float64
	padded    float64
	firstLoss float64
	lastLoss  float64
	memory    int64
	versions  map[string]string
}

// rest comes before each process: what one has freed a second ago is given to the next one several times faster than memory
// that a virtual machine's host has taken back, which is what a process finds on a machine that was idle.
const rest = 6 * time.Second

// watch runs a training that prints a JSON line a step.
func watch(cmd *exec.Cmd) (trace, error) {
	var t trace
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return t, err
	}
	time.Sleep(rest)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return t, err
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		var e struct {
			Event    string            `json:"event"`
			Loss     float64           `json:"loss"`
			Tokens   float64           `json:"tokens"`
			Padded   float64           `json:"padded_tokens"`
			Versions map[string]string `json:"versions"`
		}
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			continue
		}
		switch e.Event {
		case "step":
			if len(t.ends) == 0 {
				t.firstLoss = e.Loss
			}
			t.ends, t.tokens, t.lastLoss = append(t.ends, time.Since(start).Seconds()), append(t.tokens, e.Tokens), e.Loss
			t.padded += max(e.Padded, e.Tokens)
		case "done":
			t.versions = e.Versions
		}
	}
	if err := cmd.Wait(); err != nil {
		return t, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	if len(t.ends) < 2 {
		return t, fmt.Errorf("%v printed %d steps, want 2 at least", cmd.Args, len(t.ends))
	}
	t.memory = maxRSS(cmd.ProcessState)
	return t, nil
}

// into adds a process to its side: speed over all steps but the first, the start as what the first took more than a usual one.
func (t trace) into(s *performance.Side) {
	var steps []float64
	var tokens, all float64
	for i := 1; i < len(t.ends); i++ {
		steps = append(steps, t.ends[i]-t.ends[i-1])
		tokens += t.tokens[i]
	}
	for _, n := range t.tokens {
		all += n
	}
	last := len(t.ends) - 1
	rate := tokens / (t.ends[last] - t.ends[0])
	s.Figures = append(s.Figures, rate)
	s.StepSeconds = append(s.StepSeconds, steps...)
	s.StartSeconds = append(s.StartSeconds, t.ends[0]-t.tokens[0]/rate)
	s.PeakMemory = max(s.PeakMemory, t.memory)
	s.Padding, s.LastLoss = t.padded/all, t.lastLoss
	if t.versions != nil {
		s.Versions = t.versions
	}
}
