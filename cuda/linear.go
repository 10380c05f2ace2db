package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// linear is the product of Linear: X [N,In] · Wᵀ, extended by U [N,R] · Vᵀ. Buffers are not looked at, but for types.
func linear(a compute.Linear) *product {
	w := weightShape(a.W)
	p := &product{form: formNT, m: a.N, n: w.rows, k: w.cols, a: f32(0, a.N, w.cols), b: w, alpha: 1, accumulate: a.Accumulate, compute: a.Compute}
	if r := a.LowRank; r != nil {
		p.r, p.ext, p.u, p.v = r.R, r.Scale, f32(0, a.N, r.R), f32(0, w.rows, r.R)
	}
	return p
}

// Linear is compute.Operations' Linear.
func (d *Device) Linear(a compute.Linear) {
	c, p := d.begin("Linear"), linear(a)
	p.c, p.a.p, p.b = c.F32("Y", a.Y, a.N, a.W.Out), c.F32("X", a.X, a.N, a.W.In), c.weight(a.W)
	p.bias = c.Optional("Bias", a.Bias, a.W.Out)
	if r := a.LowRank; r != nil {
		c.Rank(r)
		p.u.p, p.v.p = c.F32("LowRank.U", r.U, a.N, r.R), c.F32("LowRank.V", r.V, a.W.Out, r.R)
	}
	if a.N <= gemvRows && a.Compute <= compute.F16 {
		c.gemv(p)
		return
	}
	c.multiply(p)
}

// linearBackwardInput is the product of LinearBackwardInput: DY [N,Out] · W, extended by U [N,R] · V [R,In].
func linearBackwardInput(a compute.LinearBackwardInput) *product {
	w := weightShape(a.W)
	p := &product{form: formNN, m: a.N, n: w.cols, k: w.rows, a: f32(0, a.N, w.rows), b: w, alpha: 1, accumulate: a.Accumulate, compute: a.Compute}
	if r := a.LowRank; r != nil {
		p.r, p.ext, p.u, p.v = r.R, r.Scale, f32(0, a.N, r.R), f32(0, r.R, w.cols)
	}
	return p
}

// LinearBackwardInput is compute.Operations' LinearBackwardInput.
func (d *Device) LinearBackwardInput(a compute.LinearBackwardInput) {
	c, p := d.begin("LinearBackwardInput"), linearBackwardInput(a)
	p.c, p.a.p, p.b = c.F32("DX", a.DX, a.N, a.W.In), c.F32("DY", a.DY, a.N, a.W.Out), c.weight(a.W)
	if r := a.LowRank; r != nil {
		c.Rank(r)
		p.u.p, p.v.p = c.F32("LowRank.U", r.U, a.N, r.R), c.F32("LowRank.V", r.V, r.R, a.W.In)
	}
	c.multiply(p)
}

// linearBackwardWeight is the product of LinearBackwardWeight: DYᵀ [Out,N] · X [N,In].
func linearBackwardWeight(a compute.LinearBackwardWeight) *product {
	return &product{
		form: formTN, m: a.Out, n: a.In, k: a.N, a: f32(0, a.N, a.Out), b: f32(0, a.N, a.In), alpha: a.Scale, accumulate: true, compute: a.Compute,
	}
}

// LinearBackwardWeight is compute.Operations' LinearBackwardWeight.
func (d *Device) LinearBackwardWeight(a compute.LinearBackwardWeight) {
	c, p := d.begin("LinearBackwardWeight"), linearBackwardWeight(a)
	dy := c.F32("DY", a.DY, a.N, a.Out)
	bias := c.Optional("DBias", a.DBias, a.Out)
	if a.DW != nil {
		p.c, p.a.p, p.b.p = c.F32("DW", a.DW, a.Out, a.In), dy, c.F32("X", a.X, a.N, a.In)
		if a.N > 0 {
			c.multiply(p)
		}
	}
	c.columnSums(columnSums{biases: bias, dy: dy, n: a.N, c: a.Out})
}

// gemvRows is the most rows that Linear multiplies straight from the weight as it is stored: above, tensor cores are faster.
const gemvRows = 16

// gemv multiplies few rows, whatever type was asked for: nothing is rounded.
func (c *checked) gemv(p *product) {
	if !c.OK || p.m == 0 || p.n == 0 {
		return
	}
	tokens := 1
	for tokens < min(p.m, 8) {
		tokens *= 2
	}
	each := map[kind]int{kindF32: 4, kindBF16: 8, kindF16: 8, kindQuant4: 16}[p.b.kind]
	split := gemvSplit(p.n, p.k, tokens, 32*each)
	vec := p.b.aligned(each) && (p.b.kind != kindQuant4 || p.k%(1<<p.b.quant.shift) == 0) // rows begin with a block of scale
	name := map[kind]string{kindF32: "f32", kindBF16: "bf16", kindF16: "f16", kindQuant4: "quant4"}[p.b.kind]
	args := append([]driver.Arg{driver.P(p.c), driver.P(p.a.p), driver.P(p.b.p)}, p.b.quant.args()...)
	args = append(args, driver.I32(int32(p.m)), driver.I32(int32(p.n)), driver.I32(int32(p.k)), driver.P(p.bias), driver.P(p.u.p), driver.P(p.v.p),
		driver.F32(p.ext), driver.I32(int32(p.r)), flag(p.accumulate), driver.I32(int32(split)), flag(vec))
	grid := driver.Launch{Grid: [3]int{blocks(p.n, 8/split*4), blocks(p.m, tokens), 1}, Block: [3]int{256, 1, 1}}
	c.launch("gemv.gemv_"+name+"_"+string(rune('0'+tokens)), grid, args...)
}

// gemvSplit is how many warps share a row: as few as fill the model GPU twice over, and no more than there are steps for.
func gemvSplit(out, in, tokens, step int) int {
	chunk := 4096 / tokens
	if tokens >= 4 {
		chunk = 8192 / tokens
	}
	split := 1
	for split < 8 && blocks(out, 8/split*4) < 2*modelSMs && 2*split*step <= max(step, min(chunk, in)) {
		split *= 2
	}
	return split
}
