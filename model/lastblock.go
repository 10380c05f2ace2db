package model

import (
	"lathe/compute"
	"lathe/model/tape"
)

// lossRows is a pass over the rows that a loss depends on beyond their keys and values: in each sequence those from its first trained
// token on.
type lossRows struct {
	pass
	ids compute.Buffer // I32 [n], where they are among all rows
}

// skipRows has the last block leave out rows that no loss depends on, where they are a third or more: then it takes no more memory
// than the whole block. An option has them all. Devices that gain from rows of one number (kernels and graphs by shapes) compute them all.
func (p *pass) skipRows(labels []int32, all bool) {
	if compute.PieceTokens(p.rule) == 0 || p.cfg.Parallel {
		return
	}
	place := p.tape.Saved.Alloc(compute.I32, p.n) // always: the step that memory is planned by leaves out none
	if all {
		return
	}
	var ids []int32
	var spans []compute.Span
	for _, s := range p.attention.Spans {
		first := s.QStart
		for first < s.QStart+s.QLen && labels[first] < 0 {
			first++
		}
		n, at := s.QStart+s.QLen-first, len(ids)
		for i := range n {
			ids = append(ids, int32(first+i))
		}
		if n > 0 {
			spans = append(spans, compute.Span{QStart: at, QLen: n, KStart: s.KStart, KLen: s.KLen})
		}
	}
	if len(ids) == 0 || 3*len(ids) > 2*p.n {
		return
	}
	p.loss = &lossRows{pass: *p, ids: place.Slice(0, len(ids))}
	compute.Upload(p.tape.Device, p.loss.ids, ids)
	p.loss.n, p.loss.attention.NQ, p.loss.attention.Spans = len(ids), len(ids), spans
}

// lastBlock is block for the rows of p.loss; the others leave it as zeros.
func (p *pass) lastBlock(x *tape.Tensor, i int) (z *tape.Tensor) {
	t, l, some, width := p.tape, &p.layers[i], p.loss, p.cfg.Heads*p.cfg.HeadDim
	t.Scope(func() {
		y := t.Rows(x, some.ids, some.n, p.cfg.Hidden)
		t.Scope(func() {
			q, k, v := p.rotated(p.norm(x, l.norm[inputNorm], l.trains(qProj, kProj, vProj, qkvProj)), i)
			a := t.Attention(t.Rows(q, some.ids, some.n, width), k, v, some.shape(i))
			y = some.add(y, a, i, oProj, postAttentionNorm)
		})
		t.Scope(func() { y = some.mlp(y, some.norm(y, l.norm[mlpNorm], l.trains(gateProj, upProj, gateUpProj)), i) })
		z = t.Spread(y, x, some.ids, some.n, p.cfg.Hidden)
	})
	return z
}
