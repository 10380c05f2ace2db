package model

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
)

// tenMillion is a model of 10 M parameters, whose head's logits are the most of a device's workspace.
func tenMillion() Config {
	return Config{
		Family: "llama", Architecture: "LlamaForCausalLM", Hidden: 256, Layers: 6, Heads: 8, KVHeads: 2, HeadDim: 32,
		Intermediate: 768, Vocab: 16384, ContextLength: 256, TieHead: true, NormEps: 1e-5, InitStd: 0.02, BOS: 1, PAD: -1,
		EOS: []int32{2}, RoPE: RoPE{Theta: 10000, Type: "default"},
	}
}

// planned makes a model as a plan describes it, on a device of its own, with its memory reserved.
func planned(t *testing.T, dev compute.Device, cfg Config, o PlanOptions) *Model {
	t.Helper()
	m, err := NewRandomWith(dev, cfg, 1, o.Load)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	if o.Adapter != nil {
		a, err := NewAdapter(m, o.Adapter, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Free)
		m = m.With(a)
	} else if err := m.TrainAll(); err != nil {
		t.Fatal(err)
	}
	m.Trainable()
	if err := m.ReserveStep(o.MaxTokens, o.MaxSeqs, o.MaxLen, true, StepOptions{Checkpoint: o.Checkpoint}); err != nil {
		t.Fatal(err)
	}
	return m
}

// A plan is what a run then holds, to the byte: after Reserve, and after training, scoring and generating within it.
func TestPlanIsAllOfTheMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("not run: ten million parameters take a while, and -short is set")
	}
	lora := LoRAConfig{R: 4, Alpha: 8, TargetModules: TargetModules{Regex: AllLinear}}
	for name, o := range map[string]PlanOptions{
		"lora":         {Adapter: lora},
		"qlora":        {Adapter: lora, Load: LoadOptions{Quant4: true, DoubleQuant: true}},
		"full":         {Full: true},
		"checkpointed": {Full: true, Checkpoint: true},
	} {
		for size, cfg := range map[string]Config{"small": randomConfig(), "10M": tenMillion()} {
			t.Run(name+"/"+size, func(t *testing.T) {
				dev := openDevice(t)
				o.MaxTokens, o.MaxSeqs, o.MaxLen, o.Workspace = 128, 4, 64, dev.Info().Workspace
				plan, err := PlanMemory(cfg, o)
				if err != nil {
					t.Fatal(err)
				}
				m := planned(t, dev, cfg, o)
				held := dev.Memory().Used
				if held != plan.Total() {
					t.Errorf("planned %d bytes %+v, took %d", plan.Total(), plan, held)
				}
				dev.ResetPeak()
				for _, lengths := range [][]int{{64, 64}, {64, 63, 1}, {32, 32, 32, 32}, {64}, {50, 1, 40}} {
					in := randomInput(lengths...)
					if _, err := m.ForwardBackward(in, StepOptions{GradScale: 1, Checkpoint: o.Checkpoint}); err != nil {
						t.Fatal(err)
					}
					if _, err := m.LogProbs(in); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := m.Generate(context.Background(), []int32{1, 5, 9}, GenerateOptions{MaxNewTokens: 3, IgnoreEOS: true}, nil); err != nil {
					t.Fatal(err)
				}
				if got := dev.Memory(); got.Used != held || got.Peak != held {
					t.Errorf("%d bytes were reserved; steps went up to %d and left %d", held, got.Peak, got.Used)
				}
			})
		}
	}
}

// Whatever batch comes within the bounds of a reservation, the device's workspace was reserved for it, on any number of threads.
func TestReserveCoversEveryNumberOfSequences(t *testing.T) {
	beyond := false
	for _, threads := range []int{1, 2, 7} {
		for _, maxTokens := range []int{400, 100} {
			t.Run(fmt.Sprintf("%d tokens, %d threads", maxTokens, threads), func(t *testing.T) {
				beyond = reserveCovers(t, openDeviceWith(t, cpu.Options{Threads: threads}), maxTokens) || beyond
			})
		}
	}
	if !beyond {
		t.Error("the batch of the most tokens always needs the most workspace: this test tests nothing")
	}
}

