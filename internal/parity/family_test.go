package parity

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lathe/compute"
	"lathe/internal/reftest"
	"lathe/model"
)

const (
	columnLogits   = "logits"
	columnLogProbs = "log-probabilities"
	columnLoss     = "loss"
	columnGreedy   = "greedy, 64 tokens"
)

// Tolerances. Between torch's own kernels, versions and float64 lie 7e-6 in log-probabilities and 7e-7 in losses and norms; a
// mistake as small as another variant of GELU is 5e-4. Merged weights differ by one rounding of a weight of size 1.
var (
	logprob  = part{"", 2e-4, "absolute"}
	relative = part{"", 2e-4, "relative"}
	gradient = part{"", 1e-3, "of the largest"}
	weight   = part{"", 2e-6, "absolute"}
	exact    = part{}
)

func (p part) named(name string) part { p.name = name; return p }

// steps are the parts of a column of twenty optimiser steps.
var steps = []part{relative.named("losses"), {"norms", 2e-3, "relative"}}

// rounding are the parts of a column of twenty steps in bfloat16. PyTorch rounds results too, lathe only operands, and those of attention on
// some tiers alone: there losses were 1.5 times as far from float32's as PyTorch's at most, elsewhere 1.1 times.
var rounding = []part{{"to PyTorch's", 3, "of its rounding"}, {"to float32's", 2, "of PyTorch's"}}

// bothWays are the parts of a column of files that one program writes and the other reads; theirs is measured by
// tools/peercheck, whose tolerance that is.
func bothWays(read part) []part {
	return []part{read.named("we read theirs"), {"they read ours", 1e-4, "absolute"}}
}

func familyTable(b *bench) table[family] {
	nf4Part := part{"", logprob.tolerance, logprob.unit}
	return table[family]{
		title: "Families", first: "family", rows: families, name: func(f family) string { return f.name },
		columns: []column[family]{
			{columnLogits, []part{logprob}, b.logits},
			{columnLogProbs, []part{logprob}, b.logProbs},
			{columnLoss, []part{relative}, b.loss},
			{"gradients", []part{gradient.named("full"), gradient.named("LoRA")}, only(2, b.familyGradients)},
			{"20 steps, full", steps, only(2, b.familySteps("full"))},
			{"20 steps, LoRA", steps, only(2, b.familySteps("lora"))},
			{"20 steps, QLoRA", steps, only(2, b.familySteps("qlora"))},
			{"20 steps, LoRA in bfloat16", rounding, only(2, b.familyRounding)},
			{columnGreedy, []part{exact}, b.greedy},
			{"NF4", []part{nf4Part.named("single"), nf4Part.named("double")}, only(2, b.quantised)},
			{"LoRA adapter", bothWays(logprob), b.orTheirs(columnAdapter, only(2, b.familyAdapter))},
			{"merged", bothWays(weight), b.orTheirs(columnMerged, only(2, b.familyMerged))},
		},
	}
}

// only explains a column of n parts away where a folder is not there for it.
func only(n int, measure func(testing.TB, family) []figure) func(testing.TB, family) []figure {
	return func(t testing.TB, f family) []figure {
		if f.only == nil {
			return measure(t, f)
		}
		return slices.Repeat([]figure{explained(f.why)}, n)
	}
}

// orTheirs gives a folder that is there for other columns what peercheck measured of it all the same.
func (b *bench) orTheirs(name string, measure func(testing.TB, family) []figure) func(testing.TB, family) []figure {
	return func(t testing.TB, f family) []figure {
		figures := measure(t, f)
		if r, ok := b.peer.find(f.folder, "lora", theyRead[name]); ok && f.only != nil {
			figures[1] = r.figure(t)
		}
		return figures
	}
}

// bench is what the measurements share.
type bench struct {
	dev  compute.Device
	peer peerResults
}

func ref(parts ...string) string {
	return filepath.Join(append([]string{"..", "..", "testdata", "ref"}, parts...)...)
}

func exists(parts ...string) bool {
	_, err := os.Stat(filepath.Join(parts...))
	return err == nil
}

func (b *bench) load(t testing.TB, folder string, o model.LoadOptions) *model.Model {
	t.Helper()
	return b.loadFrom(t, ref(folder), o)
}

