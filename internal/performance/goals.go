package performance

import (
	"fmt"
	"strings"
)

// goal is a row of what the project wants to reach; zero is no goal.
type goal struct {
	pair   string  // Pair.Goal, or what a result of lathe alone is called
	work   string  // in words
	ratio  float64 // at least so many times the peer's speed
	memory float64 // at most so much of the peer's memory
}

// startShare is how much of the peer's time from the process's start to the end of step 1, less a step, lathe may take.
const startShare = 1.0 / 20

// workbenchShare is how much of a headless run's speed one with the workbench open keeps.
const workbenchShare = 0.99

// goals are the table of the project's CPU goals.
var goals = []goal{
	{"lora-bfloat16", "LoRA step, bf16 products", 1.5, 0.3},
	{"qlora-bfloat16", "QLoRA step, bf16 products", 1.5, 0.3},
	{"lora-float32", "LoRA step, float32", 1.35, 0.3},
	{"qlora-float32", "QLoRA step, float32", 1.35, 0.3},
	{"ragged-lora-bfloat16", "LoRA, ragged rows, bf16 products", 2, 0},
	{"ragged-lora-float32", "LoRA, ragged rows, float32", 2, 0},
	{"ragged-qlora-float32", "QLoRA, ragged rows, float32", 2, 0},
	{"full-bfloat16", "full fine-tuning, bf16 products", 1.5, 0.5},
	{"full-float32", "full fine-tuning, float32", 1.5, 0.5},
	{"tokenize-gpt2", "tokenise, one core, GPT-2", 3, 0},
	{"tokenize-phi3", "tokenise, one core, Phi-3", 3, 0},
	{"generate", "generate, 4 bit, one sequence, 128 tokens", 1, 0},
}

func yes(reached bool) string {
	if reached {
		return "yes"
	}
	return "**no**"
}

// pair finds a goal's measurement.
func (f *File) pair(name string) *Pair {
	for i := range f.Pairs {
		if f.Pairs[i].Goal == name {
			return &f.Pairs[i]
		}
	}
	return nil
}

// goalRows is the table of goals: what a peer and lathe reached in turn, and what lathe alone was measured for.
func (f *File) goalRows() [][]string {
	rows := [][]string{{"work", "peer", "lathe", "times", "rounds", "goal", "reached", "memory", "of the peer's", "goal", "reached"}}
	for _, g := range goals {
		p := f.pair(g.pair)
		if p == nil {
			rows = append(rows, []string{g.work, "–", "–", "–", "–", "≥ " + number(g.ratio), f.whyNot(g), "–", "–", memoryGoal(g), "–"})
			continue
		}
		row := []string{
			g.work, fmt.Sprintf("%s %s %s", p.Peer.Name, figure(p.Peer.Figure), p.Peer.Unit), figure(p.Lathe.Figure),
			fmt.Sprintf("%.2f", p.Ratio), list(p.Ratios), "≥ " + number(g.ratio), yes(p.Ratio >= g.ratio), "–", "–", "–", "–",
		}
		if p.MemoryRatio > 0 {
			row[7] = fmt.Sprintf("%s, %s", mib(p.Peer.PeakMemory), mib(p.Lathe.PeakMemory))
			row[8] = fmt.Sprintf("%.2f", p.MemoryRatio)
			if g.memory > 0 {
				row[9], row[10] = memoryGoal(g), yes(p.MemoryRatio <= g.memory)
			}
		}
		rows = append(rows, row)
	}
	return append(rows, f.aloneRows()...)
}

func memoryGoal(g goal) string {
	if g.memory == 0 {
		return "–"
	}
	return "≤ " + number(g.memory)
}

// whyNot says why there is no measurement.
func (f *File) whyNot(g goal) string {
	if strings.HasSuffix(g.pair, BFloat16) && !f.hasBF16() {
		return "not run: no instructions for it here"
	}
	return "not measured"
}

// hasBF16 tells whether the tier has instructions for bf16 products; the others round operands and multiply in float32.
func (f *File) hasBF16() bool { return f.Tier == "avx512bf16" || f.Tier == "amx" }

