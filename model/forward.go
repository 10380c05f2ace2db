package model

import (
	"lathe/compute"
	"lathe/model/tape"
)

// pass is one forward pass over n rows: the model, the tape and what belongs to the batch.
type pass struct {
	*Model
	tape      *tape.Tape
	n         int
	ids       compute.Buffer         // I32 [n]
	rotations []rotation             // by Config.ropeOf
	attention compute.AttentionShape // without what is a block's own (shape)
	cache     *cache                 // nil where there is no KV cache
	loss      *lossRows              // nil where the last block is as the others
	virtual   *tape.Tensor           // keys and values of a prefix' tokens, nil where there is none or the cache has them
	// checkpoint recomputes blocks in the backward pass.
	checkpoint bool
}

// rotation is a rotary embedding of the pass: row positions[i] of the tables turns token i.
type rotation struct{ cos, sin, positions compute.Buffer }

// hidden is the normalised output of the last block [n,C]: the formula of the decoder.
func (p *pass) hidden() *tape.Tensor {
	t, record, first := p.tape, p.tape.Record, p.firstTrained()
	t.Record = record && first == 0
	if p.prefix != nil && p.cache == nil {
		p.virtual = t.Prefix(&p.prefix.encoder)
	}
	x := t.Embedding(p.embed, p.ids, p.n, p.cfg.Hidden)
	for i := range p.layers {
		if record && !t.Record && i == first { // blocks before the first trained one need no backward pass
			t.Record = true
			x = t.Keep(x)
		}
		block := p.block
		if p.loss != nil && i == len(p.layers)-1 {
			block = p.lastBlock
		}
		if p.checkpoint {
			x = t.Checkpoint(x, true, func(x *tape.Tensor) *tape.Tensor { return block(x, i) })
		} else {
			x = block(x, i)
		}
	}
	if record && !t.Record { // only what follows is trained
		t.Record = true
		x = t.Keep(x)
	}
	return t.Norm(x, p.finalNorm, p.n, p.cfg.Hidden, false)
}

// block is x + attention(norm(x)), then x + mlp(norm(x)); or, in parallel, x + attention(norm(x)) + mlp(norm'(x)).
func (p *pass) block(x *tape.Tensor, i int) *tape.Tensor {
	t, l := p.tape, &p.layers[i]
	if !p.cfg.Parallel {
		t.Scope(func() {
			x = p.selfAttention(x, p.norm(x, l.norm[inputNorm], l.trains(qProj, kProj, vProj, qkvProj)), i)
		})
		t.Scope(func() { x = p.mlp(x, p.norm(x, l.norm[mlpNorm], l.trains(gateProj, upProj, gateUpProj)), i) })
		return x
	}
	t.Scope(func() {
		h := p.norm(x, l.norm[inputNorm], l.trains(qProj, kProj, vProj, qkvProj, gateProj, upProj, gateUpProj))
		g := h
		if !p.cfg.SharedNorm {
			g = p.norm(x, l.norm[mlpNorm], l.trains(gateProj, upProj, gateUpProj))
		}
		x = p.mlp(p.selfAttention(x, h, i), g, i)
	})
	return x
}

// selfAttention is x + W_o·attention(rope(W_q·h), rope(W_k·h), W_v·h).
func (p *pass) selfAttention(x, h *tape.Tensor, i int) *tape.Tensor {
	q, k, v := p.rotated(h, i)
	a := p.tape.Attention(q, k, v, p.shape(i))
	return p.add(x, a, i, oProj, postAttentionNorm)
}

// rotated is rope(W_q·h), and rope(W_k·h) and W_v·h with what a cache or a prefix has before them.
func (p *pass) rotated(h *tape.Tensor, i int) (q, k, v *tape.Tensor) {
	q, k, v = p.queryKeyValue(h, i)
	p.rotate(q, p.cfg.Heads, i)
	p.rotate(k, p.cfg.KVHeads, i)
	if p.cache != nil {
		k, v = p.cache.store(p.tape, i, k, v)
	}
	if p.virtual != nil {
		k, v = p.prefixed(k, v, i)
	}
	return q, k, v
}

