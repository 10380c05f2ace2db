package trainer

import (
	"fmt"

	"lathe/compute"
	"lathe/model"
)

// optimizer is AdamW's state: two float32 moments for each trained tensor, all in one reservation.
type optimizer struct {
	dev     compute.Device
	params  []*model.Param
	state   compute.Buffer // [2·Σn]: the first moments of all tensors, then the second
	tensors []compute.AdamWTensor
	grads   []compute.Buffer
}

// momentAlign keeps each moment on a cache line of its own.
const momentAlign = 16

func momentLen(n int) int { return (n + momentAlign - 1) / momentAlign * momentAlign }

// optimizerBytes is what newOptimizer reserves.
func optimizerBytes(params []*model.Param) int64 {
	var n int64
	for _, p := range params {
		n += 2 * int64(momentLen(p.Value.Len()))
	}
	return n * int64(compute.F32.Size())
}

func newOptimizer(dev compute.Device, params []*model.Param, weightDecay float64) (*optimizer, error) {
	state, err := dev.Alloc(compute.F32, int(optimizerBytes(params))/compute.F32.Size())
	if err != nil {
		return nil, fmt.Errorf("reserve optimiser state: %w", err)
	}
	o := &optimizer{dev: dev, params: params, state: state}
	off := 0
	next := func(n int) compute.Buffer {
		b := state.Slice(off, n)
		off += momentLen(n)
		return b
	}
	for _, p := range params {
		t := compute.AdamWTensor{Param: p.Value, Grad: p.Grad, M: next(p.Value.Len()), V: next(p.Value.Len())}
		if p.Decay {
			t.WeightDecay = weightDecay
		}
		o.tensors = append(o.tensors, t)
		o.grads = append(o.grads, p.Grad)
	}
	return o, nil
}

// zeroGrads starts a step.
func (o *optimizer) zeroGrads() {
	for _, g := range o.grads {
		o.dev.Zero(g)
	}
}

// clip is what torch.nn.utils.clip_grad_norm_ multiplies gradients of this global norm by; limit 0 does not clip.
func clip(norm, limit float64) float32 {
	if limit <= 0 {
		return 1
	}
	return float32(min(1, limit/(norm+1e-6)))
}

// step changes the parameters; step counts from 0, scale multiplies the gradients.
func (o *optimizer) step(c Config, step int, rate float64, scale float32) {
	o.dev.AdamW(compute.AdamW{
		Tensors: o.tensors,
		LR:      rate,
		Beta1:   c.AdamBeta1,
		Beta2:   c.AdamBeta2,
		Eps:     c.AdamEpsilon,
		Step:    step + 1, GradScale: scale,
	})
}

func (o *optimizer) free() { o.state.Free() }

// values are the trained tensors.
func (o *optimizer) values() []compute.Buffer {
	values := make([]compute.Buffer, len(o.params))
	for i, p := range o.params {
		values[i] = p.Value
	}
	return values
}
