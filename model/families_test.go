package model

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"lathe/compute"
)

// familyConfigs are small models of every row of the table and every form of its blocks, by config.json, in the style of
// transformers 4 with what old files leave out left out.
var familyConfigs = map[string]string{
	"llama":          `{"architectures":["LlamaForCausalLM"],"num_key_value_heads":2,"attention_bias":true}`,
	"llama longrope": `{"architectures":["LlamaForCausalLM"],"rope_scaling":{"type":"longrope","original_max_position_embeddings":24,"short_factor":[1,1.1,1.2,1.3,1.5],"long_factor":[1.5,2,3,4,5]}}`,
	"llama dynamic":  `{"architectures":["LlamaForCausalLM"],"rope_scaling":{"type":"dynamic","factor":4}}`,
	"llama yarn":     `{"architectures":["LlamaForCausalLM"],"rope_scaling":{"rope_type":"yarn","factor":4,"original_max_position_embeddings":32}}`,
	"mistral":        `{"architectures":["MistralForCausalLM"],"num_key_value_heads":2,"sliding_window":5,"head_dim":12}`,
	"gemma":          `{"architectures":["GemmaForCausalLM"],"num_key_value_heads":1,"head_dim":12,"hidden_act":"gelu"}`,
	"gemma2":         `{"architectures":["Gemma2ForCausalLM"],"num_key_value_heads":2,"head_dim":12,"query_pre_attn_scalar":9,"sliding_window":5,"attn_logit_softcapping":3.0,"final_logit_softcapping":5.0}`,
	"gemma3":         `{"architectures":["Gemma3ForCausalLM"],"num_key_value_heads":2,"head_dim":12,"query_pre_attn_scalar":9,"sliding_window":5,"sliding_window_pattern":2,"rope_scaling":{"rope_type":"linear","factor":8}}`,
	"neox":           `{"architectures":["GPTNeoXForCausalLM"],"rotary_pct":0.4}`,
	"neox in turn":   `{"architectures":["GPTNeoXForCausalLM"],"rotary_pct":1.0,"use_parallel_residual":false,"hidden_act":"gelu_new"}`,
	"falcon 7b":      `{"architectures":["FalconForCausalLM"]}`,
	"falcon 40b":     `{"architectures":["FalconForCausalLM"],"new_decoder_architecture":true,"num_kv_heads":2}`,
	"falcon2 11b":    `{"architectures":["FalconForCausalLM"],"new_decoder_architecture":true,"num_kv_heads":2,"num_ln_in_parallel_attn":1}`,
	"falcon rw":      `{"architectures":["FalconForCausalLM"],"alibi":true,"multi_query":false,"parallel_attn":false,"bias":true}`,
	"qwen2":          `{"architectures":["Qwen2ForCausalLM"],"num_key_value_heads":2,"use_sliding_window":true,"sliding_window":5,"max_window_layers":1}`,
	"qwen3":          `{"architectures":["Qwen3ForCausalLM"],"num_key_value_heads":2,"head_dim":12}`,
	"phi3":           `{"architectures":["Phi3ForCausalLM"],"num_key_value_heads":2,"sliding_window":5,"partial_rotary_factor":0.6}`,
	"starcoder2":     `{"architectures":["Starcoder2ForCausalLM"],"num_key_value_heads":2,"sliding_window":5}`,
}

