package model

import "fmt"

// kind says what a tensor of the base is, and so how it is held.
type kind uint8

const (
	embedding kind = iota
	norm
	matrix // a linear layer: quantised where that is asked for
	bias
	head // lm_head, never quantised
)

// tensorSpec is one tensor that a configuration demands.
type tensorSpec struct {
	name   string
	shape  []int
	kind   kind
	layer  int    // -1 outside of the blocks
	module module // of a matrix or its bias
	post   bool   // of a norm: the one before the MLP
}

func (t tensorSpec) elements() int64 {
	n := int64(1)
	for _, d := range t.shape {
		n *= int64(d)
	}
	return n
}

// moduleShape is [Out,In] of a linear layer, and whether it has a bias.
func (c *Config) moduleShape(m module) (out, in int, bias bool) {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	switch m {
	case qProj:
		return q, c.Hidden, c.AttentionBias
	case kProj, vProj:
		return kv, c.Hidden, c.AttentionBias
	case oProj:
		return c.Hidden, q, c.OutputBias
	case gateProj, upProj:
		return c.Intermediate, c.Hidden, c.MLPBias
	default:
		return c.Hidden, c.Intermediate, c.MLPBias
	}
}

// layout lists all tensors of the model in the order in which they are read, trained and written.
func (c *Config) layout() []tensorSpec {
	n := familyNamed(c.Family).names
	out := []tensorSpec{{name: n.embed + ".weight", shape: []int{c.Vocab, c.Hidden}, kind: embedding, layer: -1}}
	for l := range c.Layers {
		prefix := fmt.Sprintf(n.layer, l)
		out = append(out,
			tensorSpec{name: prefix + n.inputNorm + ".weight", shape: []int{c.Hidden}, kind: norm, layer: l},
			tensorSpec{name: prefix + n.postNorm + ".weight", shape: []int{c.Hidden}, kind: norm, layer: l, post: true})
		for m := range numModules {
			rows, cols, biased := c.moduleShape(m)
			out = append(out, tensorSpec{name: prefix + n.modules[m] + ".weight", shape: []int{rows, cols}, kind: matrix, layer: l, module: m})
			if biased {
				out = append(out, tensorSpec{name: prefix + n.modules[m] + ".bias", shape: []int{rows}, kind: bias, layer: l, module: m})
			}
		}
	}
	out = append(out, tensorSpec{name: n.finalNorm + ".weight", shape: []int{c.Hidden}, kind: norm, layer: -1})
	if !c.TieHead {
		out = append(out, tensorSpec{name: n.head + ".weight", shape: []int{c.Vocab, c.Hidden}, kind: head, layer: -1})
	}
	return out
}
