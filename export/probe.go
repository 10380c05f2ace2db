package export

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"

	"lathe/datasets"
	"lathe/model"
)

// probe is a fixed prompt and what the live model says to it.
type probe struct {
	tokens []int32
	logits []float32 // [T,V] of the live model
	moved  []float32 // [T,V] logits less those of the base: what the adapter does
	effect float64   // the largest of moved
}

// Bounds of the probes: enough rows that every layer, head and position is used, little enough that the logits of a vocabulary
// of 256k words stay within memory.
const (
	probeRow    = 32      // tokens of a prompt at most
	probeLogits = 1 << 24 // logits of all prompts together: 64 MiB, twice
)

// probeTexts look like what people train on: prose, a dialogue, code, numbers, other scripts.
var probeTexts = []string{
	"The quick brown fox jumps over the lazy dog. In the morning, the report said, the river had risen by half a metre and nobody was surprised.",
	"User: My order 48213 arrived broken. Can I get a refund?\nAssistant: I am sorry to hear that. Yes: send us a photo within 30 days and we will refund the full amount of $19.99.",
	"def fibonacci(n: int) -> int:\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n",
	`{"id": 17, "name": "Zoë", "scores": [0.25, 1e-3, -4], "ok": true}`,
	"Übung macht den Meister. Le cœur a ses raisons que la raison ne connaît point. 学而时习之，不亦说乎？ Привет, мир!",
	"Question: If 3 pencils cost 45 cents, how much do 7 pencils cost?\nAnswer: One pencil costs 15 cents, so 7 cost 105 cents.",
}

// makeProbes chooses the prompts: rows of ids drawn evenly from the vocabulary, and the texts above.
func makeProbes(f *model.Files) ([]probe, error) {
	c := f.Config
	row := min(probeRow, max(1, c.ContextLength))
	rows := max(2, min(len(probeTexts)+4, probeLogits/(row*c.Vocab)))
	vocab := c.Vocab
	tok, err := f.Tokenizer()
	switch {
	case err == nil:
		vocab = min(vocab, tok.VocabSize())
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	var probes []probe
	random := rand.New(rand.NewPCG(0x6c61746865, 1)) // the same prompts for the same vocabulary, always
	for range max(1, rows*2/5) {
		ids := make([]int32, row)
		for i := range ids {
			ids[i] = int32(random.IntN(vocab))
		}
		probes = append(probes, probe{tokens: ids})
	}
	for _, text := range probeTexts {
		if tok == nil || len(probes) == rows {
			break
		}
		ids := inVocab(tok.Encode(text, true), c.Vocab)
		if len(ids) > 1 {
			probes = append(probes, probe{tokens: ids[:min(row, len(ids))]})
		}
	}
	return probes, nil
}

// inVocab leaves out ids that the embedding does not have.
func inVocab(ids []int32, vocab int) []int32 {
	out := ids[:0:0]
	for _, id := range ids {
		if id >= 0 && int(id) < vocab {
			out = append(out, id)
		}
	}
	return out
}

// measureLive notes what the live model says to the probes, and how far that is from the base without the adapter.
func (j *job) measureLive() (err error) {
	if j.probes, err = makeProbes(j.options.Base); err != nil {
		return err
	}
	base := j.live.With(nil)
	for i := range j.probes {
		if err := j.ctx.Err(); err != nil {
			return err
		}
		p := &j.probes[i]
		j.report.ProbeTokens += len(p.tokens)
		if p.logits, err = j.live.Logits(model.Input{Tokens: p.tokens}); err != nil {
			return err
		}
		plain, err := base.Logits(model.Input{Tokens: p.tokens})
		if err != nil {
			return err
		}
		var largest float64
		if p.effect, largest, err = distance(p.logits, plain); err != nil {
			return fmt.Errorf("the live model: %w", err)
		}
		j.report.MaxLogit = max(j.report.MaxLogit, largest)
		p.moved = plain
		for k, x := range p.logits {
			p.moved[k] = x - plain[k]
		}
		j.options.Progress("measure", int64(i+1), int64(len(j.probes)))
	}
	return nil
}

// distance is the largest difference of two sets of logits, and the largest of a's.
func distance(a, b []float32) (worst, largest float64, err error) {
	if len(a) != len(b) {
		return 0, 0, fmt.Errorf("%d logits where the live model has %d", len(b), len(a))
	}
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return 0, 0, fmt.Errorf("a logit is %v or %v: weights that are not finite are not exported", a[i], b[i])
		}
		worst, largest = max(worst, d), max(largest, math.Abs(float64(a[i])))
	}
	return worst, largest, nil
}

// f32Tolerance is what one computation in float32 may differ from another one in other order, in parts of the largest logit:
// W·x + B·(A·x) and (W+BA)·x differ by about 1e-6 a layer.
const f32Tolerance = 1e-4

// tolerance is the largest difference allowed, in parts of the largest logit. Rounding a merged weight to 16 bits moves it by at
// most u of itself (bfloat16 2⁻⁸, float16 2⁻¹¹), so that a layer's output moves by about u of itself; the errors of a model's
// 7 matrices a block are independent and add up as their root, of which the largest of many logits is twice as far at most
// (measured on the reference models: 0.8 of the root). That alone would let the loss of a faint adapter pass, so that
// compare also asks whether the base moves as the adapter moves it: rounding errors have no direction, and average out.
func tolerance(dtype string, layers int) float64 {
	u := map[string]float64{"bfloat16": 1.0 / 256, "float16": 1.0 / 2048}[dtype]
	return max(f32Tolerance, 2*u*math.Sqrt(7*float64(layers)))
}

