package model

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lathe/compute"
)

// setWeight writes one element of a base tensor.
func setWeight(t *testing.T, m *Model, name string, index int, value float32) {
	t.Helper()
	i := slices.IndexFunc(m.tensors, func(w tensor) bool { return w.name == name })
	if i < 0 {
		t.Fatalf("no tensor %s", name)
	}
	compute.Upload(m.dev, m.tensors[i].weight.Data.Slice(index, 1), []float32{value})
}

// Where nothing is wrong Diagnose finds nothing, and is the step itself: the same gradients bit for bit.
func TestDiagnoseIsTheStep(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		dev := openDevice(t)
		m := randomLoRA(t, randomModel(t, dev, LoadOptions{}), LoRAConfig{R: 4, Alpha: 8, Dropout: 0.1, TargetModules: TargetModules{Regex: AllLinear}})
		in := randomInput(7, 5, 9)
		o := StepOptions{GradScale: 0.05, DropoutSeed: 3, Step: 4, Micro: 1, Checkpoint: checkpoint}
		_, want := backward(t, m, o, in)
		zeroGrads(m)
		found, err := m.Diagnose(in, o)
		if err != nil || found != nil {
			t.Fatalf("%v %v", found, err)
		}
		if got := grads(t, m); !reflect.DeepEqual(got, want) {
			t.Errorf("checkpointing %v: the gradients differ from ForwardBackward's", checkpoint)
		}
	}
}

// The first module at fault is named, with the sequences that it happened to.
func TestDiagnoseNamesThePlace(t *testing.T) {
	nan, huge := float32(math.NaN()), float32(3e38)
	options := StepOptions{GradScale: 0.05}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, m *Model, o *StepOptions)
		want  NonFinite
		text  string
	}{
		{"a norm that overflows", func(t *testing.T, m *Model, _ *StepOptions) {
			setWeight(t, m, "model.layers.1.post_attention_layernorm.weight", 2, huge)
		}, NonFinite{Module: "model.layers.1.post_attention_layernorm", Layer: 1, What: "output", Index: -1}, "layer 1, post_attention_layernorm: output"},
		{"a weight", func(t *testing.T, m *Model, _ *StepOptions) {
			setWeight(t, m, "model.layers.1.mlp.up_proj.weight", 3, nan)
		}, NonFinite{Module: "model.layers.1.mlp.up_proj", Layer: 1, What: "weight model.layers.1.mlp.up_proj.weight", Index: 3}, "layer 1, mlp.up_proj: weight"},
		{"scores that overflow", func(t *testing.T, m *Model, _ *StepOptions) {
			setWeight(t, m, "model.layers.1.self_attn.q_proj.weight", 0, 1e30)
			setWeight(t, m, "model.layers.1.self_attn.k_proj.weight", 0, 1e30)
		}, NonFinite{Module: "model.layers.1.self_attn", Layer: 1, What: "attention output", Index: -1}, "layer 1, self_attn: attention output"},
		{
			"a gradient", func(_ *testing.T, _ *Model, o *StepOptions) { o.GradScale = 3e38 },
			NonFinite{Layer: -1, What: "gradient", Index: -1, Backward: true},
			"gradient",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := randomLoRA(t, randomModel(t, openDevice(t), LoadOptions{}), LoRAConfig{R: 4, Alpha: 8, TargetModules: TargetModules{Regex: AllLinear}})
			o := options
			test.spoil(t, m, &o)
			found, err := m.Diagnose(randomInput(7, 5, 9), o)
			if err != nil || found == nil {
				t.Fatalf("found %v, %v", found, err)
			}
			if !strings.HasPrefix(found.Module, test.want.Module) || found.Layer != test.want.Layer && !test.want.Backward || !strings.HasPrefix(found.What, test.want.What) || found.Backward != test.want.Backward {
				t.Errorf("found %+v, want %+v", *found, test.want)
			}
			if test.want.Index >= 0 && found.Index != test.want.Index {
				t.Errorf("element %d, want %d", found.Index, test.want.Index)
			}
			if !strings.Contains(found.String(), test.text) {
				t.Errorf("%q does not say %q", found, test.text)
			}
		})
	}
}

// Only the sequences at fault are named: here those with one token.
func TestDiagnoseNamesTheSequence(t *testing.T) {
	m := randomLoRA(t, randomModel(t, openDevice(t), LoadOptions{}), LoRAConfig{R: 4, Alpha: 8, TargetModules: TargetModules{Regex: AllLinear}})
	in := randomInput(7, 5, 9)
	const token = 3
	for i, id := range in.Tokens {
		if id == token {
			in.Tokens[i] = token + 1
		}
	}
	in.Tokens[8] = token // in the second sequence
	setWeight(t, m, "model.embed_tokens.weight", token*m.cfg.Hidden+1, float32(math.NaN()))
	found, err := m.Diagnose(in, StepOptions{GradScale: 0.05})
	if err != nil || found == nil {
		t.Fatalf("found %v, %v", found, err)
	}
	want := NonFinite{Module: "model.embed_tokens", Layer: -1, What: "output", Index: 8*m.cfg.Hidden + 1, Seqs: []int{1}}
	if !reflect.DeepEqual(*found, want) {
		t.Errorf("found %+v, want %+v", *found, want)
	}
}
