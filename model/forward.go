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
	ids       compute.Buffer // I32 [n]
	positions compute.Buffer // I32 [n]
	attention compute.AttentionShape
	cache     *cache // nil where there is no KV cache
	// checkpoint recomputes blocks in the backward pass.
	checkpoint bool
}

// hidden is the normalised output of the last block [n,C]: the formula of the decoder.
func (p *pass) hidden() *tape.Tensor {
	t, record, first := p.tape, p.tape.Record, p.firstTrained()
	t.Record = record && first == 0
	x := t.Embedding(p.embed, p.ids, p.n, p.cfg.Hidden)
	for i := range p.layers {
		if record && !t.Record && i == first { // blocks before the first trained one need no backward pass
			t.Record = true
			x = t.Keep(x)
		}
		if p.checkpoint {
			x = t.Checkpoint(x, true, func(x *tape.Tensor) *tape.Tensor { return p.block(x, i) })
		} else {
			x = p.block(x, i)
		}
	}
	return t.RMSNorm(x, p.finalNorm, p.n, p.cfg.Hidden, false)
}

// block is x + attention(norm(x)), then x + mlp(norm(x)).
func (p *pass) block(x *tape.Tensor, i int) *tape.Tensor {
	p.tape.Scope(func() { x = p.selfAttention(x, i) })
	p.tape.Scope(func() { x = p.mlp(x, &p.layers[i]) })
	return x
}

// selfAttention is x + W_o·attention(rope(W_q·h), rope(W_k·h), W_v·h), h = norm(x).
func (p *pass) selfAttention(x *tape.Tensor, i int) *tape.Tensor {
	t, l := p.tape, &p.layers[i]
	h := p.norm(x, l.inputNorm, l.trains(qProj, kProj, vProj))
	q := t.Linear(h, l.linear[qProj], p.n)
	k, v := p.keyValue(h, i)
	p.rotate(q, p.cfg.Heads)
	p.rotate(k, p.cfg.KVHeads)
	if p.cache != nil {
		k, v = p.cache.store(t, i, k, v)
	}
	a := t.Attention(q, k, v, p.attention)
	return t.AddLinear(x, a, l.linear[oProj], p.n)
}

// mlp is x + W_down·(act(W_gate·h) · W_up·h), h = norm(x).
func (p *pass) mlp(x *tape.Tensor, l *layer) *tape.Tensor {
	t := p.tape
	h := p.norm(x, l.postNorm, l.trains(gateProj, upProj))
	gate := t.Linear(h, l.linear[gateProj], p.n)
	up := t.Linear(h, l.linear[upProj], p.n)
	act := t.Gated(gate, up, p.cfg.Act, l.trains(downProj))
	return t.AddLinear(x, act, l.linear[downProj], p.n)
}

func (p *pass) norm(x *tape.Tensor, w *tape.Norm, keep bool) *tape.Tensor {
	return p.tape.RMSNorm(x, w, p.n, p.cfg.Hidden, keep)
}

func (p *pass) rotate(x *tape.Tensor, heads int) {
	p.tape.RoPE(x, compute.RoPE{
		Cos: p.rope.cos, Sin: p.rope.sin, Positions: p.positions,
		N: p.n, H: heads, D: p.cfg.HeadDim, Rotary: p.cfg.HeadDim,
	})
}

// keyValue is W_k·h and W_v·h, straight into the cache where its rows lie together.
func (p *pass) keyValue(h *tape.Tensor, i int) (k, v *tape.Tensor) {
	l := &p.layers[i]
	if p.cache != nil {
		if k, v = p.cache.rowsOf(i); k != nil {
			p.tape.LinearInto(k, h, l.linear[kProj], p.n)
			return k, p.tape.LinearInto(v, h, l.linear[vProj], p.n)
		}
	}
	return p.tape.Linear(h, l.linear[kProj], p.n), p.tape.Linear(h, l.linear[vProj], p.n)
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
