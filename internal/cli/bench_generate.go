package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/compute/profile"
	"lathe/internal/performance"
	"lathe/model"
)

// generateBench chooses the work.
type generateBench struct {
	size, model           string
	in4bit                bool
	tokens, prompt, batch int
	shared                int
	shapes                bool
}

// The prompts that begin alike: what each has of its own, and how long answers to them are, as those to few-shot examples are.
const (
	ownTokens    = 32
	sharedTokens = 32
)

func defaultGenerateBench(size string) generateBench {
	return generateBench{size: size, in4bit: true, tokens: 128, prompt: 512, batch: 16, shared: 256}
}

func benchGenerateCommand(e *env) *cobra.Command {
	f := defaultGenerateBench("60m")
	cmd := benchLeaf(e, "generate", "Greedy decoding of one sequence and of several together, and reading a prompt", func(ctx context.Context, _ []string) (report, error) {
		return e.benchGenerate(ctx, f)
	})
	flags := cmd.Flags()
	sizeFlag(cmd, &f.size, f.size)
	flags.StringVar(&f.model, "model", "", "generate with this model instead of a random one")
	flags.BoolVar(&f.in4bit, "load-in-4bit", f.in4bit, "quantise the linear layers to NF4")
	flags.IntVar(&f.tokens, "tokens", f.tokens, "new tokens of a sequence")
	flags.IntVar(&f.prompt, "prompt", f.prompt, "tokens of the long prompt; the others have 16")
	flags.IntVar(&f.batch, "batch", f.batch, "sequences together")
	flags.IntVar(&f.shared, "shared", f.shared, "tokens at the beginning of prompts that begin alike")
	flags.BoolVar(&f.shapes, "shapes", false, "break the time down by the shapes of operations too")
	return cmd
}

// benchModel is a random model, or a folder's, on a device.
func (b *bencher) benchModel(dev compute.Device, size, dir string, in4bit bool) (*model.Model, error) {
	o := model.LoadOptions{Quant4: in4bit, QuantType: compute.NF4, DoubleQuant: true, KeepDType: true}
	if dir == "" {
		cfg, err := benchConfig(size)
		if err != nil {
			return nil, err
		}
		return model.NewRandomWith(dev, cfg, 1, o)
	}
	files, err := openModel(dir)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	return model.Load(dev, files, o, nil)
}

// benchPrompts are n prompts of random ids.
func benchPrompts(n, length, vocab int) [][]int32 {
	r := rand.New(rand.NewPCG(3, 4))
	prompts := make([][]int32, n)
	for i := range prompts {
		prompts[i] = make([]int32, length)
		for j := range prompts[i] {
			prompts[i][j] = int32(r.IntN(vocab))
		}
	}
	return prompts
}

func (e *env) benchGenerate(ctx context.Context, f generateBench) (report, error) {
	if f.tokens < 2 || f.prompt < 1 || f.batch < 1 || f.shared < 0 {
		return report{}, usage("--tokens is at least 2, --prompt and --batch at least 1, --shared at least 0")
	}
	b, err := e.newBencher()
	if err != nil {
		return report{}, err
	}
	defer b.close()
	m, err := b.benchModel(b.dev, f.size, f.model, f.in4bit)
	if err != nil {
		return report{}, err
	}
	r := performance.Generate{Parameters: m.Config().Parameters(), In4bit: f.in4bit, Tokens: f.tokens, PromptTokens: f.prompt, Batch: f.batch}
	err = timeGeneration(ctx, m, f, &r)
	m.Free()
	if err != nil {
		return report{}, err
	}
	if err := b.profileGeneration(ctx, f, &r); err != nil {
		return report{}, err
	}
	if r.Head, err = b.head(performance.WhatGenerate); err != nil {
		return report{}, err
	}
	r.Share = r.TokensPerSecond * r.BytesPerToken / 1e9 / r.Peak.ReadBandwidth
	return report{json: r, rows: generateRows(r), operations: r.Operations, peak: r.Peak}, nil
}

