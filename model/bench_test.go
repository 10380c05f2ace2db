package model

import (
	"context"
	"fmt"
	"testing"
)

// benchConfig is the llama of 60 M weights that `lathe bench train` uses.
func benchConfig() Config {
	c := randomConfig()
	c.Hidden, c.Layers, c.Heads, c.KVHeads, c.HeadDim, c.Intermediate, c.Vocab = 640, 10, 10, 10, 64, 1728, 8192
	c.ContextLength, c.InitStd = 1024, 0.02
	return c
}

func benchModel(b *testing.B, o LoadOptions) *Model {
	b.Helper()
	dev := openDevice(b)
	m, err := NewRandomWith(dev, benchConfig(), 1, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Free)
	a, err := NewAdapter(m, LoRAConfig{R: 16, Alpha: 32, TargetModules: TargetModules{Regex: AllLinear}}, 1)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(a.Free)
	return m.With(a)
}

func benchInput() Input {
	in := randomInput(512, 512, 512, 512)
	for i := range in.Tokens {
		in.Tokens[i] = int32(i*7919) & 8191
		in.Labels[i] = int32(i*104729) & 8191
	}
	return in
}

func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name string
		o    LoadOptions
	}{{"float32", LoadOptions{}}, {"nf4", LoadOptions{Quant4: true, DoubleQuant: true}}} {
		b.Run(c.name, func(b *testing.B) {
			m, in := benchModel(b, c.o), benchInput()
			for b.Loop() {
				if _, err := m.ForwardBackward(in, StepOptions{GradScale: 1.0 / 2048}); err != nil {
					b.Fatal(err)
				}
			}
			n := float64(len(in.Tokens)) * float64(b.N)
			b.ReportMetric(n/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

func BenchmarkForward(b *testing.B) {
	m, in := benchModel(b, LoadOptions{}), benchInput()
	for b.Loop() {
		if _, err := m.LogProbs(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	for _, c := range []struct {
		name string
		o    LoadOptions
	}{{"float32", LoadOptions{}}, {"nf4", LoadOptions{Quant4: true, DoubleQuant: true}}} {
		b.Run(c.name, func(b *testing.B) {
			m := benchModel(b, c.o)
			b.ReportAllocs()
			for b.Loop() {
				r, err := m.Generate(context.Background(), []int32{1, 2, 3}, GenerateOptions{MaxNewTokens: 64, IgnoreEOS: true}, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.TokensPerSecond, "tokens/s")
			}
		})
	}
}

// BenchmarkRows is a pass over so many new tokens of one sequence, behind 200 that are in the cache: what verifying drafts would cost.
func BenchmarkRows(b *testing.B) {
	m, err := NewRandomWith(openDevice(b), benchConfig(), 1, LoadOptions{Quant4: true, DoubleQuant: true, KeepDType: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Free)
	const before, most = 200, 32
	tokens := benchInput().Tokens
	g := &generator{model: m, options: GenerateOptions{MaxNewTokens: 2 * most}, results: make([]GenerateResult, 1)}
	if err := g.begin([][]int32{tokens[:before]}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(g.end)
	for _, n := range []int{1, 2, 4, 8, 16, most} {
		in := Input{Tokens: tokens[:n], Positions: make([]int32, n)}
		ends := make([]int32, n)
		for i := range ends {
			in.Positions[i], ends[i] = int32(before+i), int32(i)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				mark, scratchMark := g.saved.Mark(), g.scratch.Mark()
				g.runRows(m.dev, []piece{{from: before, n: n}}, in, ends)
				g.saved.Release(mark)
				g.scratch.Release(scratchMark)
				if err := m.dev.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
