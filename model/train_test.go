package model

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
)

// rowsBatch is the first n rows of a rows.jsonl, flat, labels shifted, and the number of trained tokens.
func rowsBatch(t testing.TB, path string, n int) (in Input, trained int) {
	t.Helper()
	f, err := os.Open(filepath.Join(refDir, path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in.Seqs = []int32{0}
	lines := bufio.NewScanner(f)
	for range n {
		var row struct {
			IDs    []int32 `json:"input_ids"`
			Labels []int32 `json:"labels"`
		}
		if !lines.Scan() {
			t.Fatal("too few rows")
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		in.Tokens = append(in.Tokens, row.IDs...)
		in.Labels = append(append(in.Labels, row.Labels[1:]...), Ignore)
		in.Seqs = append(in.Seqs, int32(len(in.Tokens)))
	}
	for _, l := range in.Labels {
		if l != Ignore {
			trained++
		}
	}
	return in, trained
}

func zeroGrads(m *Model) {
	for _, p := range m.Trainable() {
		m.Device().Zero(p.Grad)
	}
}

func grads(t testing.TB, m *Model) [][]float32 {
	t.Helper()
	var out [][]float32
	for _, p := range m.Trainable() {
		out = append(out, compute.Download[float32](m.Device(), p.Grad))
	}
	if err := m.Device().Sync(); err != nil {
		t.Fatal(err)
	}
	return out
}

// trainedModel is a model with its method's tensors trainable.
func trainedModel(t testing.TB, dev compute.Device, name, adapter string, o LoadOptions) *Model {
	t.Helper()
	m := loadModel(t, dev, name, o)
	if adapter == "" {
		if err := m.TrainAll(); err != nil {
			t.Fatal(err)
		}
		return m
	}
	return loadAdapterOf(t, m, name+"/adapters/"+adapter)
}

func TestGradientsMatchPEFT(t *testing.T) {
	dev := openDevice(t)
	for _, c := range []struct {
		run, adapter string
		options      LoadOptions
	}{
		{"llama-gqa/train-lora", "lora-random", LoadOptions{}},
		{"llama-gqa/train-lora-qv-rslora", "lora-qv-rslora-random", LoadOptions{}},
		{"llama-gqa/train-qlora", "lora-random", LoadOptions{Quant4: true, DoubleQuant: true}},
		{"llama-gqa/train-qlora-single", "lora-random", LoadOptions{Quant4: true}},
		{"llama-gqa/train-full", "", LoadOptions{}},
		{"llama-bias-tied/train-lora", "lora-random", LoadOptions{}},
	} {
		for _, checkpoint := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/checkpoint=%v", c.run, checkpoint), func(t *testing.T) {
				name, _, _ := strings.Cut(c.run, "/")
				m := trainedModel(t, dev, name, c.adapter, c.options)
				in, trained := rowsBatch(t, c.run+"/rows.jsonl", 4)
				zeroGrads(m)
				logprobs, err := m.ForwardBackward(in, StepOptions{GradScale: 1 / float32(trained), Checkpoint: checkpoint})
				if err != nil {
					t.Fatal(err)
				}
				d := openDump(t, c.run+"/grads.safetensors")
				loss := 0.0
				for _, x := range logprobs {
					loss -= float64(x) / float64(trained)
				}
				within(t, "loss", []float32{float32(loss)}, d.floats(t, "loss"), logprobTolerance)
				got, off, buffers := grads(t, m), 0.0, []compute.Buffer{}
				for i, p := range m.Trainable() {
					off = max(off, worst(got[i], d.floats(t, p.Name)))
					buffers = append(buffers, p.Grad)
				}
				if off > gradientTolerance {
					t.Errorf("gradients: off by %g", off)
				}
				t.Logf("%d gradients: off by %.3g", len(got), off)
				norm := float32(dev.GlobalNorm(buffers))
				within(t, "norm", []float32{norm}, d.floats(t, "grad_norm"), 2e-3)
			})
		}
	}
}

// randomConfig is a small llama with odd sizes.
func randomConfig() Config {
	return Config{
		Family: "llama", Architecture: "LlamaForCausalLM", Hidden: 40, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 12,
		Intermediate: 72, Vocab: 97, ContextLength: 256, NormEps: 1e-5, InitStd: 0.15, BOS: 1, PAD: -1, EOS: []int32{2},
		RoPE: RoPE{Theta: 10000, Type: "default"},
	}
}