func (b *bench) loadFrom(t testing.TB, dir string, o model.LoadOptions) *model.Model {
	t.Helper()
	files, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	m, err := model.Load(b.dev, files, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func (b *bench) withAdapter(t testing.TB, m *model.Model, dir string) *model.Model {
	t.Helper()
	a, err := model.LoadAdapter(m, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Free)
	return m.With(a)
}

func input(b reftest.Batch) model.Input {
	return model.Input{Tokens: b.Tokens, Seqs: b.Seqs, Labels: b.Labels}
}

func (b *bench) logits(t testing.TB, f family) []figure {
	m, d := b.load(t, f.folder, model.LoadOptions{}), reftest.Open(t, ref(f.folder, "dump", "forward.safetensors"))
	got, err := m.Logits(input(d.Every(t)))
	if err != nil {
		t.Fatal(err)
	}
	return measured(reftest.Worst(got, d.Floats(t, "logits")))
}

// scores are the log-probabilities of every next token of a folder's sequences.
func scores(t testing.TB, m *model.Model, folder string) []float32 {
	t.Helper()
	batch := reftest.Open(t, ref(folder, "dump", "forward.safetensors")).Every(t)
	got, err := m.LogProbs(input(batch))
	if err != nil {
		t.Fatal(err)
	}
	return reftest.Pick(got, batch.Labelled())
}

func (b *bench) logProbs(t testing.TB, f family) []figure {
	d := reftest.Open(t, ref(f.folder, "dump", "forward.safetensors"))
	return measured(reftest.Worst(scores(t, b.load(t, f.folder, model.LoadOptions{}), f.folder), d.Floats(t, "logprobs")))
}

func (b *bench) loss(t testing.TB, f family) []figure {
	d := reftest.Open(t, ref(f.folder, "dump", "forward.safetensors"))
	batch := d.Trained(t)
	got, err := b.load(t, f.folder, model.LoadOptions{}).LogProbs(input(batch))
	if err != nil {
		t.Fatal(err)
	}
	return measured(reftest.Relative(meanLoss(got, batch), float64(d.Floats(t, "loss")[0])))
}

// meanLoss is the cross-entropy, in nats, over the tokens that have a label.
func meanLoss(logprobs []float32, batch reftest.Batch) float64 {
	sum, labelled := 0.0, batch.Labelled()
	for _, x := range reftest.Pick(logprobs, labelled) {
		sum -= float64(x)
	}
	return sum / float64(len(labelled))
}

// greedy counts the ids that differ from those that transformers generates.
func (b *bench) greedy(t testing.TB, f family) []figure {
	d := reftest.Open(t, ref(f.folder, "dump", "forward.safetensors"))
	want := d.Ints(t, "generated")
	if len(want) != 64 {
		t.Fatalf("the dump has %d ids, not 64", len(want))
	}
	m := b.load(t, f.folder, model.LoadOptions{})
	r, err := m.Generate(t.Context(), d.Ints(t, "prompt"), model.GenerateOptions{MaxNewTokens: len(want), IgnoreEOS: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	different := max(len(want)-len(r.IDs), 0)
	for i, id := range r.IDs {
		if id != want[i] {
			different++
		}
	}
	return measured(float64(different))
}

func (b *bench) quantised(t testing.TB, f family) []figure {
	d := reftest.Open(t, ref(f.folder, "dump", "scores.safetensors"))
	single, double := b.load(t, f.folder, nf4), b.load(t, f.folder, nf4Double)
	return measured(reftest.Worst(scores(t, single, f.folder), d.Floats(t, "nf4")),
		reftest.Worst(scores(t, double, f.folder), d.Floats(t, "nf4_double")))
}

func (b *bench) familyAdapter(t testing.TB, f family) []figure {
	return b.adapterBothWays(t, f.method("lora"))
}

func (b *bench) familyMerged(t testing.TB, f family) []figure {
	return b.mergedBothWays(t, f.method("lora"))
}

// method is a plain run over the family's folder.
func (f family) method(run string) method {
	m := method{base: f.folder, run: run, adapter: "lora", scores: "lora"}
	switch run {
	case "full":
		m.adapter = ""
	case "qlora":
		m.options = nf4Double
	}
	return m
}

func (b *bench) familyGradients(t testing.TB, f family) []figure {
	figures := measured(0, 0)
	for i, run := range []string{"full", "lora"} {
		if slices.Contains(f.lacks, run) {
			figures[i] = explained(f.why)
			continue
		}
		_, figures[i].value = b.gradients(t, f.method(run))
	}
	return figures
}

func (b *bench) familySteps(run string) func(testing.TB, family) []figure {
	return func(t testing.TB, f family) []figure {
		if slices.Contains(f.lacks, run) {
			return slices.Repeat([]figure{explained(f.why)}, 2)
		}
		losses, norms := b.train(t, f.method(run), t.TempDir())
		return measured(losses, norms)
	}
}

func (b *bench) familyRounding(t testing.TB, f family) []figure {
	return b.rounding(t, f.method("lora"))
}
