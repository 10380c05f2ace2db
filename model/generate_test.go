package model

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
)

// uncached is greedy generation with a whole forward pass for each token.
func uncached(t *testing.T, m *Model, prompt []int32, n int) []int32 {
	t.Helper()
	tokens := slices.Clone(prompt)
	for range n {
		logits, err := m.Logits(Input{Tokens: tokens})
		if err != nil {
			t.Fatal(err)
		}
		last, best := logits[len(logits)-m.cfg.Vocab:], 0
		for i, x := range last {
			if x > last[best] {
				best = i
			}
		}
		tokens = append(tokens, int32(best))
	}
	return tokens[len(prompt):]
}

func TestCachedEqualsUncached(t *testing.T) {
	m := randomLoRA(t, randomModel(t, openDevice(t), LoadOptions{}), LoRAConfig{R: 3, Alpha: 6, TargetModules: TargetModules{Regex: AllLinear}})
	for _, prompt := range [][]int32{{5}, randomInput(40).Tokens} {
		want := uncached(t, m, prompt, 24)
		got, err := m.Generate(context.Background(), prompt, GenerateOptions{MaxNewTokens: 24, IgnoreEOS: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.IDs, want) {
			t.Errorf("prompt of %d:\n got %v\nwant %v", len(prompt), got.IDs, want)
		}
		// each reported log-probability is that of scoring the finished text
		in := Input{Tokens: append(slices.Clone(prompt), got.IDs...)}
		in.Labels = append(slices.Clone(in.Tokens[1:]), Ignore)
		scored, err := m.LogProbs(in)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "log-probabilities", got.LogProbs, scored[len(prompt)-1:len(in.Tokens)-1], 5e-5)
	}
}

