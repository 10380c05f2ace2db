package model

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
)

// everyMethod is each method with all that it has: dropout, biases, whole modules, blocks left out.
var everyMethod = []struct {
	name   string
	config AdapterConfig
	// exact says that the gradient is that of the loss: DoRA's takes row lengths as constants.
	exact bool
}{
	{"lora", LoRAConfig{R: 3, Alpha: 6, Dropout: 0.2, TargetModules: TargetModules{Regex: AllLinear}}, true},
	{"lora, all biases", LoRAConfig{R: 3, Alpha: 6, Bias: BiasAll}, true},
	{"lora, its biases", LoRAConfig{R: 3, Alpha: 6, Bias: BiasLoRA, TargetModules: TargetModules{Regex: AllLinear}}, true},
	{"lora, modules", LoRAConfig{R: 3, Alpha: 6, ModulesToSave: embeddingsAndNorms}, true},
	{"lora, head alone", LoRAConfig{R: 2, Alpha: 6, LayersToTransform: []int{1}, ModulesToSave: embeddingsAndNorms[1:2]}, true},
	{"dora", LoRAConfig{R: 3, Alpha: 6, Dropout: 0.2, DoRA: true, Bias: BiasLoRA, TargetModules: TargetModules{Regex: AllLinear}}, false},
	{"prefix", PrefixConfig{VirtualTokens: 5}, true},
	{"prefix, projected", PrefixConfig{VirtualTokens: 3, Projection: true, EncoderHidden: 7}, true},
	{"houlsby", with(Houlsby(), func(c *BottleneckConfig) { c.ReductionFactor, c.Dropout = 8, 0.2 }), true},
	{"pfeiffer", with(Pfeiffer(), func(c *BottleneckConfig) { c.NonLinearity, c.LeaveOut, c.Scaling = "gelu", []int{0}, 0.5 }), true},
}

var embeddingsAndNorms = []string{"embedding", "head", "norm"} // renamed to what a family calls them by methodsOn

func with(c BottleneckConfig, change func(*BottleneckConfig)) BottleneckConfig {
	change(&c)
	return c
}

// methodsOn runs a test with each method on llama, on a base in 4 bits, and on families whose blocks are built otherwise: sandwich norms and
// windows, parallel branches with biases and a fused projection, norms of queries and keys.
func methodsOn(t *testing.T, test func(t *testing.T, m *Model, exact bool)) {
	dev := openDevice(t)
	for _, base := range []struct {
		name    string
		options LoadOptions
	}{
		{"llama-gqa", LoadOptions{}},
		{"llama-bias-tied", LoadOptions{Quant4: true, DoubleQuant: true}},
		{"gemma2", LoadOptions{}},
		{"gpt-neox", LoadOptions{}},
		{"falcon-7b", LoadOptions{}},
		{"qwen3", LoadOptions{}},
	} {
		for _, c := range everyMethod {
			t.Run(base.name+"/"+c.name, func(t *testing.T) {
				test(t, moved(t, loadModel(t, dev, base.name, base.options), c.config), c.exact)
			})
		}
	}
}

// moved is a model with an adapter whose weights are not those it starts with.
func moved(t *testing.T, m *Model, c AdapterConfig) *Model {
	t.Helper()
	if l, ok := c.(LoRAConfig); ok {
		n := familyNamed(m.cfg.Family).names
		names := map[string]string{"embedding": lastPart(n.embed), "head": n.head, "norm": lastPart(n.finalNorm)}
		l.ModulesToSave = slices.Clone(l.ModulesToSave)
		for i, name := range l.ModulesToSave {
			if own, ok := names[name]; ok {
				l.ModulesToSave[i] = own
			}
		}
		c = l
	}
	a, err := NewAdapter(m, c, 11)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Free)
	for i, p := range a.params {
		values := compute.Download[float32](m.dev, p.Value)
		for j := range values {
			values[j] += float32((i*31+j*17)%23-11) / 150
		}
		compute.Upload(m.dev, p.Value, values)
	}
	return m.With(a)
}