// reserveCovers checks it, and says whether another batch needs more than that of the most tokens.
func reserveCovers(t *testing.T, dev compute.Device, maxTokens int) (beyond bool) {
	const maxSeqs, maxLen = 40, 100
	m := randomLoRA(t, randomModel(t, dev, LoadOptions{}), LoRAConfig{R: 2, Alpha: 4, TargetModules: TargetModules{Regex: AllLinear}})
	m.Trainable()
	m.rule = attentionRule{m.rule} // a product's workspace would cover that of so small an attention
	o := &StepOptions{GradScale: 1}
	reserved := m.measureLargest(maxTokens, maxSeqs, maxLen, o)
	for seqs := 1; seqs <= maxSeqs; seqs++ {
		for _, n := range []int{1, 9, 10, 50, 99, 100} {
			if seqs*n > maxTokens {
				break
			}
			in := Input{Seqs: []int32{0}}
			for range seqs {
				in.Seqs = append(in.Seqs, in.Seqs[len(in.Seqs)-1]+int32(n))
			}
			in.Tokens, in.Labels, in.Positions = make([]int32, seqs*n), make([]int32, seqs*n), make([]int32, seqs*n)
			if need := m.measureStep(in, o); need.max(reserved) != reserved {
				t.Errorf("%d sequences of %d tokens need %+v, reserved was %+v", seqs, n, need, reserved)
			}
		}
	}
	return m.measureStep(largest(maxTokens, maxSeqs, maxLen), o).device != reserved.device
}

// attentionRule is a device whose attention alone needs workspace.
type attentionRule struct{ of compute.WorkspaceRule }

func (r attentionRule) Workspace(operation any) compute.Workspace {
	switch operation.(type) {
	case compute.Attention, compute.AttentionBackward:
		return r.of.Workspace(operation)
	}
	return compute.Workspace{}
}

// full is a device that has no room for a workspace.
type full struct{ compute.Device }

var errFull = errors.New("out of memory: 9 MiB wanted, 8 MiB free")

func (full) Reserve(compute.Workspace) error { return errFull }

// What does not fit is refused before the first step, in words.
func TestReserveSaysWhatDoesNotFit(t *testing.T) {
	m, err := NewRandom(full{openDevice(t)}, randomConfig(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if err := m.TrainAll(); err != nil {
		t.Fatal(err)
	}
	err = m.Reserve(96, 4, 48, true)
	if !errors.Is(err, errFull) || !strings.Contains(fmt.Sprint(err), "reserve memory for 96 tokens") {
		t.Errorf("a workspace that does not fit: %v", err)
	}
}

// Checkpointing is there to save activations.
func TestPlanOfCheckpointing(t *testing.T) {
	o := PlanOptions{Full: true, MaxTokens: 128, MaxSeqs: 4, MaxLen: 64}
	off, err := PlanMemory(randomConfig(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Checkpoint = true
	on, err := PlanMemory(randomConfig(), o)
	if err != nil {
		t.Fatal(err)
	}
	if on.Activations >= off.Activations {
		t.Errorf("checkpointing plans %d bytes of activations, without it %d", on.Activations, off.Activations)
	}
}

// BenchmarkMeasureLargest is the cost of the dry runs.
func BenchmarkMeasureLargest(b *testing.B) {
	cfg := tenMillion()
	cfg.Layers = 32
	base, err := newBase(compute.NewDryLike(openDevice(b).Info().Workspace), cfg, LoadOptions{}, plain(compute.F32))
	if err != nil {
		b.Fatal(err)
	}
	m := newModel(base)
	if err := errors.Join(m.TrainAll(), m.ensureRotary(2048)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m.measureLargest(1<<15, 16, 2048, &StepOptions{})
	}
}
