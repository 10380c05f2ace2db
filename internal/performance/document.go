package performance

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
)

// preface opens docs/PERFORMANCE.md.
const preface = `# Speed on the CPU

Written by a command from the measurements in docs/performance, one file a machine and day; do not edit it. A test compares them.

    go run ./tools/performance

The measurements come from these, each on an idle machine (` + "`tools/peers/README.md`" + ` says what the peers need):

    go build -o lathe . && ./lathe bench train --json | go run ./tools/performance -add docs/performance/DATE-MACHINE.json
    go run ./tools/peers -goal lora-float32 -lathe ./lathe -python venv/bin/python -out docs/performance/DATE-MACHINE.json

Figures of one line were measured in one run, peers and lathe in turn on the same checkpoint and rows (A B A B); "times" is the median of
the rounds' ratios, and the rounds are beside it. Memory is the process's high water (getrusage) on both sides. Peaks are measured at the
start and at the end of each bench, and the better counts. FLOPs are what a step needs (two an element of a product; causal attention counts
the pairs that are seen; nothing that is computed twice). "Ragged" rows are random ids with the lengths of 64 of GSM8K's rows at equal steps of
their distribution, questions masked: padded in batches of 4 they come to 1.41 times their own tokens (GSM8K itself: 1.40).
`

// Document is docs/PERFORMANCE.md, and the SVG files beside the measurements by their names. attempts is docs/performance/attempts.md.
func Document(files []*File, attempts string) (text string, plots map[string]string) {
	d := &document{plots: map[string]string{}}
	d.WriteString(preface)
	seen := map[string]bool{}
	for _, f := range files {
		if !seen[f.Machine] { // the newest of each machine
			seen[f.Machine] = true
			d.machine(f)
		}
	}
	if attempts = strings.TrimSpace(attempts); attempts != "" {
		d.WriteString("\n## What was tried\n\n" + attempts + "\n")
	}
	d.history(files)
	return d.String(), d.plots
}

type document struct {
	strings.Builder
	plots map[string]string
}

