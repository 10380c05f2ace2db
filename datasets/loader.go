package datasets

// Batch is one micro-batch: whole sequences one after the other, no padding.
// Attention is block-diagonal over Seqs.
type Batch struct {
	Tokens []int32 // [N]
	// Labels [N] are shifted inside each sequence: Labels[i] is the target of
	// position i; the last position of each sequence is -100.
	Labels []int32
	// Positions [N] restart at 0 with each sequence.
	Positions []int32
	// Seqs [sequences+1] are the cumulative starts, Seqs[0] = 0 and the last is
	// N (flash-attention's cu_seqlens).
	Seqs []int32
	// Rows [sequences] are the sequences' indices in the loader's samples.
	Rows []int
	// Trained counts labels that are not -100.
	Trained int
}

// LoaderConfig orders and groups samples.
type LoaderConfig struct {
	BatchSize    int  // rows of a micro-batch (per_device_train_batch_size)
	GradAccum    int  // micro-batches of an optimiser step
	Packing      bool // a row holds as many whole samples as fit in MaxSeqLength
	MaxSeqLength int  // tokens of a packed row
	Shuffle      bool // else rows follow the file's order
	Seed         int64
}

// Loader hands out the batches of any step of any epoch.
type Loader struct{}

// NewLoader plans the batches of samples.
func NewLoader(samples []Sample, c LoaderConfig) *Loader { return &Loader{} }

// StepsPerEpoch returns the number of optimiser steps, the same in every epoch.
func (l *Loader) StepsPerEpoch() int { return 0 }

// Step returns the micro-batches of optimiser step i (from 0) of an epoch (from
// 0). The last step of an epoch may have fewer and smaller ones: nothing is dropped.
func (l *Loader) Step(epoch, i int) ([]Batch, error) { return nil, nil }

// LongestBatch returns upper bounds over all epochs for one micro-batch: its
// tokens, its sequences, and its longest sequence.
func (l *Loader) LongestBatch() (tokens, seqs, longestSeq int) { return 0, 0, 0 }