// smallConfig is one of familyConfigs with the sizes that all of them share.
func smallConfig(t testing.TB, name string) Config {
	t.Helper()
	fields := map[string]any{
		"hidden_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 72, "vocab_size": 97,
		"max_position_embeddings": 128, "initializer_range": 0.15,
	}
	if err := json.Unmarshal([]byte(familyConfigs[name]), &fields); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// smallModel is a random model whose norms and biases are random too.
func smallModel(t testing.TB, dev compute.Device, name string) *Model {
	t.Helper()
	m, err := NewRandom(dev, smallConfig(t, name), 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	for i, x := range m.tensors {
		if !x.kind.vector() {
			continue
		}
		values := compute.Download[float32](dev, x.weight.Data)
		for j := range values {
			values[j] += float32((i*31+j*17)%23-11) / 60
		}
		compute.Upload(dev, x.weight.Data, values)
	}
	return m
}

func eachFamily(t *testing.T, test func(t *testing.T, m *Model)) {
	dev := openDevice(t)
	for _, name := range slices.Sorted(maps.Keys(familyConfigs)) {
		t.Run(name, func(t *testing.T) { test(t, smallModel(t, dev, name)) })
	}
}

func TestEveryRowOfTheTableIsTested(t *testing.T) {
	tested := map[string]bool{}
	for name := range familyConfigs {
		tested[smallConfig(t, name).Family] = true
	}
	for _, f := range families {
		if !tested[f.name] {
			t.Errorf("%s has no model here", f.name)
		}
	}
}

var everyLinear = LoRAConfig{R: 3, Alpha: 6, TargetModules: TargetModules{Regex: AllLinear}}

// Every tensor of every family, in full fine-tuning, against the difference quotient of the loss; tolerance as in
// TestGradientsAgainstDifferences.
func TestFamilyGradientsAgainstDifferences(t *testing.T) {
	eachFamily(t, func(t *testing.T, m *Model) {
		if err := m.TrainAll(); err != nil {
			t.Fatal(err)
		}
		againstDifferences(t, m, randomInput(21, 12), StepOptions{GradScale: 1.0 / 25})
	})
}

// An adapter on the last block alone: what lies before it needs no backward pass, and must not be missed.
func TestFamilyAdaptersAgainstDifferences(t *testing.T) {
	eachFamily(t, func(t *testing.T, m *Model) {
		c := everyLinear
		c.LayersToTransform = []int{1, 2}
		againstDifferences(t, randomLoRA(t, m, c), randomInput(21, 12), StepOptions{GradScale: 1.0 / 25, Checkpoint: true})
	})
}

// One batch of many sequences, many batches of one, and the batch with its blocks computed twice: the first two differ in the
// order of float32 sums alone, the last is the same to the bit.
func TestFamilyStepsAreEqual(t *testing.T) {
	eachFamily(t, func(t *testing.T, m *Model) {
		if err := m.TrainAll(); err != nil {
			t.Fatal(err)
		}
		in, o := randomInput(9, 1, 33, 17), StepOptions{GradScale: 1.0 / 40}
		packed, together := backward(t, m, o, in)
		separate, alone := backward(t, m, o, split(in)...)
		within(t, "log-probabilities", packed, separate, sumTolerance)
		o.Checkpoint = true
		again, twice := backward(t, m, o, in)
		if !slices.Equal(packed, again) {
			t.Error("checkpointing changes log-probabilities")
		}
		for i, p := range m.Trainable() {
			largest := float64(slices.MaxFunc(together[i], func(a, b float32) int { return int(math.Copysign(1, math.Abs(float64(a))-math.Abs(float64(b)))) }))
			if w := worst(together[i], alone[i]); w > sumTolerance*max(1, math.Abs(largest)) {
				t.Errorf("%s: together and alone off by %g", p.Name, w)
			}
			if !slices.Equal(together[i], twice[i]) {
				t.Errorf("%s: checkpointing changes the gradient by %g", p.Name, worst(together[i], twice[i]))
			}
		}
	})
}

// Padding is what other programs put before or after a sequence; here there is none, but positions may be given. A batch padded
// on the right or on the left, with a mask, has the positions that are counted without it; and a model that turns by positions
// sees distances alone, so that positions counted through a padding on the left are as good.
func TestFamilyPaddingChangesNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, m *Model) {
		in := randomInput(21, 12)
		want, err := m.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		positions := func(skip int32) (list []int32) {
			for s := range len(in.Seqs) - 1 {
				for i := range in.Seqs[s+1] - in.Seqs[s] {
					list = append(list, i+skip)
				}
			}
			return list
		}
		in.Positions = positions(0)
		got, err := m.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("positions that were counted and those that were given differ by %g", worst(got, want))
		}
		if m.cfg.RoPE.byLength() {
			return // a sequence counts as long as its last position says
		}
		in.Positions = positions(40)
		if got, err = m.LogProbs(in); err != nil {
			t.Fatal(err)
		}
		within(t, "positions from 40 on", got, want, 2e-4) // float32 products of positions and frequencies, rounded elsewhere
	})
}

