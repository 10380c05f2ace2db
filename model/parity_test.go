package model

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lathe/compute"
	"lathe/compute/cpu"
	"lathe/model/safetensors"
)

// The tests of this file compare with dumps of transformers, PEFT and bitsandbytes (tools/refdump). Tolerances: noise
// between torch's own kernels is 7e-6 in log-probabilities and 7e-7 in norms; a real mistake is 5e-4 or more.
const (
	logprobTolerance  = 2e-4
	gradientTolerance = 1e-3
	mergeTolerance    = 2e-6 // one rounding of a weight of size 1
)

const refDir = "../testdata/ref"

func openDevice(t testing.TB) compute.Device { return openDeviceWith(t, cpu.Options{}) }

func openDeviceWith(t testing.TB, o cpu.Options) compute.Device {
	t.Helper()
	dev, err := cpu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

func openFiles(t testing.TB, dir string) *Files {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func loadModel(t testing.TB, dev compute.Device, name string, o LoadOptions) *Model {
	t.Helper()
	m, err := Load(dev, openFiles(t, filepath.Join(refDir, name)), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func loadAdapterOf(t testing.TB, m *Model, name string) *Model {
	t.Helper()
	a, err := LoadAdapter(m, filepath.Join(refDir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Free)
	return m.With(a)
}

type dump struct{ set *safetensors.Set }

func openDump(t testing.TB, path string) dump {
	t.Helper()
	set, err := safetensors.Open(filepath.Join(refDir, path))
	if err != nil {
		t.Fatal(err)
	}
	return dump{set}
}

func (d dump) floats(t testing.TB, name string) []float32 {
	t.Helper()
	x, ok := d.set.Tensor(name)
	if !ok {
		t.Fatalf("the dump has no %s", name)
	}
	values, err := safetensors.Float32s(x)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func (d dump) ints(t testing.TB, name string) []int32 {
	t.Helper()
	x, ok := d.set.Tensor(name)
	if !ok {
		t.Fatalf("the dump has no %s", name)
	}
	out := make([]int32, len(x.Data)/8)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint64(x.Data[8*i:]))
	}
	return out
}

// batch is the three sequences of forward.safetensors as one flat batch, every next token a label, and which rows have one.
func (d dump) batch(t testing.TB) (in Input, scored []int) {
	t.Helper()
	in.Tokens, in.Seqs = d.ints(t, "input_ids"), []int32{0}
	for _, n := range d.ints(t, "lengths") {
		start := in.Seqs[len(in.Seqs)-1]
		in.Seqs = append(in.Seqs, start+n)
		for i := start; i < start+n-1; i++ {
			in.Labels, scored = append(in.Labels, in.Tokens[i+1]), append(scored, int(i))
		}
		in.Labels = append(in.Labels, Ignore)
	}
	return in, scored
}

func pick(values []float32, rows []int) []float32 {
	out := make([]float32, len(rows))
	for i, r := range rows {
		out[i] = values[r]
	}
	return out
}

// worst is the largest absolute difference, infinite where one is not a number.
func worst(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	w := 0.0
	for i := range got {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		w = max(w, d)
	}
	return w
}

func within(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if w := worst(got, want); w > tolerance {
		t.Errorf("%s: off by %.3g, tolerance %.3g (%d values, %d wanted)", what, w, tolerance, len(got), len(want))
	} else {
		t.Logf("%s: off by %.3g", what, w)
	}
}

var refModels = []string{
	"llama-gqa", "llama-gqa-v4", "llama-gqa-sharded", "llama-gqa-bf16", "llama-gqa-fp16",
	"llama3-rope", "llama-linear-rope", "llama-bias-tied",
	"llama-dynamic-rope", "llama-yarn-rope", "mistral-window", "gemma", "gemma2", "gemma3", "gpt-neox", "gpt-neox-seq",
	"falcon-7b", "falcon-40b", "falcon-rw", "qwen2", "qwen3", "phi3", "phi3-longrope", "starcoder2",
}

func TestForwardMatchesTransformers(t *testing.T) {
	dev := openDevice(t)
	for _, name := range refModels {
		for _, o := range []LoadOptions{{}, {KeepDType: true}} {
			t.Run(fmt.Sprintf("%s/keep=%v", name, o.KeepDType), func(t *testing.T) {
				m := loadModel(t, dev, name, o)
				d := openDump(t, name+"/dump/forward.safetensors")
				in, scored := d.batch(t)
				logits, err := m.Logits(in)
				if err != nil {
					t.Fatal(err)
				}
				within(t, "logits", logits, d.floats(t, "logits"), logprobTolerance)
				logprobs, err := m.LogProbs(in)
				if err != nil {
					t.Fatal(err)
				}
				within(t, "log-probabilities", pick(logprobs, scored), d.floats(t, "logprobs"), logprobTolerance)
			})
		}
	}
}

func TestGreedyMatchesTransformers(t *testing.T) {
	dev := openDevice(t)
	for _, name := range refModels {
		t.Run(name, func(t *testing.T) {
			m := loadModel(t, dev, name, LoadOptions{})
			d := openDump(t, name+"/dump/forward.safetensors")
			want := d.ints(t, "generated")
			r, err := m.Generate(context.Background(), d.ints(t, "prompt"), GenerateOptions{MaxNewTokens: len(want), IgnoreEOS: true}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.IDs, want) || r.FinishReason != FinishLength {
				t.Errorf("%s\n got %v\nwant %v", r.FinishReason, r.IDs, want)
			}
		})
	}
}

func TestScoresMatchPEFTAndBitsandbytes(t *testing.T) {
	dev := openDevice(t)
	nf4 := LoadOptions{Quant4: true}
	double := LoadOptions{Quant4: true, DoubleQuant: true}
	for _, name := range []string{"llama-gqa", "llama-bias-tied"} {
		d := openDump(t, name+"/dump/scores.safetensors")
		in, scored := openDump(t, name+"/dump/forward.safetensors").batch(t)
		for _, c := range []struct {
			key, adapter string
			options      LoadOptions
		}{
			{"base", "", LoadOptions{}},
			{"nf4", "", nf4},
			{"nf4_double", "", double},
			{"lora", "lora-random", LoadOptions{}},
			{"lora-qv-rslora", "lora-qv-rslora-random", LoadOptions{}},
			{"nf4_double+lora", "lora-random", double},
			{"nf4_double+lora-qv-rslora", "lora-qv-rslora-random", double},
		} {
			if _, ok := d.set.Tensor(c.key); !ok {
				continue
			}
			t.Run(name+"/"+c.key, func(t *testing.T) {
				m := loadModel(t, dev, name, c.options)
				if c.adapter != "" {
					m = loadAdapterOf(t, m, name+"/adapters/"+c.adapter)
				}
				logprobs, err := m.LogProbs(in)
				if err != nil {
					t.Fatal(err)
				}
				within(t, "log-probabilities", pick(logprobs, scored), d.floats(t, c.key), logprobTolerance)
			})
		}
	}
}

func TestMergeMatchesPEFT(t *testing.T) {
	dev := openDevice(t)
	for _, name := range []string{"llama-gqa", "llama-bias-tied"} {
		for _, adapter := range []string{"lora", "lora-qv-rslora"} {
			path := name + "/dump/merged-" + adapter + ".safetensors"
			if _, err := os.Stat(filepath.Join(refDir, path)); err != nil {
				continue
			}
			t.Run(name+"/"+adapter, func(t *testing.T) {
				m := loadAdapterOf(t, loadModel(t, dev, name, LoadOptions{}), name+"/adapters/"+adapter+"-random")
				d := openDump(t, path)
				sources, err := m.MergedTensors()
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range sources {
					if _, ok := d.set.Tensor(s.Name); !ok {
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
					within(t, s.Name, got, d.floats(t, s.Name), mergeTolerance)
				}
			})
		}
	}
}