// timeGeneration takes medians of three.
func timeGeneration(ctx context.Context, m *model.Model, f generateBench, r *performance.Generate) (err error) {
	vocab := m.Config().Vocab
	o := model.GenerateOptions{MaxNewTokens: f.tokens, IgnoreEOS: true}
	prompts := benchPrompts(f.batch, 16, vocab)
	if r.TokensPerSecond, err = median3(func() (float64, error) {
		g, err := m.Generate(ctx, prompts[0], o, nil)
		return g.TokensPerSecond, err
	}); err != nil {
		return err
	}
	long := benchPrompts(1, f.prompt, vocab)[0]
	if r.PromptPerSecond, err = median3(func() (float64, error) {
		start := time.Now()
		_, err := m.Generate(ctx, long, model.GenerateOptions{MaxNewTokens: 1, IgnoreEOS: true}, nil)
		return float64(f.prompt) / time.Since(start).Seconds(), err
	}); err != nil {
		return err
	}
	if r.BatchedPerSecond, r.OneByOne, err = togetherAndAlone(ctx, m, prompts, o); err != nil {
		return err
	}
	r.BatchedRatio = r.BatchedPerSecond / r.OneByOne
	alike := benchPrompts(f.batch, f.shared+ownTokens, vocab)
	for _, prompt := range alike {
		copy(prompt[:f.shared], alike[0])
	}
	r.SharedPrefix, r.SharedPrompt, r.SharedTokens = f.shared, f.shared+ownTokens, min(f.tokens, sharedTokens)
	o.MaxNewTokens = r.SharedTokens
	r.SharedPerSecond, r.SharedOneByOne, err = togetherAndAlone(ctx, m, alike, o)
	r.SharedRatio = r.SharedPerSecond / r.SharedOneByOne
	return err
}

// togetherAndAlone are new tokens a second of all the prompts together and of up to four one by one, in turn, prompts included.
func togetherAndAlone(ctx context.Context, m *model.Model, prompts [][]int32, o model.GenerateOptions) (batched, oneByOne float64, err error) {
	var alone, together []float64
	for range 2 {
		start := time.Now()
		if _, err := m.GenerateBatch(ctx, prompts, o, nil); err != nil {
			return 0, 0, err
		}
		together = append(together, float64(len(prompts)*o.MaxNewTokens)/time.Since(start).Seconds())
		start = time.Now()
		n := min(len(prompts), 4)
		for _, prompt := range prompts[:n] {
			if _, err := m.Generate(ctx, prompt, o, nil); err != nil {
				return 0, 0, err
			}
		}
		alone = append(alone, float64(n*o.MaxNewTokens)/time.Since(start).Seconds())
	}
	return performance.Median(together), performance.Median(alone), nil
}

// profileGeneration generates once more on a profiled device: keeping account costs a decoding a few percent.
func (b *bencher) profileGeneration(ctx context.Context, f generateBench, r *performance.Generate) error {
	account := profile.New(b.dev)
	m, err := b.benchModel(account, f.size, f.model, f.in4bit)
	if err != nil {
		return err
	}
	defer m.Free()
	prompt := benchPrompts(1, 16, m.Config().Vocab)[0]
	_, err = m.Generate(ctx, prompt, model.GenerateOptions{MaxNewTokens: f.tokens, IgnoreEOS: true}, func(_ int32, _ float32) bool {
		if r.Operations == nil { // the first new token: the prompt is read
			r.Operations = []performance.Operation{}
			account.Reset()
		}
		return true
	})
	r.Operations = breakDown(account, f.shapes)
	r.BytesPerToken = total(r.Operations, bytesMoved) / float64(f.tokens-1)
	return err
}

func generateRows(r performance.Generate) [][]string {
	weights := "as they are"
	if r.In4bit {
		weights = "in NF4"
	}
	return append([][]string{
		headRow(r.Head),
		{"work", fmt.Sprintf("%s parameters %s, %d new tokens, greedy", count(r.Parameters), weights, r.Tokens)},
		{"one sequence", fmt.Sprintf("%.0f tokens/s, %.1f MB a token: %.0f%% of the memory's read bandwidth", r.TokensPerSecond, r.BytesPerToken/1e6, 100*r.Share)},
		{"prompt", fmt.Sprintf("%s tokens/s, of %d tokens", count(int64(r.PromptPerSecond)), r.PromptTokens)},
		{"together", fmt.Sprintf("%s tokens/s, %d sequences: %.1f times one by one", count(int64(r.BatchedPerSecond)), r.Batch, r.BatchedRatio)},
		{"begin alike", fmt.Sprintf("%s tokens/s, %d sequences of %d new tokens, whose prompts of %d begin with the same %d: %.1f times one by one",
			count(int64(r.SharedPerSecond)), r.Batch, r.SharedTokens, r.SharedPrompt, r.SharedPrefix, r.SharedRatio)},
		{"memory", fmt.Sprintf("%s at most", bytesText(r.PeakMemory))},
	}, peakRows(r.Peak)...)
}
