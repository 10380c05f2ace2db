package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lathe/compute"
	"lathe/model/tape"
)

// GenerateOptions says how to sample.
type GenerateOptions struct {
	MaxNewTokens int     // 0 is as many as the context holds
	Temperature  float64 // 0 is greedy, ties to the lowest id
	TopK         int     // 0 is off
	TopP         float64 // 0 or 1 is off
	Seed         uint64
	IgnoreEOS    bool
	StopIDs      []int32 // beside the model's own eos ids
}

// The reasons why a generation ended.
const (
	FinishStop   = "stop"   // an eos or stop id, or the caller had enough
	FinishLength = "length" // MaxNewTokens, or the end of the context
)

// GenerateResult is one finished generation.
type GenerateResult struct {
	IDs             []int32   // the new tokens, the stopping one included
	LogProbs        []float32 // ln p of each under the model, before temperature and truncation
	FinishReason    string    // FinishStop or FinishLength
	PromptTokens    int
	CachedTokens    int     // of the prompt, those whose keys and values were there from another prompt
	TokensPerSecond float64 // new tokens over the time after the prompt was read
}

const (
	maxSlots     = 16  // sequences generated together
	prefillChunk = 256 // prompt tokens read in one pass
)

// Generate continues a prompt with a KV cache. yield (or nil) gets each token as it comes and stops the generation by
// returning false. When ctx ends, the result so far comes with its error.
func (m *Model) Generate(ctx context.Context, prompt []int32, o GenerateOptions, yield func(id int32, logprob float32) bool) (GenerateResult, error) {
	results, err := m.generate(ctx, [][]int32{prompt}, o, func(_ int, id int32, logprob float32) bool {
		return yield == nil || yield(id, logprob)
	}, nil)
	if results == nil {
		return GenerateResult{}, err
	}
	return results[0], err
}

// GenerateBatch continues several prompts together, so that each pass over the weights serves all of them. Prompt i is
// sampled with Seed+i. What prompts have in common at their beginning is read once. progress (or nil) hears how many are done.
func (m *Model) GenerateBatch(ctx context.Context, prompts [][]int32, o GenerateOptions, progress func(done int)) ([]GenerateResult, error) {
	return m.generate(ctx, prompts, o, nil, progress)
}

// sequence is one prompt on its way.
type sequence struct {
	index   int
	tokens  []int32 // prompt and what was generated
	prompt  int
	limit   int // length at which it must end
	cached  int // tokens whose keys and values are in the cache
	slot    int
	waits   bool // in this pass, for what another one reads
	sampler *sampler
	began   time.Time // when its prompt had been read
	result  *GenerateResult
}

func (m *Model) generate(ctx context.Context, prompts [][]int32, o GenerateOptions,
	yield func(i int, id int32, logprob float32) bool, progress func(done int),
) ([]GenerateResult, error) {
	if len(prompts) == 0 {
		return nil, nil
	}
	g := &generator{model: m, options: o, yield: yield, results: make([]GenerateResult, len(prompts))}
	if err := g.begin(prompts); err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	defer g.end()
	for done := 0; done < len(prompts); {
		if err := ctx.Err(); err != nil {
			return g.results, err
		}
		g.admit()
		finished, err := g.step()
		if err != nil {
			return g.results, fmt.Errorf("generate: %w", err)
		}
		done += finished
		if progress != nil && finished > 0 {
			progress(done)
		}
	}
	return g.results, nil
}

// generator serves sequences from a queue in a fixed number of slots.
type generator struct {
	model   *Model
	options GenerateOptions
	yield   func(i int, id int32, logprob float32) bool
	results []GenerateResult

	waiting, active []*sequence
	free            []int       // slots, in the order in which they were given back
	occupant        []*sequence // by slot: whose keys and values it holds, whether that is finished or not
	cache           *cache
	saved, scratch  *compute.Arena
	owned           bool // the arenas are our own, not the training workspace
	scores          []float32
	stop            []int32
}