// More prompts than slots, longer than a chunk of reading, of all lengths: each ends as it does alone.
func TestBatchEqualsAlone(t *testing.T) {
	m := randomModel(t, openDevice(t), LoadOptions{})
	if err := m.Reserve(8, 1, 8, false); err != nil {
		t.Fatal(err)
	}
	var prompts [][]int32
	for i := range maxSlots + 5 {
		prompts = append(prompts, randomInput(1+i*9).Tokens)
	}
	o := GenerateOptions{MaxNewTokens: 12, StopIDs: []int32{40, 41, 42, 43}}
	done := 0
	batch, err := m.GenerateBatch(context.Background(), prompts, o, func(n int) { done = n })
	if err != nil {
		t.Fatal(err)
	}
	if done != len(prompts) {
		t.Errorf("progress ended at %d of %d", done, len(prompts))
	}
	for i, p := range prompts {
		alone, err := m.Generate(context.Background(), p, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(batch[i].IDs, alone.IDs) || batch[i].FinishReason != alone.FinishReason || batch[i].PromptTokens != len(p) {
			t.Errorf("prompt %d: %v %s, alone %v %s", i, batch[i].IDs, batch[i].FinishReason, alone.IDs, alone.FinishReason)
		}
	}
}

func TestGenerateStops(t *testing.T) {
	m := randomModel(t, openDevice(t), LoadOptions{})
	ctx := context.Background()
	prompt := []int32{5, 6, 7}
	free, err := m.Generate(ctx, prompt, GenerateOptions{MaxNewTokens: 20, IgnoreEOS: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := free.IDs[4]
	want := free.IDs[:slices.Index(free.IDs, stop)+1]
	r, err := m.Generate(ctx, prompt, GenerateOptions{MaxNewTokens: 20, IgnoreEOS: true, StopIDs: []int32{stop}}, nil)
	if err != nil || !slices.Equal(r.IDs, want) || r.FinishReason != FinishStop {
		t.Errorf("stop id: %v %s %v, want %v", r.IDs, r.FinishReason, err, want)
	}
	m.cfg.EOS = []int32{stop}
	r, err = m.Generate(ctx, prompt, GenerateOptions{MaxNewTokens: 20}, nil)
	if err != nil || !slices.Equal(r.IDs, want) || r.FinishReason != FinishStop {
		t.Errorf("eos: %v %s %v, want %v", r.IDs, r.FinishReason, err, want)
	}
	seen := 0
	r, err = m.Generate(ctx, prompt, GenerateOptions{IgnoreEOS: true}, func(int32, float32) bool { seen++; return seen < 3 })
	if err != nil || len(r.IDs) != 3 || r.FinishReason != FinishStop {
		t.Errorf("yield: %v %s %v", r.IDs, r.FinishReason, err)
	}
	r, err = m.Generate(ctx, prompt, GenerateOptions{IgnoreEOS: true}, nil)
	if err != nil || len(r.IDs)+3 != m.cfg.ContextLength || r.FinishReason != FinishLength {
		t.Errorf("end of the context: %d tokens, %s, %v", len(r.IDs), r.FinishReason, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = m.Generate(ended, prompt, GenerateOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, bad := range [][]int32{{}, {97}, {-1}, make([]int32, 256)} {
		if _, err := m.Generate(ctx, bad, GenerateOptions{}, nil); err == nil {
			t.Errorf("a prompt of %d tokens was accepted: %v", len(bad), bad[:min(1, len(bad))])
		}
	}
	used := m.dev.Memory().Used
	if _, err := m.Generate(ctx, prompt, GenerateOptions{MaxNewTokens: 9}, nil); err != nil || m.dev.Memory().Used != used {
		t.Errorf("generation kept %d bytes (%v)", m.dev.Memory().Used-used, err)
	}
}

func TestSampler(t *testing.T) {
	scores := []float32{1, 3, 3, 0, 2, -2}
	s := newSampler(GenerateOptions{}, 1)
	id, logprob, err := s.next(scores)
	if err != nil || id != 1 {
		t.Errorf("greedy took %d (%v), want the lowest of two best, 1", id, err)
	}
	sum := 0.0
	for _, x := range scores {
		sum += math.Exp(float64(x))
	}
	if want := 3 - math.Log(sum); math.Abs(float64(logprob)-want) > 1e-6 {
		t.Errorf("log-probability %g, want %g", logprob, want)
	}
	for _, bad := range [][]float32{{1, float32(math.NaN())}, {float32(math.NaN()), 1}, {float32(math.Inf(1)), 0}} {
		if _, _, err := s.next(bad); err == nil {
			t.Errorf("%v was sampled", bad)
		}
	}
	// frequencies of 20,000 draws against the distribution: 5 standard deviations, 0.018 at most
	const draws = 20000
	for _, c := range []struct {
		o    GenerateOptions
		kept []int32
	}{
		{GenerateOptions{Temperature: 1}, []int32{0, 1, 2, 3, 4, 5}},
		{GenerateOptions{Temperature: 0.5}, []int32{0, 1, 2, 3, 4, 5}},
		{GenerateOptions{Temperature: 1, TopK: 3}, []int32{1, 2, 4}},
		{GenerateOptions{Temperature: 1, TopP: 0.8}, []int32{1, 2, 4}},       // .37 .37 .14 …
		{GenerateOptions{Temperature: 1, TopP: 0.7}, []int32{1, 2}},          // .74 suffices
		{GenerateOptions{Temperature: 1, TopP: 1e-9}, []int32{1}},            // never none
		{GenerateOptions{Temperature: 1, TopK: 3, TopP: 0.8}, []int32{1, 2}}, // of what top-k kept, .42 .42
	} {
		s, counts, mass := newSampler(c.o, 3), make([]int, len(scores)), 0.0
		for range draws {
			id, _, err := s.next(scores)
			if err != nil {
				t.Fatal(err)
			}
			counts[id]++
		}
		for _, id := range c.kept {
			mass += math.Exp(float64(scores[id]) / c.o.Temperature)
		}
		for id, n := range counts {
			p := 0.0
			if slices.Contains(c.kept, int32(id)) {
				p = math.Exp(float64(scores[id])/c.o.Temperature) / mass
			}
			if got := float64(n) / draws; math.Abs(got-p) > 5*math.Sqrt(p*(1-p)/draws) {
				t.Errorf("%+v: id %d drawn %g of the time, want %g", c.o, id, got, p)
			}
		}
	}
	a, b := newSampler(GenerateOptions{Temperature: 1}, 5), newSampler(GenerateOptions{Temperature: 1}, 5)
	for range 50 {
		x, _, _ := a.next(scores)
		y, _, _ := b.next(scores)
		if x != y {
			t.Fatal("the same seed drew another token")
		}
	}
}

func TestExpNegative(t *testing.T) {
	for x := 0.0; x > -720; x -= 0.00137 + -x/1000 {
		if got, want := expNegative(x), math.Exp(x); math.Abs(got-want) > 3e-10*want && want > 1e-300 {
			t.Fatalf("e^%g is %g, want %g", x, got, want)
		}
	}
	if got := expNegative(math.Inf(-1)); got != 0 {
		t.Errorf("e^-Inf is %g", got)
	}
	if got := expNegative(math.NaN()); !math.IsNaN(got) {
		t.Errorf("of NaN it is %g", got)
	}
}

func BenchmarkNextToken(b *testing.B) {
	scores := make([]float32, 8192)
	for i := range scores {
		scores[i] = float32(i%977) / 50
	}
	s := newSampler(GenerateOptions{}, 1)
	for b.Loop() {
		if _, _, err := s.next(scores); err != nil {
			b.Fatal(err)
		}
	}
}