// compare has a model that was read back answer the probes, and fails where it is another one than the live model.
func (j *job) compare(back *model.Model, tolerance float64) error {
	r := j.report
	r.Tolerance = tolerance * max(1, r.MaxLogit)
	var effect, along, square float64
	for i, p := range j.probes {
		if err := j.ctx.Err(); err != nil {
			return err
		}
		logits, err := back.Logits(model.Input{Tokens: p.tokens})
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		worst, _, err := distance(p.logits, logits)
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		r.MaxLogitDifference, effect = max(r.MaxLogitDifference, worst), max(effect, p.effect)
		for k, moved := range p.moved {
			along += float64(logits[k]-p.logits[k]) * float64(moved)
			square += float64(moved) * float64(moved)
		}
		j.options.Progress("compare", int64(i+1), int64(len(j.probes)))
	}
	if r.MaxLogitDifference > r.Tolerance {
		return fmt.Errorf("what was read back is not the model that was written: a logit differs by %.3g, allowed are %.3g; nothing was put in place", r.MaxLogitDifference, r.Tolerance)
	}
	if effect > f32Tolerance*max(1, r.MaxLogit) {
		if share := 1 + along/square; math.Abs(share-1) > 0.5 {
			return fmt.Errorf("what was read back does %.0f%% of what the adapter does to the base: it was lost on the way, or rounding to %s hides it (try --dtype float32); nothing was put in place",
				100*share, first(r.DType, "float32"))
		}
		if r.MaxLogitDifference > effect {
			r.Warnings = append(r.Warnings, fmt.Sprintf("rounding to %s moves logits by up to %.2g, as far as the adapter itself does (%.2g): --dtype float32 keeps all of it", r.DType, r.MaxLogitDifference, effect))
		}
	}
	r.Verified = true
	return nil
}

// Perplexity is exp of the mean loss of a token, of the model before and after it was merged.
type Perplexity struct {
	Source string  `json:"source"` // what it was measured on
	Rows   int     `json:"rows"`
	Tokens int     `json:"tokens"` // that count
	Live   float64 `json:"live"`   // base and adapter, before they were merged
	Merged float64 `json:"merged"` // the merged model as written
	// Trained is base and adapter with the base in 4 bits as it was trained on, where it was merged into unquantised weights.
	Trained *float64 `json:"trained,omitempty"`
	// Requantized is the merged model in 4 bits again, for a base that was trained in 4 bits.
	Requantized *float64 `json:"requantized,omitempty"`
}

// perplexityTokens bounds what is measured: on a CPU, each token of a large model costs a second.
const perplexityTokens = 1 << 13

// perplexityOf starts the measurement with the live model; nil where there is nothing to measure on.
func (j *job) perplexityOf(m *model.Model, what string) (*Perplexity, error) {
	p := &Perplexity{Source: j.options.EvalName}
	if len(j.options.Eval) == 0 {
		p.Source, j.options.Eval = "probe text", j.probeSamples()
		if len(j.options.Eval) == 0 {
			j.report.Warnings = append(j.report.Warnings, "perplexity was not measured: the base has no tokenizer, and no --eval-file was given")
			return nil, nil
		}
	}
	kept := j.options.Eval[:0:0]
	total := 0
	for _, s := range j.options.Eval {
		if s.Trained() == 0 {
			continue
		}
		if len(kept) > 0 && total+len(s.Tokens) > perplexityTokens {
			break
		}
		total += len(s.Tokens)
		kept = append(kept, s)
		p.Rows, p.Tokens = p.Rows+1, p.Tokens+s.Trained()
	}
	if p.Tokens == 0 {
		return nil, refuse("%s: no trained token in it, perplexity cannot be measured", p.Source)
	}
	j.options.Eval = kept
	var err error
	p.Live, err = j.perplexity(m, what)
	return p, err
}

// probeSamples are the probe texts as rows; none without a tokenizer.
func (j *job) probeSamples() (rows []datasets.Sample) {
	tok, err := j.options.Base.Tokenizer()
	if err != nil {
		return nil
	}
	for _, text := range probeTexts {
		ids := inVocab(tok.Encode(text, true), j.live.Config().Vocab)
		rows = append(rows, datasets.Sample{Tokens: ids, Labels: ids})
	}
	return rows
}

// perplexity is exp of the mean of -ln p over the rows' trained tokens.
func (j *job) perplexity(m *model.Model, what string) (float64, error) {
	var sum float64
	var n int
	for i, s := range j.options.Eval {
		if err := j.ctx.Err(); err != nil {
			return 0, err
		}
		labels := append(append([]int32{}, s.Labels[1:]...), model.Ignore)
		logprobs, err := m.LogProbs(model.Input{Tokens: s.Tokens, Labels: labels})
		if err != nil {
			return 0, fmt.Errorf("perplexity of the %s: %w", what, err)
		}
		for k, lp := range logprobs {
			if labels[k] != model.Ignore {
				sum -= float64(lp)
				n++
			}
		}
		j.options.Progress("perplexity of the "+what, int64(i+1), int64(len(j.options.Eval)))
	}
	ppl := math.Exp(sum / float64(n))
	if math.IsNaN(ppl) || math.IsInf(ppl, 0) {
		return 0, fmt.Errorf("perplexity of the %s is %v", what, ppl)
	}
	return ppl, nil
}
