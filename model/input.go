package model

import (
	"errors"
	"fmt"
	"slices"

	"lathe/compute"
)

// Input is a flat batch without padding: the N tokens of several sequences one after the other.
type Input struct {
	Tokens    []int32 // [N]
	Labels    []int32 // [N] target of each row, already shifted; -100 is ignored. nil for Logits
	Positions []int32 // [N], or nil: counted from 0 in each sequence
	Seqs      []int32 // cumulative starts [sequences+1], as flash-attention's cu_seqlens; nil: one sequence

	lengths []int32 // [N] of each token's sequence, for rotations that depend on it; nil: its last position + 1
}

// Ignore is the label of a row that is not trained.
const Ignore = -100

// check fills in what may be left out, and refuses what would go wrong on the device.
func (in Input) check(c *Config, labelled bool) (Input, error) {
	n := len(in.Tokens)
	if n == 0 {
		return in, errors.New("the batch has no tokens")
	}
	if in.Seqs == nil {
		in.Seqs = []int32{0, int32(n)}
	}
	if err := in.checkSeqs(n); err != nil {
		return in, err
	}
	if in.Positions == nil {
		in.Positions = make([]int32, 0, n)
		for s := range len(in.Seqs) - 1 {
			for p := range in.Seqs[s+1] - in.Seqs[s] {
				in.Positions = append(in.Positions, p)
			}
		}
	}
	if len(in.Positions) != n || labelled && len(in.Labels) != n {
		return in, fmt.Errorf("the batch has %d tokens, but %d labels and %d positions", n, len(in.Labels), len(in.Positions))
	}
	for i, id := range in.Tokens {
		if id < 0 || int(id) >= c.Vocab {
			return in, fmt.Errorf("token %d of the batch is id %d, beyond the vocabulary of %d: the tokenizer does not belong to this model, or the ids were made with another", i, id, c.Vocab)
		}
		if p := in.Positions[i]; p < 0 || p >= maxPosition {
			return in, fmt.Errorf("token %d of the batch has position %d", i, p)
		}
	}
	if !labelled {
		return in, nil
	}
	for i, id := range in.Labels {
		if id != Ignore && (id < 0 || int(id) >= c.Vocab) {
			return in, fmt.Errorf("label %d of the batch is id %d, beyond the vocabulary of %d", i, id, c.Vocab)
		}
	}
	return in, nil
}

// maxPosition bounds the rotary tables.
const maxPosition = 1 << 24

func (in Input) checkSeqs(n int) error {
	last := len(in.Seqs) - 1
	if last < 1 || in.Seqs[0] != 0 || int(in.Seqs[last]) != n {
		return fmt.Errorf("the sequences' starts %v do not run from 0 to %d tokens", clipInts(in.Seqs), n)
	}
	for s := range last {
		if in.Seqs[s+1] < in.Seqs[s] {
			return fmt.Errorf("sequence %d ends at %d before it starts at %d", s, in.Seqs[s+1], in.Seqs[s])
		}
	}
	return nil
}

func clipInts(v []int32) []int32 { return v[:min(len(v), 8)] }

// pieces cuts a batch between its sequences into runs of at most limit tokens, or of one sequence where that is longer; a limit
// of 0 leaves it whole. firsts are the pieces' first sequences.
func (in Input) pieces(limit int) (pieces []Input, firsts []int) {
	last := len(in.Seqs) - 1
	for first := 0; first < last; {
		end := first + 1
		for end < last && (limit == 0 || in.Seqs[end] == in.Seqs[first] || int(in.Seqs[end+1]-in.Seqs[first]) <= limit) {
			end++
		}
		pieces, firsts = append(pieces, in.sequences(first, end)), append(firsts, first)
		first = end
	}
	return pieces, firsts
}

// sequences are those from first up to end, as a batch of their own.
func (in Input) sequences(first, end int) Input {
	from, to := in.Seqs[first], in.Seqs[end]
	part := Input{Tokens: in.Tokens[from:to], Labels: in.Labels[from:to], Positions: in.Positions[from:to]}
	for _, start := range in.Seqs[first : end+1] {
		part.Seqs = append(part.Seqs, start-from)
	}
	if in.lengths != nil {
		part.lengths = in.lengths[from:to]
	}
	return part
}

// spans are the sequences as attention sees them.
func (in Input) spans() []compute.Span {
	spans := make([]compute.Span, 0, len(in.Seqs)-1)
	for s := range len(in.Seqs) - 1 {
		if start, n := int(in.Seqs[s]), int(in.Seqs[s+1]-in.Seqs[s]); n > 0 {
			spans = append(spans, compute.Span{QStart: start, QLen: n, KStart: start, KLen: n})
		}
	}
	return spans
}

// maxPositionPlusOne is how many rows the rotary tables need.
func (in Input) maxPositionPlusOne() int {
	most := int32(0)
	for _, p := range in.Positions {
		most = max(most, p)
	}
	return int(most) + 1
}

// sequenceLengths are, for each token, the length of its sequence: the highest position + 1, as transformers counts.
func (in Input) sequenceLengths() []int32 {
	if in.lengths != nil {
		return in.lengths
	}
	lengths := make([]int32, len(in.Tokens))
	for s := range len(in.Seqs) - 1 {
		from, to := in.Seqs[s], in.Seqs[s+1]
		if from == to {
			continue
		}
		longest := slices.Max(in.Positions[from:to]) + 1
		for i := from; i < to; i++ {
			lengths[i] = longest
		}
	}
	return lengths
}
