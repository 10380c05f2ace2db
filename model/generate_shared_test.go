package model

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"lathe/compute"
)

// begins are prompts that begin alike: with n tokens of one text, then with others.
func begins(lengths ...[2]int) (prompts [][]int32) {
	text, other := randomInput(400).Tokens, randomInput(1, 400).Tokens[1:]
	for i, n := range lengths {
		prompts = append(prompts, append(slices.Clone(text[:n[0]]), other[7*i:7*i+n[1]]...))
	}
	return prompts
}

// steps runs a generation pass by pass, and returns how many tokens they computed.
func (g *generator) steps(t *testing.T, prompts [][]int32, after func()) (rows int) {
	t.Helper()
	g.results = make([]GenerateResult, len(prompts))
	if err := g.begin(prompts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.end)
	for done := 0; done < len(prompts); after() {
		g.admit()
		finished, err := g.step()
		if err != nil {
			t.Fatal(err)
		}
		done += finished
		for _, p := range g.cache.pieces {
			rows += p.n
		}
	}
	return rows
}

// What prompts have in common is computed once: by one pass after another, for the same prompt again, in a slot that is free again;
// and the keys and values of it are the same bits in every slot.
func TestSharedPrefixIsReadOnce(t *testing.T) {
	m := randomModel(t, openDevice(t), LoadOptions{})
	if err := m.Reserve(8, 1, 8, false); err != nil {
		t.Fatal(err)
	}
	prompts := begins([2]int{150, 20}, [2]int{150, 33}, [2]int{0, 40}, [2]int{150, 20}, [2]int{15, 30})
	prompts[3] = prompts[0]
	for range maxSlots {
		prompts = append(prompts, begins([2]int{150, 20}, [2]int{150, 20 + len(prompts)})[1])
	}
	g := &generator{model: m, options: GenerateOptions{MaxNewTokens: 3, IgnoreEOS: true}}
	width, compared := g.model.cfg.KVHeads*g.model.cfg.HeadDim, false
	rows := g.steps(t, prompts, func() {
		if g.occupant[1].cached < len(prompts[1]) || g.occupant[1].index != 1 || compared {
			return
		}
		compared = true
		for layer := range g.cache.k {
			for name, b := range map[string]compute.Buffer{"keys": g.cache.k[layer], "values": g.cache.v[layer]} {
				all := compute.Download[float32](m.dev, b)
				row := func(slot int) []float32 { return all[slot*g.cache.rows*width:][:150*width] }
				if !slices.Equal(row(0), row(1)) {
					t.Errorf("layer %d: the %s that were copied are others", layer, name)
				}
			}
		}
	})
	if !compared {
		t.Error("the second prompt was never there")
	}
	want := 0
	for i, prompt := range prompts {
		cached := 150
		switch i {
		case 0, 2:
			cached = 0
		case 3:
			cached = len(prompt) - 1
		case 4: // fewer than are worth it
			cached = 0
		}
		if got := g.results[i].CachedTokens; got < cached || i < 5 && got > cached {
			t.Errorf("prompt %d of %d tokens: %d were there, want %d", i, len(prompt), got, cached)
		}
		want += len(prompt) - g.results[i].CachedTokens + 2
	}
	if rows != want {
		t.Errorf("%d tokens were computed, want %d", rows, want)
	}
}

// Each prompt is continued as it is alone: in every family, with windows, and with angles that depend on the length.
func TestSharedPrefixIsThatOfAlone(t *testing.T) {
	lengths := [][2]int{{60, 0}, {60, 0}, {40, 10}, {17, 3}, {21, 2}, {21, 4}, {20, 20}, {0, 30}, {60, 12}, {1, 9}}
	for i := range maxSlots {
		lengths = append(lengths, [2]int{60 - i, 1 + i})
	}
	eachFamily(t, func(t *testing.T, m *Model) {
		lengths := lengths
		if m.cfg.longest() > 200 {
			lengths = append([][2]int{{140, 20}, {140, 12}, {100, 3}, {120, 20}}, lengths...)
		}
		sharedEqualsAlone(t, m, begins(lengths...))
	})
}

// The same with adapters, and with prompts of several chunks of reading.
func TestSharedPrefixWithAdapters(t *testing.T) {
	methodsOn(t, func(t *testing.T, m *Model, _ bool) {
		sharedEqualsAlone(t, m, begins([2]int{50, 9}, [2]int{50, 20}, [2]int{50, 0}, [2]int{33, 1}))
	})
	m := randomModel(t, openDevice(t), LoadOptions{})
	m.cfg.ContextLength = 2 * prefillChunk
	sharedEqualsAlone(t, m, begins([2]int{350, 20}, [2]int{350, 17}, [2]int{350, 1}, [2]int{340, 20}, [2]int{270, 90}))
}

// sharedEqualsAlone compares prompts that are continued together with each alone. A pass of 16 rows at most multiplies in another order
// than one of more: log-probabilities agree as those of any other cut into passes do.
func sharedEqualsAlone(t *testing.T, m *Model, prompts [][]int32) {
	t.Helper()
	o := GenerateOptions{MaxNewTokens: 6, IgnoreEOS: true, Temperature: 0.7, Seed: 5}
	together, err := m.GenerateBatch(context.Background(), prompts, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	off, cached := 0.0, 0
	for i, prompt := range prompts {
		o.Seed = 5 + uint64(i)
		alone, err := m.Generate(context.Background(), prompt, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(together[i].IDs, alone.IDs) {
			t.Errorf("prompt %d of %d: %v, alone %v", i, len(prompt), together[i].IDs, alone.IDs)
			continue
		}
		off, cached = max(off, worst(together[i].LogProbs, alone.LogProbs)), cached+together[i].CachedTokens
	}
	within(t, fmt.Sprintf("log-probabilities with %d tokens that were there", cached), []float32{float32(off)}, []float32{0}, 5e-5)
	if cached == 0 {
		t.Error("nothing was shared")
	}
}
