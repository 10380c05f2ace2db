package datasets

import (
	"fmt"
	"slices"
	"sync"
)

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
	BatchSize    int  // rows of a micro-batch (per_device_train_batch_size); at least 1
	GradAccum    int  // micro-batches of an optimiser step; at least 1
	Packing      bool // a row holds as many whole samples as fit in MaxSeqLength
	MaxSeqLength int  // tokens of a packed row; 0 is the longest sample
	Shuffle      bool // else rows follow the file's order
	Seed         int64
}

// Loader hands out the batches of any step of any epoch. What it returns is a
// function of its samples, its config, the epoch and the step alone: a resumed
// run needs no iterator's state. It may be used from any goroutine.
type Loader struct {
	samples []Sample
	config  LoaderConfig
	rows    packedRows

	mu    sync.Mutex
	epoch int // the epoch of order
	order []int32
}

// NewLoader plans the batches of samples. With packing the rows are packed once
// and shuffled as wholes every epoch, so that all epochs have the same steps.
func NewLoader(samples []Sample, c LoaderConfig) *Loader {
	c.BatchSize, c.GradAccum = max(c.BatchSize, 1), max(c.GradAccum, 1)
	l := &Loader{samples: samples, config: c, epoch: -1}
	if c.Packing {
		l.rows = packRows(samples, c)
	} else {
		l.rows = singleRows(len(samples))
	}
	return l
}

// Samples returns the number of samples.
func (l *Loader) Samples() int { return len(l.samples) }

// Rows returns the number of rows, the units of a micro-batch.
func (l *Loader) Rows() int { return l.rows.len() }

// Sample returns sample i, as numbered by [Batch].Rows.
func (l *Loader) Sample(i int) Sample { return l.samples[i] }

// StepsPerEpoch returns the number of optimiser steps, the same in every epoch.
func (l *Loader) StepsPerEpoch() int {
	perStep := l.config.BatchSize * l.config.GradAccum
	return (l.rows.len() + perStep - 1) / perStep
}

// Step returns the micro-batches of optimiser step i (from 0) of an epoch (from
// 0). The last step of an epoch may have fewer and smaller ones: nothing is
// dropped (drop_last=False).
func (l *Loader) Step(epoch, i int) ([]Batch, error) {
	if epoch < 0 || i < 0 || i >= l.StepsPerEpoch() {
		return nil, fmt.Errorf("load step %d of epoch %d: an epoch has %d steps", i, epoch, l.StepsPerEpoch())
	}
	order := l.epochOrder(epoch)
	perStep := l.config.BatchSize * l.config.GradAccum
	order = order[i*perStep : min((i+1)*perStep, len(order))]
	batches := make([]Batch, 0, l.config.GradAccum)
	for rows := range slices.Chunk(order, l.config.BatchSize) {
		batches = append(batches, l.batch(rows))
	}
	return batches, nil
}

// epochOrder returns the order [rows] in which an epoch visits rows.
func (l *Loader) epochOrder(epoch int) []int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.order != nil && (l.epoch == epoch || !l.config.Shuffle) {
		return l.order
	}
	l.epoch, l.order = epoch, identity(l.rows.len())
	if l.config.Shuffle {
		newRandom(l.config.Seed, uint64(epoch)).shuffle(l.order)
	}
	return l.order
}

// batch lays the samples of rows flat, one after the other.
func (l *Loader) batch(rows []int32) Batch {
	tokens, seqs := 0, 0
	for _, r := range rows {
		for _, s := range l.rows.row(int(r)) {
			tokens += len(l.samples[s].Tokens)
			seqs++
		}
	}
	b := Batch{
		Tokens:    make([]int32, 0, tokens),
		Labels:    make([]int32, 0, tokens),
		Positions: make([]int32, 0, tokens),
		Seqs:      append(make([]int32, 0, seqs+1), 0),
		Rows:      make([]int, 0, seqs),
	}
	for _, r := range rows {
		for _, s := range l.rows.row(int(r)) {
			b.add(l.samples[s], int(s))
		}
	}
	return b
}

// add appends one sequence and shifts its labels.
func (b *Batch) add(s Sample, row int) {
	b.Tokens = append(b.Tokens, s.Tokens...)
	for i := range s.Tokens {
		b.Positions = append(b.Positions, int32(i))
		target := IgnoreIndex
		if i+1 < len(s.Labels) {
			target = s.Labels[i+1]
		}
		if target != IgnoreIndex {
			b.Trained++
		}
		b.Labels = append(b.Labels, target)
	}
	b.Seqs = append(b.Seqs, int32(len(b.Tokens)))
	b.Rows = append(b.Rows, row)
}

// Totals returns the tokens of one epoch, and how many of them are trained.
func (l *Loader) Totals() (tokens, trained int64) {
	for _, s := range l.samples {
		tokens += int64(len(s.Tokens))
		trained += int64(s.Trained())
	}
	return tokens, trained
}

func sum(values []int) int {
	n := 0
	for _, v := range values {
		n += v
	}
	return n
}