func randomModel(t testing.TB, dev compute.Device, o LoadOptions) *Model {
	t.Helper()
	m, err := NewRandomWith(dev, randomConfig(), 7, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func randomLoRA(t testing.TB, m *Model, c LoRAConfig) *Model {
	t.Helper()
	a, err := NewAdapter(m, c, 11)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Free)
	for i, p := range a.params {
		values := make([]float32, p.Value.Len())
		for j := range values {
			values[j] = float32((i*31+j*17)%23-11) / 60
		}
		compute.Upload(m.dev, p.Value, values)
	}
	return m.With(a)
}

func randomInput(lengths ...int) Input {
	in := Input{Seqs: []int32{0}}
	for s, n := range lengths {
		for i := range n {
			in.Tokens = append(in.Tokens, int32((s*13+i*i*7+i*3)%97))
			label := int32((s*5 + i*11) % 97)
			if i%5 == 3 || i == n-1 {
				label = Ignore
			}
			in.Labels = append(in.Labels, label)
		}
		in.Seqs = append(in.Seqs, int32(len(in.Tokens)))
	}
	return in
}

// split is the batch's sequences, one batch each.
func split(in Input) []Input {
	var out []Input
	for s := range len(in.Seqs) - 1 {
		a, b := in.Seqs[s], in.Seqs[s+1]
		out = append(out, Input{Tokens: in.Tokens[a:b], Labels: in.Labels[a:b]})
	}
	return out
}

func backward(t testing.TB, m *Model, o StepOptions, batches ...Input) (logprobs []float32, g [][]float32) {
	t.Helper()
	zeroGrads(m)
	for _, in := range batches {
		lp, err := m.ForwardBackward(in, o)
		if err != nil {
			t.Fatal(err)
		}
		logprobs = append(logprobs, lp...)
	}
	return logprobs, grads(t, m)
}

// Packed sequences and separate ones differ in the order of float32 sums alone.
const sumTolerance = 1e-5

func TestPackedEqualsSeparate(t *testing.T) {
	m := randomLoRA(t, randomModel(t, openDevice(t), LoadOptions{}), LoRAConfig{R: 3, Alpha: 6, TargetModules: TargetModules{Regex: AllLinear}})
	in := randomInput(9, 1, 33, 17)
	o := StepOptions{GradScale: 1.0 / 40}
	packed, packedGrads := backward(t, m, o, in)
	separate, separateGrads := backward(t, m, o, split(in)...)
	within(t, "log-probabilities", packed, separate, sumTolerance)
	for i, p := range m.Trainable() {
		if w := worst(packedGrads[i], separateGrads[i]); w > sumTolerance {
			t.Errorf("%s: off by %g", p.Name, w)
		}
	}
	in.Seqs = append([]int32{0, 0}, append(in.Seqs[1:], in.Seqs[len(in.Seqs)-1])...) // empty sequences change nothing
	scored, err := m.LogProbs(in)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "scores without and with a backward pass", scored, packed, sumTolerance)
}

// A step is a function of its inputs: the same bits again, in a larger workspace, and with gradients checkpointed.
func TestStepIsBitExact(t *testing.T) {
	dev := openDevice(t)
	for _, dropout := range []float64{0, 0.3} {
		m := randomLoRA(t, randomModel(t, dev, LoadOptions{}), LoRAConfig{R: 3, Alpha: 6, Dropout: dropout, TargetModules: TargetModules{Regex: AllLinear}})
		in := randomInput(9, 33, 17)
		o := StepOptions{GradScale: 1.0 / 40, DropoutSeed: 5, Step: 3, Micro: 1}
		logprobs, g := backward(t, m, o, in)
		if err := m.Reserve(500, 20, 250, true); err != nil {
			t.Fatal(err)
		}
		again, g2 := backward(t, m, o, in)
		o.Checkpoint = true
		third, g3 := backward(t, m, o, in)
		if !slices.Equal(logprobs, again) || !slices.Equal(logprobs, third) {
			t.Errorf("dropout %v: log-probabilities changed: %g, checkpointed %g", dropout, worst(logprobs, again), worst(logprobs, third))
		}
		for i, p := range m.Trainable() {
			if !slices.Equal(g[i], g2[i]) || !slices.Equal(g[i], g3[i]) {
				t.Errorf("dropout %v: %s changed: %g, checkpointed %g", dropout, p.Name, worst(g[i], g2[i]), worst(g[i], g3[i]))
			}
		}
		o.Checkpoint = false
		for _, other := range []StepOptions{{DropoutSeed: 6, Step: 3, Micro: 1}, {DropoutSeed: 5, Step: 4, Micro: 1}, {DropoutSeed: 5, Step: 3, Micro: 2}} {
			other.GradScale = o.GradScale
			changed, _ := backward(t, m, other, in)
			if slices.Equal(changed, logprobs) != (dropout == 0) {
				t.Errorf("dropout %v: other seed, step or micro-batch: equal %v", dropout, dropout != 0)
			}
		}
	}
}