// begin checks the prompts and takes the memory that all of the generation needs.
func (g *generator) begin(prompts [][]int32) error {
	m, longest, most := g.model, 0, 0
	if !g.options.IgnoreEOS {
		g.stop = m.cfg.EOS
	}
	g.stop = append(slices.Clone(g.stop), g.options.StopIDs...)
	for i, prompt := range prompts {
		if _, err := (Input{Tokens: prompt}).check(&m.cfg, false); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
		room := m.cfg.longest() - len(prompt) - m.virtualTokens()
		if room < 1 {
			return fmt.Errorf("prompt %d has %d tokens, but the context holds %d: shorten it", i, len(prompt), m.cfg.longest()-m.virtualTokens())
		}
		if g.options.MaxNewTokens > 0 {
			room = min(room, g.options.MaxNewTokens)
		}
		g.results[i].PromptTokens = len(prompt)
		g.waiting = append(g.waiting, &sequence{
			index: i, tokens: append(make([]int32, 0, len(prompt)+min(room, 1024)), prompt...), prompt: len(prompt), limit: len(prompt) + room,
			sampler: newSampler(g.options, g.options.Seed+uint64(i)), result: &g.results[i],
		})
		longest, most = max(longest, len(prompt)+room), max(most, len(prompt))
	}
	if m.cfg.switches(0, longest+m.virtualTokens()) { // and reads what there is so far once more
		most = longest
	}
	slots := min(len(prompts), maxSlots)
	for s := range slots {
		g.free = append(g.free, s)
	}
	g.occupant = make([]*sequence, slots)
	return g.reserve(slots, longest, min(prefillChunk, slots*most)+slots)
}

// reserve borrows the training workspace if the cache and a pass over rows tokens fit there, else takes memory of its own.
func (g *generator) reserve(slots, longest, rows int) error {
	m := g.model
	before := m.virtualTokens()
	longest += before
	if err := m.ensureRotary(longest); err != nil {
		return err
	}
	reading, decoding := make([]piece, slots), make([]piece, slots) // the largest passes
	for s := range slots {
		reading[s] = piece{slot: s, at: s, from: before, n: 1}
		decoding[s] = piece{slot: s, at: s, from: longest - 1, n: 1}
	}
	reading[slots-1].n = min(rows-slots+1, longest-before)
	need := m.measure(func(dev compute.Device, saved, scratch *compute.Arena) {
		dry := *g
		dry.saved, dry.scratch, dry.cache = saved, scratch, newCache(&m.cfg, saved, slots, longest)
		dry.prepare(dev)
		dry.tryRows(dev, reading, rows)
		dry.tryRows(dev, decoding, slots)
	})
	if err := m.dev.Reserve(need.device); err != nil {
		return fmt.Errorf("reserve memory for %d sequences: %w", slots, err)
	}
	if g.saved, g.scratch = m.work.saved, m.work.scratch; !m.work.fits(need) {
		var err error
		if g.saved, g.scratch, err = newArenas(m.dev, need); err != nil {
			return fmt.Errorf("reserve memory for %d sequences of %d tokens: %w", slots, longest, err)
		}
		g.owned = true
	}
	g.cache = newCache(&m.cfg, g.saved, slots, longest)
	g.prepare(m.dev)
	g.scores = make([]float32, slots*m.cfg.Vocab)
	return nil
}

// tryRows is a pass over n tokens whose content does not matter.
func (g *generator) tryRows(dev compute.Device, pieces []piece, n int) {
	mark, scratchMark := g.saved.Mark(), g.scratch.Mark()
	g.runRows(dev, pieces, Input{Tokens: make([]int32, n), Positions: make([]int32, n)}, make([]int32, len(pieces)))
	g.saved.Release(mark)
	g.scratch.Release(scratchMark)
}

// prepare computes what all passes share: what an adapter's weights decide, and a prefix in the cache.
func (g *generator) prepare(dev compute.Device) {
	g.model.refresh(dev, g.scratch)
	if p := g.model.prefix; p != nil {
		p.seed(dev, g.saved, g.scratch, g.cache)
	}
}

func (g *generator) end() {
	if g.owned {
		g.saved.Free()
		g.scratch.Free()
		return
	}
	g.saved.Release(0)
	g.scratch.Release(0)
}