// aloneRows are goals that need no peer.
func (f *File) aloneRows() (rows [][]string) {
	add := func(work, peer, figure string, ratio, want float64) {
		rows = append(rows, []string{work, peer, figure, fmt.Sprintf("%.2f", ratio), "–", "≥ " + number(want), yes(ratio >= want), "–", "–", "–", "–"})
	}
	for _, r := range f.Lint {
		add("data lint, one core, "+r.Source, fmt.Sprintf("bare jsontext walk %.0f MB/s", r.Walk), fmt.Sprintf("%.0f", r.MBPerSecond), r.OfWalk, 0.5)
	}
	for _, r := range f.Generate {
		add(fmt.Sprintf("evaluation: generate %d sequences together", r.Batch), fmt.Sprintf("one by one %s tokens/s", figure(r.OneByOne)), figure(r.BatchedPerSecond), r.BatchedRatio, 3)
		if r.SharedPrompt > 0 {
			add(fmt.Sprintf("evaluation: %d prompts of %d tokens, %d of them in common", r.Batch, r.SharedPrompt, r.SharedPrefix),
				fmt.Sprintf("one by one %s tokens/s", figure(r.SharedOneByOne)), figure(r.SharedPerSecond), r.SharedRatio, 3)
		}
	}
	for _, r := range f.Score {
		add(fmt.Sprintf("score %d rows together", r.Rows), fmt.Sprintf("one by one %s tokens/s", figure(r.OneByOne)), figure(r.TokensPerSecond), r.Ratio, 3)
	}
	for _, r := range f.Workbench {
		add(fmt.Sprintf("LoRA of %s with the workbench open, scrolling a file of %s rows", r.Size, grouped(int64(r.Rows))),
			fmt.Sprintf("headless %s tokens/s", figure(r.Headless)), figure(r.Open), r.Ratio, workbenchShare)
		row := rows[len(rows)-1] // a percent is what counts here
		row[3], row[4] = fmt.Sprintf("%.3f", r.Ratio), fmt.Sprintf("%d; 95%% certain: %.3f to %.3f", r.Pairs, r.From, r.To)
	}
	return rows
}

// startRows compares the time from a process's start to the end of step 1, less a steady step.
func (f *File) startRows() [][]string {
	rows := [][]string{{"work", "peer, s", "lathe, s", "of the peer's", "goal", "reached"}}
	for i := range f.Pairs {
		if p := &f.Pairs[i]; p.StartRatio > 0 {
			rows = append(rows, []string{
				p.Work, list(p.Peer.StartSeconds), list(p.Lathe.StartSeconds), fmt.Sprintf("%.3f", p.StartRatio), "≤ " + number(startShare), yes(p.StartRatio <= startShare),
			})
		}
	}
	return rows
}

// arithmetic says of each training goal what a token needs, what the machine can give, and what the goal would take.
func (f *File) arithmetic() (lines []string) {
	for _, g := range goals {
		p, r := f.pair(g.pair), f.trainOf(g.pair)
		if p == nil || r == nil {
			continue
		}
		peak, name := r.Peak.SGEMM, "sgemm"
		if r.DType == BFloat16 {
			peak, name = r.Peak.BF16, "bf16 products"
		}
		rate := func(tokens float64) float64 { return tokens * r.MFLOPPerToken / 1e3 }
		want := g.ratio * p.Peer.Figure
		line := fmt.Sprintf("**%s**: a token needs %.0f MFLOP, so that %s at its measured %.1f GFLOP/s gives %s tokens/s at most",
			g.work, r.MFLOPPerToken, name, peak, figure(1e3*peak/r.MFLOPPerToken))
		if r.DType == Float32 {
			line += fmt.Sprintf(", and multiply-adds that never leave the registers (%.1f GFLOP/s) %s", r.Peak.FMA, figure(1e3*r.Peak.FMA/r.MFLOPPerToken))
		}
		line += fmt.Sprintf(". %s's %s tokens/s are %.1f GFLOP/s, %.0f%% of that sgemm's rate; lathe's %s are %.1f GFLOP/s, %.0f%%. The goal, %s tokens/s, takes %.1f GFLOP/s: %.0f%% of %s",
			p.Peer.Name, figure(p.Peer.Figure), rate(p.Peer.Figure), 100*rate(p.Peer.Figure)/peak, figure(p.Lathe.Figure), rate(p.Lathe.Figure), 100*rate(p.Lathe.Figure)/peak,
			figure(want), rate(want), 100*rate(want)/peak, name)
		if r.DType == Float32 {
			line += fmt.Sprintf(", %.0f%% of the multiply-adds", 100*rate(want)/r.Peak.FMA)
		}
		lines = append(lines, "- "+strings.Replace(line, "of that sgemm's rate", "of that rate", 1)+".")
	}
	return lines
}

// trainOf is lathe's own measurement of a pair's work.
func (f *File) trainOf(pair string) *Train {
	for i := range f.Train {
		r := &f.Train[i]
		name := r.Method + "-" + r.DType
		if r.Rows == "ragged" {
			name = "ragged-" + name
		}
		if name == pair {
			return r
		}
	}
	return nil
}