// The directional derivative of the loss against differences, through every kind of operation, dropout included.
func TestGradientsAgainstDifferences(t *testing.T) {
	dev := openDevice(t)
	for _, c := range []struct {
		name string
		lora LoRAConfig
	}{
		{"all", LoRAConfig{R: 3, Alpha: 6, TargetModules: TargetModules{Regex: AllLinear}}},
		{"dropout", LoRAConfig{R: 3, Alpha: 6, Dropout: 0.25, TargetModules: TargetModules{Regex: AllLinear}}},
		{"last block, o_proj", LoRAConfig{R: 2, Alpha: 6, LayersToTransform: []int{2}, TargetModules: TargetModules{Names: []string{"o_proj"}}}},
		{"middle block, k_proj", LoRAConfig{R: 2, Alpha: 6, LayersToTransform: []int{1}, TargetModules: TargetModules{Names: []string{"k_proj"}}}},
	} {
		for _, checkpoint := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/checkpoint=%v", c.name, checkpoint), func(t *testing.T) {
				m := randomLoRA(t, randomModel(t, dev, LoadOptions{}), c.lora)
				in := randomInput(21, 12)
				o := StepOptions{GradScale: 1.0 / 25, DropoutSeed: 9, Checkpoint: checkpoint}
				againstDifferences(t, m, in, o)
			})
		}
	}
}

// againstDifferences compares the gradient of each trainable tensor along one direction of length 1 with a central difference
// of fourth order. Losses of size 5 in float32, over steps of 0.03, leave 1e-4; the fifth derivative some percents of that.
func againstDifferences(t *testing.T, m *Model, in Input, o StepOptions) {
	t.Helper()
	dev := m.Device()
	_, g := backward(t, m, o, in)
	for i, p := range m.Trainable() {
		value := compute.Download[float32](dev, p.Value)
		direction, want, length := make([]float64, len(value)), 0.0, 0.0
		for j := range direction {
			direction[j] = float64((j*7+i)%5) - 2
			length += direction[j] * direction[j]
		}
		for j := range direction {
			direction[j] /= math.Sqrt(length)
			want += direction[j] * float64(g[i][j])
		}
		loss := func(step float64) float64 {
			moved := make([]float32, len(value))
			for j := range moved {
				moved[j] = float32(float64(value[j]) + step*direction[j])
			}
			compute.Upload(dev, p.Value, moved)
			lp, err := m.ForwardBackward(in, o)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, x := range lp {
				sum -= float64(x) * float64(o.GradScale)
			}
			return sum
		}
		const h = 0.03
		got := (8*(loss(h)-loss(-h)) - (loss(2*h) - loss(-2*h))) / (12 * h)
		compute.Upload(dev, p.Value, value)
		if math.Abs(got-want) > 3e-4+3e-3*math.Abs(want) {
			t.Errorf("%s: difference quotient %g, gradient %g", p.Name, got, want)
		}
	}
}

func TestReserveCoversSmallerSteps(t *testing.T) {
	dev := openDevice(t)
	m := randomLoRA(t, randomModel(t, dev, LoadOptions{}), LoRAConfig{R: 3, Alpha: 6, Dropout: 0.1, TargetModules: TargetModules{Regex: AllLinear}})
	m.Trainable()
	if err := m.Reserve(96, 4, 48, true); err != nil {
		t.Fatal(err)
	}
	saved, scratch := m.work.saved, m.work.scratch
	for _, in := range []Input{randomInput(48, 48), randomInput(24, 24, 24, 24), randomInput(1), randomInput(48, 1, 47), randomInput(7, 11)} {
		if _, err := m.ForwardBackward(in, StepOptions{GradScale: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.LogProbs(in); err != nil {
			t.Fatal(err)
		}
		if m.work.saved != saved || m.work.scratch != scratch {
			t.Fatal("a step within the reservation made a new workspace")
		}
	}
	if saved.Peak() != saved.Size() || scratch.Peak() != scratch.Size() {
		t.Errorf("the largest step took %d and %d bytes of %d and %d reserved", saved.Peak(), scratch.Peak(), saved.Size(), scratch.Size())
	}
}
