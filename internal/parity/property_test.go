package parity

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/internal/reftest"
	"lathe/model"
)

// What must hold whatever the reference says, for every family (full and LoRA) and for every method. Tolerances: the same sums in
// another order, in float32, are 1e-5 of the largest gradient apart at most, and 5e-5 in log-probabilities.
const (
	orderGradient = 1e-5
	orderLogProb  = 5e-5
)

func TestProperties(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	b := &bench{dev: dev}
	properties := func(m method) func(t *testing.T) {
		return func(t *testing.T) {
			trained := b.trained(t, m)
			rows := reftest.Rows(t, ref("llama-gqa", "train-lora", "rows.jsonl"), 4)
			t.Run("1×4 equals 4×1", func(t *testing.T) { b.batchEqualsAccumulation(t, trained, rows) })
			t.Run("checkpointing", func(t *testing.T) { b.checkpointingChangesNothing(t, trained, rows) })
			t.Run("packed", func(t *testing.T) { packedEqualsAlone(t, trained, m.base) })
			t.Run("cached", func(t *testing.T) { cachedEqualsUncached(t, trained, m.base) })
			t.Run("together", func(t *testing.T) { togetherEqualsAlone(t, trained, m.base) })
		}
	}
	for _, f := range families {
		if f.only != nil {
			continue
		}
		for _, run := range []string{"full", "lora", "qlora"} {
			if run == "full" || exists(ref(f.folder, "adapters", "lora-random")) {
				t.Run(f.name+"/"+run, properties(f.method(run)))
			}
		}
	}
	for _, m := range methods {
		if _, other := m.why[columnGradients]; !other { // another optimiser has the model of the method beside it
			t.Run(m.name, properties(m))
		}
	}
}

// backward gives log-probabilities and the gradients of batches, added up.
func (b *bench) backward(t *testing.T, m *model.Model, o model.StepOptions, batches ...reftest.Batch) (logprobs []float32, grads [][]float32) {
	t.Helper()
	for _, p := range m.Trainable() {
		b.dev.Zero(p.Grad)
	}
	for _, batch := range batches {
		got, err := m.ForwardBackward(input(batch), o)
		if err != nil {
			t.Fatal(err)
		}
		logprobs = append(logprobs, got...)
	}
	for _, p := range m.Trainable() {
		grads = append(grads, compute.Download[float32](b.dev, p.Grad))
	}
	if err := b.dev.Sync(); err != nil {
		t.Fatal(err)
	}
	return logprobs, grads
}

// alone cuts a batch into its sequences.
func alone(b reftest.Batch) (list []reftest.Batch) {
	for i := range len(b.Seqs) - 1 {
		from, to := b.Seqs[i], b.Seqs[i+1]
		list = append(list, reftest.Batch{Tokens: b.Tokens[from:to], Labels: b.Labels[from:to], Seqs: []int32{0, to - from}})
	}
	return list
}

func (b *bench) batchEqualsAccumulation(t *testing.T, m *model.Model, rows reftest.Batch) {
	o := model.StepOptions{GradScale: 1 / float32(len(rows.Labelled()))}
	logprobs, together := b.backward(t, m, o, rows)
	again, apart := b.backward(t, m, o, alone(rows)...)
	if w := reftest.Worst(again, logprobs); w > orderLogProb {
		t.Errorf("log-probabilities: off by %.3g", w)
	}
	largest, worst, at := 0.0, 0.0, ""
	for i, p := range m.Trainable() {
		largest = max(largest, reftest.Worst(together[i], make([]float32, len(together[i]))))
		if w := reftest.Worst(apart[i], together[i]); w > worst {
			worst, at = w, p.Name
		}
	}
	if !(worst <= orderGradient*largest) {
		t.Errorf("%s: off by %.3g, the largest gradient is %.3g", at, worst, largest)
	}
}

func (b *bench) checkpointingChangesNothing(t *testing.T, m *model.Model, rows reftest.Batch) {
	o := model.StepOptions{GradScale: 1 / float32(len(rows.Labelled()))}
	logprobs, plain := b.backward(t, m, o, rows)
	o.Checkpoint = true
	again, saved := b.backward(t, m, o, rows)
	if !slices.Equal(logprobs, again) {
		t.Errorf("log-probabilities are other bits, off by %.3g", reftest.Worst(again, logprobs))
	}
	for i, p := range m.Trainable() {
		if !slices.Equal(plain[i], saved[i]) {
			t.Errorf("%s: other bits, off by %.3g", p.Name, reftest.Worst(saved[i], plain[i]))
		}
	}
}

