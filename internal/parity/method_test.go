package parity

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/internal/reftest"
	"lathe/model"
	"lathe/model/safetensors"
	"lathe/trainer"
)

const (
	columnGradients = "gradients"
	columnAdapter   = "adapter"
	columnMerged    = "merged"
	columnBF16      = "20 steps in bfloat16"
)

func methodTable(b *bench) table[method] {
	return table[method]{
		title: "Methods", first: "method", rows: methods, name: func(m method) string { return m.name },
		columns: []column[method]{
			{columnLoss, []part{relative}, unless(columnLoss, 1, b.methodLoss)},
			{columnGradients, []part{gradient}, unless(columnGradients, 1, b.methodGradients)},
			{"20 steps", steps, b.methodSteps},
			{columnBF16, rounding, unless(columnBF16, 2, b.rounding)},
			{columnAdapter, bothWays(logprob), unless(columnAdapter, 2, b.adapterBothWays)},
			{columnMerged, bothWays(weight), unless(columnMerged, 2, b.mergedBothWays)},
			{"10 steps, resumed, 10 more", []part{exact}, b.resumed},
		},
	}
}

// unless explains a column of n parts away where the method does not have it.
func unless(column string, n int, measure func(testing.TB, method) []figure) func(testing.TB, method) []figure {
	return func(t testing.TB, m method) []figure {
		why, ok := m.why[column]
		if !ok {
			return measure(t, m)
		}
		figures := make([]figure, n)
		for i := range figures {
			figures[i] = explained(why)
		}
		return figures
	}
}

func (m method) folder() string { return ref(m.base, "train-"+m.run) }

func (m method) adapterDir() string { return ref(m.base, "adapters", m.adapter+"-random") }

// trained is the model with the method's tensors trainable, at the place where the dumps took gradients.
func (b *bench) trained(t testing.TB, m method) *model.Model {
	t.Helper()
	base := b.load(t, m.base, m.options)
	switch {
	case m.encoder:
		return b.withEncoder(t, base, m.adapterDir())
	case m.adapter != "":
		return b.withAdapter(t, base, m.adapterDir())
	}
	if err := base.TrainAll(); err != nil {
		t.Fatal(err)
	}
	return base
}

// encoderPrefix is what PEFT's module has before the names of what a prefix with projection trains. Its files hold the projected
// prefix alone; the dumps have the rest beside it.
const (
	encoderPrefix = "prompt_encoder.default."
	encoderFile   = "prompt_encoder.safetensors"
)

