package model

import (
	"errors"
	"fmt"
	"math"

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
}

// dropout packs the names of a step's masks into a Philox stream: 24 bits of step, 20 of micro-batch; a layer adds 20 bits
// of its own.
func (o StepOptions) dropout() *tape.Dropout {
	return &tape.Dropout{Seed: o.DropoutSeed, Stream: uint64(o.Step)<<40 | uint64(o.Micro&(1<<20-1))<<20}
}

func dropoutStream(layer int, m module) uint64 { return uint64(layer)<<8 | uint64(m) }

// ForwardBackward adds GradScale · ∂(Σ -ln p)/∂θ to the gradients of the trainable tensors, and returns ln p of each label
// [N], 0 where it is ignored.
func (m *Model) ForwardBackward(in Input, o StepOptions) (logprobs []float32, err error) {
	if len(m.Trainable()) == 0 {
		return nil, fmt.Errorf("train: %w", m.nothingTrained())
	}
	if m.cfg.AttnDropout != 0 {
		return nil, fmt.Errorf("train: config.json: attention_dropout %v is not supported; set it to 0", m.cfg.AttnDropout)
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

// step runs a batch forward and, with options, backward.
func (m *Model) step(in Input, o *StepOptions) ([]float32, error) {
	in, err := in.check(&m.cfg, true)
	if err != nil {
		return nil, err
	}
	if err := m.prepare(in, o); err != nil {
		return nil, err
	}
	w := &m.work
	loss := m.lossPass(m.dev, w.saved, w.scratch, in, o)
	out := make([]float32, len(in.Tokens))
	m.dev.Download(compute.Bytes(out), loss)
	w.saved.Release(0)
	w.scratch.Release(0)
	return out, errors.Join(m.dev.Sync(), w.err())
}

// lossPass is the step itself, on the model's device or on a dry one.
func (m *Model) lossPass(dev compute.Device, saved, scratch *compute.Arena, in Input, o *StepOptions) compute.Buffer {
	p := m.newPass(dev, saved, scratch, in)
	t := p.tape
	gradScale := float32(0)
	if o != nil {
		t.Record, t.Dropout, p.checkpoint, gradScale = true, o.dropout(), o.Checkpoint, o.GradScale
	}
	labels := p.upload(in.Labels)
	loss := t.CrossEntropy(p.hidden(), p.head, labels, p.n, gradScale)
	t.Backward()
	return loss
}

// newPass puts a batch on the device.
func (m *Model) newPass(dev compute.Device, saved, scratch *compute.Arena, in Input) *pass {
	c := &m.cfg
	p := &pass{Model: m, n: len(in.Tokens), tape: &tape.Tape{Device: dev, Saved: saved, Scratch: scratch, Compute: m.options.Compute}}
	p.ids, p.positions = p.upload(in.Tokens), p.upload(in.Positions)
	p.attention = compute.AttentionShape{
		Spans: in.spans(), NQ: p.n, NK: p.n, H: c.Heads, KV: c.KVHeads, D: c.HeadDim,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim))), Window: c.Window,
	}
	return p
}

func (p *pass) upload(values []int32) compute.Buffer {
	b := p.tape.Saved.Alloc(compute.I32, len(values))
	compute.Upload(p.tape.Device, b, values)
	return b
}

// Logits is the scores before the softmax [N,V]. Meant for short inputs: tests and inspection.
func (m *Model) Logits(in Input) ([]float32, error) {
	in, err := in.check(&m.cfg, false)
	if err == nil {
		in.Labels = nil
		err = m.prepare(in, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("compute logits: %w", err)
	}
	w := &m.work
	p := m.newPass(m.dev, w.saved, w.scratch, in)
	h := p.hidden()
	logits, err := m.dev.Alloc(compute.F32, p.n*m.cfg.Vocab)
	if err != nil {
		return nil, fmt.Errorf("compute logits: %w", err)
	}
	defer logits.Free()
	p.tape.LinearInto(&tape.Tensor{Value: logits}, h, m.head, p.n)
	out := compute.Download[float32](m.dev, logits)
	w.saved.Release(0)
	w.scratch.Release(0)
	return out, errors.Join(m.dev.Sync(), w.err())
}
