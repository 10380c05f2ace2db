package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// narrowed is an operand of 16-bit elements as gemm16.h wants it.
type narrowed struct {
	p  driver.Ptr
	ld int
}

// narrowWidth is the length of a 16-bit operand's rows: whole chunks of 16 bytes.
func narrowWidth(cols int) int { return (cols + 7) / 8 * 8 }

// ready says whether an operand can be multiplied where it lies: it has the type, and rows and address of whole chunks.
func (o operand) ready(t compute.DType) bool { return o.kind == kind(t) && o.aligned(8) }

// narrow is where the workspace of a product in 16 bits has its operands, which are not copied where they can be read as they are.
type narrow struct {
	shape      shape
	a, b, u, v narrowed
	parts      driver.Ptr
}

// narrow lays the workspace out.
func (p *product) narrow(l *layout) narrow {
	n := narrow{shape: tensor16.choose(p.form, p.m, p.n, p.k, p.r)}
	place := func(o operand) narrowed {
		if o.rows == 0 || o.cols == 0 {
			return narrowed{}
		}
		if o.ready(p.compute) {
			return narrowed{p: o.p, ld: o.ld}
		}
		width := narrowWidth(o.cols)
		return narrowed{p: l.take(2 * int64(o.rows) * int64(width)), ld: width}
	}
	n.a, n.b = place(p.a), place(p.b)
	if p.r > 0 {
		n.u, n.v = place(p.u), place(p.v)
	}
	if n.shape.parts > 1 {
		n.parts = l.take(n.shape.partBytes(p.m, p.n))
	}
	return n
}

// multiply16 multiplies on the tensor cores: operands are made 16 bits wide first, where they are not.
func (c *checked) multiply16(p *product) {
	n := p.narrow(c.layout(p.bytes()))
	c.pack(n.a, p.a, p.compute, 1)
	c.pack(n.b, p.b, p.compute, 1)
	if p.r > 0 {
		c.pack(n.u, p.u, p.compute, p.ext)
		c.pack(n.v, p.v, p.compute, 1)
	}
	module := "gemm_bf16"
	if p.compute == compute.F16 {
		module = "gemm_f16"
	}
	args := p.result(n.parts)
	for _, piece := range []struct {
		a, b narrowed
		k    int
	}{{n.a, n.b, p.k}, {n.u, n.v, p.r}} {
		args = append(args, driver.P(piece.a.p), driver.I64(int64(piece.a.ld)), driver.P(piece.b.p), driver.I64(int64(piece.b.ld)),
			driver.I32(int32(piece.k)))
	}
	args = append(args, driver.I32(int32(n.shape.steps)))
	c.launch(module+"."+module+"_"+p.form.String()+"_"+n.shape.tile.name(), n.shape.launch(p.m, p.n), args...)
	if n.shape.parts > 1 {
		c.addParts(p, n.parts, n.shape.parts)
	}
}

// pack writes scale times an operand in 16 bits, unless it is used where it lies.
func (c *checked) pack(to narrowed, from operand, t compute.DType, scale float32) {
	if to.p == from.p || to.p == 0 {
		return
	}
	name := "operands.pack_bf16"
	if t == compute.F16 {
		name = "operands.pack_f16"
	}
	args := []driver.Arg{
		driver.P(to.p), driver.I64(int64(to.ld)), driver.P(from.p), driver.I64(int64(from.ld)), driver.I32(int32(from.kind)), flag(from.aligned(8)),
	}
	args = append(args, from.quant.args()...)
	args = append(args, driver.I64(int64(from.rows)), driver.I32(int32(from.cols)), driver.I32(int32(to.ld)), driver.F32(scale))
	c.launch(name, threads(int64(from.rows)*int64(to.ld/8)), args...)
}
