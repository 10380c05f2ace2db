package model

import "context"

// GenerateOptions says how to sample.
type GenerateOptions struct {
	MaxNewTokens int
	Temperature  float64 // 0 is greedy, ties to the lowest id
	TopK         int     // 0 is off
	TopP         float64 // 0 or 1 is off
	Seed         uint64
	IgnoreEOS    bool
	StopIDs      []int32 // beside the model's own eos ids
}

// GenerateResult is one finished generation.
type GenerateResult struct {
	IDs             []int32   // the new tokens, the stopping one included
	LogProbs        []float32 // ln p of each under the model, before temperature and truncation
	FinishReason    string    // "stop" or "length"
	PromptTokens    int
	TokensPerSecond float64 // new tokens over the time after the prompt was read
}

// Generate continues a prompt with a KV cache. yield (or nil) gets each token as it comes and stops the generation by
// returning false.
func (m *Model) Generate(ctx context.Context, prompt []int32, o GenerateOptions, yield func(id int32, logprob float32) bool) (GenerateResult, error) {
	return GenerateResult{}, errUnbuilt
}

// GenerateBatch continues several prompts together, so that each pass over the weights serves all of them. The results are
// those of Generate with seeds Seed, Seed+1, …
func (m *Model) GenerateBatch(ctx context.Context, prompts [][]int32, o GenerateOptions, progress func(done int)) ([]GenerateResult, error) {
	return nil, errUnbuilt
}