// step runs one pass: the newest token of each sequence that is generating, and a share of the prompts still to be read.
func (g *generator) step() (finished int, err error) {
	var pieces []piece
	var in Input
	var ends []int32
	var ready []*sequence
	budget, before := prefillChunk, g.model.virtualTokens()
	for _, s := range g.active { // before any of them counts as read what this pass is to read
		s.waits = g.share(s)
	}
	for _, s := range g.active {
		n := len(s.tokens) - s.cached
		switch {
		case s.waits:
			continue
		case n > 1:
			n = min(n, budget)
			budget -= n
		}
		if n == 0 {
			continue
		}
		pieces = append(pieces, piece{slot: s.slot, at: len(in.Tokens), from: before + s.cached, n: n})
		for i := range n {
			in.Tokens, in.Positions = append(in.Tokens, s.tokens[s.cached+i]), append(in.Positions, int32(before+s.cached+i))
			in.lengths = append(in.lengths, int32(before+len(s.tokens)))
		}
		if s.cached += n; s.cached == len(s.tokens) {
			ready, ends = append(ready, s), append(ends, int32(len(in.Tokens)-1))
		}
	}
	mark, scratchMark := g.saved.Mark(), g.scratch.Mark()
	logits := g.runRows(g.model.dev, pieces, in, ends)
	if logits != nil {
		g.model.dev.Download(compute.Bytes(g.scores[:logits.Len()]), logits)
	}
	g.saved.Release(mark)
	g.scratch.Release(scratchMark)
	if err := errors.Join(g.model.dev.Sync(), g.saved.Err(), g.scratch.Err()); err != nil {
		return 0, err
	}
	for i, s := range ready {
		over, err := g.extend(s, g.scores[i*g.model.cfg.Vocab:(i+1)*g.model.cfg.Vocab])
		if err != nil {
			return finished, err
		}
		if over {
			finished++
		}
	}
	return finished, nil
}

// runRows computes the scores [len(ends),V] of some rows of a pass, nil for none.
func (g *generator) runRows(dev compute.Device, pieces []piece, in Input, ends []int32) compute.Buffer {
	m := g.model
	g.cache.pieces = pieces
	in.Seqs = []int32{0, int32(len(in.Tokens))}
	p := m.newPass(dev, g.saved, g.scratch, in)
	p.cache = g.cache
	p.attention.Spans, p.attention.NK = g.cache.spans(), g.cache.slots*g.cache.rows
	rows := p.upload(ends)
	h := p.hidden()
	if len(ends) == 0 {
		return nil
	}
	if len(ends) != len(in.Tokens) {
		h = p.tape.Embedding(&tape.Embedding{Table: h.Value, Scale: 1}, rows, len(ends), m.cfg.Hidden)
	}
	return p.scores(p.tape.New(len(ends)*m.cfg.Vocab, false), h, len(ends)).Value
}

// extend draws the next token of a sequence and says whether that was its last.
func (g *generator) extend(s *sequence, scores []float32) (over bool, err error) {
	now := time.Now()
	if len(s.tokens) == s.prompt {
		s.began = now
	}
	id, logprob, err := s.sampler.next(scores)
	if err != nil {
		return false, err
	}
	r := s.result
	s.tokens = append(s.tokens, id)
	if n := g.model.virtualTokens() + len(s.tokens); g.model.cfg.switches(n-1, n) {
		s.cached = 0
	}
	r.IDs, r.LogProbs = append(r.IDs, id), append(r.LogProbs, logprob)
	if elapsed := now.Sub(s.began).Seconds(); elapsed > 0 {
		r.TokensPerSecond = float64(len(r.IDs)-1) / elapsed
	}
	wanted := g.yield == nil || g.yield(s.index, id, logprob)
	switch {
	case slices.Contains(g.stop, id) || !wanted:
		r.FinishReason = FinishStop
	case len(s.tokens) >= s.limit:
		r.FinishReason = FinishLength
	default:
		return false, nil
	}
	g.free = append(g.free, s.slot)
	g.active = slices.DeleteFunc(g.active, func(a *sequence) bool { return a == s })
	return true, nil
}