// The directional derivative of the loss against central differences. Float32 log-probabilities leave about 1e-3 of relative error.
func TestMethodsAgainstDifferences(t *testing.T) {
	methodsOn(t, func(t *testing.T, m *Model, exact bool) {
		in := randomInput(21, 12)
		o := StepOptions{GradScale: 1.0 / 25, DropoutSeed: 9}
		_, g := backward(t, m, o, in)
		for i, p := range m.Trainable() {
			low := strings.Contains(p.Name, "lora_A") || strings.Contains(p.Name, "lora_B")
			if low && (!exact || i > 8) { // some of the many
				continue
			}
			if got, want := differenceQuotient(t, m, p, in, o, g[i]); got-want > 1.5e-2*max(1, got) || want-got > 1.5e-2*max(1, -got) {
				t.Errorf("%s: difference quotient %g, gradient %g", p.Name, got, want)
			}
		}
	})
}

// differenceQuotient moves a parameter along a direction, and gives the loss's slope there by differences and by its gradient.
func differenceQuotient(t *testing.T, m *Model, p *Param, in Input, o StepOptions, g []float32) (got, want float64) {
	t.Helper()
	value := compute.Download[float32](m.dev, p.Value)
	direction := make([]float32, len(value))
	scale := float32(1)
	for len(value) > int(500*scale*scale) { // long directions leave the neighbourhood
		scale *= 2
	}
	for j := range direction {
		direction[j] = (float32((j*7+len(p.Name))%5) - 2) / scale
		want += float64(direction[j]) * float64(g[j])
	}
	loss := func(eps float32) float64 {
		to := make([]float32, len(value))
		for j := range to {
			to[j] = value[j] + eps*direction[j]
		}
		compute.Upload(m.dev, p.Value, to)
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
	const eps = 2e-3
	got = (loss(eps) - loss(-eps)) / (2 * eps)
	compute.Upload(m.dev, p.Value, value)
	return got, want
}

// A step is the same bits again and with gradients checkpointed; packed and separate sequences differ in the order of sums alone; the file
// that was saved holds all of the adapter.
func TestMethodsAreFunctions(t *testing.T) {
	methodsOn(t, func(t *testing.T, m *Model, _ bool) {
		in := randomInput(9, 33, 17)
		o := StepOptions{GradScale: 1.0 / 40, DropoutSeed: 5, Step: 3, Micro: 1}
		logprobs, g := backward(t, m, o, in)
		again, g2 := backward(t, m, o, in)
		o.Checkpoint = true
		third, g3 := backward(t, m, o, in)
		if !slices.Equal(logprobs, again) || !slices.Equal(logprobs, third) {
			t.Errorf("log-probabilities changed: %g, checkpointed %g", worst(logprobs, again), worst(logprobs, third))
		}
		for i, p := range m.Trainable() {
			if !slices.Equal(g[i], g2[i]) || !slices.Equal(g[i], g3[i]) {
				t.Errorf("%s changed: %g, checkpointed %g", p.Name, worst(g[i], g2[i]), worst(g[i], g3[i]))
			}
			if allZero(g[i]) && !strings.Contains(p.Name, "k_proj") { // a key's bias moves nothing in a softmax
				t.Errorf("%s has no gradient", p.Name)
			}
		}
		scored, err := m.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		var separate []float32
		for _, one := range split(in) {
			lp, err := m.LogProbs(one)
			if err != nil {
				t.Fatal(err)
			}
			separate = append(separate, lp...)
		}
		within(t, "packed and separate", scored, separate, 5e-5)
		dir := t.TempDir()
		if err := m.adapter.Save(dir); err != nil {
			t.Fatal(err)
		}
		b, err := LoadAdapter(m, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Free()
		loaded, err := m.With(b).LogProbs(in)
		if err != nil || !slices.Equal(loaded, scored) {
			t.Errorf("the saved adapter scores otherwise: %g (%v)", worst(loaded, scored), err)
		}
	})
}

func allZero(values []float32) bool {
	return !slices.ContainsFunc(values, func(x float32) bool { return x != 0 })
}

// Generation with a cache is that without one: the prefix stands in the cache, DoRA's gains are those of the present weights.
func TestMethodsGenerate(t *testing.T) {
	methodsOn(t, func(t *testing.T, m *Model, _ bool) {
		for _, prompt := range [][]int32{{5}, randomInput(20).Tokens} {
			want := uncached(t, m, prompt, 12)
			got, err := m.Generate(context.Background(), prompt, GenerateOptions{MaxNewTokens: 12, IgnoreEOS: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.IDs, want) {
				t.Errorf("prompt of %d:\n got %v\nwant %v", len(prompt), got.IDs, want)
			}
		}
		prompts := [][]int32{{5}, randomInput(20).Tokens, {7, 8, 9}}
		together, err := m.GenerateBatch(context.Background(), prompts, GenerateOptions{MaxNewTokens: 6, IgnoreEOS: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, prompt := range prompts {
			if want := uncached(t, m, prompt, 6); !slices.Equal(together[i].IDs, want) {
				t.Errorf("prompt %d of a batch:\n got %v\nwant %v", i, together[i].IDs, want)
			}
		}
	})
}

// A model merged, saved and loaded scores as base and adapter do; what is no change of weights says so.
func TestMethodsMerge(t *testing.T) {
	dev := openDevice(t)
	methodsOn(t, func(t *testing.T, m *Model, _ bool) {
		if m.options.Quant4 {
			t.Skip("not compared: the merged weights of a 4-bit base are float32, and its tied head's copy is not")
		}
		dir := t.TempDir()
		err := m.SaveMerged(dir)
		if m.lora() == nil {
			if !saysAll(err, "cannot be merged", m.adapter.Config().Method()) {
				t.Errorf("%v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		merged, err := Load(dev, openFiles(t, dir), LoadOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer merged.Free()
		in := randomInput(30)
		want, err := m.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := merged.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "log-probabilities", got, want, 1e-4)
	})
}

// DoRA's path with dropout is PEFT's other formula; where the mask keeps everything both are one.
func TestDoRAWithDropoutIsDoRA(t *testing.T) {
	dev := openDevice(t)
	results := map[float64][][]float32{}
	for _, dropout := range []float64{0, 1e-30} {
		m := moved(t, loadModel(t, dev, "llama-bias-tied", LoadOptions{}), LoRAConfig{
			R: 3, Alpha: 6, Dropout: dropout, DoRA: true, Bias: BiasAll, TargetModules: TargetModules{Regex: AllLinear},
		})
		logprobs, g := backward(t, m, StepOptions{GradScale: 1.0 / 25}, randomInput(21, 12))
		results[dropout] = append(g, logprobs)
	}
	for i := range results[0] {
		within(t, fmt.Sprintf("tensor %d", i), results[1e-30][i], results[0][i], 1e-4)
	}
}

// DoRA starts at the base: its magnitudes are the lengths of the base's rows. Float32 rounds their quotients.
func TestMethodsStartAtTheBase(t *testing.T) {
	dev := openDevice(t)
	for _, o := range []LoadOptions{{}, {Quant4: true, QuantType: compute.NF4, DoubleQuant: true}} {
		m := loadModel(t, dev, "llama-gqa", o)
		in := randomInput(30)
		want, err := m.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []AdapterConfig{
			LoRAConfig{R: 3, Alpha: 6, DoRA: true, TargetModules: TargetModules{Regex: AllLinear}},
			LoRAConfig{R: 3, Alpha: 6, Bias: BiasAll, ModulesToSave: []string{"embed_tokens", "lm_head", "norm"}},
			with(Houlsby(), func(c *BottleneckConfig) { c.InitWeights = "mam_adapter" }),
		} {
			a, err := NewAdapter(m, c, 3)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.With(a).LogProbs(in)
			if err != nil {
				t.Fatal(err)
			}
			within(t, c.Method(), got, want, 2e-5)
			a.Free()
		}
	}
}

// A plan is what a run of any method then holds, to the byte.
func TestPlanOfMethods(t *testing.T) {
	for _, c := range everyMethod {
		t.Run(c.name, func(t *testing.T) {
			dev := openDevice(t)
			o := PlanOptions{MaxTokens: 96, MaxSeqs: 4, MaxLen: 48, Workspace: dev.Info().Workspace}
			cfg := randomConfig()
			o.Adapter = c.config
			if l, ok := c.config.(LoRAConfig); ok && l.ModulesToSave != nil {
				l.ModulesToSave = []string{"embed_tokens", "norm"}
				o.Adapter = l
			}
			want, err := PlanMemory(cfg, o)
			if err != nil {
				t.Fatal(err)
			}
			before := dev.Memory().Used
			m := planned(t, dev, cfg, o)
			if got := dev.Memory().Used - before; got != want.Total() {
				t.Errorf("the plan says %d bytes, %d are held", want.Total(), got)
			}
			dev.ResetPeak()
			if _, err := m.ForwardBackward(randomInput(48, 40, 8), StepOptions{GradScale: 1}); err != nil {
				t.Fatal(err)
			}
			if got := dev.Memory(); got.Used-before != want.Total() || got.Peak-before != want.Total() {
				t.Errorf("a step went up to %d bytes and left %d, the plan says %d", got.Peak-before, got.Used-before, want.Total())
			}
		})
	}
}
