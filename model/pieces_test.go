package model

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"lathe/compute"
)

func TestPiecesAreWholeSequences(t *testing.T) {
	for _, c := range []struct {
		limit  int
		seqs   []int32
		firsts []int
	}{
		{0, []int32{0, 5, 9}, []int{0}},
		{10, []int32{0, 5, 9}, []int{0}},
		{8, []int32{0, 5, 9}, []int{0, 1}},
		{5, []int32{0, 3, 5, 8, 9}, []int{0, 2}},
		{2, []int32{0, 0, 7, 7, 8}, []int{0, 2}},
	} {
		in := randomInput(int(c.seqs[len(c.seqs)-1]))
		in.Positions, in.Seqs = slices.Clone(in.Tokens), c.seqs
		pieces, firsts := in.pieces(c.limit)
		if !reflect.DeepEqual(firsts, c.firsts) {
			t.Errorf("%v in pieces of %d: firsts are %v, want %v", c.seqs, c.limit, firsts, c.firsts)
		}
		var tokens []int32
		for i, p := range pieces {
			tokens = append(tokens, p.Tokens...)
			if err := p.checkSeqs(len(p.Tokens)); err != nil || len(p.Labels) != len(p.Tokens) {
				t.Errorf("%v in pieces of %d: piece %d: %v, %d labels", c.seqs, c.limit, i, err, len(p.Labels))
			}
		}
		if !reflect.DeepEqual(tokens, in.Tokens) {
			t.Errorf("%v in pieces of %d: tokens %v, want %v", c.seqs, c.limit, tokens, in.Tokens)
		}
	}
}

// divided is a device that takes pieces of a few tokens.
type divided struct {
	compute.WorkspaceRule
	tokens int
}

func (d divided) PieceTokens() int { return d.tokens }

// A cut moves the gradients no more than the order of a sum does, and the memory of the whole
// batch is that of its largest piece.
func TestPiecesAddUp(t *testing.T) {
	m := randomLoRA(t, randomModel(t, openDevice(t), LoadOptions{}), LoRAConfig{R: 2, Alpha: 4, TargetModules: TargetModules{Regex: AllLinear}})
	in := randomInput(20, 7, 30, 3)
	step := func() (logprobs []float32, grads [][]float32) {
		for _, p := range m.Trainable() {
			m.dev.Zero(p.Grad)
		}
		logprobs, err := m.ForwardBackward(in, StepOptions{GradScale: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Trainable() {
			grads = append(grads, compute.Download[float32](m.dev, p.Grad))
		}
		return logprobs, grads
	}
	logprobs, grads := step()
	whole := m.measureLargest(60, 4, 30, &StepOptions{})
	m.rule = divided{m.rule, 32}
	cutLogprobs, cut := step()
	for i, p := range logprobs { // float32 sums of a few dozen products, in the order that a number of rows gives
		if math.Abs(float64(p-cutLogprobs[i])) > 1e-5 {
			t.Errorf("log-probability %d is %g, whole %g", i, cutLogprobs[i], p)
		}
	}
	for i := range grads {
		scale := 0.0
		for _, g := range grads[i] {
			scale = max(scale, math.Abs(float64(g)))
		}
		for j, g := range grads[i] {
			if d := math.Abs(float64(g - cut[i][j])); d > 1e-5*scale {
				t.Fatalf("gradient %d[%d] is %g, whole %g", i, j, cut[i][j], g)
			}
		}
	}
	largest := m.measureLargest(60, 4, 30, &StepOptions{})
	if largest.saved > whole.saved*6/10 {
		t.Errorf("pieces of at most 32 of 60 tokens save %d bytes of activations, the whole batch %d", largest.saved, whole.saved)
	}
	in, err := m.check(in, true)
	if err != nil {
		t.Fatal(err)
	}
	pieces, _ := m.pieces(in)
	for _, p := range pieces {
		if need := m.measureStep(p, &StepOptions{}); need.max(largest) != largest {
			t.Errorf("a piece needs %+v, reserved for the largest is %+v", need, largest)
		}
	}
}
