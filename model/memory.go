package model

import "lathe/compute"

// Reserve sizes the workspace for batches of at most maxTokens tokens in at most maxSeqs sequences of at most maxLen, by a
// dry run of the very same step. A step within these bounds allocates nothing afterwards.
func (m *Model) Reserve(maxTokens, maxSeqs, maxLen int, train bool) error { return errUnbuilt }

// Release frees the workspace until the next step or Reserve, as a paused run does.
func (m *Model) Release() {}

// PlanOptions is a method and a batch to plan for.
type PlanOptions struct {
	Load       LoadOptions
	LoRA       *LoRAConfig // or nil
	Full       bool        // all weights are trained
	Checkpoint bool        // gradient checkpointing
	MaxTokens  int
	MaxSeqs    int
	MaxLen     int
}

// Memory is a plan in bytes, by owner.
type Memory struct {
	Base        int64 `json:"base"`
	Adapters    int64 `json:"adapters"`
	Gradients   int64 `json:"gradients"`
	Optimizer   int64 `json:"optimizer"` // left to the caller
	Activations int64 `json:"activations"`
	KV          int64 `json:"kv"`        // of one generation of MaxLen tokens
	Workspace   int64 `json:"workspace"` // tables and index buffers
	Trainable   int64 `json:"trainable"` // parameters, not bytes
}

// Total is the sum of the bytes, the KV cache excluded: generation borrows the activations' memory.
func (p Memory) Total() int64 {
	return p.Base + p.Adapters + p.Gradients + p.Optimizer + p.Activations + p.Workspace
}

// PlanMemory says what a run takes, from the configuration alone.
func PlanMemory(cfg Config, o PlanOptions) (Memory, error) {
	_ = compute.NewDry()
	return Memory{}, errUnbuilt
}
