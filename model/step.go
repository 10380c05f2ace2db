package model

// Input is a flat batch without padding: the N tokens of several sequences one after the other.
type Input struct {
	Tokens    []int32 // [N]
	Labels    []int32 // [N] target of each row, already shifted; -100 is ignored. nil for Logits
	Positions []int32 // [N], or nil: counted from 0 in each sequence
	Seqs      []int32 // cumulative starts [sequences+1], as flash-attention's cu_seqlens; nil: one sequence
}

// StepOptions is what a training step needs beside its batch.
type StepOptions struct {
	// GradScale multiplies the gradient of the summed loss: 1/(trained tokens of the whole optimiser step).
	GradScale float32
	// DropoutSeed, Step and Micro (micro-batch within the step) name the dropout masks: the same numbers, the same masks.
	DropoutSeed uint64
	Step, Micro int
	// Checkpoint recomputes each block in the backward pass instead of keeping its activations.
	Checkpoint bool
}

// ForwardBackward adds GradScale · ∂(Σ -ln p)/∂θ to the gradients of the trainable tensors, and returns ln p of each label
// [N], 0 where it is ignored.
func (m *Model) ForwardBackward(in Input, o StepOptions) (logprobs []float32, err error) {
	return nil, errUnbuilt
}

// LogProbs is ln p of each label [N], 0 where it is ignored, without dropout.
func (m *Model) LogProbs(in Input) ([]float32, error) { return nil, errUnbuilt }

// Logits is the scores before the softmax [N,V]. Meant for short inputs: tests and inspection.
func (m *Model) Logits(in Input) ([]float32, error) { return nil, errUnbuilt }
