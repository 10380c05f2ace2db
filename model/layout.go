package model

import "fmt"

// kind says what a tensor of the base is, and so how it is held.
type kind uint8

const (
	embedding kind = iota
	norm
	matrix // a linear layer: quantised where that is asked for
	bias
	head     // lm_head, never quantised
	normBias // of a LayerNorm
)

// vector says whether a tensor is a norm's or a bias: held as float32, and not decayed.
func (k kind) vector() bool { return k == norm || k == bias || k == normBias }

// tensorSpec is one tensor that a configuration demands.
type tensorSpec struct {
	name   string
	shape  []int
	kind   kind
	layer  int    // -1 outside of the blocks
	module module // of a matrix or its bias
	place  place  // of a norm or its bias
}

func (t tensorSpec) elements() int64 {
	n := int64(1)
	for _, d := range t.shape {
		n *= int64(d)
	}
	return n
}

// modules are the linear layers of a block, in the order of their tensors.
func (c *Config) modules() []module {
	list := []module{qProj, kProj, vProj, oProj}
	if c.QKVGroups > 0 {
		list = []module{qkvProj, oProj}
	}
	switch c.MLP {
	case Gated:
		list = append(list, gateProj, upProj)
	case FusedGated:
		list = append(list, gateUpProj)
	case Plain:
		list = append(list, upProj)
	}
	return append(list, downProj)
}

// norms are those of a block.
func (c *Config) norms() []place {
	list := []place{inputNorm}
	if !c.SharedNorm {
		list = append(list, mlpNorm)
	}
	if c.Sandwich {
		list = append(list, postAttentionNorm, postMLPNorm)
	}
	if c.QKNorm {
		list = append(list, qNorm, kNorm)
	}
	return list
}

// moduleShape is [Out,In] of a linear layer, and whether it has a bias.
func (c *Config) moduleShape(m module) (out, in int, bias bool) {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	switch m {
	case qProj:
		return q, c.Hidden, c.AttentionBias
	case kProj, vProj:
		return kv, c.Hidden, c.AttentionBias
	case qkvProj:
		return q + 2*kv, c.Hidden, c.AttentionBias
	case oProj:
		return c.Hidden, q, c.OutputBias
	case gateProj, upProj:
		return c.Intermediate, c.Hidden, c.MLPBias
	case gateUpProj:
		return 2 * c.Intermediate, c.Hidden, c.MLPBias
	default:
		return c.Hidden, c.Intermediate, c.MLPBias
	}
}

// modulePath is a linear layer's name, without .weight.
func (c *Config) modulePath(layer int, m module) string {
	n := &familyNamed(c.Family).names
	return fmt.Sprintf(n.layer, layer) + n.modules[m]
}

// layout lists all tensors of the model in the order in which they are read, trained and written.
func (c *Config) layout() []tensorSpec {
	n := &familyNamed(c.Family).names
	out := []tensorSpec{{name: n.embed + ".weight", shape: []int{c.Vocab, c.Hidden}, kind: embedding, layer: -1}}
	for l := range c.Layers {
		for _, at := range c.norms() {
			size := c.Hidden
			if at == qNorm || at == kNorm {
				size = c.HeadDim
			}
			out = c.appendNorm(out, fmt.Sprintf(n.layer, l)+n.norm(c, at), size, l, at)
		}
		for _, m := range c.modules() {
			path := c.modulePath(l, m)
			rows, cols, biased := c.moduleShape(m)
			out = append(out, tensorSpec{name: path + ".weight", shape: []int{rows, cols}, kind: matrix, layer: l, module: m})
			if biased {
				out = append(out, tensorSpec{name: path + ".bias", shape: []int{rows}, kind: bias, layer: l, module: m})
			}
		}
	}
	out = c.appendNorm(out, n.finalNorm, c.Hidden, -1, inputNorm)
	if !c.TieHead {
		out = append(out, tensorSpec{name: n.head + ".weight", shape: []int{c.Vocab, c.Hidden}, kind: head, layer: -1})
	}
	return out
}

func (c *Config) appendNorm(out []tensorSpec, path string, size, layer int, at place) []tensorSpec {
	out = append(out, tensorSpec{name: path + ".weight", shape: []int{size}, kind: norm, layer: layer, place: at})
	if c.LayerNorm {
		out = append(out, tensorSpec{name: path + ".bias", shape: []int{size}, kind: normBias, layer: layer, place: at})
	}
	return out
}

// norm is the name of a norm of a block.
func (n *names) norm(c *Config, at place) string {
	if two := n.parallelNorms[at]; c.Parallel && !c.SharedNorm && two != "" {
		return two
	}
	return n.norms[at]
}