func TestFamilyCachedEqualsUncached(t *testing.T) {
	eachFamily(t, func(t *testing.T, m *Model) {
		m = randomLoRA(t, m, everyLinear)
		prompts := [][]int32{{5}, randomInput(40).Tokens, randomInput(23).Tokens}
		o := GenerateOptions{MaxNewTokens: 20, IgnoreEOS: true}
		together, err := m.GenerateBatch(context.Background(), prompts, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, prompt := range prompts {
			want := uncached(t, m, prompt, 20)
			alone, err := m.Generate(context.Background(), prompt, o, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(alone.IDs, want) || !slices.Equal(together[i].IDs, want) {
				t.Errorf("prompt of %d:\nalone    %v\ntogether %v\nuncached %v", len(prompt), alone.IDs, together[i].IDs, want)
			}
		}
	})
}

// What is saved is what is loaded, config.json as read or as written from the fields; and a merged adapter is the adapter.
func TestFamilySavesAndMerges(t *testing.T) {
	eachFamily(t, func(t *testing.T, m *Model) {
		m.cfg.raw = nil
		in := randomInput(30)
		logits := func(m *Model) []float32 {
			t.Helper()
			out, err := m.Logits(in)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		reload := func(save func(dir string) error) *Model {
			t.Helper()
			dir := t.TempDir()
			if err := save(dir); err != nil {
				t.Fatal(err)
			}
			again, err := Load(m.dev, openFiles(t, dir), LoadOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(again.Free)
			return again
		}
		if again := logits(reload(m.Save)); !slices.Equal(again, logits(m)) {
			t.Error("a saved model is another one")
		}
		adapted := randomLoRA(t, m, everyLinear)
		within(t, "merged", logits(reload(adapted.SaveMerged)), logits(adapted), 2e-4) // sums in another order, over three blocks
	})
}

// A plan is what a run then holds, to the byte.
func TestFamilyPlans(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(familyConfigs)) {
		cfg := smallConfig(t, name)
		for method, o := range map[string]PlanOptions{
			"full":  {Full: true},
			"qlora": {Adapter: everyLinear, Checkpoint: true, Load: LoadOptions{Quant4: true, DoubleQuant: true}},
		} {
			t.Run(fmt.Sprintf("%s/%s", name, method), func(t *testing.T) {
				dev := openDevice(t)
				o.MaxTokens, o.MaxSeqs, o.MaxLen, o.Workspace = 128, 4, 64, dev.Info().Workspace
				plan, err := PlanMemory(cfg, o)
				if err != nil {
					t.Fatal(err)
				}
				m := planned(t, dev, cfg, o)
				if held := dev.Memory().Used; held != plan.Total() {
					t.Errorf("planned %d bytes %+v, took %d", plan.Total(), plan, held)
				}
				dev.ResetPeak()
				for _, lengths := range [][]int{{64, 64}, {32, 32, 32, 32}, {50, 1, 40}} {
					if _, err := m.ForwardBackward(randomInput(lengths...), StepOptions{GradScale: 1, Checkpoint: o.Checkpoint}); err != nil {
						t.Fatal(err)
					}
				}
				if peak := dev.Memory().Peak; peak != plan.Total() {
					t.Errorf("planned %d bytes, a step took %d", plan.Total(), peak)
				}
			})
		}
	}
}
