package model

import (
	"errors"
	"fmt"

	"lathe/compute"
	"lathe/model/tape"
)

// StepOptions is what a training step needs beside its batch.
type StepOptions struct {
	// GradScale multiplies the gradient of the summed loss: 1/(trained tokens of the whole optimiser step).
	GradScale float32
	// DropoutSeed, Step and Micro (micro-batch within the step) name the dropout masks: the same numbers, the same masks.
	DropoutSeed uint64
	Step, Micro int
	// Checkpoint recomputes each block in the backward pass instead of keeping its activations; the bits are the same.
	Checkpoint bool

	piece int  // of the micro-batch
	whole bool // no rows are left out of the last block
}

// dropout packs the names of a step's masks into a Philox stream: 24 bits of step, 20 of micro-batch; a layer adds 20 bits
// of its own. A piece of a micro-batch has a key of its own.
func (o StepOptions) dropout() *tape.Dropout {
	return &tape.Dropout{Seed: o.DropoutSeed + uint64(o.piece)<<48, Stream: uint64(o.Step)<<40 | uint64(o.Micro&(1<<20-1))<<20}
}

func dropoutStream(layer int, m module) uint64 { return uint64(layer)<<8 | uint64(m) }

// ForwardBackward adds GradScale · ∂(Σ -ln p)/∂θ to the gradients of the trainable tensors, and returns ln p of each label
// [N], 0 where it is ignored.
func (m *Model) ForwardBackward(in Input, o StepOptions) (logprobs []float32, err error) {
	if len(m.Trainable()) == 0 {
		return nil, fmt.Errorf("train: %w", m.nothingTrained())
	}
	if d := m.cfg.baseDropout(); d != "" {
		return nil, fmt.Errorf("train: config.json: %s is not supported; set it to 0", d)
	}
	logprobs, err = m.step(in, &o)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return logprobs, nil
}

func (m *Model) nothingTrained() error {
	if m.failed != nil {
		return m.failed
	}
	return errors.New("nothing is trainable: give the model an adapter (With), or call TrainAll")
}

// LogProbs is ln p of each label [N], 0 where it is ignored, without dropout.
func (m *Model) LogProbs(in Input) ([]float32, error) {
	logprobs, err := m.step(in, nil)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	return logprobs, nil
}

