package trainer

import (
	"fmt"
	"regexp"
	"slices"

	"lathe/compute"
	"lathe/model"
)

// optimizer is AdamW's state over the trained tensors, all in one reservation: two float32 moments for each or, with optim
// adamw_8bit, two moments of 8-bit codes with a scale for every 256 of them (Dettmers et al. 2022). As in bitsandbytes and
// transformers, small tensors and embeddings keep float32 moments then.
type optimizer struct {
	dev              compute.Device
	params           []*model.Param
	grads            []compute.Buffer
	state            compute.Buffer // F32, the reservation that all else lies in
	exact            []compute.AdamWTensor
	coarse           []compute.AdamW8Tensor
	signed, unsigned compute.Buffer // F32 [256], the maps of 8-bit moments; nil without any
	moments          []moment
}

// moment is a buffer of the state that a checkpoint holds.
type moment struct {
	name   string
	buffer compute.Buffer // F32, or U8 codes
}

// Names of moments: torch's state_dict has the first two, bitsandbytes' the others.
const (
	firstMoment  = ".exp_avg"
	secondMoment = ".exp_avg_sq"
	firstCodes   = ".state1"
	secondCodes  = ".state2"
	firstScales  = ".absmax1"
	secondScales = ".absmax2"
)

// coarseFrom is the number of elements from which on a tensor's moments are 8-bit codes: bitsandbytes' min_8bit_size.
const coarseFrom = 4096

// tableName finds the weights of nn.Embedding, for which transformers asks bitsandbytes to keep 32 bits.
var tableName = regexp.MustCompile(`(^|\.)(embed_tokens|embed_in|word_embeddings|wte|embedding|prompt_embeddings)(\.weight)?$`)

// isCoarse says whether a tensor's moments are 8-bit codes.
func isCoarse(c Config, p *model.Param) bool {
	return c.eightBit() && p.Value.Len() >= coarseFrom && !tableName.MatchString(p.Name)
}

// eightBit reports whether the optimiser keeps 8-bit moments, in any of transformers' spellings.
func (c Config) eightBit() bool {
	return slices.Contains([]string{"adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"}, c.Optim)
}

// newOptimizer reserves the state of an optimiser that has not stepped yet.
func newOptimizer(dev compute.Device, params []*model.Param, c Config) (*optimizer, error) {
	var plan optimizer
	size := carver{}
	plan.carve(params, c, &size)
	state, err := dev.Alloc(compute.F32, size.used)
	if err != nil {
		return nil, fmt.Errorf("reserve optimiser state: %w", err)
	}
	o := &optimizer{dev: dev, params: params, state: state}
	o.carve(params, c, &carver{state: state})
	for _, p := range params {
		o.grads = append(o.grads, p.Grad)
	}
	if o.signed != nil {
		signed, unsigned := compute.DynamicMap(), compute.DynamicMapUnsigned()
		compute.Upload(dev, o.signed, signed[:])
		compute.Upload(dev, o.unsigned, unsigned[:])
	}
	return o, o.reserve()
}

// reserve has the device hold what a step over the tensors needs beside its buffers, their norm and the search for what is no number
// included: on the dry device of a plan as on that of the run.
func (o *optimizer) reserve() error {
	rule := o.dev.Info().Workspace
	if rule == nil {
		return nil
	}
	w := rule.Workspace(compute.AdamW{Tensors: make([]compute.AdamWTensor, len(o.params))})
	w = w.Max(rule.Workspace(compute.AdamW8{Tensors: o.coarse}))
	if err := o.dev.Reserve(w); err != nil {
		return fmt.Errorf("reserve the optimiser's workspace: %w", err)
	}
	return nil
}

// carve gives every tensor its moments.
func (o *optimizer) carve(params []*model.Param, c Config, from *carver) {
	hold := func(name string, t compute.DType, n int) compute.Buffer {
		b := from.take(t, n)
		o.moments = append(o.moments, moment{name, b})
		return b
	}
	for _, p := range params {
		n, decay := p.Value.Len(), 0.0
		if p.Decay {
			decay = c.WeightDecay
		}
		if !isCoarse(c, p) {
			o.exact = append(o.exact, compute.AdamWTensor{
				Param: p.Value, Grad: p.Grad, WeightDecay: decay,
				M: hold(p.Name+firstMoment, compute.F32, n), V: hold(p.Name+secondMoment, compute.F32, n),
			})
			continue
		}
		blocks := (n + compute.AdamW8Block - 1) / compute.AdamW8Block
		o.coarse = append(o.coarse, compute.AdamW8Tensor{
			Param: p.Value, Grad: p.Grad, WeightDecay: decay,
			M: hold(p.Name+firstCodes, compute.U8, n), V: hold(p.Name+secondCodes, compute.U8, n),
			MAbsmax: hold(p.Name+firstScales, compute.F32, blocks), VAbsmax: hold(p.Name+secondScales, compute.F32, blocks),
		})
	}
	if len(o.coarse) > 0 {
		o.signed, o.unsigned = from.take(compute.F32, 256), from.take(compute.F32, 256)
	}
}

// carver hands out parts of a reservation, or only counts them where there is none yet.
type carver struct {
	state compute.Buffer // F32, or nil
	used  int            // elements of it
}

// carveAlign keeps each part on a cache line of its own.
const carveAlign = 16

func (c *carver) take(t compute.DType, n int) compute.Buffer {
	size := compute.F32.Size()
	floats := (n*t.Size() + size - 1) / size
	at := c.used
	c.used += (floats + carveAlign - 1) / carveAlign * carveAlign
	if c.state == nil {
		return nil
	}
	return c.state.Slice(at, floats).As(t).Slice(0, n)
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

// step changes the parameters; updates counts the steps that have changed them before, scale multiplies the gradients.
func (o *optimizer) step(c Config, updates int, rate float64, scale float32) {
	if len(o.exact) > 0 {
		o.dev.AdamW(compute.AdamW{
			Tensors: o.exact, LR: rate, Beta1: c.AdamBeta1, Beta2: c.AdamBeta2, Eps: c.AdamEpsilon,
			Step: updates + 1, GradScale: scale,
		})
	}
	if len(o.coarse) > 0 {
		o.dev.AdamW8(compute.AdamW8{
			Tensors: o.coarse, Signed: o.signed, Unsigned: o.unsigned,
			LR: rate, Beta1: c.AdamBeta1, Beta2: c.AdamBeta2, Eps: c.AdamEpsilon,
			Step: updates + 1, GradScale: scale,
		})
	}
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