// mlp is x + W_down·(act(W_gate·h) · W_up·h), or x + W_down·act(W_up·h) where there is no gate.
func (p *pass) mlp(x, h *tape.Tensor, i int) *tape.Tensor {
	t, l, c := p.tape, &p.layers[i], p.cfg
	var a *tape.Tensor
	switch keep := l.trains(downProj); c.MLP {
	case Gated:
		gate := t.Linear(h, l.linear[gateProj], p.n)
		a = t.Gated(gate, t.Linear(h, l.linear[upProj], p.n), c.Act, keep)
	case FusedGated:
		gate, up := t.New(p.n*c.Intermediate, true), t.New(p.n*c.Intermediate, true)
		t.Split(p.fused(h, l.linear[gateUpProj]), p.n, 1, gate, up)
		a = t.Gated(gate, up, c.Act, keep)
	case Plain:
		a = t.Activation(t.Linear(h, l.linear[upProj], p.n), c.Act, keep)
	}
	return p.add(x, a, i, downProj, postMLPNorm)
}

// add is x + norm(W·h), the end of a branch, where an adapter may be behind W.
func (p *pass) add(x, h *tape.Tensor, i int, m module, after place) *tape.Tensor {
	t, l, b := p.tape, &p.layers[i], p.bottleneckOf(i, m)
	if l.norm[after] == nil && b == nil {
		return t.AddLinear(x, h, l.linear[m], p.n)
	}
	h = t.Linear(h, l.linear[m], p.n)
	if b != nil {
		h = p.adapted(b, x, h, m, after)
	}
	if l.norm[after] != nil {
		h = p.norm(h, l.norm[after], false)
	}
	return t.Add(x, h)
}

// queryKeyValue is W_q·h, W_k·h and W_v·h, each head of the first two normalised where the family does that; keys and values
// go straight into the cache where its rows lie together.
func (p *pass) queryKeyValue(h *tape.Tensor, i int) (q, k, v *tape.Tensor) {
	t, l, c := p.tape, &p.layers[i], p.cfg
	groups, kv := c.QKVGroups, c.KVHeads*c.HeadDim
	k, v = p.cache.rowsOf(i)
	if k == nil {
		k, v = t.New(p.n*kv, true), t.New(p.n*kv, true)
	}
	into := k
	if c.QKNorm { // which reads the keys as they were
		into = t.New(p.n*kv, true)
	}
	if groups > 0 {
		q = t.New(p.n*c.Heads*c.HeadDim, true)
		t.Split(p.fused(h, l.linear[qkvProj]), p.n, groups, q, into, v)
	} else {
		q = t.Linear(h, l.linear[qProj], p.n)
		t.LinearInto(into, h, l.linear[kProj], p.n)
		t.LinearInto(v, h, l.linear[vProj], p.n)
	}
	if c.QKNorm {
		q = t.NormInto(t.New(q.Value.Len(), true), q, l.norm[qNorm], p.n*c.Heads, c.HeadDim)
		t.NormInto(k, into, l.norm[kNorm], p.n*c.KVHeads, c.HeadDim)
	}
	return q, k, v
}

// fused is a product that is taken apart at once, and not needed afterwards.
func (p *pass) fused(h *tape.Tensor, l *tape.Linear) *tape.Tensor {
	return p.tape.LinearInto(p.tape.New(p.n*l.W.Out, false), h, l, p.n)
}

func (p *pass) norm(x *tape.Tensor, w *tape.Norm, keep bool) *tape.Tensor {
	return p.tape.Norm(x, w, p.n, p.cfg.Hidden, keep)
}

// rotate turns the heads of x by their positions; models with alibi have none.
func (p *pass) rotate(x *tape.Tensor, heads, i int) {
	if p.cfg.Alibi {
		return
	}
	at := p.cfg.ropeOf(i)
	r := p.rotations[at]
	p.tape.RoPE(x, compute.RoPE{
		Cos: r.cos, Sin: r.sin, Positions: r.positions,
		N: p.n, H: heads, D: p.cfg.HeadDim, Rotary: p.cfg.ropes()[at].rotary(&p.cfg),
	})
}

// shape is the attention of a block.
func (p *pass) shape(i int) compute.AttentionShape {
	s := p.attention
	s.Window = p.cfg.window(i)
	return s
}

// trains says whether one of these linear layers has trainable tensors.
func (l *layer) trains(modules ...module) bool {
	for _, m := range modules {
		if l.linear[m].Trains() {
			return true
		}
	}
	return false
}