// forwardSequences are the three sequences of a folder's dump, the longest beyond every window.
func forwardSequences(t *testing.T, folder string) reftest.Batch {
	t.Helper()
	return reftest.Open(t, ref(folder, "dump", "forward.safetensors")).Every(t)
}

func packedEqualsAlone(t *testing.T, m *model.Model, folder string) {
	batch := forwardSequences(t, folder)
	packed, err := m.LogProbs(input(batch))
	if err != nil {
		t.Fatal(err)
	}
	var separate []float32
	for _, one := range alone(batch) {
		got, err := m.LogProbs(input(one))
		if err != nil {
			t.Fatal(err)
		}
		separate = append(separate, got...)
	}
	if w := reftest.Worst(packed, separate); w > orderLogProb {
		t.Errorf("off by %.3g", w)
	}
}

// cachedEqualsUncached scores a finished generation at once: each token has the log-probability that it had as it came.
func cachedEqualsUncached(t *testing.T, m *model.Model, folder string) {
	for _, prompt := range alone(forwardSequences(t, folder)) {
		if len(prompt.Tokens)+24 > m.Config().ContextLength {
			continue
		}
		got, err := m.Generate(t.Context(), prompt.Tokens, model.GenerateOptions{MaxNewTokens: 24, IgnoreEOS: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		tokens := slices.Concat(prompt.Tokens, got.IDs)
		scored, err := m.LogProbs(model.Input{Tokens: tokens, Labels: append(slices.Clone(tokens[1:]), model.Ignore)})
		if err != nil {
			t.Fatal(err)
		}
		if w := reftest.Worst(got.LogProbs, scored[len(prompt.Tokens)-1:len(tokens)-1]); w > orderLogProb {
			t.Errorf("a prompt of %d: off by %.3g", len(prompt.Tokens), w)
		}
	}
}

func togetherEqualsAlone(t *testing.T, m *model.Model, folder string) {
	var prompts [][]int32
	for _, one := range alone(forwardSequences(t, folder)) {
		if len(one.Tokens)+16 <= m.Config().ContextLength {
			prompts = append(prompts, one.Tokens)
		}
	}
	o := model.GenerateOptions{MaxNewTokens: 16, IgnoreEOS: true}
	together, err := m.GenerateBatch(t.Context(), prompts, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, prompt := range prompts {
		want, err := m.Generate(t.Context(), prompt, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if w := reftest.Worst(together[i].LogProbs, want.LogProbs); !slices.Equal(together[i].IDs, want.IDs) || w > orderLogProb {
			t.Errorf("prompt %d: %v, alone %v, off by %.3g", i, together[i].IDs, want.IDs, w)
		}
	}
}

// The config.json that transformers 4 wrote and the one of transformers 5 give the same bits.
func TestBothGenerationsOfConfigs(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	b := &bench{dev: dev}
	for _, f := range families {
		old := ref(f.folder, "dump", "config.v4.json")
		if !exists(old) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			dir, err := filepath.Abs(ref(f.folder))
			if err != nil {
				t.Fatal(err)
			}
			other := t.TempDir()
			for _, name := range []string{"model.safetensors", "generation_config.json"} {
				if err := os.Symlink(filepath.Join(dir, name), filepath.Join(other, name)); err != nil {
					t.Skipf("skipped: no symbolic links here: %v", err)
				}
			}
			if err := os.Symlink(filepath.Join(dir, "dump", "config.v4.json"), filepath.Join(other, "config.json")); err != nil {
				t.Fatal(err)
			}
			was, is := b.loadFrom(t, other, model.LoadOptions{}), b.load(t, f.folder, model.LoadOptions{})
			if got, want := scores(t, was, f.folder), scores(t, is, f.folder); !slices.Equal(got, want) {
				t.Errorf("log-probabilities are other bits, off by %.3g", reftest.Worst(got, want))
			}
		})
	}
}
