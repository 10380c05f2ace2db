package cuda

import "lathe/cuda/driver"

// shape32 is the cut of a product in float32.
func (p *product) shape32() shape {
	e := any32
	if p.regular() {
		e = simt32
	}
	return e.choose(p.form, p.m, p.n, p.k, p.r)
}

// regular says whether all that a product in float32 reads and writes is float32 in rows of whole groups of four.
func (p *product) regular() bool {
	c := operand{p: p.c, ld: p.n}
	return p.b.kind == kindF32 && p.a.aligned(4) && p.b.aligned(4) && c.aligned(4) && (p.r == 0 || p.u.aligned(4) && p.v.aligned(4))
}

// parts32 is the cut and the place of its parts.
func (p *product) parts32(l *layout) (shape, driver.Ptr) {
	s := p.shape32()
	if s.parts == 1 {
		return s, 0
	}
	return s, l.take(s.partBytes(p.m, p.n))
}

// multiply32 multiplies in float32, operands as they are stored.
func (c *checked) multiply32(p *product) {
	l := c.layout(p.bytes())
	s, parts := p.parts32(l)
	name := "gemm32.gemm_any_"
	if p.regular() {
		name = "gemm32.gemm_f32_"
	}
	vec := int32(0)
	for i, o := range []operand{p.a, p.b, p.u, p.v} {
		if o.aligned(4) {
			vec |= 1 << i
		}
	}
	args := append(p.result(parts), driver.P(p.a.p), driver.I64(int64(p.a.ld)), driver.P(p.b.p), driver.I64(int64(p.b.ld)),
		driver.I32(int32(p.b.kind)), driver.I32(int32(p.k)))
	args = append(args, p.b.quant.args()...)
	args = append(args, driver.P(p.u.p), driver.I64(int64(p.u.ld)), driver.P(p.v.p), driver.I64(int64(p.v.ld)), driver.F32(p.ext),
		driver.I32(int32(p.r)), driver.I32(vec), driver.I32(int32(s.steps)))
	c.launch(name+p.form.String()+"_"+s.tile.name(), s.launch(p.m, p.n), args...)
	if s.parts > 1 {
		c.addParts(p, parts, s.parts)
	}
}