// withEncoder is the model with a prefix that still has its projection.
func (b *bench) withEncoder(t testing.TB, base *model.Model, dir string) *model.Model {
	t.Helper()
	c, err := model.ParseAdapterConfig(readFile(t, filepath.Join(dir, model.AdapterConfigFile)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := model.NewAdapter(base, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Free)
	m := base.With(a)
	b.setEncoder(t, m, dir)
	return m
}

// setEncoder puts a dump's embedding and projection in the place of the model's.
func (b *bench) setEncoder(t testing.TB, m *model.Model, dir string) {
	t.Helper()
	d := reftest.Open(t, dir, encoderFile)
	params := m.Trainable()
	if len(params) != len(d.Names()) {
		t.Fatalf("%d tensors are trained, the dump has %v", len(params), d.Names())
	}
	for _, p := range params {
		compute.Upload(b.dev, p.Value, d.Floats(t, strings.TrimPrefix(p.Name, encoderPrefix)))
	}
	if err := b.dev.Sync(); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// dumpName is what the dump calls a tensor: PEFT's encoder without the module before it, and GPT-NeoX's head, which files call
// embed_out, as transformers 5 calls its module.
func dumpName(d reftest.Dump, name string) string {
	if name = strings.TrimPrefix(name, encoderPrefix); name == "embed_out.weight" && !d.Has(name) {
		return "lm_head.weight"
	}
	return name
}

// gradients compares the loss of four rows (relative) and its gradients: absolute differences, as a share of the largest element
// of all.
func (b *bench) gradients(t testing.TB, m method) (loss, worst float64) {
	t.Helper()
	trained, batch := b.trained(t, m), reftest.Rows(t, filepath.Join(m.folder(), "rows.jsonl"), 4)
	params := trained.Trainable()
	for _, p := range params {
		b.dev.Zero(p.Grad)
	}
	logprobs, err := trained.ForwardBackward(input(batch), model.StepOptions{GradScale: 1 / float32(len(batch.Labelled()))})
	if err != nil {
		t.Fatal(err)
	}
	d, largest := reftest.Open(t, m.folder(), "grads.safetensors"), 0.0
	for _, p := range params {
		want := d.Floats(t, dumpName(d, p.Name))
		largest = max(largest, reftest.Worst(want, make([]float32, len(want))))
		worst = max(worst, reftest.Worst(compute.Download[float32](b.dev, p.Grad), want))
	}
	if len(d.Names()) != len(params)+2 { // loss and grad_norm beside them
		t.Errorf("the dump has %d gradients, lathe trains %d tensors", len(d.Names())-2, len(params))
	}
	return reftest.Relative(meanLoss(logprobs, batch), float64(d.Floats(t, "loss")[0])), worst / largest
}

func (b *bench) methodLoss(t testing.TB, m method) []figure {
	loss, _ := b.gradients(t, m)
	return measured(loss)
}

func (b *bench) methodGradients(t testing.TB, m method) []figure {
	_, worst := b.gradients(t, m)
	return measured(worst)
}

func (b *bench) methodSteps(t testing.TB, m method) []figure {
	losses, norms := b.train(t, m, t.TempDir())
	return measured(losses, norms)
}

// train makes the run of a dump and compares its twenty steps: the worst relative errors of losses and gradient norms.
func (b *bench) train(t testing.TB, m method, out string) (losses, norms float64) {
	t.Helper()
	want := reftest.ReadLosses(t, m.folder())
	got := b.run(t, m, out, trainer.Options{})
	if len(got) != len(want.Steps) || len(got) != 20 {
		t.Fatalf("%d steps, want %d", len(got), len(want.Steps))
	}
	for i, w := range want.Steps {
		if got[i].Step != w.Step || got[i].TrainedTokens != w.Tokens || reftest.Relative(got[i].LearningRate, w.LearningRate) > 1e-12 {
			t.Errorf("step %d is %d, trains %d tokens of %d, at rate %g of %g", w.Step, got[i].Step, got[i].TrainedTokens, w.Tokens,
				got[i].LearningRate, w.LearningRate)
		}
		losses = max(losses, reftest.Relative(got[i].Loss, w.Loss))
		norms = max(norms, reftest.Relative(got[i].GradNorm, w.GradNorm))
	}
	return losses, norms
}

// run trains a dump's run.yaml into a folder.
func (b *bench) run(t testing.TB, m method, out string, o trainer.Options) (done []trainer.StepDone) {
	t.Helper()
	c, err := trainer.LoadConfig(filepath.Join(m.folder(), "run.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c.OutputDir = out
	if m.bf16 {
		c.BF16, c.QuantComputeDType = true, "bfloat16"
	}
	init := c.AdapterNameOrPath
	if m.encoder {
		c.AdapterNameOrPath = ""
	}
	r, err := trainer.Prepare(t.Context(), b.dev, c, o)
	if err != nil {
		t.Fatal(err)
	}
	if m.encoder && o.Resume == "" {
		b.setEncoder(t, r.Live().Model, init)
	}
	err = r.Train(t.Context(), nil, func(e trainer.Event) {
		if s, ok := e.(trainer.StepDone); ok {
			done = append(done, s)
		}
	})
	if lost := r.Close(); err == nil {
		err = lost
	}
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// rounding compares a run's losses in bfloat16 with PyTorch's, and with float32's: both as shares of PyTorch's own rounding.
func (b *bench) rounding(t testing.TB, m method) []figure {
	var losses []float64
	m.bf16 = true
	for _, s := range b.run(t, m, t.TempDir(), trainer.Options{}) {
		losses = append(losses, s.Loss)
	}
	return measured(reftest.RoundingOf(t, m.folder(), losses))
}

// resumed counts the bytes in which twenty steps differ from ten, a checkpoint, and ten more: of the weights and of the
// optimiser's moments.
func (b *bench) resumed(t testing.TB, m method) []figure {
	straight, halves := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
	b.run(t, m, straight, trainer.Options{})
	b.run(t, m, halves, trainer.Options{StopAfter: 10})
	b.run(t, m, halves, trainer.Options{Resume: halves})
	compared, different := 0, 0
	err := filepath.WalkDir(straight, func(path string, e os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".safetensors" {
			return err
		}
		rel, err := filepath.Rel(straight, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(halves, rel))
		if err != nil {
			return err
		}
		compared++
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs", rel)
			different++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if compared < 2 {
		t.Fatalf("%d files to compare, want weights and moments", compared)
	}
	return measured(float64(different))
}

func (b *bench) adapterBothWays(t testing.TB, m method) []figure {
	theirs := b.peer.figure(t, columnAdapter, m)
	if why, ok := m.read[columnAdapter]; ok {
		return []figure{explained(why), theirs}
	}
	file := "scores.safetensors"
	if m.file != "" {
		file = m.file
	}
	want := reftest.Open(t, ref(m.base, "dump", file)).Floats(t, m.scores)
	got := scores(t, b.withAdapter(t, b.load(t, m.base, m.options), m.adapterDir()), m.base)
	return []figure{{value: reftest.Worst(got, want)}, theirs}
}

// mergedBothWays compares the weights that PEFT's merge changed.
func (b *bench) mergedBothWays(t testing.TB, m method) []figure {
	theirs := b.peer.figure(t, columnMerged, m)
	if why, ok := m.read[columnMerged]; ok {
		return []figure{explained(why), theirs}
	}
	d := reftest.Open(t, ref(m.base, "dump", "merged-"+m.adapter+".safetensors"))
	sources, err := b.withAdapter(t, b.load(t, m.base, m.options), m.adapterDir()).MergedTensors()
	if err != nil {
		t.Fatal(err)
	}
	worst, seen := 0.0, 0
	for _, s := range sources {
		if !d.Has(s.Name) {
			continue
		}
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		got, err := safetensors.Float32s(safetensors.Tensor{DType: s.DType, Shape: s.Shape, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		worst, seen = max(worst, reftest.Worst(got, d.Floats(t, s.Name))), seen+1
	}
	if seen != len(d.Names()) {
		t.Errorf("PEFT changed %d tensors, lathe has %d of them", len(d.Names()), seen)
	}
	return []figure{{value: worst}, theirs}
}