// step runs a batch forward and, with options, backward, in pieces where the device has nothing from larger ones.
func (m *Model) step(in Input, o *StepOptions) ([]float32, error) {
	in, err := m.check(in, true)
	if err != nil {
		return nil, err
	}
	out := make([]float32, 0, len(in.Tokens))
	err = m.inPieces(in, o, func(piece Input, _ int, o *StepOptions) (over bool) {
		logprobs := m.lossPass(m.dev, m.work.saved, m.work.scratch, piece, o)
		out = out[:len(out)+len(piece.Tokens)]
		m.dev.Download(compute.Bytes(out[len(out)-len(piece.Tokens):]), logprobs)
		return false
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// inPieces runs a pass over each piece of a batch in prepared memory, until one says that it is over; first is the piece's first sequence
// in the batch.
func (m *Model) inPieces(in Input, o *StepOptions, run func(piece Input, first int, o *StepOptions) (over bool)) error {
	pieces, firsts := m.pieces(in)
	for i, piece := range pieces {
		if err := m.prepare(piece, o); err != nil {
			return err
		}
		over := run(piece, firsts[i], o.ofPiece(i))
		m.work.saved.Release(0)
		m.work.scratch.Release(0)
		if err := errors.Join(m.dev.Sync(), m.work.err()); err != nil || over {
			return err
		}
	}
	return nil
}

// pieces are a batch as the device wants it. Gradients add up and no operation of a step looks beyond a sequence, so that a cut
// changes no more than the order of sums.
func (m *Model) pieces(in Input) (pieces []Input, firsts []int) {
	return in.pieces(compute.PieceTokens(m.rule))
}

// ofPiece are the options of a piece of the batch; nil stays nil.
func (o *StepOptions) ofPiece(i int) *StepOptions {
	if o == nil {
		return nil
	}
	own := *o
	own.piece = i
	return &own
}

// lossPass is the step of a piece itself, on the model's device or on a dry one.
func (m *Model) lossPass(dev compute.Device, saved, scratch *compute.Arena, in Input, o *StepOptions) compute.Buffer {
	m.refresh(dev, scratch)
	p := m.newPass(dev, saved, scratch, in)
	t := p.tape
	gradScale := float32(0)
	if o != nil {
		t.Record, t.Dropout, p.checkpoint, gradScale = true, o.dropout(), o.Checkpoint, o.GradScale
	}
	p.skipRows(in.Labels, o != nil && o.whole)
	labels := p.upload(in.Labels)
	loss := t.CrossEntropy(p.hidden(), p.head, labels, p.n, m.cfg.FinalSoftcap, gradScale)
	t.Backward()
	return loss
}

// newPass puts a batch on the device.
func (m *Model) newPass(dev compute.Device, saved, scratch *compute.Arena, in Input) *pass {
	c := &m.cfg
	p := &pass{Model: m, n: len(in.Tokens), tape: &tape.Tape{
		Device: dev, Saved: saved, Scratch: scratch, Compute: m.options.Compute, Recompute: compute.PieceTokens(m.rule) > 0,
	}}
	p.ids = p.upload(in.Tokens)
	p.attention = compute.AttentionShape{
		Spans: in.spans(), NQ: p.n, NK: p.n, H: c.Heads, KV: c.KVHeads, D: c.HeadDim,
		Scale: c.attentionScale(), Softcap: c.AttnSoftcap, Alibi: m.alibi, Compute: m.options.Compute,
	}
	p.attention = afterPrefix(p.attention, m.virtualTokens())
	p.rotations = p.makeRotations(in)
	return p
}

// makeRotations are the model's tables with each token's position or, where angles depend on the length of a sequence, tables
// of the batch itself: a row for each token.
func (p *pass) makeRotations(in Input) []rotation {
	var out []rotation
	var positions, rows compute.Buffer
	for i, r := range p.cfg.ropes() {
		if !r.byLength() {
			if positions == nil {
				positions = p.upload(in.Positions)
			}
			out = append(out, rotation{p.rope[i].cos, p.rope[i].sin, positions})
			continue
		}
		if rows == nil {
			numbers := make([]int32, p.n)
			for n := range numbers {
				numbers[n] = int32(n)
			}
			rows = p.upload(numbers)
		}
		cos, sin := r.batchTables(&p.cfg, in.Positions, in.sequenceLengths())
		out = append(out, rotation{p.uploadFloats(cos), p.uploadFloats(sin), rows})
	}
	return out
}

func (p *pass) uploadFloats(values []float32) compute.Buffer {
	b := p.tape.Saved.Alloc(compute.F32, len(values))
	compute.Upload(p.tape.Device, b, values)
	return b
}

func (p *pass) upload(values []int32) compute.Buffer {
	b := p.tape.Saved.Alloc(compute.I32, len(values))
	compute.Upload(p.tape.Device, b, values)
	return b
}

// Logits is the scores before the softmax [N,V]. Meant for short inputs: tests and inspection.
func (m *Model) Logits(in Input) ([]float32, error) {
	in, err := m.check(in, false)
	if err == nil {
		in.Labels = nil
		err = m.prepare(in, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("compute logits: %w", err)
	}
	w := &m.work
	m.refresh(m.dev, w.scratch)
	p := m.newPass(m.dev, w.saved, w.scratch, in)
	h := p.hidden()
	logits, err := m.dev.Alloc(compute.F32, p.n*m.cfg.Vocab)
	if err != nil {
		return nil, fmt.Errorf("compute logits: %w", err)
	}
	defer logits.Free()
	p.scores(&tape.Tensor{Value: logits}, h, p.n)
	out := compute.Download[float32](m.dev, logits)
	w.saved.Release(0)
	w.scratch.Release(0)
	return out, errors.Join(m.dev.Sync(), w.err())
}

// scores are the logits of n rows of h, bounded where the family does that: cap·tanh(s/cap).
func (p *pass) scores(into, h *tape.Tensor, n int) *tape.Tensor {
	p.tape.LinearInto(into, h, p.head, n)
	if limit := p.cfg.FinalSoftcap; limit > 0 {
		y := into.Value
		p.tape.Device.Dropout(compute.Dropout{Y: y, X: y, Scale: 1 / limit}) // of none: a product with a number
		p.tape.Device.Activation(compute.Activation{Y: y, X: y, Act: compute.Tanh})
		p.tape.Device.Dropout(compute.Dropout{Y: y, X: y, Scale: limit})
	}
	return into
}