func (d *document) say(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// table writes a Markdown table; the first row is the heading, and without others there is none.
func (d *document) table(rows [][]string) {
	if len(rows) < 2 {
		return
	}
	d.say("")
	for i, row := range rows {
		d.say("| %s |", strings.Join(row, " | "))
		if i == 0 {
			d.say("|%s", strings.Repeat(" --- |", len(row)))
		}
	}
}

func (d *document) machine(f *File) {
	d.say("\n## %s, %s", f.Machine, f.Date)
	line := fmt.Sprintf("%d threads, tier %s", f.Threads, f.Tier)
	if f.Commit != "" {
		line += ", lathe " + f.Commit
	}
	for _, side := range f.peers() {
		line += "; " + side
	}
	d.say("\n%s.", line)
	for _, note := range f.Notes {
		d.say("\n%s", note)
	}
	d.peaks(f)
	d.say("\n### Goals")
	d.table(f.goalRows())
	if rows := f.startRows(); len(rows) > 1 {
		d.say("\nFrom the process's start to the end of step 1, less a steady step, round by round. Where a step takes seconds, a percent of it that the first one " +
			"was slower counts here too; `start-…` have short ones:")
		d.table(rows)
	}
	if lines := f.arithmetic(); len(lines) > 0 {
		d.say("\n### The arithmetic\n\n%s", strings.Join(lines, "\n"))
	}
	d.trains(f)
	d.others(f)
	for _, s := range f.Sweep {
		d.sweep(f, s)
	}
}

// peers are the versions of what was measured beside lathe.
func (f *File) peers() (all []string) {
	seen := map[string]bool{}
	for _, p := range f.Pairs {
		for _, name := range sortedKeys(p.Peer.Versions) {
			if s := name + " " + p.Peer.Versions[name]; !seen[s] {
				seen[s] = true
				all = append(all, s)
			}
		}
	}
	return all
}

// peaks are the best of all runs of the day.
func (d *document) peaks(f *File) {
	var p Peak
	for _, r := range f.Train {
		p = p.Better(r.Peak)
	}
	for _, r := range f.Generate {
		p = p.Better(r.Peak)
	}
	if p.SGEMM == 0 {
		return
	}
	d.say("\nPeaks: sgemm %.1f GFLOP/s, %smultiply-adds in registers %.1f GFLOP/s, memory %.1f GB/s read, %.1f GB/s copied.",
		p.SGEMM, map[bool]string{true: fmt.Sprintf("bf16 products %.1f, ", p.BF16)}[p.BF16 > 0], p.FMA, p.ReadBandwidth, p.CopyBandwidth)
}

func (d *document) trains(f *File) {
	if len(f.Train) == 0 {
		return
	}
	d.say("\n### Training steps, lathe alone")
	rows := [][]string{{"work", "tokens/s", "MFLOP a token", "GFLOP/s", "of the products' peak", "of FMAs in registers", "memory MiB", "planned MiB", "padding"}}
	for _, r := range f.Train {
		rows = append(rows, []string{
			trainName(r), figure(r.TokensPerSecond), fmt.Sprintf("%.0f", r.MFLOPPerToken), fmt.Sprintf("%.1f", r.GFLOPs),
			percent(r.ShareProducts), percent(r.ShareFMA), mib(r.PeakMemory), mib(r.PlannedBytes), percent(r.Padding),
		})
	}
	d.table(rows)
	for _, r := range f.Train {
		d.say("\nWhere the time of %s goes:", trainName(r))
		d.table(OperationRows(r.Operations, r.Peak))
	}
}

func trainName(r Train) string {
	return fmt.Sprintf("%s, %s, %d × %d (%s)", r.Method, r.DType, r.Batch, r.Length, r.Rows)
}

func (d *document) others(f *File) {
	for _, r := range f.Generate {
		d.say("\n### Generation\n\n%s parameters%s: one sequence %s tokens/s (%.1f MB a token, %s of the memory's read bandwidth), a prompt of %d tokens %s tokens/s, "+
			"%d sequences together %s tokens/s.", grouped(r.Parameters), map[bool]string{true: " in NF4"}[r.In4bit], figure(r.TokensPerSecond), r.BytesPerToken/1e6,
			percent(r.Share), r.PromptTokens, figure(r.PromptPerSecond), r.Batch, figure(r.BatchedPerSecond))
		d.table(OperationRows(r.Operations, r.Peak))
	}
	for _, r := range f.Score {
		d.say("\n### Scoring\n\n%s tokens/s, %.1f GFLOP/s, %s of sgemm; one by one %s tokens/s. A row of GSM8K's length alone already multiplies at %s of the rate of many.",
			figure(r.TokensPerSecond), r.GFLOPs, percent(r.Share), figure(r.OneByOne), percent(1/r.Ratio))
	}
	rows := [][]string{{"text", "size", "one core MB/s", "all cores MB/s", "of a jsontext walk"}}
	for _, r := range f.Tokenize {
		rows = append(rows, []string{"tokenise, " + r.Tokenizer + ", " + r.Source, mib(r.Bytes), figure(r.MBPerSecond), figure(r.AllCores), "–"})
	}
	for _, r := range f.Lint {
		rows = append(rows, []string{"lint, " + r.Source, mib(r.Bytes), figure(r.MBPerSecond), figure(r.AllCores), fmt.Sprintf("%.2f", r.OfWalk)})
	}
	if len(rows) > 1 {
		d.say("\n### Text")
		d.table(rows)
	}
	rows = [][]string{{"start", "first step, s", "steady step, s", "start, s", "again, s", "`lathe --version`, s"}}
	for _, r := range f.Start {
		rows = append(rows, []string{
			fmt.Sprintf("%s, %s parameters", r.Method, grouped(r.Parameters)), fmt.Sprintf("%.2f", r.FirstStep), fmt.Sprintf("%.2f", r.SteadyStep),
			fmt.Sprintf("%.2f", r.Seconds), fmt.Sprintf("%.2f", r.AgainSeconds), fmt.Sprintf("%.3f", r.VersionSecond),
		})
	}
	if len(rows) > 1 {
		d.say("\n### Start, lathe alone")
		d.table(rows)
	}
}

// sweep writes the points and their plot, and how far they are from flat or linear.
func (d *document) sweep(f *File, s Sweep) {
	name := strings.TrimSuffix(f.name, ".json") + "-" + s.Over + ".svg"
	rows := [][]string{{"tokens of a row", "parameters", "µs a token", "of that attention", "without it", "GFLOP/s", "of sgemm"}}
	all, rest := line{name: "all", colour: "#1f77b4"}, line{name: "without attention", colour: "#ff7f0e"}
	var ticks []float64
	for _, p := range s.Points {
		x, without := float64(p.Tokens), p.Micros-p.Attention
		if s.Over == "parameters" {
			x = float64(p.Parameters)
		}
		all.x, all.y, rest.x, rest.y = append(all.x, x), append(all.y, p.Micros), append(rest.x, x), append(rest.y, without)
		ticks = append(ticks, x)
		rows = append(rows, []string{
			grouped(int64(p.Tokens)), grouped(p.Parameters), fmt.Sprintf("%.0f", p.Micros), fmt.Sprintf("%.0f", p.Attention), fmt.Sprintf("%.0f", without),
			fmt.Sprintf("%.1f", p.GFLOPs), percent(p.GFLOPs / s.Peak.SGEMM),
		})
	}
	d.say("\n### A token's cost over %s", map[string]string{"tokens": "the row's length", "parameters": "the model's size"}[s.Over])
	kept := ""
	if s.Rounds > 1 {
		kept = fmt.Sprintf(" Of %d rounds over all sizes the fastest of each is kept.", s.Rounds)
	}
	if s.Over == "tokens" {
		d.say("\n%s, one row a step.%s %s", s.Method, kept, flat(s))
	} else {
		d.say("\n%s, one row of 512 tokens a step.%s %s", s.Method, kept, linear(s.Points))
	}
	d.table(rows)
	d.plots[name] = plot("training, "+s.Method+": µs a token", map[string]string{"tokens": "tokens of the row", "parameters": "parameters"}[s.Over], "µs", true, ticks, []line{all, rest})
	d.say("\n![µs a token over %s](%s)", s.Over, filepath.ToSlash(filepath.Join("performance", name)))
}

// flat compares the lengths' costs without attention's own share, and the shortest row's excess with what a step does whatever its length:
// every weight, of four bytes, is read in the forward pass and again in the backward pass.
func flat(s Sweep) string {
	without := func(p SweepPoint) float64 { return p.Micros - p.Attention }
	cheapest, dearest, longer := math.Inf(1), 0.0, 0.0
	short := s.Points[0]
	for i, p := range s.Points {
		cheapest, dearest = min(cheapest, without(p)), max(dearest, without(p))
		if i > 0 {
			longer = max(longer, without(p))
		}
	}
	text := fmt.Sprintf("Without attention's own share the dearest length costs %.2f times the cheapest, and %.2f times from the second on.", dearest/cheapest, longer/cheapest)
	if s.Method == "qlora" || s.Peak.ReadBandwidth == 0 {
		return text
	}
	bytes := 2 * 4 * float64(short.Parameters)
	return text + fmt.Sprintf(" A step of %d tokens takes %.0f ms more than as many of the cheapest ones. What it does whatever its length is above all to read the weights "+
		"twice, forward and backward: %.0f MB, %.0f ms at the memory's %.1f GB/s if nothing hid it, one part in %.0f of its products' time; the optimiser's "+
		"pass over adapters and the start of each operation add to that.", short.Tokens, (without(short)-cheapest)*float64(short.Tokens)/1e3,
		bytes/1e6, bytes/s.Peak.ReadBandwidth/1e6, s.Peak.ReadBandwidth, cheapest*float64(short.Tokens)*1e3/(bytes/s.Peak.ReadBandwidth))
}

// linear compares the models' rates: cost is linear in the work where the rate is one.
func linear(points []SweepPoint) string {
	low, high := rates(points, 0)
	text := fmt.Sprintf("The rate, which would be one where cost is exactly linear in the work, lies between %.1f and %.1f GFLOP/s", low, high)
	if low, high := rates(points, 10e6); high > 0 {
		text += fmt.Sprintf(", and between %.1f and %.1f from 10 M parameters on: a smaller model spends its time on logits and softmax over a vocabulary that does "+
			"not shrink with it (see what was tried)", low, high)
	}
	return text + "."
}

// rates are the lowest and the highest of the models that have at least so many parameters, zeros where there is none.
func rates(points []SweepPoint, least int64) (low, high float64) {
	for _, p := range points {
		if p.Parameters < least {
			continue
		}
		if low == 0 || p.GFLOPs < low {
			low = p.GFLOPs
		}
		high = max(high, p.GFLOPs)
	}
	return low, high
}

func (d *document) history(files []*File) {
	rows := [][]string{{"date", "machine", "lathe", "work", "tokens/s", "of the products' peak", "times the peer"}}
	for _, f := range files {
		for _, r := range f.Train {
			name, ratio := r.Method+"-"+r.DType, "–"
			if r.Rows == "ragged" {
				name = "ragged-" + name
			}
			if p := f.pair(name); p != nil {
				ratio = fmt.Sprintf("%.2f", p.Ratio)
			}
			rows = append(rows, []string{f.Date, f.Machine, f.Commit, trainName(r), figure(r.TokensPerSecond), percent(r.ShareProducts), ratio})
		}
	}
	if len(rows) > 1 {
		d.say("\n## History")
		d.table(rows)
	}
}

// figure is a number with three digits at least.
func figure(x float64) string {
	switch {
	case x >= 1000:
		return grouped(int64(math.Round(x)))
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// number is a goal's own number.
func number(x float64) string { return fmt.Sprintf("%.4g", x) }

func list(values []float64) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprintf("%.2f", v))
	}
	return strings.Join(all, " ")
}

func mib(bytes int64) string { return grouped((bytes + 1<<19) >> 20) }
